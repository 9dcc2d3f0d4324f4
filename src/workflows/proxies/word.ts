/** Words to people and forges. Nothing fails for one that is not taken. */
import { proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { taskQueues } from '../queues.ts';
import { nonRetryableErrorTypes } from './limits.ts';

/** Words to a forge. What it does not take within this is left unsaid: no run waits for it, but for the last of them, and this long. */
export const telling = proxyActivities<contracts.ForgeActivities>({
  taskQueue: taskQueues.notify,
  startToCloseTimeout: 30_000,
  scheduleToCloseTimeout: 90_000,
  retry: {
    initialInterval: 1_000,
    backoffCoefficient: 2,
    maximumInterval: 20_000,
    maximumAttempts: 5,
    nonRetryableErrorTypes,
  },
  cancellationType: 'ABANDON',
});

/** Pull requests that bring a hotfix back, by a workflow that nobody waits for. An hour outlasts most outages of a forge; judgement. */
export const bringing = proxyActivities<Pick<contracts.ForgeActivities, 'mergeBack'>>({
  taskQueue: taskQueues.notify,
  startToCloseTimeout: 60_000,
  scheduleToCloseTimeout: 3_600_000,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 300_000, nonRetryableErrorTypes },
  cancellationType: 'ABANDON',
});

/** Issues one by one, and an upload that the forge takes its time for. As long as the last word of a run may take. */
export const showing = proxyActivities<contracts.FindingActivities>({
  taskQueue: taskQueues.notify,
  startToCloseTimeout: 60_000,
  scheduleToCloseTimeout: 90_000,
  retry: {
    initialInterval: 1_000,
    backoffCoefficient: 2,
    maximumInterval: 20_000,
    maximumAttempts: 3,
    nonRetryableErrorTypes,
  },
  cancellationType: 'ABANDON',
});

/** Messages to people. */
export const message = proxyActivities<contracts.NoticeActivities>({
  taskQueue: taskQueues.notify,
  startToCloseTimeout: 10_000,
  scheduleToCloseTimeout: 3_600_000,
  retry: { initialInterval: 1_000, backoffCoefficient: 2, maximumInterval: 60_000, maximumAttempts: 10 },
  cancellationType: 'ABANDON',
});
