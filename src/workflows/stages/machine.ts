import { ActivityFailure, TimeoutFailure } from '@temporalio/workflow';
import { failureType } from '../../domain/failures.ts';
import type { RunPlan } from '../../domain/run.ts';

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

/** Whether a failure says that the checkout, or the machine that has it, is not there any more. */
export function isMachineGone(error: unknown): boolean {
  if (failureType(error) === 'WorkspaceLost') return true;
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === 'SCHEDULE_TO_START'
  );
}
