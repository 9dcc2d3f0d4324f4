import { ActivityFailure, type ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';
import { describeFailure, failure, failureType } from '../../domain/failures.ts';
import type { RunPlan, Workspace } from '../../domain/run.ts';
import { sentences } from '../../domain/sentences.ts';
import { took } from '../progress.ts';

/** The machine of a checkout has this long to take the next piece of work before the run begins anew elsewhere, ms. */
const workspaceMs = 300_000;
/** The clean-up of a step that ran into its limit needs a moment more than the limit, ms. */
const cleanUpMs = 30_000;

/** Work that needs the checkout goes to the machine that has it; twice done again after a dead worker is enough. */
export function onMachine(
  plan: RunPlan,
  timeoutMs: number,
): {
  readonly taskQueue: string;
  readonly scheduleToStartTimeout: number;
  readonly startToCloseTimeout: number;
  readonly scheduleToCloseTimeout: number;
} {
  const { queue, patienceMs = workspaceMs } = plan.workspace;
  return {
    taskQueue: queue,
    scheduleToStartTimeout: patienceMs,
    startToCloseTimeout: timeoutMs + cleanUpMs,
    scheduleToCloseTimeout: patienceMs + 3 * (timeoutMs + cleanUpMs),
  };
}

/**
 * When and how the machine of a checkout was lost, as a person reads it.
 *
 * @param error - one that {@link isMachineGone} says so of.
 */
export function tellLost(error: unknown, { queue, patienceMs = workspaceMs }: Workspace, at: Date): string {
  const { type, message } = describeFailure(error);
  if (type === 'WorkspaceLost') return sentences(`At ${dated(at)} ${message}`);
  return `At ${dated(at)} the machine ${queue.replace(/^build-/, '')} had taken no work for ${took(patienceMs)}.`;
}

/** Whether a failure says that no machine has taken a run to prepare it. */
export function isUntaken(error: unknown): boolean {
  if (!(error instanceof ActivityFailure) || error.activityType !== 'prepareRun') return false;
  const { cause } = error;
  // Both of its times are over in the same moment; of one that was tried the second would carry how the last try ended.
  return (
    isUnstarted(cause) ||
    (cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_CLOSE' && cause.cause === undefined)
  );
}

/** @param waitedMs - for how long. */
export function untaken(waitedMs: number, at: Date): ApplicationFailure {
  return failure('WorkerLost', `At ${dated(at)} no machine that builds had taken the run for ${took(waitedMs)}`);
}

function dated(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

function isUnstarted(cause: unknown): boolean {
  return cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_START';
}

/** Whether a failure says that the checkout, or the machine that has it, is not there any more. */
export function isMachineGone(error: unknown): boolean {
  if (failureType(error) === 'WorkspaceLost') return true;
  return error instanceof ActivityFailure && isUnstarted(error.cause);
}
