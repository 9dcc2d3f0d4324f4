/** The way back: traffic without end, every other undo three times. */
import { type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { taskQueues } from '../queues.ts';
import { absenceMs, heartbeatTimeout, nonRetryableErrorTypes, shortMs } from './limits.ts';

/** Every undo but that of traffic is tried so often (B-07). */
const undoTries = 3;
/** And each try may take so long (B-07), with the waits of {@link undoLimits} in it. */
const undoMs = 180_000;

/** Every undo but that of traffic: three times, three minutes each; then a person is asked (docs/architecture.md). */
export const compensation = proxyActivities<
  Pick<contracts.ReleaseActivities, 'ensureReleaseRunning' | 'ensureReleaseStopped'> &
    Pick<contracts.DataActivities, 'ensureDataRolledBack' | 'verifyData' | 'ensureProofDropped'> &
    Pick<contracts.WatchActivities, 'runProbes'>
>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: undoMs,
  scheduleToCloseTimeout: undoTries * undoMs + absenceMs,
  heartbeatTimeout,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 10_000,
    maximumAttempts: undoTries,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** What an undo is given beside its waits: the three minutes hold this beside up to three waits (ready or settle, drain, grace) of the default 30 s each. */
const undoMarginMs = 90_000;

/** Limits of an undo that waits by definition: the three minutes, or longer where somebody has asked for longer waits than fit into them. */
export function undoLimits(waitsMs: number): ActivityOptions {
  const startToCloseTimeout = Math.max(undoMs, waitsMs + undoMarginMs);
  return { startToCloseTimeout, scheduleToCloseTimeout: undoTries * startToCloseTimeout + absenceMs };
}

/** Traffic on its way back: three tries here, and `saga.ts` begins again after each three, without end. */
export const trafficBack = proxyActivities<contracts.TrafficActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 2_000, maximumAttempts: 3 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});
