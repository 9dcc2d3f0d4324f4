import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { FastifyBaseLogger } from 'fastify';
import pLimit from 'p-limit';
import type { DeploymentInput } from '../domain/deployment.ts';
import type { RunInput } from '../domain/run.ts';
import { deploymentsToStart, markDeploymentStarted } from '../store/deployments.ts';
import { markRunStarted, runsToStart } from '../store/inbox.ts';
import { deploymentId, runId } from '../workflows/messages.ts';
import { type Whereabouts, attributesOf } from '../workflows/progress.ts';
import type { ApiDependencies } from './dependencies.ts';

/** Starts the workflows of what was accepted: at once, and again until Temporal has them. */
export interface Starter {
  /** Begins to start it and returns. */
  run(input: RunInput): void;
  deployment(input: DeploymentInput): void;
  /** Looks for what was left, at boot and then again and again. */
  begin(): void;
  /** Waits for what is being started. */
  end(): Promise<void>;
}

/** One connection starts some 300 workflows a second with 50 in flight; more only wait in the server. */
const atOnce = 50;
const startTimeoutMs = 10_000;
/** Younger ones are being started by whoever accepted them. */
const leftAfterMs = 3_000;
const sweepLimit = 500;

export function createStarter(deps: ApiDependencies, log: FastifyBaseLogger): Starter {
  const { store, temporal, settings } = deps;
  const limit = pLimit(atOnce);
  const underWay = new Map<string, Promise<void>>();
  let timer: NodeJS.Timeout | undefined;
  let ended = false;

  function start(workflowId: string, work: () => Promise<void>): void {
    if (underWay.has(workflowId) || ended) return;
    // Queued ones are left to the next process: an end must not wait for all of a burst.
    const started = limit(async () => (isEnded() ? undefined : await work()))
      // The row is there and the sweeper comes by; nothing is lost.
      .catch((error: unknown) => {
        log.warn({ err: error, workflowId }, 'a workflow could not be started yet');
      })
      .finally(() => underWay.delete(workflowId));
    underWay.set(workflowId, started);
  }

  async function startWorkflow(
    type: string,
    workflowId: string,
    input: unknown,
    { summary, where }: { readonly summary: string; readonly where: Whereabouts },
  ): Promise<void> {
    try {
      await temporal.withDeadline(Date.now() + startTimeoutMs, () =>
        temporal.workflow.start(type, {
          workflowId,
          taskQueue: settings.taskQueue,
          // USE_EXISTING alone would start a second one once the first has closed.
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
          args: [input],
          staticSummary: summary,
          typedSearchAttributes: attributesOf(where),
        }),
      );
    } catch (error) {
      // By an earlier try whose answer was lost, or by another process: it is there.
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
  }

  const starter: Starter = {
    run(input) {
      const workflowId = runId(input.project, input.key);
      start(workflowId, async () => {
        const { ref, after, author } = input.event;
        await startWorkflow('runPipeline', workflowId, input, {
          summary: `${input.project}: ${ref} at ${after.slice(0, 12)} by ${author}`,
          where: { project: input.project, phase: 'preparing' },
        });
        await markRunStarted(store.db, input);
      });
    },
    deployment(input) {
      const workflowId = deploymentId(input);
      start(workflowId, async () => {
        const { project, environment, version, requestedBy } = input;
        await startWorkflow('deployRelease', workflowId, input, {
          summary: `${version} to ${project}/${environment}, asked for by ${requestedBy}`,
          where: { project, environment, phase: 'planning', version },
        });
        await markDeploymentStarted(store.db, input);
      });
    },
    begin() {
      const everyMs = settings.sweepMs ?? 10_000;
      if (everyMs === 0) return;
      const look = async (olderThanMs: number): Promise<void> => {
        const options = { olderThanMs, limit: sweepLimit };
        for (const input of await runsToStart(store.db, options)) starter.run(input);
        for (const input of await deploymentsToStart(store.db, options)) starter.deployment(input);
      };
      const sweep = async (olderThanMs: number): Promise<void> => {
        try {
          await look(olderThanMs);
        } catch (error) {
          log.warn({ err: error }, 'the inbox could not be looked through');
        }
        if (!isEnded()) timer = setTimeout(() => void sweep(leftAfterMs), everyMs);
      };
      // At boot whatever is left is left by a process that is gone.
      void sweep(0);
    },
    async end() {
      ended = true;
      clearTimeout(timer);
      await Promise.all(underWay.values());
    },
  };
  // A function, for the compiler does not know that it changes while the sweep waits.
  const isEnded = (): boolean => ended;
  return starter;
}
