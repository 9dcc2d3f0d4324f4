import type { MachineWants } from '../domain/machine.ts';
import type { Route } from '../domain/routing.ts';
import type { SourceEvent } from '../domain/run.ts';
import { definedAs } from '../domain/stage-graph.ts';
import type { RunFacts } from './conditions.ts';
import { resolveGates } from './gates.ts';
import { chooseImages } from './image-groups.ts';
import { resolveImage, resolveRegistry, resolveSupplyChain } from './image-resolution.ts';
import type { DefinitionPair } from './pair.ts';
import type { RepositoryDefinition } from './repository.ts';
import type { PackageIndexSpec, PackageSpec, PipelineSpec } from './specs/pipeline.ts';
import type { StageSpec } from './specs/stage.ts';
import { type StageContext, resolveStage } from './stage-resolution.ts';

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
  const context: StageContext = { pair, fork: options.fork ?? false, facts };
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
