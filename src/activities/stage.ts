import { activityInfo } from '@temporalio/activity';
import type { StageSpec, StepSpec } from '../definition/specs/stage.ts';
import { failures } from '../domain/failure-kinds.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type RunPlan, type RunRef, type StageReport, type StepReport, attemptOf, fetchedRef } from '../domain/run.ts';
import { createFileSecrets } from '../effects/file-secrets.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import { createRedactor } from '../effects/redact.ts';
import type { StageScope } from '../providers/executors/port.ts';
import type { StageActivities } from './contracts.ts';
import { type StageJournal, openJournal, readJournal } from './journal.ts';
import type { LogWriter } from './logs.ts';
import type { RunPipeline } from './pipelines.ts';
import { repositoryAddress } from './secrets.ts';
import {
  type Attempt,
  type Secrets,
  type StageDependencies,
  type StagePlace,
  lastLines,
  openPlace,
  readOthersSecrets,
  readSecrets,
  verdictOf,
} from './stage-attempt.ts';
import type { StageFiles } from './stage-files.ts';
import { stagesBefore } from './stage-order.ts';
import { judgeReports, markBefore } from './stage-reports.ts';
import { type StepReports, isRepeated, runSteps } from './stage-steps.ts';
import { type WorkspaceTurn, type WorkspaceTurns, createWorkspaceTurns } from './workspace-turns.ts';
import { ensureFolders, foldersOf, raiseGeneration, readGeneration, writeRequest } from './workspaces.ts';

export type { OnceSteps, StageDependencies, StageFacts, StepFact } from './stage-attempt.ts';

/** A third of the worker's throttle and a tenth of the time-out, so that an abort is heard of within a second. */
const heartbeatMs = 300;

/** Runs the stages of pipelines on this worker. */
export function createStageActivities(deps: StageDependencies): StageActivities {
  const turns = createWorkspaceTurns();
  return {
    async runStage({ run, plan, stage }) {
      try {
        // The executors watch the silence of each step, with the limit that the step has.
        return await withHeartbeat(
          heartbeatMs,
          (signal, progress) => runStage(deps, turns, { run, plan, stage, signal, progress }),
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

async function runStage(deps: StageDependencies, turns: WorkspaceTurns, request: Request): Promise<StageReport> {
  const { plan, stage, signal } = request;
  const known = await deps.pipelines.of(plan);
  const position = known.pipeline.stages.findIndex(({ name }) => name === stage);
  const spec = known.pipeline.stages[position];
  if (spec === undefined) throw new ProviderError('NotFound', `the definition of the run has no stage ${stage}`);
  const folders = foldersOf(plan.workspace);
  const turn = await turns.enter(plan.workspace.path, signal);
  try {
    const durable = spec.steps.some(({ once, resume }) => once || resume);
    return await settleStage(
      deps,
      turn,
      { ...request, known, spec, position },
      openJournal(folders.journal, stage, durable),
    );
  } finally {
    turn.leave();
  }
}

interface Known {
  readonly known: RunPipeline;
  readonly spec: StageSpec;
  readonly position: number;
}

async function settleStage(
  deps: StageDependencies,
  turn: WorkspaceTurn,
  request: Request & Known,
  journal: StageJournal,
): Promise<StageReport> {
  const { run, plan, stage, known, spec, position } = request;
  const folders = foldersOf(plan.workspace);
  try {
    if (journal.history.settled !== undefined) return journal.history.settled;
    const startedAt = new Date();
    deps.facts.stageStarted({ run, stage, position, at: startedAt.toISOString(), phase: 'checking' });
    const { stages } = known.pipeline;
    // Of what may have to be run again too: with the workspace, all that has been settled goes.
    const concerned = stages.filter(
      ({ name }, index) =>
        index <= position || (journal.history.begun && readJournal(folders.journal, name).settled !== undefined),
    );
    const secrets = await readSecrets(concerned, deps.readSecret);
    // They share the checkout, so what one of them leaves there another may print.
    const beside = stages.filter((other) => !concerned.includes(other) && !stagesBefore(stages, other).includes(spec));
    const othersSecrets = await readOthersSecrets(beside, deps.readSecret);
    const scope: StageScope = {
      project: run.project,
      run: run.key,
      number: run.number,
      stage,
      attempt: attemptOf(plan, activityInfo().attempt),
      source: folders.source,
      home: folders.home,
      objects: deps.repositories.objectsFolder(run.project),
      login: loginFor(deps, known),
    };
    const hidden = [...valuesOf(secrets), ...othersSecrets];
    const redactor = createRedactor(hidden);
    const attempt: Attempt = {
      ...request,
      deps,
      scope,
      journal,
      secrets,
      hidden,
      redactor,
      outputs: outputsBefore(known.pipeline.stages, spec, folders.journal),
      tries: new Map(),
      startedMs: startedAt.getTime(),
      due: { ms: startedAt.getTime() + spec.timeoutMs },
    };
    const report = await work(attempt, turn, startedAt);
    journal.settled(report);
    deps.facts.stageSettled({ run, position, report });
    return report;
  } finally {
    journal.close();
  }
}

/** Images of steps and services may lie in the project's own registry. The code of a fork is anybody's, and gets what anybody gets. */
function loginFor(
  { readRegistry }: StageDependencies,
  { input, pipeline }: RunPipeline,
): NonNullable<StageScope['login']> {
  if (input.event.fork === true) return 'nobody';
  const { registry } = pipeline;
  return {
    address: registry.address,
    read: async (signal) => (await readRegistry(registry, signal)).credentials,
  };
}

function valuesOf(secrets: Secrets): readonly string[] {
  return [...secrets.values()].flatMap((values) => Object.values(values));
}

/** What the stages that this one comes after have handed on. Those of a matrix keep theirs: each has another value. */
function outputsBefore(stages: readonly StageSpec[], spec: StageSpec, journal: string): Map<string, string> {
  const outputs = new Map<string, string>();
  for (const { name, steps, group } of stagesBefore(stages, spec)) {
    if (group !== undefined || steps.every((step) => step.outputs.length === 0)) continue;
    for (const values of readJournal(journal, name).outputs.values()) {
      for (const [output, value] of Object.entries(values)) outputs.set(output, value);
    }
  }
  return outputs;
}

/** Takes the stage to its verdict, and keeps what it leaves behind. Nothing of it runs any more when this returns. */
async function work(attempt: Attempt, turn: WorkspaceTurn, startedAt: Date): Promise<StageReport> {
  const { deps, spec, journal } = attempt;
  const done = await takeUp(attempt, turn, journal);
  const files = openFiles(attempt, spec);
  try {
    const restored = await deps.caches.restore(files, spec);
    // Only here, for what a cache has brought back was written by no step of this run.
    const before = await markBefore(attempt, done);
    const report = await judgeReports(attempt, await runInPlace(attempt, done, startedAt), before);
    const passed = report.verdict === 'passed';
    const lost = await deps.artifacts.keep(files, spec, passed);
    if (passed && lost === undefined) await restored.save();
    return lost === undefined || !passed ? report : { ...report, verdict: 'errored', detail: lost };
  } finally {
    await files.close();
  }
}

/** @returns the report, once nothing of the stage runs any more: nobody may change what it left while it is being read. */
async function runInPlace(attempt: Attempt, done: StepReports, startedAt: Date): Promise<StageReport> {
  const { spec, redactor, signal } = attempt;
  let place: StagePlace;
  try {
    place = await openPlace(attempt, spec);
  } catch (error) {
    const detail = verdictOf(error, signal);
    if (detail === undefined) throw error;
    return { ...reportOf(spec, [...done.values()], startedAt), verdict: 'errored', detail: redactor.text(detail) };
  }
  attempt.due.ms = Date.now() + spec.timeoutMs;
  try {
    const report = reportOf(spec, await runSteps(attempt, place, done), startedAt);
    const ended = report.verdict === 'passed' ? [] : await place.endedServices();
    if (ended.length === 0) return report;
    // A test that cannot reach its database says so, and not why.
    const detail = [report.detail, ...ended].filter((line) => line !== undefined).join('\n');
    return { ...report, detail: redactor.text(detail) };
  } finally {
    await place.close();
  }
}

/** What keeping files needs of the attempt, with a log that is there only where something is said. */
function openFiles(attempt: Attempt, spec: StageSpec): StageFiles & { close(): Promise<void> } {
  const { deps, run, plan, known, scope, redactor, signal } = attempt;
  let log: LogWriter | undefined;
  return {
    run,
    commit: plan.commit.sha,
    event: known.input.event,
    releaseBranch: known.pair.project.repository.releaseBranch,
    source: scope.source,
    home: scope.home,
    scratch: foldersOf(plan.workspace).root,
    secrets: createFileSecrets(attempt.hidden),
    signal,
    say(line) {
      log ??= deps.logs.open({ run, stage: spec.name, step: 'stage.files', attempt: scope.attempt }, redactor);
      log.say(line);
    },
    async close() {
      await log?.close();
    },
  };
}

/**
 * Goes on where an earlier attempt at the stage allows it, or begins again from a clean checkout.
 *
 * @returns reports of steps that need not run again.
 */
async function takeUp(attempt: Attempt, turn: WorkspaceTurn, journal: StageJournal): Promise<StepReports> {
  const { spec, plan, signal, outputs } = attempt;
  const folders = foldersOf(plan.workspace);
  const { begun, ended, generation } = journal.history;
  const started = await everStarted(attempt);
  // Made again for another stage meanwhile: then it is as clean as one could wish.
  const isClean = generation < readGeneration(folders);
  const kept = begun && !isClean ? keptReports(spec, ended) : new Map<number, StepReport>();
  // A step that may run only once, and that going on from there would start again.
  const repeated = spec.steps.findIndex((step, index) => step.once && started.has(index) && kept?.has(index) !== true);
  if (repeated >= 0) {
    const before = [...ended].filter(([index]) => index < repeated);
    return new Map([...before, [repeated, interrupted(spec, repeated, ended.get(repeated))]]);
  }
  if (kept === undefined) await turn.renew(() => renewWorkspace(attempt), signal);
  journal.begin(readGeneration(folders));
  if (begun) journal.again(kept === undefined || isClean ? 0 : resumePoint(spec, kept));
  for (const index of kept?.keys() ?? []) {
    for (const [name, value] of Object.entries(journal.history.outputs.get(index) ?? {})) outputs.set(name, value);
  }
  // A step that goes on in the same files has used up the tries it had; from a clean checkout it is another matter.
  if (begun && !isClean && kept !== undefined) {
    for (const [index, number] of journal.history.tries) attempt.tries.set(index, number);
  }
  return kept ?? new Map<number, StepReport>();
}

/** The steps that were ever started: here, and of those that may run only once on a machine that was lost. */
async function everStarted({ deps, run, spec, journal }: Attempt): Promise<ReadonlySet<number>> {
  const { started } = journal.history;
  const once = [...spec.steps.entries()].filter(([, step]) => step.once && step.skip === undefined);
  if (once.length === 0) return started;
  const known = await deps.once.readStarted(run, spec.name);
  return new Set([...started, ...once.filter(([, { name }]) => known.has(name)).map(([index]) => index)]);
}

/** Reports that still count when the stage goes on in the files as they are; undefined: it may go on only from a clean checkout. */
function keptReports(spec: StageSpec, ended: ReadonlyMap<number, StepReport>): StepReports | undefined {
  const open = [...spec.steps.entries()].filter(([index, step]) => !ended.has(index) && isRepeated(spec, step));
  if (spec.parallel > 1) {
    // Any of them may have been in the middle of something.
    return open.every(([, { resume }]) => resume) ? new Map(ended) : undefined;
  }
  for (let index = open[0]?.[0] ?? spec.steps.length - 1; index >= 0; index -= 1) {
    if (spec.steps[index]?.resume === true) return new Map([...ended].filter(([step]) => step < index));
  }
  return undefined;
}

/** The first step whose earlier end does not count. */
function resumePoint(spec: StageSpec, kept: StepReports): number {
  return spec.parallel > 1 ? spec.steps.length : Math.max(-1, ...kept.keys()) + 1;
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
 * A clean checkout, in which the stages that had passed have been run again: what they left in it (installed dependencies) was lost with it.
 */
async function renewWorkspace(attempt: Attempt): Promise<void> {
  const { deps, known, plan, run, scope, spec } = attempt;
  const folders = foldersOf(plan.workspace);
  const log = deps.logs.open({ run, stage: spec.name, step: 'workspace', attempt: scope.attempt }, attempt.redactor);
  try {
    log.say(`The worker died during ${spec.name}; it begins again from a clean checkout of ${plan.commit.sha}.`);
    const done = known.pipeline.stages.filter(
      (stage) => stage !== spec && readJournal(folders.journal, stage.name).settled?.verdict === 'passed',
    );
    const repository = await repositoryAddress(known.pair.project, deps.readSecret);
    await ensureFolders(folders, { keepJournal: true });
    await writeRequest(folders, known.input);
    const { event } = known.input;
    await deps.repositories.checkOut({
      ...{ repository, commit: event.after, ref: fetchedRef(event) },
      ...{ path: folders.source, signal: attempt.signal },
    });
    for (const stage of done) await repeatStage(attempt, stage, log);
    await raiseGeneration(folders);
  } finally {
    await log.close();
  }
}

async function repeatStage(attempt: Attempt, stage: StageSpec, log: LogWriter): Promise<void> {
  const files = { ...openFiles(attempt, stage), say: (line: string) => log.say(line) };
  await attempt.deps.caches.restore(files, stage);
  const place = await openPlace(attempt, stage);
  try {
    for (const step of stage.steps) {
      if (isRepeated(stage, step)) await repeatStep(attempt, place, stage, step, log);
    }
  } finally {
    await place.close();
  }
}

async function repeatStep(
  attempt: Attempt,
  place: StagePlace,
  stage: StageSpec,
  step: StepSpec,
  log: LogWriter,
): Promise<void> {
  if (step.once) {
    log.say(`${stage.name}/${step.name} may run only once and is not repeated.`);
    return;
  }
  log.say(`${stage.name}/${step.name} again`);
  const { signal } = attempt;
  for (let number = 1; ; number += 1) {
    // What it hands on is known already.
    const env = step.outputs.length === 0 ? {} : { SLIPWAY_OUTPUT: '/dev/null' };
    const end = await place.run(step, { log, timeoutMs: step.timeoutMs, signal, lane: 0, env });
    if (end.exitCode === 0 || step.onFailure === 'warn') return;
    if (number < (step.retry?.attempts ?? 1)) continue;
    throw new ProviderError(
      'WorkspaceLost',
      `the workspace could not be made again: ${stage.name}/${step.name}, which had passed, now ended with status ${end.exitCode}`,
      { nonRetryable: true, details: { lastLines: lastLines(end.tail) } },
    );
  }
}

/** The verdict of a stage: of its steps that count. Steps that only warn are named. */
function reportOf(spec: StageSpec, steps: readonly StepReport[], startedAt: Date): StageReport {
  const lenient = new Set(spec.steps.filter(({ onFailure }) => onFailure === 'warn').map(({ name }) => name));
  const looked = steps.filter(({ skipped }) => skipped !== true);
  const bad = looked.filter(({ verdict }) => verdict !== 'passed');
  const strict = bad.filter(({ name }) => !lenient.has(name));
  // What was ended because of another one says nothing of its own.
  const decisive = strict.find(({ verdict }) => verdict !== 'inconclusive') ?? strict[0];
  const warned = bad.filter(({ name }) => lenient.has(name)).map(({ name }) => name);
  const none = looked.length === 0 && steps.length > 0;
  const detail =
    decisive?.detail ??
    (none ? steps[0]?.detail : undefined) ??
    (warned.length > 0 ? `Only warned: ${warned.join(', ')}.` : undefined);
  return {
    name: spec.name,
    verdict: decisive?.verdict ?? (none ? 'inconclusive' : 'passed'),
    steps,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    ...(detail === undefined ? {} : { detail }),
    ...(none ? { skipped: true } : {}),
  };
}
