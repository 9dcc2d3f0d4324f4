/** What is done by schedule, and repairs of what is on record: nobody waits for any of it. */
import { proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { taskQueues } from '../queues.ts';
import { heartbeatTimeout, nonRetryableErrorTypes } from './limits.ts';

/** Upkeep, for which nobody waits: three tries, and then the next time. */
const upkeepRetry = {
  initialInterval: 1_000,
  backoffCoefficient: 4,
  maximumInterval: 60_000,
  maximumAttempts: 3,
  nonRetryableErrorTypes,
};

/** Looks through the store and Temporal, and writes what nobody else will write. */
export const reconciling = proxyActivities<
  Pick<contracts.UpkeepActivities, 'readAbandoned' | 'settleAbandoned' | 'readRetention' | 'removeOldRows'>
>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: 300_000,
  scheduleToCloseTimeout: 900_000,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Removes what is no longer kept; where it names no queue, the caller names that of a machine. An hour for many images: judgement. */
export const removing = proxyActivities<
  Omit<contracts.UpkeepActivities, 'readAbandoned' | 'settleAbandoned' | 'readRetention' | 'removeOldRows'> &
    Pick<contracts.InfrastructureLeftoverActivities, 'removeOldPlans'>
>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 3_600_000,
  scheduleToCloseTimeout: 7_200_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** The store's side of upkeep: what there is to look after, and what was found. */
export const rounds = proxyActivities<contracts.RoundActivities>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: 30_000,
  scheduleToCloseTimeout: 300_000,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** A report of a long period reads many rows; the store ends a statement that takes too long by itself. */
export const auditing = proxyActivities<contracts.AuditReportActivities>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: 300_000,
  scheduleToCloseTimeout: 900_000,
  retry: upkeepRetry,
  cancellationType: 'TRY_CANCEL',
});

/** Looks at a repository, pushes a branch to it and tells its forge. */
export const offering = proxyActivities<contracts.BaseUpdateActivities>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 900_000,
  scheduleToCloseTimeout: 1_800_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Asks indexes for every dependency, and has locks made anew: several times where some updates do not fit with others. */
export const updating = proxyActivities<contracts.DependencyUpdateActivities>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 1_800_000,
  scheduleToCloseTimeout: 3_600_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** What is live, by the store. */
export const readingLive = proxyActivities<Pick<contracts.LiveScanActivities, 'readLive'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: 30_000,
  scheduleToCloseTimeout: 300_000,
  retry: upkeepRetry,
  cancellationType: 'TRY_CANCEL',
});

/** A scan of one image: the limits of scanner and list together (judgement of theirs), and a first time in which programs are built. */
export const scanning = proxyActivities<Pick<contracts.LiveScanActivities, 'scanLiveImage'>>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 1_800_000,
  scheduleToCloseTimeout: 3_600_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'TRY_CANCEL',
});

/**
 * The disks of one machine; the caller names its queue. Twenty minutes for a whole disk of images: judgement, well within what the watch may
 * take.
 */
export const diskWork = proxyActivities<contracts.DiskActivities>({
  startToCloseTimeout: 1_200_000,
  scheduleToCloseTimeout: 1_500_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Removes old images in registries, which may be slow to answer: an hour a try. Judgement. */
export const removingPushed = proxyActivities<contracts.RegistryRetentionActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 3_600_000,
  scheduleToCloseTimeout: 7_200_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Looks at everything that knows an environment, and at the repository of its project where the store has lost its releases. */
export const recovering = proxyActivities<contracts.RecoveryActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 300_000,
  scheduleToCloseTimeout: 600_000,
  heartbeatTimeout,
  retry: upkeepRetry,
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});
