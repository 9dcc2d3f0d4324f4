import { ProviderError } from '../domain/failures.ts';
import { gateOfKind } from '../domain/gate.ts';
import type { MachineWants } from '../domain/machine.ts';
import type { Route } from '../domain/routing.ts';
import type { SourceEvent } from '../domain/run.ts';
import { type RunStart, fullRef } from '../domain/run-start.ts';
import { definedAs } from '../domain/stage-graph.ts';
import { type RunFacts, whyNot } from './conditions.ts';
import { resolveGates } from './gates.ts';
import { type Combination, combinationsOf, fillIn, stageNameOf } from './matrix.ts';
import { type ImageDefinition, chooseImages } from './image-groups.ts';
import type { DefinitionPair } from './pair.ts';
import type { RepositoryDefinition } from './repository.ts';
import type { ImageCacheSpec, ImageSpec, RegistrySpec, SshSpec } from './specs/image.ts';
import type { PackageIndexSpec, PackageSpec, PipelineSpec } from './specs/pipeline.ts';
import type { SecretRefs } from './specs/secret.ts';
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
import type { ScanSpec, SupplyChainSpec } from './specs/supply-chain.ts';

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

/** What is known of a run when its pipeline is resolved. */
export interface ResolveOptions {
  /** The commit comes from a fork: no secrets, and never on the host. */
  readonly fork?: boolean;
  /** What conditions are judged by. Default: a push of the release branch of which nothing else is known. */
  readonly facts?: RunFacts;
  /** Groups of images that the route names. Default: every group. */
  readonly imageGroups?: readonly string[];
}

/**
 * What the two documents make of one commit's checks and images.
 *
 * @throws `NotAllowed`: a step of a fork has no image to run in.
 */
export function resolvePipeline(pair: DefinitionPair, options: ResolveOptions = {}): PipelineSpec {
  const { repository, project } = pair;
  const facts = options.facts ?? {
    event: { kind: 'push', ref: `refs/heads/${project.repository.releaseBranch}` },
    parameters: {},
    changed: undefined,
  };
  const context: Context = { pair, fork: options.fork ?? false, facts };
  const { chosen, others } = chooseImages(repository, facts, options.imageGroups);
  return {
    tools: Object.entries(repository.tools).map(([name, range]) => ({ name, range })),
    machine: resolveMachine(repository.machine),
    stages: inOrder(repository.stages.flatMap((stage) => resolveStage(context, stage))),
    concurrency: project.steps.concurrency,
    images: chosen.map((image) => resolveImage(pair, image, context.fork)),
    otherImages: others,
    builds: {
      builder: project.builds.builder,
      timeoutMs: project.builds.timeout,
      concurrency: project.builds.concurrency,
    },
    registry: resolveRegistry(pair),
    packages: resolvePackages(pair),
    supplyChain: resolveSupplyChain(pair, context.fork),
    gates: resolveGates(pair),
  };
}

/** Packages whose index the project has. Which of them a run publishes is decided by its route (`publishedBy`). */
function resolvePackages({ repository, project }: DefinitionPair): readonly PackageSpec[] {
  return repository.packages.flatMap(({ name, files, index: wanted }): readonly PackageSpec[] => {
    const index = project.packageIndexes[wanted];
    if (index === undefined) return [];
    const { kind, url, token, credentials, allow, largest } = index;
    const asked = index.kind === 'python' ? { simple: index.simple ?? `${url.replace(/\/+$/, '')}/simple/` } : {};
    const to: PackageIndexSpec = {
      ...{ name: wanted, kind, url, ...asked, access: index.kind === 'npm' ? index.access : 'restricted' },
      ...(token === undefined ? {} : { token }),
      ...(credentials === undefined ? {} : { credentials }),
      ...{ allow, largestBytes: largest },
    };
    return [{ name, files, index: to }];
  });
}

/** Names of the packages that a run of this route publishes. What was only proposed publishes none, whatever the route and whoever started the run. */
export function publishedBy(
  { packages }: Pick<PipelineSpec, 'packages'>,
  route: Pick<Route, 'publish'> | undefined,
  event: Pick<SourceEvent, 'kind' | 'ref' | 'fork'>,
): readonly string[] {
  const { publish = [] } = route ?? {};
  if (isProposal(event)) return [];
  return packages.filter(({ index }) => publish.includes(index.name)).map(({ name }) => name);
}

/** A pull request, also where a run of it was started by hand. */
export function isProposal({ kind, ref, fork = false }: Pick<SourceEvent, 'kind' | 'ref' | 'fork'>): boolean {
  return fork || kind === 'pull-request' || ref.startsWith('refs/pull/');
}

function resolveMachine({ cores, memory, disk }: RepositoryDefinition['machine']): MachineWants {
  return { cores, memoryBytes: memory, diskBytes: disk };
}

/** What must be known of images, in every environment. A fork's images are never signed. */
function resolveSupplyChain({ project }: Pick<DefinitionPair, 'project'>, fork: boolean): SupplyChainSpec {
  const { tags, maxSize, verify, sbom, signing, builder } = project.images;
  const scan = resolveScan(project);
  return {
    tags,
    maxSizeBytes: maxSize,
    verify,
    sbom,
    ...(scan === undefined ? {} : { scan }),
    ...(signing === undefined || fork ? {} : { signing }),
    builder,
  };
}

/** How images are scanned; undefined where the project names no scanner. */
export function resolveScan(project: DefinitionPair['project']): ScanSpec | undefined {
  const { scan } = project.images;
  if (scan === undefined) return undefined;
  return {
    scanner: scan.scanner,
    database: scan.database,
    maxAgeMs: scan.maxAge,
    severities: scan.severities,
    exceptions: scan.exceptions,
    mode: scan.mode,
    modes: Object.fromEntries(
      Object.entries(project.environments).map(([name, { images }]) => [name, images.scan ?? scan.mode]),
    ),
  };
}

interface Context {
  readonly pair: DefinitionPair;
  readonly fork: boolean;
  readonly facts: RunFacts;
}

/** The combinations that a stage is made for, one without values where it has no matrix. */
function legsOf({ name, matrix }: StageDefinition): readonly { readonly name: string; readonly values: Combination }[] {
  if (matrix === undefined) return [{ name, values: {} }];
  return combinationsOf(matrix).map((values) => ({ name: stageNameOf(name, values), values }));
}

/**
 * Puts what a stage needs before it, and leaves the order as it was written wherever that already is so. A stage without `needs` comes after
 * all that stand above it, which then is said where the order has changed.
 */
function inOrder(stages: readonly StageSpec[]): readonly StageSpec[] {
  const ordered: StageSpec[] = [];
  let waiting = stages;
  for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
    const head = first;
    const open = new Set(waiting.map(definedAs));
    const isFree = ({ needs }: StageSpec): boolean => needs?.every((name) => !open.has(name)) ?? false;
    // The head of a circle goes as it is; the rules of the document refuse it.
    const next = head.needs === undefined ? head : (waiting.find(isFree) ?? head);
    ordered.push(next);
    waiting = waiting.filter((other) => other !== next);
  }
  if (ordered.every((stage, index) => stage === stages[index])) return ordered;
  return ordered.map((stage) => {
    if (stage.needs !== undefined) return stage;
    const before = stages.slice(0, stages.indexOf(stage)).map(definedAs);
    return { ...stage, needs: [...new Set(before)].filter((name) => name !== definedAs(stage)) };
  });
}

/** Where images of the project are pushed to and run from. */
export function resolveRegistry({ project }: Pick<DefinitionPair, 'project'>): RegistrySpec {
  const { address, insecure, credentials, credentialHelper, ecr, prefix } = project.registry;
  return {
    address,
    prefix: prefix ?? project.project,
    insecure,
    ...(credentials === undefined ? {} : { credentials }),
    ...(credentialHelper === undefined ? {} : { credentialHelper }),
    ...(ecr === undefined ? {} : { ecr }),
  };
}

function resolveStage(context: Context, stage: StageDefinition): readonly StageSpec[] {
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
  { pair, fork, facts }: Context,
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
    secrets: fork ? {} : pick(project.steps.secrets, step.secrets),
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

function resolveImage(pair: DefinitionPair, image: ImageDefinition, fork: boolean): ImageSpec {
  const { group } = image;
  const concurrency = group === undefined ? undefined : pair.repository.imageGroups?.[group]?.concurrency;
  const { builds } = pair.project;
  const { address, prefix } = resolveRegistry(pair);
  return {
    name: image.name,
    ...(group === undefined ? {} : { group: { name: group, ...(concurrency === undefined ? {} : { concurrency }) } }),
    repository: [address, prefix, image.name].filter((part) => part !== '').join('/'),
    context: image.context,
    dockerfile: image.dockerfile,
    ...(image.target === undefined ? {} : { target: image.target }),
    args: { ...image.args, ...builds.args },
    platforms: [...image.platforms].sort(),
    network: builds.network === 'none' ? 'none' : (image.network ?? builds.network),
    secrets: fork ? {} : pick(builds.secrets, image.secrets),
    ssh: fork ? {} : resolveSsh(pair, image),
    ...(image.cache === undefined ? {} : { cache: resolveImageCache(image.cache, fork) }),
  };
}

function resolveSsh({ project: { builds } }: DefinitionPair, { ssh }: ImageDefinition): ImageSpec['ssh'] {
  if (ssh === false) return {};
  if (ssh === true) return builds.sshKey === undefined ? {} : { default: { kind: 'key', key: builds.sshKey } };
  return Object.fromEntries(
    ssh.flatMap((name): readonly (readonly [string, SshSpec])[] => {
      const { key, agent } = builds.ssh[name] ?? {};
      if (agent !== undefined) return [[name, { kind: 'agent', socket: agent }]];
      return key === undefined ? [] : [[name, { kind: 'key', key }]];
    }),
  );
}

/** What a fork writes others would build upon. */
function resolveImageCache(cache: NonNullable<ImageDefinition['cache']>, fork: boolean): ImageCacheSpec {
  const { export: place } = cache;
  return {
    import: cache.import,
    ...(place === undefined || fork ? {} : { export: place === 'inline' ? place : { place } }),
    mode: cache.mode,
  };
}

function pick(secrets: SecretRefs, names: readonly string[]): SecretRefs {
  return Object.fromEntries(
    names.flatMap((name) => {
      const ref = secrets[name];
      return ref === undefined ? [] : [[name, ref] as const];
    }),
  );
}
