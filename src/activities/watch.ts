import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { ProbeSpec } from '../definition/specs/probe.ts';
import { counted } from '../domain/counted.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { FailureType } from '../domain/failure-kinds.ts';
import { describeFailure } from '../domain/failures.ts';
import type { Slot } from '../domain/release.ts';
import { type Verdict, worst } from '../domain/verdict.ts';
import type { RequestLog } from '../providers/metrics/port.ts';
import { createRequestWindow } from '../providers/metrics/window.ts';
import { createProbe } from '../providers/probes/index.ts';
import type { ProbeTry } from '../providers/probes/port.ts';
import { type ProbeResult, runProbe } from '../providers/probes/run.ts';
import { releaseSlug } from '../providers/routers/haproxy-file.ts';
import { beating } from './changes.ts';
import type { NoticeActivities, WatchActivities, WatchReport } from './contracts.ts';
import { createCriticalLines } from './critical-lines.ts';
import type { Databases } from './databases.ts';
import type { DeploymentLog, DeploymentLogs } from './deployment-logs.ts';
import type { Hearsay } from './hearsay.ts';
import { watchNotice } from './notice-texts.ts';
import type { Place, Places } from './places.ts';
import { answerOf } from './watch-answers.ts';
import { type WatchState, failedOfFew, judge, kindOfWarning, percent, startWatch } from './watch-judge.ts';

export interface WatchDependencies {
  readonly places: Places;
  readonly databases: Pick<Databases, 'of'>;
  readonly openRequestLog: (place: Place) => Promise<RequestLog>;
  /** Tells people at once, from here: the workflow hears of the watch only at its end. Nobody waits for it. */
  readonly sendNotice: NoticeActivities['sendNotice'];
  /** Takes one sample for the record; never waits, never fails. */
  readonly recordSample: (
    deployment: DeploymentRef,
    at: string,
    figures: Readonly<Record<string, number | null>>,
  ) => void;
  readonly logs: DeploymentLogs;
}

/** How often the figures are judged. Less than the interval of samples: a bad release is taken back the sooner. Judgement. */
const judgeEveryMs = 250;
/** How often the probes are asked while watching, at most; the database as often as the figures are read where that is oftener. */
const probeEveryMs = 5_000;
/** A watch whose database has begun to fail does not end before it is known how that ends: three questions with their time-outs. */
const databaseGraceMs = 45_000;
/** Of a critical line or the body of an answer, where they are the reason of something; more is in the log. Judgement. */
const mostSaid = 200;
/** Lines of a release that match a pattern of the watch, into its log; one is enough to roll back. Judgement. */
const mostMatchesWritten = 100;
const databaseIsDown: readonly FailureType[] = ['DatabaseUnreachable', 'DatabaseRefused'];
/**
 * How long after its end a watch may take to know what happened: the router's log up to then, and one word of each probe that was asked for after
 * it. More than two rounds of a probe with all its tries take by default (26 s each). Judgement.
 */
const lastWordMs = 60_000;
/** The same where probes take longer by their own settings, at most: within the five minutes that a watch is given beyond its end. */
const longestWordMs = 240_000;

/** Watches what is live. */
export function createWatchActivities(deps: WatchDependencies): WatchActivities {
  return {
    runProbes: ({ project, environment, number, slot, version, through, settleMs = 0 }) =>
      beating(async (signal, progress) => {
        const place = await deps.places.open({ project, environment, version });
        const subject = { project, environment, number, stage: 'probe' } as const;
        return await deps.logs.during(
          { ...subject, what: through === 'slot' ? slot : 'router' },
          place,
          async (log) => {
            const onTry = (name: string, last: ProbeTry, counts: boolean): void => {
              const yet = counts || last.verdict === 'passed' ? '' : ', which does not count yet';
              log.say(`${name} ${last.verdict}${yet}: ${tellTry(last, log.heard)}`);
              progress();
            };
            const probes = await probeAll(place, slot, through, signal, { settleMs, onTry });
            const verdict = probes.length === 0 ? 'inconclusive' : worst(probes.map((each) => each.verdict));
            log.say(`${version} ${through === 'slot' ? `in ${slot}` : 'through the router'}: ${verdict}`);
            return {
              verdict,
              probes: probes.map((probe) => ({
                name: probe.name,
                verdict: probe.verdict,
                detail: tellTry(probe, log.heard),
                durationMs: probe.durationMs,
              })),
            };
          },
        );
      }),

    watchRelease: (input) =>
      beating(async (signal, progress) => {
        const place = await deps.places.open(input);
        // The last attempt's own word: warnings and a slow stretch go on, what is in the logs is read and counted again.
        const earlier = Context.current().info.heartbeatDetails as WatchState | undefined;
        const { project, environment, number, slot } = input;
        return await deps.logs.during({ project, environment, number, stage: 'watch', what: slot }, place, (log) => {
          const state = earlier === undefined ? startWatch(input.startedAt) : resumed(earlier, log.heard);
          return watch(deps, place, input, state, { signal, progress, log });
        });
      }, Infinity),
  };
}

/** What a try saw, in words that may leave the activity. */
function tellTry({ detail, said }: ProbeTry, heard: Hearsay): string {
  return said === undefined ? detail : `${detail}: ${heard.text(said, mostSaid)}`;
}

/** A state as a worker of before may have left it, which took no secrets out of what was said. */
function resumed({ lastMatch, badProbe, databaseProblem, ...state }: WatchState, heard: Hearsay): WatchState {
  return {
    ...state,
    logMatches: 0,
    ...(lastMatch === undefined ? {} : { lastMatch: heard.text(lastMatch) }),
    ...(badProbe === undefined ? {} : { badProbe: heard.text(badProbe) }),
    ...(databaseProblem === undefined ? {} : { databaseProblem: heard.text(databaseProblem) }),
  };
}

function addressOf({ spec }: Place, slot: Slot, through: 'slot' | 'router'): string {
  if (through === 'slot') return `127.0.0.1:${spec.router.slots[slot]}`;
  const { address, port } = spec.router.listen;
  return `${address === '0.0.0.0' ? '127.0.0.1' : address}:${port}`;
}

async function probeAll(
  place: Place,
  slot: Slot,
  through: 'slot' | 'router',
  signal: AbortSignal,
  {
    settleMs = 0,
    onTry,
  }: { readonly settleMs?: number; readonly onTry?: (name: string, last: ProbeTry, counts: boolean) => void } = {},
): Promise<readonly ProbeResult[]> {
  const { spec, release, target } = place;
  const subject = {
    project: spec.project,
    environment: spec.name,
    slot,
    version: release.version,
    address: addressOf(place, slot, through),
    through,
  };
  const due = spec.probes.filter((probe) => probe.through === 'both' || probe.through === through);
  return await Promise.all(
    due.map((probe) =>
      runProbe(createProbe(probe, target), probe, subject, signal, {
        settleMs,
        onTry: (last, counts) => onTry?.(probe.name, last, counts),
      }),
    ),
  );
}

type WatchInput = Parameters<WatchActivities['watchRelease']>[0];

async function watch(
  deps: WatchDependencies,
  place: Place,
  input: WatchInput,
  begin: WatchState,
  {
    signal,
    progress,
    log: words,
  }: {
    readonly signal: AbortSignal;
    readonly progress: (detail?: unknown) => void;
    readonly log: DeploymentLog;
  },
): Promise<WatchReport> {
  const { policy, slot } = input;
  const { project, environment, number } = input;
  const window = createRequestWindow(Math.max(policy.rollback.errorWindowMs, policy.rollback.p95SustainedMs, 60_000));
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  let state = begin;
  /** What this attempt has found out so far; one that begins in the middle, after a worker died, knows nothing yet. */
  const known = { requests: false, lines: policy.logPatterns.length === 0, probes: false };
  const due = place.spec.probes.filter(({ through }) => through !== 'slot');
  const wordMs = Math.min(longestWordMs, Math.max(lastWordMs, ...due.map((probe) => 2 * roundMs(probe))));
  /** Why no probe could say, as of the last round. */
  let unclear = '';
  const fallenBack = { requests: 0, release: '' };
  let sampledAtMs = 0;
  const telling = new Set<string>();
  const untilMs = Date.parse(input.until);
  const written = new Set<string>();
  /** Once each: the figures are judged four times a second. */
  const writeOnce = (line: string): void => {
    if (written.has(line)) return;
    written.add(line);
    words.say(`${new Date().toISOString()} ${line}`);
  };
  words.say(`${place.release.version} in ${slot} is watched until ${input.until}`);

  const log = await deps.openRequestLog(place);
  const watched = { slug: releaseSlug(place.release.version), slot, sinceMs: Date.parse(input.startedAt) };
  const critical = createCriticalLines(policy.logPatterns);
  const followers = [
    (async () => {
      const present = (): void => void (known.requests = true);
      for await (const record of log.follow({ project, environment }, input.startedAt, ended, present)) {
        const answer = answerOf(record, watched);
        if (answer === 'watched') window.add(record);
        if (answer !== 'backup') continue;
        // Users got it from the release before, for this one did not answer: as bad as an error, whatever the status.
        window.add({ ...record, broken: true });
        fallenBack.requests += 1;
        fallenBack.release = record.release;
      }
    })(),
    (async () => {
      if (policy.logPatterns.length === 0) return;
      const ref = { project, environment, slot };
      const present = (): void => void (known.lines = true);
      for await (const line of place.target.tailLogs(ref, input.startedAt, ended, present)) {
        const pattern = await critical.find(line.text, ended);
        if (pattern === undefined) continue;
        state = {
          ...state,
          logMatches: state.logMatches + 1,
          lastMatch: `${words.heard.text(line.text, mostSaid)} (${pattern})`,
        };
        if (state.logMatches <= mostMatchesWritten) words.lines([`${line.at} matches ${pattern}: ${line.text}`]);
      }
    })(),
    everyAndLast(probeEveryMs, untilMs, ended, async (last) => {
      // What breaks off could not find out; it is asked again.
      const probes = await probeAll(place, slot, 'router', ended).catch((error: unknown) => {
        unclear = describeFailure(words.heard.error(error)).message;
        return undefined;
      });
      ended.throwIfAborted();
      known.probes = last;
      for (const each of probes ?? [])
        if (each.verdict !== 'passed') writeOnce(`${each.name} ${each.verdict}: ${tellTry(each, words.heard)}`);
      const bad = probes?.find(({ verdict }) => verdict === 'failed');
      const well = probes !== undefined && probes.length > 0 && probes.every(({ verdict }) => verdict === 'passed');
      const mute = probes?.find(({ verdict }) => verdict !== 'passed' && verdict !== 'failed');
      if (mute !== undefined) unclear = `${mute.name}: ${tellTry(mute, words.heard)}`;
      state =
        bad === undefined
          ? { ...state, probes: well ? 'passed' : 'unknown' }
          : { ...state, probes: 'failed', badProbe: `${bad.name}: ${tellTry(bad, words.heard)}` };
    }),
    every(Math.min(probeEveryMs, policy.intervalMs), ended, async () => {
      if (place.spec.database === undefined) return;
      const { verdict, detail } = await askDatabase(deps.databases, place, words.heard);
      // Asked while the watch ended: its answer is nobody's any more.
      ended.throwIfAborted();
      const { databaseFailures = 0 } = state;
      if (verdict === 'passed') state = { ...state, databaseFailures: 0 };
      else if (verdict === 'errored') state = { ...state, databaseProblem: detail };
      else state = { ...state, databaseFailures: databaseFailures + 1, databaseProblem: detail };
      if (verdict !== 'passed') writeOnce(`the database ${verdict}: ${detail}`);
    }),
    every(policy.intervalMs, ended, async () => {
      const stats = await place.target.readStats({ project, environment, slot }, ended).catch(() => undefined);
      ended.throwIfAborted();
      state = { ...state, cpuRatio: stats?.cpuRatio ?? null, memoryRatio: stats?.memoryRatio ?? null };
    }),
  ].map((following) => following.catch(() => undefined));

  try {
    for (;;) {
      signal.throwIfAborted();
      const nowMs = Date.now();
      // A part of the requests is not what users got: none is judged before the log was read up to now.
      const judged = judge(state, policy, known.requests ? window : undefined, nowMs);
      state = judged.state;
      progress(state);
      if (nowMs - sampledAtMs >= policy.intervalMs) {
        sampledAtMs = nowMs;
        deps.recordSample({ project, environment, number }, new Date(nowMs).toISOString(), judged.figures);
      }
      if (judged.verdict === 'failed') return report('failed', judged.reason, judged.badProbe);
      // After the verdict: what is taken back in this moment is told as that.
      tellWarnings();
      const knowsAll = known.requests && known.lines && known.probes;
      const openMs = (state.databaseFailures ?? 0) > 0 ? databaseGraceMs : 0;
      if (nowMs >= untilMs + Math.max(openMs, knowsAll ? 0 : wordMs)) return atTheEnd();
      await delay(nowMs < untilMs ? Math.min(judgeEveryMs, untilMs - nowMs) : judgeEveryMs, undefined, { signal });
    }
  } finally {
    stop.abort();
    await Promise.all(followers);
  }

  /** One notice for each kind; a new attempt tells what the last one began to tell and did not end, and its key keeps that to one. */
  function tellWarnings(): void {
    for (const warning of state.warnings) {
      writeOnce(`warns: ${warning}`);
      if (telling.has(warning) || (state.told ?? []).includes(warning)) continue;
      telling.add(warning);
      const notice = watchNotice(input, warning, kindOfWarning(warning));
      void deps.sendNotice(notice).then(
        () => (state = { ...state, told: [...(state.told ?? []), warning] }),
        () => undefined,
      );
    }
  }

  function atTheEnd(): WatchReport {
    const { requests, errors } = window.total;
    if (!known.requests)
      return report('errored', 'the log of the router could not be read, so what users got is not known');
    if (!known.lines) return report('errored', 'the log of the release could not be read');
    if (failedOfFew(policy, window.total)) {
      const limit = percent(policy.rollback.errorRatio);
      return report(
        'failed',
        `${errors} of the only ${requests} requests failed, above ${limit} of ${policy.minSamples}`,
      );
    }
    const { databaseFailures, databaseProblem } = state;
    if (databaseProblem !== undefined && databaseFailures !== 0) {
      return report('inconclusive', `whether the database answers could not be found out: ${databaseProblem}`);
    }
    if (requests >= policy.minSamples) {
      const within = `${requests} requests, within every band`;
      if (due.length > 0 && !known.probes) return report('inconclusive', `${within}, but no probe has answered since`);
      if (due.length > 0 && state.probes === 'unknown') {
        return report('inconclusive', `${within}, but no probe could say: ${unclear}`);
      }
      return report('passed', within);
    }
    const synthetic = state.probes === 'passed' && known.probes ? 'its probes passed' : 'no probe could say';
    const failed = errors === 0 ? '' : `, ${errors} of them failed`;
    return report('inconclusive', `only ${requests} requests of users were seen${failed}, ${synthetic}`);
  }

  function report(verdict: Verdict, why: string, badProbe?: string): WatchReport {
    const { requests, errors } = window.total;
    const { version } = place.release;
    const reason =
      fallenBack.requests === 0
        ? why
        : `${why}; ${counted(fallenBack.requests, 'request')} had to be answered by the backup ${fallenBack.release}, for the router did not reach ${version}`;
    const { p95Ms } = window.figures(policy.rollback.errorWindowMs, Date.now());
    words.say(`${verdict}: ${reason}`);
    words.say(`${requests} requests, ${errors} of them errors, P95 ${Math.round(p95Ms)} ms`);
    return {
      verdict,
      reason,
      decidedAt: new Date().toISOString(),
      requests,
      errorRatio: requests === 0 ? 0 : errors / requests,
      p95Ms,
      warnings: state.warnings,
      ...(badProbe === undefined ? {} : { badProbe }),
    };
  }
}

/** `failed`: it does not answer, or refuses. `errored`: it could not even be asked, as without the secret that says where it is. */
async function askDatabase(
  databases: Pick<Databases, 'of'>,
  place: Place,
  heard: Hearsay,
): Promise<{ readonly verdict: Verdict; readonly detail: string }> {
  try {
    await (await databases.of(place))?.ping();
    return { verdict: 'passed', detail: '' };
  } catch (error) {
    const { type, message } = describeFailure(heard.error(error));
    return { verdict: databaseIsDown.includes(type) ? 'failed' : 'errored', detail: message };
  }
}

/** Longest that a probe takes with all its tries, ms. */
function roundMs({ retries, intervalMs, timeoutMs }: ProbeSpec): number {
  return (retries + 1) * timeoutMs + retries * intervalMs;
}

/**
 * As {@link every}, and once more as soon as the time is over: what was asked for before says nothing of how it ended.
 *
 * @param work - is told whether it was begun after the end.
 */
async function everyAndLast(
  ms: number,
  untilMs: number,
  signal: AbortSignal,
  work: (last: boolean) => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    const last = Date.now() >= untilMs;
    await work(last);
    // A timer may fire a millisecond before the clock says so, and everything would be asked twice.
    await delay(last ? ms : Math.min(ms, Math.max(0, untilMs + 1 - Date.now())), undefined, { signal });
  }
}

async function every(ms: number, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await work();
    await delay(ms, undefined, { signal });
  }
}
