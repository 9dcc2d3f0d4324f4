import { type ActivityOptions, CancellationScope, patched, proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../activities/contracts.ts';
import { longestProgramMs } from '../domain/database-work.ts';
import { type FailureType, failures } from '../domain/failures.ts';
import { taskQueues } from './queues.ts';

/**
 * One proxy for each class of activity. `cancellationType` is always named: the SDK's real default is TRY_CANCEL whatever its
 * documentation says, and an undo that starts while the cancelled change still runs is two hands on one target.
 */

const nonRetryableErrorTypes: string[] = (Object.keys(failures) as FailureType[]).filter(
  (type) => !failures[type].retryable,
);

/** A dead worker is noticed after this long, and an abort arrives within a third of it. */
const heartbeatTimeout = 3_000;
/** Longest honest run of what does not heartbeat; it is also how a worker killed in the middle of one is noticed. */
const shortMs = 8_000;
/**
 * How often something short is tried: with its pauses a minute of a router or an engine that refuses at once, less than three of one that
 * lets every try run into {@link shortMs}. Tries and not the clock, for the time in which no worker was there to try says nothing about what
 * was to be done.
 */
const shortTries = 12;
/** The same of what only looks: two minutes, for nothing is in between while it waits. */
const readTries = 18;
/** How long the workers may be away, for a new build or a machine that starts again, before what they were at is given up. Judgement. */
export const absenceMs = 3_600_000;

/** Looks, changes nothing. */
export const read = proxyActivities<
  Pick<contracts.PlanActivities, 'planDeployment'> & Pick<contracts.ReleaseActivities, 'readEnvironment'>
>({
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

/** Looks at Temporal and the store. Without a deadline: an environment gives no turn before it knows who has it. */
export const readOwn = proxyActivities<Pick<contracts.TurnActivities, 'readOpenTurns'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
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

/** Work of minutes that heartbeats; killed with its worker and done again. Ten attempts are two minutes of backing off. */
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
    maximumAttempts: 10,
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

/** Looks for a while; leaves at once when cancelled, for what follows a cancelled watch is urgent. */
export const watching = proxyActivities<contracts.WatchActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: 900_000,
  scheduleToCloseTimeout: 1_800_000,
  heartbeatTimeout,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000, nonRetryableErrorTypes },
  cancellationType: 'TRY_CANCEL',
});

/** Follows another workflow to its end, for as long as it takes. Without a deadline: all that one waits for has deadlines. */
export const following = proxyActivities<Pick<contracts.TurnActivities, 'awaitTurnClosed'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: '7 days',
  heartbeatTimeout,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
  cancellationType: 'TRY_CANCEL',
});

/**
 * What must be known before anything goes on: tried until the store has it. Without a deadline, for what is not written down has not
 * happened; who can do without gives one (`openRollback`, `openIncident`, `requestTurn`).
 */
export const record = proxyActivities<
  contracts.RunFactActivities &
    contracts.RunTurnActivities &
    Pick<
      contracts.FactActivities,
      'recordDecision' | 'settleDeployment' | 'openRollback' | 'openIncident' | 'recordLive'
    > &
    Pick<contracts.TurnActivities, 'requestTurn'>
>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Facts for people's eyes, spooled: nobody waits for them, and nothing fails for them. */
export const note = proxyActivities<Pick<contracts.FactActivities, 'recordPhase' | 'recordStep' | 'recordFacts'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  scheduleToCloseTimeout: 600_000,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 30_000 },
  cancellationType: 'ABANDON',
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

/** Removal of a checkout; the queue is that of the workspace, and a machine that is gone needs no removal. */
export const tidy = proxyActivities<Pick<contracts.SourceActivities, 'releaseWorkspace'>>({
  startToCloseTimeout: 60_000,
  scheduleToCloseTimeout: 120_000,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000, maximumAttempts: 3 },
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

/** What an undo is given beside its waits: the three minutes hold this beside three waits (ready, settle, grace) of the default 30 s each. */
const undoMarginMs = 90_000;

/** Limits of an undo that waits by definition: the three minutes, or longer where somebody has asked for longer waits than fit into them. */
export function undoLimits(waitsMs: number): ActivityOptions {
  const startToCloseTimeout = Math.max(undoMs, waitsMs + undoMarginMs);
  return { startToCloseTimeout, scheduleToCloseTimeout: undoTries * startToCloseTimeout + absenceMs };
}

/** What a start is given to fetch images and to make the container, beside the wait until it is healthy, ms. Judgement. */
const startMarginMs = 300_000;

/** Limits of a start that waits at most so long: until what is left in its slot has ended, and until the release is healthy. */
export function startLimits(waitsMs: number): ActivityOptions {
  const startToCloseTimeout = waitsMs + startMarginMs;
  return { startToCloseTimeout, scheduleToCloseTimeout: Math.max(stateMs, 2 * startToCloseTimeout) };
}

/** Traffic on its way back: three tries here, and `saga.ts` begins again after each three, without end. */
export const trafficBack = proxyActivities<contracts.TrafficActivities>({
  taskQueue: taskQueues.deploy,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 2_000, maximumAttempts: 3 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

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
  Omit<contracts.UpkeepActivities, 'readAbandoned' | 'settleAbandoned' | 'readRetention' | 'removeOldRows'>
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

/** The same for a release that waits for it: longer than that a deployment goes on by what was known. Judgement. */
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

/** The same in registries, which may be slow to answer. */
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

/** An activity of one of the proxies above. */
export interface Callable<I, R> {
  executeWithOptions(options: ActivityOptions, args: [I]): Promise<R>;
}

/**
 * Calls an activity with the line that people read for it in the Temporal UI.
 *
 * @param summary - at most 200 bytes; longer is cut, for the server refuses it.
 */
export function call<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  options: ActivityOptions = {},
): Promise<R> {
  return activity.executeWithOptions({ ...options, summary: brief(summary) }, [input]);
}

/**
 * As {@link call}, with facts that the worker spools while it works: they cost no activity of their own, and nothing waits for them. Should
 * nobody ever take the call, as one that is cancelled before, they are not told.
 */
export function callTelling<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  told: contracts.Told,
  options: ActivityOptions = {},
): Promise<R> {
  // Every activity takes them behind its input (activities/told.ts), which its own type does not say.
  return activity.executeWithOptions({ ...options, summary: brief(summary) }, [input, told] as unknown as [I]);
}

/**
 * As {@link call}, whatever becomes of the workflow's own scope: handlers of messages run in that one, and once somebody has cancelled the
 * workflow nothing could be recorded or said from them any more.
 */
export function callAnyway<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  options: ActivityOptions = {},
): Promise<R> {
  return CancellationScope.nonCancellable(() => call(activity, summary, input, options));
}

/**
 * A word to a forge. An abort keeps none from being said, nor lets a later one overtake one that is under way: what is pending there would stay
 * so for ever.
 */
export async function say<I>(activity: Callable<I, void>, input: I): Promise<void> {
  const to = patched('2026-11-26-told-to-the-end') ? callAnyway : call;
  await to(activity, 'tells the forge', input).catch(() => undefined);
}

/** Cuts a line to what the server takes as a summary (200 bytes), on a character's border. */
export function brief(line: string): string {
  return line.length <= 60
    ? line
    : new TextDecoder().decode(new TextEncoder().encode(line).slice(0, 197)).replace(/\uFFFD$/, '');
}
