import pLimit from 'p-limit';
import type { StageSpec, StepSpec } from '../definition/specs/stage.ts';
import { failures } from '../domain/failure-kinds.ts';
import type { StepReport } from '../domain/run.ts';
import { type StepEnd, killedCode } from '../providers/executors/port.ts';
import type { LogWriter } from './logs.ts';
import { openOutputs } from './outputs.ts';
import { type Attempt, type StagePlace, type StepFact, lastLines, verdictOf } from './stage-attempt.ts';

/** Longest wait between two tries. */
const longestBackoffMs = 300_000;

/** Reports by the place of their step in the stage. */
export type StepReports = Map<number, StepReport>;

/**
 * Runs what is left of a stage's steps: those for `success` one after the other or at once, then those that run whatever happened.
 *
 * @param done - reports of steps that need not run again.
 * @returns the reports of all steps that ran or were skipped, in the order of the definition.
 */
export async function runSteps(attempt: Attempt, place: StagePlace, done: StepReports): Promise<readonly StepReport[]> {
  const { spec } = attempt;
  const reports: StepReports = new Map(done);
  const closing: Promise<void>[] = [];
  const steps = [...spec.steps.entries()].filter(([index]) => !done.has(index));
  const isBroken = (): boolean => [...reports].some(([index, report]) => breaks(spec.steps[index], report));
  const run = async (index: number, step: StepSpec, lane: number, signal: AbortSignal): Promise<void> => {
    reports.set(index, await runStep(attempt, place, { index, step, lane, signal }, closing));
  };
  try {
    if (spec.parallel > 1) {
      await runBeside(attempt, steps.filter(isMain), reports, run);
      for (const [index, step] of steps.filter((each) => !isMain(each))) {
        if (isWanted(step, isBroken())) await run(index, step, 0, attempt.signal);
      }
    } else {
      for (const [index, step] of steps) {
        if (isWanted(step, isBroken())) await run(index, step, 0, attempt.signal);
      }
    }
    return [...reports].sort(([one], [other]) => one - other).map(([, report]) => report);
  } finally {
    await Promise.all(closing);
  }
}

type Indexed = readonly [index: number, step: StepSpec];

function isMain([, { outcome }]: Indexed): boolean {
  return outcome === 'success';
}

function isWanted({ outcome }: StepSpec, broken: boolean): boolean {
  return outcome === 'always' || broken === (outcome === 'failure');
}

/** Whether a report keeps the steps for `success` behind it from running. */
function breaks(step: StepSpec | undefined, { verdict, skipped }: StepReport): boolean {
  return verdict !== 'passed' && skipped !== true && step?.onFailure === 'fail';
}

/** As many at once as the stage has lanes; with `failFast` the first that fails ends those beside it. */
async function runBeside(
  { spec, signal }: Attempt,
  steps: readonly Indexed[],
  reports: StepReports,
  run: (index: number, step: StepSpec, lane: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const beside = new AbortController();
  const lanes = Array.from({ length: spec.parallel }, (_, lane) => lane);
  const limit = pLimit(spec.parallel);
  // A step that failed before the worker died, and is not run again, keeps the others from starting too.
  const before = [...reports].find(([index, report]) => breaks(spec.steps[index], report))?.[1];
  if (before !== undefined && spec.failFast) beside.abort(new Beside(before.name));
  const ended = await Promise.allSettled(
    steps.map(([index, step]) =>
      limit(async () => {
        if (beside.signal.aborted) return;
        const lane = lanes.pop() ?? 0;
        try {
          await run(index, step, lane, AbortSignal.any([signal, beside.signal]));
        } catch (error) {
          // What could not be judged for a reason that may pass ends the attempt, and with it the others.
          beside.abort(error);
          throw error;
        } finally {
          lanes.push(lane);
        }
        const report = reports.get(index);
        if (report !== undefined && breaks(step, report) && spec.failFast) beside.abort(new Beside(step.name));
      }),
    ),
  );
  signal.throwIfAborted();
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Why a step was ended: another one beside it failed. */
class Beside extends Error {
  readonly step: string;
  constructor(step: string) {
    super(`${step} failed`);
    this.step = step;
  }
}

interface Turn {
  readonly index: number;
  readonly step: StepSpec;
  readonly lane: number;
  readonly signal: AbortSignal;
}

async function runStep(attempt: Attempt, place: StagePlace, turn: Turn, closing: Promise<void>[]): Promise<StepReport> {
  const { spec, run, deps, journal, progress } = attempt;
  const { index, step } = turn;
  const fact: StepFact = { run, stage: spec.name, step: step.name, position: index };
  const startedAt = new Date();
  if (step.skip !== undefined) {
    const report = skippedStep(step, step.skip, startedAt);
    deps.facts.stepSettled({ ...fact, report });
    return report;
  }
  if (step.once) await deps.once.begin({ ...fact, at: startedAt.toISOString() });
  const log = deps.logs.open({ run, stage: spec.name, step: step.name, attempt: attempt.scope.attempt });
  progress({ step: step.name, index });
  journal.started(index, attempt.scope.attempt);
  deps.facts.stepStarted({ ...fact, at: startedAt.toISOString() });
  let report: StepReport;
  try {
    report = await judgeStep(attempt, place, turn, log, startedAt);
  } catch (error) {
    // For people's eyes only, where it would seem to run for ever; the next attempt, if there is one, says it anew.
    const durationMs = Date.now() - startedAt.getTime();
    const base = { name: step.name, startedAt: startedAt.toISOString(), durationMs };
    const detail = 'It was ended before it could be judged.';
    deps.facts.stepSettled({ ...fact, report: { ...base, verdict: 'inconclusive', detail } });
    throw error;
  } finally {
    // Nobody waits for the last segment of a log to be stored before the next step starts.
    closing.push(log.close());
  }
  journal.ended(index, report);
  deps.facts.stepSettled({ ...fact, report });
  return report;
}

function skippedStep({ name }: StepSpec, why: string, at: Date): StepReport {
  return { name, verdict: 'inconclusive', startedAt: at.toISOString(), durationMs: 0, detail: why, skipped: true };
}

/** Runs a step and says what is to be thought of it. What kept it from being judged, and may not do so again, is thrown. */
async function judgeStep(
  attempt: Attempt,
  place: StagePlace,
  turn: Turn,
  log: LogWriter,
  startedAt: Date,
): Promise<StepReport> {
  const { step, index, signal } = turn;
  const base = { name: step.name, startedAt: startedAt.toISOString() };
  const took = (): number => Date.now() - startedAt.getTime();
  try {
    const first = attempt.tries.get(index) ?? 1;
    for (let number = first; ; number += 1) {
      const tried = await tryStep(attempt, place, turn, log);
      const waitMs = Math.min(longestBackoffMs, (step.retry?.backoffMs ?? 0) * 2 ** (number - 1));
      if (tried.why === undefined || !isTriedAgain(attempt, step, tried, number, waitMs)) {
        if (tried.why !== undefined) log.say(tried.why);
        return {
          ...base,
          verdict: tried.why === undefined ? 'passed' : 'failed',
          exitCode: tried.end.exitCode,
          durationMs: number === 1 ? Math.round(tried.end.durationMs) : took(),
          ...(tried.why === undefined ? {} : { detail: withLastLines(tried.why, tried.end.tail) }),
          ...(number === 1 ? {} : { tries: number }),
        };
      }
      log.say(`${tried.why} Try ${number + 1} of ${step.retry?.attempts ?? 1} in ${(waitMs / 1000).toFixed(1)} s.`);
      attempt.journal.tried(index, number + 1);
      await wait(waitMs, signal);
    }
  } catch (error) {
    if (signal.reason instanceof Beside && !attempt.signal.aborted) {
      const detail = `Ended because ${signal.reason.step} failed.`;
      log.say(detail);
      return { ...base, verdict: 'inconclusive', durationMs: took(), detail };
    }
    const detail = verdictOf(error, signal);
    if (detail === undefined) throw error;
    log.say(detail);
    return { ...base, verdict: 'errored', durationMs: took(), detail };
  }
}

interface Tried {
  readonly end: StepEnd;
  /** What is wrong with it; undefined: nothing. */
  readonly why: string | undefined;
}

async function tryStep(attempt: Attempt, place: StagePlace, turn: Turn, log: LogWriter): Promise<Tried> {
  const { scope, redactor, journal } = attempt;
  const { step, index, lane, signal } = turn;
  // What cleans up has its own time, its image in it: that of the stage may be what is over.
  const isMain = step.outcome === 'success';
  const untilMs = isMain ? attempt.due.ms : Date.now() + step.timeoutMs;
  const outputs = step.outputs.length === 0 ? undefined : await openOutputs(scope.home, step, redactor);
  const env = outputs === undefined ? {} : { SLIPWAY_OUTPUT: outputs.path };
  const end = await place.run(step, { log, timeoutMs: step.timeoutMs, untilMs, signal, lane, env });
  const why = complaint(step, end, isMain && Date.now() >= untilMs);
  if (why !== undefined || outputs === undefined) return { end, why };
  try {
    const values = await outputs.read();
    journal.handedOn(index, values);
    for (const [name, value] of Object.entries(values)) attempt.outputs.set(name, value);
    return { end, why };
  } catch (error) {
    const said = verdictOf(error, signal);
    if (said === undefined) throw error;
    return { end, why: said };
  }
}

function isTriedAgain(
  { due, signal }: Attempt,
  { retry, outcome }: StepSpec,
  { end }: Tried,
  number: number,
  waitMs: number,
): boolean {
  if (retry === undefined || number >= retry.attempts || signal.aborted) return false;
  if (outcome === 'success' && Date.now() + waitMs >= due.ms) return false;
  const byTime = end.timedOut || end.stalled;
  return retry.on === undefined || (!byTime && retry.on.includes(end.exitCode));
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}

/** What is wrong with how a step ended, in one sentence with what to do; undefined: nothing. */
function complaint(step: StepSpec, end: StepEnd, byStage: boolean): string | undefined {
  const after = `after ${(end.durationMs / 1000).toFixed(1)} s`;
  if (end.stalled) {
    const silent = Math.round(step.stallAfterMs / 1000);
    return `${step.name} said nothing for ${silent} s and was ended ${after}. ${failures.StepStalled.sentence}`;
  }
  if (end.timedOut) {
    const whose = byStage ? 'the time of its stage' : 'its time';
    return `${step.name} was ended ${after}: ${whose} was over. ${failures.StepTimedOut.sentence}`;
  }
  if (end.exitCode === 0) return undefined;
  return `${step.name} ended with status ${end.exitCode} ${after}. ${failures.StepFailed.sentence}${whyKilled(step, end)}`;
}

/** The kernel kills what takes more memory than its container may have, without a word in any log of the step. */
function whyKilled(step: StepSpec, { exitCode }: StepEnd): string {
  if (exitCode !== killedCode || step.executor !== 'container') return '';
  const { memoryBytes } = step.resources;
  if (memoryBytes === undefined) return '';
  const limit = `${Math.round(memoryBytes / 2 ** 20)} MiB`;
  return ` Status ${killedCode} is that of a killed program; if nobody killed it, it wanted more than the ${limit} of memory that it may have (\`resources.memory\` of the step, \`steps.resources.memory\` of the project).`;
}

function withLastLines(why: string, tail: string): string {
  const lines = lastLines(tail);
  return lines === '' ? why : `${why}\n${lines}`;
}

/** Whether the stages after this one can count on what these steps did, so that it has to be done again when their files are lost. */
export function isRepeated(stage: StageSpec, step: StepSpec): boolean {
  return step.outcome === 'success' && step.skip === undefined && stage.skip === undefined;
}
