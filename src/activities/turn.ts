import { setTimeout } from 'node:timers/promises';
import { type Client, WorkflowContinuedAsNewError, WorkflowNotFoundError } from '@temporalio/client';
import type { DeploymentInput } from '../domain/deployment.ts';
import { turnsOf } from '../store/deployments.ts';
import type { Store } from '../store/store.ts';
import { type TurnRequest, environmentId, requestTurnSignal, rollbackId, rolloutId } from '../workflows/messages.ts';
import { workflowTaskQueue } from '../workflows/queues.ts';
import { beating, typed } from './changes.ts';
import type { OpenTurns, TurnActivities } from './contracts.ts';

export interface TurnDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly temporal: Client;
}

/** How many deployments of an environment are asked about when its workflow begins without a memory. */
const newest = 50;
/** How many roll-outs of one deployment are looked for: after so many changed plans its approval has long expired. */
const mostAsks = 5;

/** Messages to an environment's workflow, and what Temporal knows of its turns. */
/** Between two looks for a workflow that is about to be started. Judgement. */
const lookAgainMs = 500;

export function createTurnActivities({ store, temporal }: TurnDependencies): TurnActivities {
  async function isOpen(workflowId: string): Promise<boolean> {
    try {
      const { status } = await temporal.workflow.getHandle(workflowId).describe();
      return status.name === 'RUNNING';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  }

  async function openTurn(kind: 'rollout' | 'rollback', deployment: DeploymentInput): Promise<OpenTurns['open']> {
    const ids =
      kind === 'rollback'
        ? [rollbackId(deployment)]
        : Array.from({ length: mostAsks }, (_, index) => rolloutId(deployment, index + 1));
    const open = await Promise.all(ids.map(isOpen));
    return ids.flatMap((workflowId, index) => (open[index] === true ? [{ workflowId, kind, deployment }] : []));
  }

  return {
    requestTurn: ({ deployment, plan, approved, ask, requestedAt }) =>
      typed(async () => {
        const { project, environment } = deployment;
        const request: TurnRequest = {
          deployment,
          ask,
          planHash: plan.hash,
          approved,
          policy: plan.policy,
          requestedAt,
        };
        await temporal.workflow.signalWithStart('environment', {
          workflowId: environmentId(project, environment),
          taskQueue: workflowTaskQueue,
          args: [{ project, environment }],
          signal: requestTurnSignal,
          signalArgs: [request],
          staticSummary: `${project} ${environment}: one turn at a time`,
        });
      }),

    readOpenTurns: ({ project, environment }) =>
      typed(async () => {
        const turns = await turnsOf(store.db, project, environment, newest);
        const open = await Promise.all(turns.map(({ kind, input }) => openTurn(kind, input)));
        const closed = turns.find(({ outcome }) => outcome !== null);
        return {
          open: open.flat(),
          last:
            closed?.outcome === null || closed === undefined
              ? null
              : { number: closed.input.number, outcome: closed.outcome },
        };
      }),

    awaitTurnClosed: ({ workflowId, startsWithinMs = 0 }) =>
      // It takes as long as it takes; that it still runs is all the progress there is to tell.
      beating(async (signal) => {
        const until = Date.now() + startsWithinMs;
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
        });
        for (;;) {
          const result = temporal.workflow.getHandle(workflowId, undefined, { followRuns: false }).result();
          try {
            return (await Promise.race([result, aborted])) as unknown;
          } catch (error) {
            signal.throwIfAborted();
            // A run that waits for long goes on under the same id.
            if (error instanceof WorkflowContinuedAsNewError) continue;
            if (!(error instanceof WorkflowNotFoundError) || Date.now() >= until) return null;
            await setTimeout(lookAgainMs, undefined, { signal });
          }
        }
      }, Infinity),
  };
}
