import type { WatchPolicy } from '../domain/policy.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { WindowFigures } from '../providers/metrics/port.ts';
import { type RequestWindow, p95Of } from '../providers/metrics/window.ts';

/** What a watch remembers between two looks; it travels with the heartbeats, so that a new attempt goes on from it. */
export interface WatchState {
  readonly startedAtMs: number;
  readonly probes: 'unknown' | 'passed' | 'failed';
  readonly badProbe?: string;
  readonly logMatches: number;
  readonly lastMatch?: string;
  readonly cpuRatio: number | null;
  readonly memoryRatio: number | null;
  /** Since when P95 is above its rollback band; null while it is not. */
  readonly slowSinceMs: number | null;
  /** Each kind once, from when it began: `<kind> <figure>, above <limit>`. */
  readonly warnings: readonly string[];
  /** Those of the warnings that people have been told, by a notice that has ended. Absent in the heartbeats of an older worker. */
  readonly told?: readonly string[];
  /** Probes in a row that the database did not answer; undefined where none was made. */
  readonly databaseFailures?: number;
  /** What the last of them said. */
  readonly databaseProblem?: string;
}

export function startWatch(startedAt: string): WatchState {
  return {
    startedAtMs: Date.parse(startedAt),
    probes: 'unknown',
    logMatches: 0,
    cpuRatio: null,
    memoryRatio: null,
    slowSinceMs: null,
    warnings: [],
  };
}

export interface Judgement {
  /** `failed`: the rollback band is crossed. `passed`: not so far. */
  readonly verdict: Extract<Verdict, 'passed' | 'failed'>;
  /** The figure that decided, in one sentence. */
  readonly reason: string;
  readonly state: WatchState;
  readonly figures: Readonly<Record<string, number | null>>;
  /** What the probe said, when it was one that decided. */
  readonly badProbe?: string;
}

/** Fewest ms of a sliding window that must have passed before P95 of it is judged; one slow first request is none. Judgement. */
const warmUpMs = 1_000;

/**
 * Holds the figures against the two bands (warn tells people, rollback takes back). Pure.
 *
 * The error ratio is that of a sliding window which is as long as the watch while that is younger than the window: waiting five minutes
 * for a full one would serve errors to users for five minutes.
 *
 * @param window - undefined while it is not known what users got: then only logs and probes count, and what was known of them stays.
 */
export function judge(
  before: WatchState,
  policy: WatchPolicy,
  window: RequestWindow | undefined,
  nowMs: number,
): Judgement {
  const { logMatches } = policy.rollback;
  const seen = window === undefined ? noFigures(before) : judgeRequests(before, policy, window, nowMs);
  const { state, figures } = seen;
  const failed = (reason: string): Judgement => ({ verdict: 'failed', reason, state, figures });
  if (seen.bad !== undefined) return failed(seen.bad);
  if (state.logMatches >= logMatches && logMatches > 0) {
    return failed(`the log has a critical line: ${state.lastMatch ?? ''}`);
  }
  const { databaseFailures = 0, databaseProblem = '' } = state;
  if (databaseFailures >= policy.rollback.databaseFailures) {
    return failed(`the database did not answer ${databaseFailures} times in a row: ${databaseProblem}`);
  }
  if (state.probes === 'failed') {
    const { badProbe = 'a probe' } = state;
    return { ...failed(`a probe failed with all its retries: ${badProbe}`), badProbe };
  }
  return { verdict: 'passed', reason: 'within every band', state, figures };
}

interface Seen extends Pick<Judgement, 'state' | 'figures'> {
  /** Which band was crossed. */
  readonly bad?: string;
}

function noFigures(state: WatchState): Seen {
  const { cpuRatio, memoryRatio } = state;
  return { state, figures: { requests: null, errorRatio: null, p95Ms: null, cpuRatio, memoryRatio } };
}

function judgeRequests(before: WatchState, policy: WatchPolicy, window: RequestWindow, nowMs: number): Seen {
  const { rollback } = policy;
  const ageMs = nowMs - before.startedAtMs;
  const inWindow = window.figures(Math.min(rollback.errorWindowMs, Math.max(ageMs, 1_000)), nowMs);
  const recent = window.figures(recentMs, nowMs);
  const errors = lookAtErrors(policy, window, inWindow);
  const times = lookAtTimes(before, policy, window, recent, nowMs);
  const warnings = warningsOf(before, policy, errors?.ratio ?? null, times.p95Ms);
  const state: WatchState = { ...before, slowSinceMs: times.slowSinceMs, warnings };
  const figures = {
    requests: inWindow.requests,
    errorRatio: inWindow.requests === 0 ? null : inWindow.errorRatio,
    p95Ms: recent.requests === 0 ? null : recent.p95Ms,
    cpuRatio: before.cpuRatio,
    memoryRatio: before.memoryRatio,
  };
  if (errors !== undefined && errors.ratio > rollback.errorRatio) {
    const what = `${percent(errors.ratio)} of ${errors.which} failed, above ${percent(rollback.errorRatio)}`;
    return { state, figures, bad: `${what} (${errors.errors} errors)` };
  }
  if (times.slowForMs >= rollback.p95SustainedMs) {
    const { p95Ms, p95SustainedMs } = rollback;
    return {
      state,
      figures,
      bad: `P95 is ${Math.round(times.p95Ms ?? 0)} ms, above ${p95Ms} ms for ${p95SustainedMs} ms`,
    };
  }
  return { state, figures };
}

/** How far back P95 looks where there is enough traffic, ms. Judgement. */
const recentMs = 10_000;

/**
 * The errors of the window, or of the last `minSamples` requests where the window has fewer: a release that few people ask and that fails
 * them all is as bad as one that many ask. Nothing while there were fewer requests at all.
 */
function lookAtErrors(
  { minSamples }: WatchPolicy,
  window: RequestWindow,
  { requests, errors, errorRatio }: WindowFigures,
): { readonly ratio: number; readonly errors: number; readonly which: string } | undefined {
  if (requests >= minSamples) return { ratio: errorRatio, errors, which: `${requests} requests` };
  const last = window.newest(minSamples, 0).slice(-minSamples);
  if (last.length < minSamples) return undefined;
  const failed = last.filter(({ error }) => error).length;
  return { ratio: failed / last.length, errors: failed, which: `the last ${last.length} requests` };
}

interface Times {
  /** Null where it was not judged. */
  readonly p95Ms: number | null;
  readonly slowSinceMs: number | null;
  /** For how long P95 is known to have been above its band, ms. */
  readonly slowForMs: number;
}

/**
 * P95 of the last ten seconds, or of the newest requests where those are too few. Then what counts is how far its slow requests lie apart,
 * not the time that passed in silence: two slow ones at the start are not slow for a minute because nobody came after them.
 */
function lookAtTimes(
  before: WatchState,
  { rollback, minSamples }: WatchPolicy,
  window: RequestWindow,
  recent: WindowFigures,
  nowMs: number,
): Times {
  if (recent.requests >= minSamples) {
    if (nowMs - before.startedAtMs <= warmUpMs) return { p95Ms: null, slowSinceMs: null, slowForMs: 0 };
    const slowSinceMs = recent.p95Ms > rollback.p95Ms ? (before.slowSinceMs ?? nowMs) : null;
    return { p95Ms: recent.p95Ms, slowSinceMs, slowForMs: slowSinceMs === null ? 0 : nowMs - slowSinceMs };
  }
  const last = window.newest(minSamples, rollback.p95SustainedMs);
  if (last.length < minSamples) return { p95Ms: null, slowSinceMs: null, slowForMs: 0 };
  const p95Ms = p95Of(last);
  const slow = p95Ms > rollback.p95Ms ? last.filter(({ totalMs }) => totalMs > rollback.p95Ms) : [];
  const [first, newest] = [slow[0]?.atMs, slow.at(-1)?.atMs];
  if (first === undefined || newest === undefined) return { p95Ms, slowSinceMs: null, slowForMs: 0 };
  const slowSinceMs = Math.min(before.slowSinceMs ?? first, first);
  return { p95Ms, slowSinceMs, slowForMs: newest - slowSinceMs };
}

/**
 * Judges the whole of a watch that ended with fewer requests than `minSamples`: whether so many failed that it would be above the band even
 * if all that are missing had been well. Pure.
 */
export function failedOfFew(
  policy: WatchPolicy,
  seen: { readonly requests: number; readonly errors: number },
): boolean {
  return seen.requests < policy.minSamples && seen.errors / policy.minSamples > policy.rollback.errorRatio;
}

/** The word a warning begins with, in small letters: `cpu`, `memory`, `errors` or `p95`. */
export function kindOfWarning(warning: string): string {
  return warning.split(' ', 1)[0]?.toLowerCase() ?? '';
}

function warningsOf(
  state: WatchState,
  { warn }: WatchPolicy,
  errorRatio: number | null,
  p95Ms: number | null,
): readonly string[] {
  const crossed: readonly (readonly [string, number | null, number, (value: number) => string])[] = [
    ['CPU', state.cpuRatio, warn.cpuRatio, percent],
    ['memory', state.memoryRatio, warn.memoryRatio, percent],
    ['errors', errorRatio, warn.errorRatio, percent],
    ['P95', p95Ms, warn.p95Ms, (value) => `${Math.round(value)} ms`],
  ];
  const found = crossed.flatMap(([name, value, limit, show]) =>
    value !== null && value > limit && !state.warnings.some((line) => line.startsWith(`${name} `))
      ? [`${name} ${show(value)}, above ${show(limit)}`]
      : [],
  );
  return found.length === 0 ? state.warnings : [...state.warnings, ...found];
}

/** `5.0 %`, `85 %`. */
export function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`;
}
