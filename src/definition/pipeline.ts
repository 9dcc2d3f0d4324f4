import { ProviderError } from '../domain/failures.ts';
import { gateOfKind } from '../domain/gate.ts';
import { resolveGates } from './gates.ts';
import type { DefinitionPair } from './pair.ts';
import type { RepositoryDefinition } from './repository.ts';
import type {
  ImageSpec,
  PipelineSpec,
  RegistrySpec,
  ReportSpec,
  SecretRefs,
  StageSpec,
  StepCommand,
  StepSpec,
} from './specs.ts';

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

/**
 * What the two documents make of one commit's checks and images.
 *
 * @param options.fork - the commit comes from a fork: no secrets, and never on the host.
 * @throws `NotAllowed`: a step of a fork has no image to run in.
 */
export function resolvePipeline(pair: DefinitionPair, options: { readonly fork?: boolean } = {}): PipelineSpec {
  const { repository, project } = pair;
  const fork = options.fork ?? false;
  return {
    tools: Object.entries(repository.tools).map(([name, range]) => ({ name, range })),
    stages: repository.stages.map((stage) => resolveStage(pair, stage, fork)),
    images: repository.images.map((image) => resolveImage(pair, image)),
    builds: { timeoutMs: project.builds.timeout, concurrency: project.builds.concurrency },
    registry: resolveRegistry(pair),
    gates: resolveGates(pair),
  };
}

/** Where images of the project are pushed to and run from. */
export function resolveRegistry({ project }: Pick<DefinitionPair, 'project'>): RegistrySpec {
  const { address, insecure, credentials, prefix } = project.registry;
  return {
    address,
    prefix: prefix ?? project.project,
    insecure,
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function resolveStage(pair: DefinitionPair, stage: StageDefinition, fork: boolean): StageSpec {
  const timeoutMs = stage.timeout ?? stageTimeoutsMs[stage.name] ?? otherStageTimeoutMs;
  const reports = [
    ...stage.steps.flatMap((step) =>
      step.reports.map((report): ReportSpec => ({ ...resolveReport(report), step: step.name, base: step.workdir })),
    ),
    ...stage.reports.map((report): ReportSpec => ({ ...resolveReport(report), base: '.' })),
  ];
  return {
    name: stage.name,
    timeoutMs,
    steps: stage.steps.map((step) => resolveStep(pair, step, timeoutMs, fork)),
    ...(reports.length === 0 ? {} : { reports }),
  };
}

function resolveReport({ kind, path, gate }: StageDefinition['reports'][number]): Omit<ReportSpec, 'base'> {
  if (kind === 'html') return { kind, path };
  return { kind, path, gate: gate ?? gateOfKind[kind] };
}

function resolveStep(pair: DefinitionPair, step: StepDefinition, stageTimeoutMs: number, fork: boolean): StepSpec {
  const { repository, project } = pair;
  const base = {
    name: step.name,
    command: commandOf(step),
    env: { ...repository.env, ...step.env, ...project.steps.env },
    secrets: fork ? {} : pick(project.steps.secrets, step.secrets),
    timeoutMs: Math.min(step.timeout ?? stageTimeoutMs, stageTimeoutMs),
    stallAfterMs: step.stallAfter,
    onFailure: step.onFailure,
    resume: step.resume,
    once: step.once,
    workdir: step.workdir,
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
  const { cpus, memory } = project.steps.resources;
  return {
    ...base,
    executor,
    image,
    network: project.steps.network,
    resources: {
      ...(cpus === undefined ? {} : { cpus }),
      ...(memory === undefined ? {} : { memoryBytes: memory }),
    },
  };
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

function resolveImage(pair: DefinitionPair, image: RepositoryDefinition['images'][number]): ImageSpec {
  const { builds } = pair.project;
  const { address, prefix } = resolveRegistry(pair);
  return {
    name: image.name,
    repository: [address, prefix, image.name].filter((part) => part !== '').join('/'),
    context: image.context,
    dockerfile: image.dockerfile,
    ...(image.target === undefined ? {} : { target: image.target }),
    args: { ...image.args, ...builds.args },
    platforms: image.platforms,
    network: builds.network === 'none' ? 'none' : (image.network ?? builds.network),
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
