import { createHash } from 'node:crypto';
import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleOptions,
  type ScheduleUpdateOptions,
} from '@temporalio/client';
import type { Logger } from 'pino';
import { workflowTaskQueue } from '../workflows/queues.ts';

/** One thing that is done again and again. The next one is one more entry of {@link schedules}, and a workflow. */
export interface UpkeepSchedule {
  /** Begins with {@link prefix}; what is done has it in its workflow id. Once there, it is never renamed: that is another schedule. */
  readonly id: string;
  /** The workflow, by its name; it is started without an argument. */
  readonly workflow: string;
  /** UTC. */
  readonly spec: ScheduleOptions['spec'];
  /** How late one is still begun that Temporal was not there for. Without a word it would be a year of them. */
  readonly catchupWindow: string;
  /** One that takes longer is ended: while it runs the next ones are left out. */
  readonly longest: string;
  /** What a stranger reads in the Temporal UI. */
  readonly note: string;
}

const prefix = 'upkeep/';

/** Everything that is done by schedule. */
export const schedules: readonly UpkeepSchedule[] = [
  {
    id: 'upkeep/reconcile',
    workflow: 'reconcileRecords',
    // Judgement: a look costs two queries and a list; people wait for the end of what was terminated no longer than for a build.
    spec: { intervals: [{ every: '1 minute' }] },
    catchupWindow: '1 minute',
    longest: '30 minutes',
    note: 'Ends runs and deployments in the store whose workflows were ended from outside (docs/operations.md, Upkeep).',
  },
  {
    id: 'upkeep/poll',
    workflow: 'pollRepositories',
    // S0-227. A round in which no project wants it is one query.
    spec: { intervals: [{ every: '5 minutes' }] },
    catchupWindow: '1 minute',
    longest: '30 minutes',
    note: 'Looks for commits that no webhook told of, in projects that ask for it (`repository.poll`).',
  },
  {
    id: 'upkeep/disk',
    workflow: 'watchDisks',
    // The kubelet looks every 5 minutes, too. A build writes a few gigabytes meanwhile, of the 15 % that are left.
    spec: { intervals: [{ every: '5 minutes' }] },
    catchupWindow: '1 minute',
    longest: '1 hour',
    note: 'Looks how full the disks of every machine are, and removes images that nothing needs from those that are too full.',
  },
  {
    id: 'upkeep/retention',
    workflow: 'applyRetention',
    // Judgement: when most people sleep; minutes past the hour, when fewer other machines begin something.
    spec: { calendars: [{ hour: 3, minute: 20, comment: 'daily' }] },
    // A machine that was off in the night does it when it is back, once.
    catchupWindow: '1 day',
    longest: '20 hours',
    note: 'Removes logs, images, backups and databases that are no longer kept (docs/operations.md, Upkeep).',
  },
];

/**
 * Makes Temporal's schedules those of the list: missing ones are created, changed ones updated, ones of ours that are not in it deleted. One
 * that somebody has paused stays paused. Any number of workers may do so at once, and again at every start.
 */
export async function ensureSchedules(client: Client, wanted: readonly UpkeepSchedule[] = schedules): Promise<void> {
  for (const schedule of wanted) await ensureSchedule(client, schedule);
  const known = new Set(wanted.map(({ id }) => id));
  for await (const { scheduleId } of client.schedule.list()) {
    if (!scheduleId.startsWith(prefix) || known.has(scheduleId)) continue;
    await client.schedule
      .getHandle(scheduleId)
      .delete()
      .catch((error: unknown) => {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
      });
  }
}

async function ensureSchedule(client: Client, schedule: UpkeepSchedule): Promise<void> {
  const options = optionsOf(schedule);
  const handle = client.schedule.getHandle(schedule.id);
  const there = await handle.describe().catch((error: unknown) => {
    if (error instanceof ScheduleNotFoundError) return undefined;
    throw error;
  });
  if (there === undefined) {
    try {
      await client.schedule.create({ ...options, scheduleId: schedule.id, state: { note: schedule.note } });
      return;
    } catch (error) {
      // Another worker was first; what it made is looked at like any other.
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    }
  } else if (revisionOf(there) === revision(schedule)) {
    return;
  }
  await handle.update((previous): ScheduleUpdateOptions => {
    const { paused, note, remainingActions } = previous.state;
    return {
      ...options,
      state: {
        paused,
        note: paused && note !== undefined ? note : schedule.note,
        ...(remainingActions === undefined ? {} : { remainingActions }),
      },
    };
  });
}

function optionsOf(
  schedule: UpkeepSchedule,
): Omit<ScheduleOptions, 'scheduleId'> & Omit<ScheduleUpdateOptions, 'state'> {
  const { id, workflow, spec, catchupWindow, longest, note } = schedule;
  return {
    spec,
    action: {
      type: 'startWorkflow',
      workflowType: workflow,
      workflowId: id,
      taskQueue: workflowTaskQueue,
      workflowExecutionTimeout: longest,
      staticSummary: note,
      // A schedule's own memo cannot be changed, that of what it starts can.
      memo: { revision: revision(schedule) },
    },
    policies: {
      overlap: ScheduleOverlapPolicy.SKIP,
      catchupWindow,
      // One bad night must not be the last one.
      pauseOnFailure: false,
    },
  };
}

/** Changes with everything that the schedule is. */
function revision(schedule: UpkeepSchedule): string {
  return createHash('sha256').update(JSON.stringify(schedule)).digest('hex').slice(0, 16);
}

function revisionOf({ action }: ScheduleDescription): unknown {
  return action.memo?.['revision'];
}

const againMs = 60_000;

/**
 * Ensures the schedules once, and again every minute until it has worked: a Temporal that does not take them now keeps no worker from its work.
 *
 * @returns how to stop trying.
 */
export function keepSchedules(client: Client, logger: Logger): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const attempt = async (): Promise<void> => {
    try {
      await client.withDeadline(Date.now() + againMs / 2, () => ensureSchedules(client));
    } catch (error) {
      if (isStopped()) return;
      logger.warn({ err: error }, 'the schedules of upkeep could not be made yet');
      timer = setTimeout(() => void attempt(), againMs);
    }
  };
  // A function, for the compiler does not know that it changes while Temporal is asked.
  const isStopped = (): boolean => stopped;
  void attempt();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
