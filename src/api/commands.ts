import {
  ServiceError,
  type UpdateDefinition,
  WithStartWorkflowOperation,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import { randomUUID } from 'node:crypto';
import type { DecisionProof, ProvableDecision } from '../domain/decision-proof.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import { appendAudit } from '../store/audit.ts';
import { readDeployment } from '../store/deployments.ts';
import type { Identity } from '../store/tokens.ts';
import {
  type AbortMessage,
  type DeploymentView,
  type EnvironmentView,
  abortUpdate,
  deploymentId,
  deploymentQuery,
  environmentId,
  environmentQuery,
  rollbackId,
  withdrawTurnSignal,
} from '../workflows/messages.ts';
import type { ApiDependencies } from './dependencies.ts';
import { refuse } from './problems.ts';

/** Who commands, in the words of the audit. */
export interface Order {
  readonly identity: Identity;
  /** `deployment.approve` … */
  readonly action: string;
  /** The same again is the same command; from the caller, or made up. */
  readonly idempotencyKey?: string | undefined;
}

/** What the API says to workflows, each time written down before it is said. */
export interface Commands {
  /**
   * To a deployment or run that is open.
   *
   * @throws ProviderError with the reason, when it refuses; `TooLate` when it has ended; `TimedOut` when no worker answers
   */
  tell<R, M extends object>(
    workflowId: string,
    update: UpdateDefinition<R, [M]>,
    message: M,
    order: Order,
    closed: () => Promise<R>,
  ): Promise<R>;
  /**
   * As {@link Commands.tell}, with the proof that this person decides this. Not in the audit, which holds what was decided.
   *
   * @param decision - who decides what; the message says the same of it.
   */
  decide<R, M extends { readonly proof?: DecisionProof }>(
    update: UpdateDefinition<R, [M]>,
    message: M,
    decision: ProvableDecision,
    order: Order,
    closed: () => Promise<R>,
  ): Promise<R>;
  /** Ends a deployment or a rollback, also one that still waits for its turn. */
  abort(ref: DeploymentRef, message: AbortMessage, order: Order): Promise<{ readonly accepted: true }>;
  /** To an environment, which is started when it does not run. */
  tellEnvironment<R, M extends object>(
    environment: { readonly project: string; readonly environment: string },
    update: UpdateDefinition<R, [M]>,
    message: M,
    order: Order,
  ): Promise<R>;
  /** What the workflow knows at this moment; undefined when it does not run or does not answer at once. */
  viewDeployment(ref: DeploymentRef): Promise<DeploymentView | undefined>;
  viewEnvironment(project: string, environment: string): Promise<EnvironmentView | undefined>;
  /** Why a deployment takes no command any more. */
  closedDeployment(ref: DeploymentRef): Promise<never>;
}

/** A page is not kept waiting for longer than this; then it shows what the store knows. */
const queryTimeoutMs = 1_500;

export function createCommands({ store, temporal, settings, proofs }: ApiDependencies): Commands {
  const timeoutMs = settings.commandTimeoutMs ?? 10_000;

  async function audited<R>(object: string, message: object, order: Order, work: () => Promise<R>): Promise<R> {
    const { identity, action } = order;
    const entry = { actor: identity.name, action, object, detail: { token: identity.id, message } };
    // Before it is said: what cannot be written down is not done.
    await appendAudit(store.db, entry);
    try {
      return await temporal.withDeadline(Date.now() + timeoutMs, work);
    } catch (error) {
      const found = translate(error, object, timeoutMs);
      const { type, message: why } = describeFailure(found);
      await appendAudit(store.db, { ...entry, action: `${action}.refused`, detail: { type, why } }).catch(
        () => undefined,
      );
      throw found;
    }
  }

  async function view<R>(read: () => Promise<R>): Promise<R | undefined> {
    try {
      return await temporal.withDeadline(Date.now() + queryTimeoutMs, read);
    } catch {
      return undefined;
    }
  }

  async function say<R, M extends object>(
    workflowId: string,
    update: UpdateDefinition<R, [M]>,
    message: M,
    updateId: string,
    closed: () => Promise<R>,
  ): Promise<R> {
    try {
      return await temporal.workflow.getHandle(workflowId).executeUpdate(update, { args: [message], updateId });
    } catch (error) {
      // The workflow has closed, or there never was one.
      if (error instanceof WorkflowNotFoundError) return await closed();
      throw error;
    }
  }

  const tell: Commands['tell'] = async (workflowId, update, message, order, closed) =>
    await audited(workflowId, message, order, () =>
      say(workflowId, update, message, order.idempotencyKey ?? randomUUID(), closed),
    );

  const decide: Commands['decide'] = async (update, message, decision, order, closed) =>
    await audited(decision.workflowId, message, order, async () => {
      const proof = proofs.prove(decision);
      const proven = { ...message, proof };
      const id = order.idempotencyKey ?? randomUUID();
      try {
        return await say(decision.workflowId, update, proven, id, closed);
      } catch (error) {
        const { nonce } = describeFailure(error).details;
        if (nonce === undefined || nonce === proof.nonce) throw error;
        // What was refused is the proof of the same command when it was given before, and that answer is kept; this one is not looked at yet.
        return await say(decision.workflowId, update, proven, `${id}/${proof.nonce}`, closed);
      }
    });

  const closedDeployment: Commands['closedDeployment'] = async (ref) => {
    const name = `${ref.project}/${ref.environment}/${ref.number}`;
    const deployment = await readDeployment(store.db, ref);
    if (deployment === undefined) throw refuse('NotFound', `There is no deployment ${name}.`);
    if (deployment.outcome === null) {
      throw refuse('Conflict', `The deployment ${name} is not running yet, or its workflow was ended from outside.`);
    }
    throw refuse('TooLate', `The deployment ${name} has ended ${deployment.outcome}: ${deployment.reason ?? ''}`);
  };

  /** A rollback that waits for the turn has no workflow yet: the environment takes it out of those that wait. */
  async function abortWaiting(ref: DeploymentRef, message: AbortMessage): Promise<{ readonly accepted: true }> {
    const { project, environment, number } = ref;
    const deployment = await readDeployment(store.db, ref);
    if (deployment?.outcome !== null) return await closedDeployment(ref);
    const { by, reason = 'no reason given' } = message;
    try {
      await temporal.workflow
        .getHandle(environmentId(project, environment))
        .signal(withdrawTurnSignal, { number, by, reason });
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return await closedDeployment(ref);
      throw error;
    }
    return { accepted: true };
  }

  return {
    tell,
    decide,
    closedDeployment,
    async abort(ref, message, order) {
      const deployment = await readDeployment(store.db, ref);
      if (deployment?.kind === 'rollout') {
        return await tell(deploymentId(ref), abortUpdate, message, order, () => closedDeployment(ref));
      }
      // Also where nothing is on record yet: a rollback that began while the store was away has its number from the clock.
      return await tell(rollbackId(ref), abortUpdate, message, order, () => abortWaiting(ref, message));
    },
    async tellEnvironment({ project, environment }, update, message, order) {
      const workflowId = environmentId(project, environment);
      const startWorkflowOperation = new WithStartWorkflowOperation('environment', {
        workflowId,
        taskQueue: settings.taskQueue,
        args: [{ project, environment }],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
      return await audited(
        workflowId,
        message,
        order,
        async () =>
          await temporal.workflow.executeUpdateWithStart(update, {
            args: [message],
            updateId: order.idempotencyKey ?? randomUUID(),
            startWorkflowOperation,
          }),
      );
    },
    viewDeployment: (ref) => view(() => temporal.workflow.getHandle(deploymentId(ref)).query(deploymentQuery)),
    viewEnvironment: (project, environment) =>
      view(() => temporal.workflow.getHandle(environmentId(project, environment)).query(environmentQuery)),
  };
}

const unavailable = 14;
const deadlineExceeded = 4;

function translate(error: unknown, object: string, timeoutMs: number): unknown {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
    return refuse(
      'TimedOut',
      `${object} did not answer within ${timeoutMs} ms; no worker may be running. It may still take the command.`,
    );
  }
  if (error instanceof ServiceError) {
    const code = (error.cause as { readonly code?: unknown } | undefined)?.code;
    if (code === deadlineExceeded) {
      return refuse('TimedOut', `${object} did not answer within ${timeoutMs} ms; it may still take the command.`);
    }
    if (code === unavailable) return refuse('TemporalUnavailable', 'Temporal cannot be reached.');
  }
  return error;
}
