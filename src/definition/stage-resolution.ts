/** What the two documents make of one stage: its legs, steps, and what lies beside them. */
import { ProviderError } from '../domain/failures.ts';
import { gateOfKind } from '../domain/gate.ts';
import { type RunStart, fullRef } from '../domain/run-start.ts';
import { type RunFacts, whyNot } from './conditions.ts';
import { type Combination, combinationsOf, fillIn, stageNameOf } from './matrix.ts';
import { pickOffered } from './offered-secrets.ts';
import type { DefinitionPair } from './pair.ts';
import type { RepositoryDefinition } from './repository.ts';
import type {
  ArtifactSpec,
  CacheSpec,
  ReportSpec,
  ResourceLimits,
  RetrySpec,
  StageServiceSpec,
  StageSpec,
  StepCommand,
  StepSpec,
} from './specs/stage.ts';

type StageDefinition = RepositoryDefinition['stages'][number];
type StepDefinition = StageDefinition['steps'][number];

const minuteMs = 60_000;

/**
 * Hard limits of stages that name none, ms: twice the upper nominal time that the specification gives for a stage of that name. Other
 * names get that of the longest of them.
 */
const stageTimeoutsMs: Readonly<Record<string, number>> = {
  install: 10 * minuteMs,
  quality: 14 * minuteMs,
  lint: 14 * minuteMs,
  security: 10 * minuteMs,
  scan: 14 * minuteMs,
};
const otherStageTimeoutMs = 20 * minuteMs;

/** Of a stage that waits for a run of another project: three stages of the usual limit. Judgement. */
const startsTimeoutMs = 60 * minuteMs;

/** Of a step that runs whatever happened, ms: it cleans up, and somebody waits for the verdict. Judgement. */
const cleanUpTimeoutMs = minuteMs;

export /** What every stage of a run is resolved with. */
interface StageContext {
  readonly pair: DefinitionPair;
  readonly fork: boolean;
  readonly facts: RunFacts;
}

/** The combinations that a stage is made for, one without values where it has no matrix. */
function legsOf({ name, matrix }: StageDefinition): readonly { readonly name: string; readonly values: Combination }[] {
  if (matrix === undefined) return [{ name, values: {} }];
  return combinationsOf(matrix).map((values) => ({ name: stageNameOf(name, values), values }));
}

/** Each leg of its matrix, or the stage alone. @throws `NotAllowed`: a step of a fork has no image to run in. */
export function resolveStage(context: StageContext, stage: StageDefinition): readonly StageSpec[] {
  const { pair, facts } = context;
  const { concurrency } = pair.project.steps;
  const timeoutMs =
    stage.timeout ??
    (stage.starts === undefined ? (stageTimeoutsMs[stage.name] ?? otherStageTimeoutMs) : startsTimeoutMs);
  const skip = whyNot(stage.when, facts);
  const legs = legsOf(stage);
  return legs.map(({ name, values }): StageSpec => {
    const steps = stage.steps.map((step) => resolveStep(context, stage, step, timeoutMs, values));
    const last = steps.filter(({ outcome }) => outcome !== 'success');
    const reports = reportsOf(stage, values);
    return {
      name,
      timeoutMs,
      cleanUpMs: last.reduce((sum, step) => sum + step.timeoutMs, 0),
      steps,
      ...(stage.starts === undefined ? {} : { starts: resolveStart(stage.starts, values) }),
      ...(stage.needs === undefined ? {} : { needs: stage.needs }),
      outcome: stage.when.outcome,
      ...(skip === undefined ? {} : { skip }),
      failFast: stage.failFast,
      parallel: stage.parallel ? concurrency : 1,
      ...(stage.matrix === undefined
        ? {}
        : { group: { name: stage.name, limit: stage.matrix.maxParallel ?? concurrency } }),
      matrix: values,
      services: Object.entries(stage.services).map(([service, spec]) => resolveService(pair, service, spec)),
      caches: stage.caches.map((cache) => resolveCache(pair, cache)),
      artifacts: stage.artifacts.map((artifact) => resolveArtifact(pair, artifact, values)),
      ...(reports.length === 0 ? {} : { reports }),
    };
  });
}

/** The rest of its parameters is filled in when version and commit are known ({@link fillStart}). */
function resolveStart(
  { project, ref, parameters, wait }: NonNullable<StageDefinition['starts']>,
  values: Combination,
): RunStart {
  return {
    project,
    ...(ref === undefined ? {} : { ref: fullRef(ref) }),
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, fillIn(value, values)])),
    wait,
  };
}

/** What a run has as variables, put into the parameters of what it starts. */
export function fillStart(start: RunStart, variables: Readonly<Record<string, string>>): RunStart {
  const parameters = Object.entries(start.parameters).map(([name, value]) => [name, fillIn(value, variables)]);
  return { ...start, parameters: Object.fromEntries(parameters) as Readonly<Record<string, string>> };
}

function reportsOf(stage: StageDefinition, matrix: Combination): readonly ReportSpec[] {
  return [
    ...stage.steps.flatMap((step) =>
      step.reports.map((report): ReportSpec => ({
        ...resolveReport(report, matrix),
        step: step.name,
        base: step.workdir,
      })),
    ),
    ...stage.reports.map((report): ReportSpec => ({ ...resolveReport(report, matrix), base: '.' })),
  ];
}

function resolveReport(
  { kind, path: pattern, gate }: StageDefinition['reports'][number],
  matrix: Combination,
): Omit<ReportSpec, 'base'> {
  const path = fillIn(pattern, matrix);
  if (kind === 'html') return { kind, path };
  return { kind, path, gate: gate ?? gateOfKind[kind] };
}

function resolveService(
  { project }: DefinitionPair,
  name: string,
  { image, port, command, env, health }: StageDefinition['services'][string],
): StageServiceSpec {
  return {
    name,
    image,
    port,
    ...(command === undefined ? {} : { command }),
    env,
    health: {
      command: health.command,
      intervalMs: health.interval,
      timeoutMs: health.timeout,
      startupMs: health.startup,
    },
    resources: limitsOf(project.steps.resources),
  };
}

function resolveCache({ project }: DefinitionPair, cache: StageDefinition['caches'][number]): CacheSpec {
  const { size, largest } = project.steps.caches;
  return {
    name: cache.name,
    paths: cache.paths.map((path) =>
      path.startsWith('~/') ? { root: 'home', path: path.slice(2) } : { root: 'source', path },
    ),
    key: cache.key,
    fallback: cache.fallback,
    largestBytes: largest,
    totalBytes: size,
  };
}

function resolveArtifact(
  { project }: DefinitionPair,
  artifact: StageDefinition['artifacts'][number],
  matrix: Combination,
): ArtifactSpec {
  const { size, longest } = project.steps.artifacts;
  const paths = artifact.paths.map((path) => fillIn(path, matrix));
  return {
    name: artifact.name,
    ...(artifact.kind === 'documentation' ? documentationIn(paths[0] ?? '') : { paths }),
    retentionMs: Math.min(artifact.retention, longest),
    when: artifact.when,
    largestBytes: size,
  };
}

function documentationIn(folder: string): Pick<ArtifactSpec, 'paths' | 'entry'> {
  const root = folder.replace(/\/+$/, '');
  return { paths: [`${root}/**`], entry: `${root}/index.html` };
}

type ProjectLimits = DefinitionPair['project']['steps']['resources'];

function limitsOf(
  project: ProjectLimits,
  own: { readonly cpus?: number; readonly memory?: number } = {},
): ResourceLimits {
  const cpus = least(project.cpus, own.cpus);
  const memoryBytes = Math.min(project.memory, own.memory ?? Infinity);
  return {
    ...(cpus === undefined ? {} : { cpus }),
    memoryBytes,
    temporaryBytes: Math.min(project.temporary, memoryBytes),
  };
}

function least(...limits: readonly (number | undefined)[]): number | undefined {
  const given = limits.filter((limit) => limit !== undefined);
  return given.length === 0 ? undefined : Math.min(...given);
}

function resolveStep(
  { pair, fork, facts }: StageContext,
  stage: StageDefinition,
  step: StepDefinition,
  stageTimeoutMs: number,
  matrix: Combination,
): StepSpec {
  const { repository, project } = pair;
  const { outcome } = step.when;
  const skip = whyNot(step.when, facts);
  const longestMs = outcome === 'success' ? stageTimeoutMs : cleanUpTimeoutMs;
  const base = {
    name: step.name,
    command: commandOf(step),
    env: { ...repository.env, ...matrix, ...step.env, ...project.steps.env },
    secrets: fork ? {} : pickOffered(project.steps.secrets, step.secrets),
    timeoutMs: Math.min(step.timeout ?? longestMs, stageTimeoutMs),
    stallAfterMs: step.stallAfter,
    onFailure: step.onFailure,
    resume: step.resume,
    once: step.once,
    workdir: step.workdir,
    outcome,
    ...(skip === undefined ? {} : { skip }),
    ...(step.retry === undefined ? {} : { retry: retryOf(step.retry) }),
    outputs: step.outputs,
  };
  const floor = project.steps.executor;
  // The repository can ask for a container where the host is allowed, never the other way round.
  const executor = fork || floor === 'container' ? 'container' : (step.executor ?? floor);
  if (executor === 'host') return { ...base, executor };

  const image = imageOf(pair, step);
  if (image === undefined) {
    throw new ProviderError(
      'NotAllowed',
      `Step ${step.name} has no image to run in, and ${fork ? 'a pull request from a fork' : 'this project'} never runs on the host.`,
    );
  }
  const isolated = step.network === 'none';
  const served = Object.keys(stage.services).length > 0;
  return {
    ...base,
    executor,
    image: fillIn(image, matrix),
    network: isolated ? 'none' : served ? 'stage' : project.steps.network,
    resources: limitsOf(project.steps.resources, step.resources),
  };
}

function retryOf({ attempts, backoff, on }: NonNullable<StepDefinition['retry']>): RetrySpec {
  return { attempts, backoffMs: backoff, ...(on === undefined ? {} : { on }) };
}

/** The image a step runs in when it runs in a container. */
export function imageOf(
  { repository, project }: Pick<DefinitionPair, 'repository' | 'project'>,
  step: Pick<StepDefinition, 'image'>,
): string | undefined {
  return step.image ?? repository.image ?? project.steps.image;
}

function commandOf(step: StepDefinition): StepCommand {
  // One of the two is there: the rules of the document say so.
  return step.run === undefined ? { kind: 'shell', script: step.shell ?? '' } : { kind: 'argv', argv: step.run };
}
