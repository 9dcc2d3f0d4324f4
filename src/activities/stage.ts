import { activityInfo } from '@temporalio/activity';
import { ProviderError, failures, toFailure } from '../domain/failures.ts';
import { blockedBy, lineOf } from '../domain/evidence.ts';
import type { RunPlan, RunRef, StageReport, StepReport } from '../domain/run.ts';
import type { SecretRef, StageSpec, StepSpec } from '../definition/specs.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import { createRedactor, type Redactor } from '../effects/redact.ts';
import type { StageScope, StageSession, StepEnd, StepExecutors } from '../providers/executors/port.ts';
import { markReports } from '../providers/reports/file.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { StageActivities } from './contracts.ts';
import { openJournal, readJournal, type StageJournal } from './journal.ts';
import { type ReportHands, collectEvidence } from './reports.ts';
import type { LogWriter, Logs } from './logs.ts';
import type { Pipelines, RunPipeline } from './pipelines.ts';
import { repositoryAddress, type ReadSecret } from './secrets.ts';
import { ensureFolders, foldersOf, writeRequest } from './workspaces.ts';

/** Facts of stages for people's eyes; they go to the spool, so that they neither wait nor fail. */
export interface StageFacts {
  stageStarted(fact: {
    readonly run: RunRef;
    readonly stage: string;
    readonly position: number;
    readonly at: string;
  }): void;
  stepStarted(fact: StepFact & { readonly at: string }): void;
  stepSettled(fact: StepFact & { readonly report: StepReport }): void;
  stageSettled(fact: { readonly run: RunRef; readonly position: number; readonly report: StageReport }): void;
}

export interface StepFact {
  readonly run: RunRef;
  readonly stage: string;
  readonly step: string;
  readonly position: number;
}

export interface StageDependencies {
  readonly executors: StepExecutors;
  readonly repositories: SourceRepository;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly logs: Logs;
  readonly facts: StageFacts;
  readonly reports: ReportHands;
}

/** A third of the worker's throttle and a tenth of the time-out, so that an abort is heard of within a second. */
const heartbeatMs = 300;
/** Lines of a failed step that go into its report, and with it into the history. */
const detailLines = 20;
const detailChars = 4_000;

/** What one attempt at a stage works with. */
interface Attempt {
  readonly deps: StageDependencies;
  readonly known: RunPipeline;
  readonly run: RunRef;
  readonly plan: RunPlan;
  readonly spec: StageSpec;
  readonly scope: StageScope;
  readonly secrets: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly redactor: Redactor;
  readonly sessions: Sessions;
  readonly signal: AbortSignal;
  readonly progress: (detail: unknown) => void;
  /** Reports that were there before a step could write them. */
  before: ReadonlyMap<string, string>;
}

/** Runs the stages of pipelines on this worker. */
export function createStageActivities(deps: StageDependencies): StageActivities {
  return {
    async runStage({ run, plan, stage }) {
      try {
        // The executors watch the silence of each step, with the limit that the step has.
        return await withHeartbeat(
          heartbeatMs,
          (signal, progress) => runStage(deps, { run, plan, stage, signal, progress }),
          undefined,
          Infinity,
        );
      } catch (error) {
        throw toFailure(error);
      }
    },
  };
}

interface Request {
  readonly run: RunRef;
  readonly plan: RunPlan;
  readonly stage: string;
  readonly signal: AbortSignal;
  readonly progress: (detail: unknown) => void;
}

async function runStage(deps: StageDependencies, request: Request): Promise<StageReport> {
  const { run, plan, stage, signal, progress } = request;
  const known = await deps.pipelines.of(plan);
  const position = known.pipeline.stages.findIndex(({ name }) => name === stage);
  const spec = known.pipeline.stages[position];
  if (spec === undefined) throw new ProviderError('NotFound', `the definition of the run has no stage ${stage}`);
  const folders = foldersOf(plan.workspace);
  const journal = openJournal(
    folders.journal,
    stage,
    spec.steps.some(({ once, resume }) => once || resume),
  );
  try {
    if (journal.history.settled !== undefined) return journal.history.settled;
    const startedAt = new Date();
    deps.facts.stageStarted({ run, stage, position, at: startedAt.toISOString() });
    const secrets = await readSecrets(known.pipeline.stages.slice(0, position + 1), deps.readSecret);
    const scope: StageScope = {
      project: run.project,
      run: run.key,
      number: run.number,
      stage,
      attempt: activityInfo().attempt,
      source: folders.source,
      home: folders.home,
      objects: deps.repositories.objectsFolder(run.project),
    };
    const sessions = createSessions(deps.executors, scope, signal);
    const redactor = createRedactor([...secrets.values()].flatMap((values) => Object.values(values)));
    const attempt: Attempt = {
      ...{ deps, known, run, plan, spec, scope, secrets, redactor, sessions, signal, progress },
      before: new Map(),
    };
    try {
      const steps = await takeUp(attempt, journal, startedAt.getTime());
      const report = await judgeReports(attempt, reportOf(spec, steps, startedAt), startedAt.getTime());
      journal.settled(report);
      deps.facts.stageSettled({ run, position, report });
      return report;
    } finally {
      await sessions.close();
    }
  } finally {
    journal.close();
  }
}

/** Goes on where an earlier attempt at the stage allows it, or begins again from a clean checkout. */
async function takeUp(attempt: Attempt, journal: StageJournal, stageStartedMs: number): Promise<readonly StepReport[]> {
  const { spec } = attempt;
  const { begun, ended, started } = journal.history;
  const from = begun ? resumePoint(spec, ended.length) : 0;
  // A step that may run only once, and that going on from there would start again.
  const repeated = spec.steps.findIndex((step, index) => index >= (from ?? 0) && step.once && started.has(index));
  if (repeated >= 0) return [...ended.slice(0, repeated), interrupted(spec, repeated, ended[repeated])];
  if (from === undefined) await renewWorkspace(attempt);
  if (begun) journal.again(from ?? 0);
  // Where it goes on, what an earlier attempt at it wrote counts.
  if ((from ?? 0) === 0)
    attempt.before = await markReports(
      attempt.scope.source,
      (spec.reports ?? []).map(({ path }) => path),
    );
  return runSteps(attempt, journal, ended.slice(0, from ?? 0), stageStartedMs);
}

/** The last step at which the stage may go on in the files as they are; undefined: only from a clean checkout. */
function resumePoint(spec: StageSpec, next: number): number | undefined {
  for (let index = Math.min(next, spec.steps.length - 1); index >= 0; index -= 1) {
    if (spec.steps[index]?.resume === true) return index;
  }
  return undefined;
}

function interrupted(spec: StageSpec, index: number, earlier: StepReport | undefined): StepReport {
  const name = spec.steps[index]?.name ?? '';
  const how = earlier === undefined ? 'while it ran' : 'after it had ended';
  return {
    name,
    verdict: 'errored',
    startedAt: earlier?.startedAt ?? new Date().toISOString(),
    durationMs: earlier?.durationMs ?? 0,
    detail: `The worker died ${how}, and ${name} may run only once. ${failures.StepInterrupted.sentence}`,
  };
}

/**
 * A clean checkout, in which the stages before this one have been run again: what they left in it (installed dependencies) was lost with it.
 */
async function renewWorkspace(attempt: Attempt): Promise<void> {
  const { deps, known, plan, run, scope, spec } = attempt;
  const folders = foldersOf(plan.workspace);
  const log = deps.logs.open({ run, stage: spec.name, step: 'workspace', attempt: scope.attempt }, attempt.redactor);
  try {
    log.say(`The worker died during ${spec.name}; it begins again from a clean checkout of ${plan.commit.sha}.`);
    const before = known.pipeline.stages.slice(0, known.pipeline.stages.indexOf(spec));
    const done = before.filter(({ name }) => readJournal(folders.journal, name).settled !== undefined);
    const repository = await repositoryAddress(known.pair.project, deps.readSecret);
    await ensureFolders(folders, { keepJournal: true });
    await writeRequest(folders, known.input);
    const { after, ref } = known.input.event;
    await deps.repositories.checkOut({ repository, commit: after, ref, path: folders.source, signal: attempt.signal });
    for (const stage of done) {
      for (const step of stage.steps) await repeatStep(attempt, stage, step, log);
    }
  } finally {
    await log.close();
  }
}

async function repeatStep(attempt: Attempt, stage: StageSpec, step: StepSpec, log: LogWriter): Promise<void> {
  if (step.once) {
    log.say(`${stage.name}/${step.name} may run only once and is not repeated.`);
    return;
  }
  log.say(`${stage.name}/${step.name} again`);
  const end = await startStep(attempt, stage, step, step.timeoutMs, log);
  if (end.exitCode === 0 || step.onFailure === 'warn') return;
  throw new ProviderError(
    'WorkspaceLost',
    `the workspace could not be made again: ${stage.name}/${step.name}, which had passed, now ended with status ${end.exitCode}`,
    { nonRetryable: true, details: { lastLines: lastLines(end.tail) } },
  );
}

async function runSteps(
  attempt: Attempt,
  journal: StageJournal,
  done: readonly StepReport[],
  stageStartedMs: number,
): Promise<readonly StepReport[]> {
  const { spec, run, deps, progress } = attempt;
  const reports = [...done];
  const closing: Promise<void>[] = [];
  try {
    for (const [index, step] of spec.steps.entries()) {
      if (index < done.length) continue;
      const fact: StepFact = { run, stage: spec.name, step: step.name, position: index };
      const log = deps.logs.open({ run, stage: spec.name, step: step.name, attempt: attempt.scope.attempt });
      const startedAt = new Date();
      progress({ step: step.name, index });
      journal.started(index, attempt.scope.attempt);
      deps.facts.stepStarted({ ...fact, at: startedAt.toISOString() });
      const leftMs = Math.max(0, stageStartedMs + spec.timeoutMs - startedAt.getTime());
      const report = await judgeStep(attempt, step, leftMs, log, startedAt).finally(() => {
        // Nobody waits for the last segment of a log to be stored before the next step starts.
        closing.push(log.close());
      });
      journal.ended(index, report);
      deps.facts.stepSettled({ ...fact, report });
      reports.push(report);
      if (report.verdict !== 'passed' && step.onFailure === 'fail') break;
    }
    return reports;
  } finally {
    await Promise.all(closing);
  }
}

/** Runs a step and says what is to be thought of it. What kept it from being judged, and may not do so again, is thrown. */
async function judgeStep(
  attempt: Attempt,
  step: StepSpec,
  leftMs: number,
  log: LogWriter,
  startedAt: Date,
): Promise<StepReport> {
  const base = { name: step.name, startedAt: startedAt.toISOString() };
  try {
    const timeoutMs = Math.min(step.timeoutMs, leftMs);
    const end = await startStep(attempt, attempt.spec, step, timeoutMs, log);
    const why = complaint(step, end, timeoutMs < step.timeoutMs);
    if (why !== undefined) log.say(why);
    return {
      ...base,
      verdict: why === undefined ? 'passed' : 'failed',
      exitCode: end.exitCode,
      durationMs: Math.round(end.durationMs),
      ...(why === undefined ? {} : { detail: withLastLines(why, end.tail) }),
    };
  } catch (error) {
    if (!(error instanceof ProviderError) || error.retryable || attempt.signal.aborted) throw error;
    if (error.type === 'WorkspaceLost') throw error;
    const detail = `${sentence(error.message)} ${failures[error.type].sentence}`;
    log.say(detail);
    return { ...base, verdict: 'errored', durationMs: Date.now() - startedAt.getTime(), detail };
  }
}

async function startStep(
  attempt: Attempt,
  stage: StageSpec,
  step: StepSpec,
  timeoutMs: number,
  log: LogWriter,
): Promise<StepEnd> {
  const session = await attempt.sessions.for(step);
  return session.run({
    step,
    env: {
      ...environmentOf(attempt, stage, step),
      ...step.env,
      ...attempt.secrets.get(secretsKey(stage, step)),
    },
    timeoutMs,
    redactor: attempt.redactor,
    sink: (chunk) => log.write(chunk),
    say: (line) => log.say(line),
    signal: attempt.signal,
  });
}

/** What every step may know of its run. */
function environmentOf({ run, plan, known }: Attempt, stage: StageSpec, step: StepSpec): Record<string, string> {
  return {
    CI: 'true',
    SLIPWAY: 'true',
    SLIPWAY_PROJECT: run.project,
    SLIPWAY_RUN: String(run.number),
    SLIPWAY_STAGE: stage.name,
    SLIPWAY_STEP: step.name,
    SLIPWAY_COMMIT: plan.commit.sha,
    SLIPWAY_REF: known.input.event.ref,
    SLIPWAY_VERSION: plan.version,
    SLIPWAY_WORKSPACE: plan.workspace.path,
  };
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
  return `${step.name} ended with status ${end.exitCode} ${after}. ${failures.StepFailed.sentence}`;
}

function withLastLines(why: string, tail: string): string {
  const lines = lastLines(tail);
  return lines === '' ? why : `${why}\n${lines}`;
}

function lastLines(tail: string): string {
  return tail.trimEnd().split('\n').slice(-detailLines).join('\n').slice(-detailChars);
}

function sentence(message: string): string {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

/** The verdict of a stage: of its steps that count. Steps that only warn are named. */
function reportOf(spec: StageSpec, steps: readonly StepReport[], startedAt: Date): StageReport {
  const lenient = new Set(spec.steps.filter(({ onFailure }) => onFailure === 'warn').map(({ name }) => name));
  const bad = steps.filter(({ verdict }) => verdict !== 'passed');
  const decisive = bad.find(({ name }) => !lenient.has(name));
  const warned = bad.filter(({ name }) => lenient.has(name)).map(({ name }) => name);
  const detail = decisive?.detail ?? (warned.length > 0 ? `Only warned: ${warned.join(', ')}.` : undefined);
  return {
    name: spec.name,
    verdict: decisive?.verdict ?? 'passed',
    steps,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    ...(detail === undefined ? {} : { detail }),
  };
}

/** Time to read the reports of a stage whose steps took all of its own, ms; less than what the workflow allows on top of it. */
const readingMs = 20_000;

/** What the reports of the stage mean: a gate that blocks fails a stage whose steps had all passed. */
async function judgeReports(attempt: Attempt, report: StageReport, startedMs: number): Promise<StageReport> {
  const { deps, known, run, spec, scope, redactor, signal } = attempt;
  const collected = await collectEvidence(deps.reports, {
    run,
    spec,
    stages: known.pipeline.stages,
    policies: known.pipeline.gates ?? [],
    steps: new Set(report.steps.map(({ name }) => name)),
    source: scope.source,
    before: attempt.before,
    redactor,
    signal,
    limitMs: Math.max(0, startedMs + spec.timeoutMs - Date.now()) + readingMs,
  });
  if (collected === undefined) return report;
  const gates = collected.evidence.gates.map(lineOf);
  const blocked = report.verdict === 'passed' ? blockedBy(gates) : undefined;
  return { ...report, ...blocked, durationMs: Date.now() - startedMs, gates, evidence: collected.blob };
}

function secretsKey(stage: StageSpec, step: StepSpec): string {
  return `${stage.name}/${step.name}`;
}

/** Reads what the steps of these stages declare, before anything is started: the redactor must know all of it. */
async function readSecrets(
  stages: readonly StageSpec[],
  read: ReadSecret,
): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
  const found = new Map<string, Readonly<Record<string, string>>>();
  for (const stage of stages) {
    for (const step of stage.steps) {
      const entries = Object.entries<SecretRef>(step.secrets);
      if (entries.length === 0) continue;
      const values = await Promise.all(entries.map(async ([name, ref]) => [name, await read(ref)] as const));
      found.set(secretsKey(stage, step), Object.fromEntries(values));
    }
  }
  return found;
}

/** One session for each kind of place that the steps of a stage need. */
interface Sessions {
  for(step: StepSpec): Promise<StageSession>;
  close(): Promise<void>;
}

function createSessions(executors: StepExecutors, scope: StageScope, signal: AbortSignal): Sessions {
  const open = new Map<StepSpec['executor'], Promise<StageSession>>();
  return {
    for(step) {
      let session = open.get(step.executor);
      if (session === undefined) {
        session = executors[step.executor].open(scope, signal);
        open.set(step.executor, session);
      }
      return session;
    },
    async close() {
      for (const session of open.values()) await session.then((opened) => opened.close()).catch(() => undefined);
    },
  };
}
