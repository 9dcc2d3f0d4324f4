/** CI, from the checkout to what is pushed, and how a run comes to be: by a schedule, a poll, or a run of another project. */
import { proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { triesOnCheckout } from '../../domain/run.ts';
import { taskQueues } from '../queues.ts';
import { heartbeatTimeout, nonRetryableErrorTypes } from './limits.ts';

/** Work of minutes that heartbeats; killed with its worker and done again. */
export const long = proxyActivities<
  Pick<contracts.SourceActivities, 'prepareRun'> &
    contracts.StageActivities &
    contracts.ImageActivities &
    contracts.PackageActivities &
    contracts.InfrastructureActivities &
    Pick<contracts.DataActivities, 'runMigrations'>
>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 3_600_000,
  scheduleToCloseTimeout: 7_200_000,
  heartbeatTimeout,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 30_000,
    maximumAttempts: triesOnCheckout,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Which repositories are to be looked at. */
export const readPolls = proxyActivities<Pick<contracts.PollActivities, 'readPolled'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: 30_000,
  scheduleToCloseTimeout: 120_000,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 10_000, nonRetryableErrorTypes },
  cancellationType: 'TRY_CANCEL',
});

/** Looks at a repository; what cannot be looked at now is looked at with the next round. */
export const polling = proxyActivities<Pick<contracts.PollActivities, 'pollRepository'>>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 120_000,
  scheduleToCloseTimeout: 240_000,
  heartbeatTimeout,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 30_000, nonRetryableErrorTypes },
  cancellationType: 'TRY_CANCEL',
});

/** Accepts the run of a schedule, or of another project; given up when the next occasion may have come. */
export const scheduling = proxyActivities<contracts.ScheduleActivities & contracts.StartActivities>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 120_000,
  scheduleToCloseTimeout: 1_800_000,
  heartbeatTimeout,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 60_000, nonRetryableErrorTypes },
  cancellationType: 'TRY_CANCEL',
});

/** Removal of a checkout; the queue is that of the workspace, and a machine that is gone needs no removal. */
export const tidy = proxyActivities<Pick<contracts.SourceActivities, 'releaseWorkspace'>>({
  startToCloseTimeout: 60_000,
  scheduleToCloseTimeout: 120_000,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000, maximumAttempts: 3 },
  cancellationType: 'ABANDON',
});
