import { setTimeout as delay } from 'node:timers/promises';
import type { FailureType } from '../domain/failure-kinds.ts';
import { type LastWords, headline } from '../domain/last-words.ts';
import type { DaemonExit } from '../effects/daemon.ts';
import { reasonOf } from './reason.ts';

/**
 * How what has ended is started again.
 *
 * - `crashed`: soon at first, then less and less often.
 * - `killed`: from outside, by a person, a test or the machine when memory runs out. It says nothing of the next start, so that is never far away.
 * - `waiting`: for something beside it that is not there; tried often, since it is cheap and its return should be noticed.
 * - `refused`: the same start would end the same way; not before something has changed.
 */
export type EndClass = 'crashed' | 'killed' | 'waiting' | 'refused';

const refusals: readonly FailureType[] = ['BuildRefused', 'ConfigurationInvalid'];
const absences: readonly FailureType[] = ['StoreUnavailable', 'TemporalUnavailable'];

/** Signals that a process does not send itself by a fault of its own. */
const fromOutside: readonly (string | null)[] = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'];

export function classOf(words: LastWords | undefined, signal: string | null = null): EndClass {
  if (words === undefined) return fromOutside.includes(signal) ? 'killed' : 'crashed';
  if (refusals.includes(words.type)) return 'refused';
  return absences.includes(words.type) ? 'waiting' : 'crashed';
}

/**
 * Between an end and the next start, ms: at once at first, for most ends are accidents; a minute at most, so that a machine is not kept busy by what
 * cannot start and somebody who has repaired it does not wait for long. Judgement.
 */
const pausesMs = [0, 250, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000] as const;
/** Longest pause of what waits for something else, ms. Judgement. */
const longestWaitMs = 5_000;
/** Longest pause of what was killed, ms: runs and watches wait for it. Judgement. */
const longestKilledMs = 1_000;

/** @param failures - how often in a row it has ended soon after its start; 0 where it had begun well. */
export function pauseMs(kind: Exclude<EndClass, 'refused'>, failures: number): number {
  const pause = pausesMs[Math.min(Math.max(failures, 1), pausesMs.length) - 1] ?? 0;
  if (kind === 'killed') return Math.min(pause, longestKilledMs);
  return kind === 'waiting' ? Math.min(pause, longestWaitMs) : pause;
}

/** Something that was tried again and again in vain: when to try next, and whether there is anything new to say. */
export interface Retries {
  /** @returns ms until the next try. */
  failed(reason: string): {
    readonly reason: string;
    readonly pauseMs: number;
    readonly news: boolean;
    readonly times: number;
  };
  worked(): void;
}

/** Pauses as after a crash; a reason that was said is said again only when the pauses have become longer, or it is another one. */
export function createRetries(leastPauseMs: number): Retries {
  let times = 0;
  let said = { reason: '', pauseMs: -1 };
  return {
    failed(reason) {
      times += 1;
      const next = Math.max(leastPauseMs, pauseMs('crashed', times));
      const news = said.reason !== reason || next > said.pauseMs;
      if (news) said = { reason, pauseMs: next };
      return { reason, pauseMs: next, news, times };
    },
    worked() {
      times = 0;
      said = { reason: '', pauseMs: -1 };
    },
  };
}

/** One start of a process that is kept running. */
export interface Started {
  readonly pid: number;
  readonly exited: Promise<DaemonExit>;
  /** Asked once it has ended. */
  readonly lastWords: () => LastWords | undefined;
}

/** Told of every end, before what comes after it. */
export interface End {
  readonly pid: number | undefined;
  readonly kind: EndClass;
  /** How it ended and why, one line. */
  readonly detail: string;
  readonly words: LastWords | undefined;
  /** How often in a row it has ended soon after its start. */
  readonly failures: number;
  /** Until the next start, ms; undefined where it waits for a change. */
  readonly pauseMs: number | undefined;
}

export interface KeeperOptions {
  readonly first: Started;
  readonly start: () => Promise<Started>;
  /** Aborted when it shall end for good. Whoever aborts ends the process. */
  readonly stop: AbortSignal;
  /** Notes what a refusal rests on. @returns whether that has changed since; asked again and again, and a failure to find out is no change. */
  readonly notice: (words: LastWords) => Promise<() => Promise<boolean>>;
  readonly onEnd: (end: End) => void;
  /** Default: the clock of the machine. A test gives its own. */
  readonly clock?: { now(): number; wait(ms: number, stop: AbortSignal): Promise<void> };
}

/** A process that lived this long began well, ms; the next pause is the first one again. */
const soundMs = 30_000;
/** Between two looks for a change, ms. Judgement: a person who has changed something waits this long. */
const lookEveryMs = 5_000;

const machineClock: NonNullable<KeeperOptions['clock']> = {
  now: () => performance.now(),
  wait: async (ms, stop) => await delay(ms, undefined, { signal: stop }).catch(() => undefined),
};

/** Starts a process again whenever it has ended, each time as its end deserves; settles when it was told to stop. Never throws. */
export async function keepRunning(options: KeeperOptions): Promise<void> {
  const { stop, notice, onEnd, clock = machineClock } = options;
  const isStopped = (): boolean => stop.aborted;
  async function changeOf(words: LastWords): Promise<void> {
    let hasChanged: (() => Promise<boolean>) | undefined;
    while (!isStopped()) {
      hasChanged ??= await notice(words).catch(() => undefined);
      if ((await hasChanged?.().catch(() => false)) === true) return;
      await clock.wait(lookEveryMs, stop);
    }
  }

  /** Starts it, and waits for its end. */
  async function live(begin: () => Promise<Started>): Promise<Pick<End, 'pid' | 'kind' | 'words' | 'detail'>> {
    try {
      return await endOf(await begin());
    } catch (error) {
      const detail = `could not be started: ${reasonOf(error)}`;
      return { pid: undefined, kind: 'crashed', words: undefined, detail };
    }
  }

  let begin = (): Promise<Started> => Promise.resolve(options.first);
  for (let failures = 0; ;) {
    const startedMs = clock.now();
    const end = await live(begin);
    if (isStopped()) return;
    failures = clock.now() - startedMs > soundMs ? 0 : failures + 1;
    if (end.kind === 'refused' && end.words !== undefined) {
      onEnd({ ...end, failures, pauseMs: undefined });
      await changeOf(end.words);
    } else {
      const pause = pauseMs(end.kind === 'refused' ? 'crashed' : end.kind, failures);
      onEnd({ ...end, failures, pauseMs: pause });
      await clock.wait(pause, stop);
    }
    if (isStopped()) return;
    begin = () => options.start();
  }
}

async function endOf(started: Started): Promise<Pick<End, 'pid' | 'kind' | 'words' | 'detail'>> {
  const { exitCode, signal } = await started.exited;
  const words = started.lastWords();
  const how = signal ?? `exit code ${String(exitCode ?? '?')}`;
  const detail = words === undefined ? how : `${how}, ${headline(words)}`;
  return { pid: started.pid, kind: classOf(words, signal), words, detail };
}
