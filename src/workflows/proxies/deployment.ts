/**
 * What a deployment has done to its environment, on the way forward: looking, changing, waiting, watching; and the limits of what may take longer.
 */
import { type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { longestProgramMs } from '../../domain/database-work.ts';
import { taskQueues } from '../queues.ts';
import { absenceMs, heartbeatTimeout, nonRetryableErrorTypes, shortMs } from './limits.ts';

/**
 * How often something short is tried: with its pauses a minute of a router or an engine that refuses at once, less than three of one that
 * lets every try run into {@link shortMs}. Tries and not the clock, for the time in which no worker was there to try says nothing about what
 * was to be done.
 */
const shortTries = 12;
/** The same of what only looks: two minutes, for nothing is in between while it waits. */
const readTries = 18;

/**
 * One try of a plan, ms. Judgement: fifty images, which a run may have, are verified a few at once, each by two or three programs that ask the registry
 * (`demandedMs` in activities/image-trust.ts). One image is given up after 8 s all the same, and a worker that died is noticed by its silence.
 */
const planMs = 60_000;
/**
 * Silence of a plan, ms: more than the 8 s that a plan had in all before it heartbeat. A worker of then may take them, beside a workflow of now.
 */
const planSilenceMs = 10_000;

/** Looks at everything that a release is about to meet, changes nothing. */
export const planning = proxyActivities<contracts.PlanActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: planMs,
  scheduleToCloseTimeout: absenceMs,
  heartbeatTimeout: planSilenceMs,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 10_000,
    maximumAttempts: readTries,
    nonRetryableErrorTypes,
  },
  cancellationType: 'TRY_CANCEL',
});

/** Looks, changes nothing. */
export const read = proxyActivities<Pick<contracts.ReleaseActivities, 'readEnvironment'>>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: shortMs,
  scheduleToCloseTimeout: absenceMs,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 10_000,
    maximumAttempts: readTries,
    nonRetryableErrorTypes,
  },
  cancellationType: 'TRY_CANCEL',
});

/** Short mutations of a target. */
export const change = proxyActivities<contracts.TrafficActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: shortMs,
  scheduleToCloseTimeout: absenceMs,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 10_000,
    maximumAttempts: shortTries,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/**
 * Removes what nobody will apply any more, at the end of a deployment. The next one in the route waits for it, so it has three tries in four
 * minutes (judgement) and is left to retention then.
 */
export const discarding = proxyActivities<Pick<contracts.InfrastructureLeftoverActivities, 'ensurePlansDiscarded'>>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 120_000,
  scheduleToCloseTimeout: 240_000,
  heartbeatTimeout,
  retry: {
    initialInterval: 1_000,
    backoffCoefficient: 2,
    maximumInterval: 10_000,
    maximumAttempts: 3,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** A dump and a restore, each as long as a program may run, and an hour for comparing what they made, ms. What hangs is noticed by its silence. */
const dataMs = 2 * longestProgramMs + 3_600_000;

/** Limits of work whose length is that of the data. */
export const dataLimits: ActivityOptions = {
  startToCloseTimeout: dataMs,
  scheduleToCloseTimeout: dataMs + absenceMs,
};

/** Work on all of a database: hours, where that is large. */
export const dataWork = proxyActivities<Pick<contracts.DataActivities, 'ensureBackup' | 'ensureLaterWritesExported'>>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: dataMs,
  scheduleToCloseTimeout: dataMs + absenceMs,
  heartbeatTimeout,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 30_000,
    maximumAttempts: 10,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Longest for a state with all tries, ms. Judgement. */
const stateMs = 1_800_000;

/** Brings about a state and waits for it. */
export const awaitState = proxyActivities<
  Pick<contracts.ReleaseActivities, 'ensureReleaseRunning' | 'ensureReleaseStopped'>
>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 900_000,
  scheduleToCloseTimeout: stateMs,
  heartbeatTimeout,
  retry: {
    initialInterval: 250,
    backoffCoefficient: 2,
    maximumInterval: 15_000,
    maximumAttempts: 10,
    nonRetryableErrorTypes,
  },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** One try of what only looks for a while, ms. Judgement. */
const watchingMs = 900_000;

/** Looks for a while; leaves at once when cancelled, for what follows a cancelled watch is urgent. */
export const watching = proxyActivities<contracts.WatchActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: watchingMs,
  scheduleToCloseTimeout: 2 * watchingMs,
  heartbeatTimeout,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000, nonRetryableErrorTypes },
  cancellationType: 'TRY_CANCEL',
});

/** Limits of probes whose failures do not count for so long. */
export function probeLimits(settleMs: number): ActivityOptions {
  const startToCloseTimeout = watchingMs + settleMs;
  return { startToCloseTimeout, scheduleToCloseTimeout: 2 * startToCloseTimeout };
}

/** What a start is given to fetch images and to make the container, beside the wait until it is healthy, ms. Judgement. */
const startMarginMs = 300_000;

/** Limits of a start that waits at most so long: until what is left in its slot has ended, and until the release is healthy. */
export function startLimits(waitsMs: number): ActivityOptions {
  const startToCloseTimeout = waitsMs + startMarginMs;
  return { startToCloseTimeout, scheduleToCloseTimeout: Math.max(stateMs, 2 * startToCloseTimeout) };
}

/** Looks images up again for a release that waits for it: in all a quarter of an hour, then it goes on by what was known. Judgement. */
export const renewing = proxyActivities<contracts.ScanRenewalActivities>({
  taskQueue: taskQueues.build,
  startToCloseTimeout: 600_000,
  scheduleToCloseTimeout: 900_000,
  heartbeatTimeout,
  retry: {
    initialInterval: 1_000,
    backoffCoefficient: 2,
    maximumInterval: 15_000,
    maximumAttempts: 3,
    nonRetryableErrorTypes,
  },
  cancellationType: 'TRY_CANCEL',
});
