import { join, posix } from 'node:path';
import { activityInfo } from '@temporalio/activity';
import pLimit from 'p-limit';
import type { ImageSpec } from '../definition/specs.ts';
import { ProviderError, describeFailure, failures, toFailure } from '../domain/failures.ts';
import { imageTags } from '../domain/image-tags.ts';
import type { ImageReport, RunPlan, RunRef, StepReport } from '../domain/run.ts';
import { worst } from '../domain/verdict.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import { buildKey } from '../providers/builders/build-key.ts';
import { baseImages } from '../providers/builders/dockerfile.ts';
import { readDockerignore } from '../providers/builders/dockerignore.ts';
import type { BuildProgress, ImageBuilder, LocalImage } from '../providers/builders/port.ts';
import type { ImagePusher, ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import { publicUrl } from '../providers/repositories/git-command.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { ImageActivities } from './contracts.ts';
import type { LogWriter, Logs } from './logs.ts';
import type { Pipelines, RunPipeline } from './pipelines.ts';
import { registryAddress, repositoryAddress, type ReadSecret } from './secrets.ts';
import type { StageFacts } from './stage.ts';
import { foldersOf } from './workspaces.ts';

/** An image in the registry, by what it was made of. */
export interface KnownBuild {
  readonly project: string;
  readonly key: string;
  readonly name: string;
  readonly repository: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Which inputs gave which image; what is not known is built again, so none of these may fail a build. */
export interface KnownBuilds {
  find(project: string, key: string): Promise<KnownBuild | undefined>;
  /** The newest image of the name: its layers serve as cache. */
  latest(project: string, name: string): Promise<KnownBuild | undefined>;
  record(build: KnownBuild): Promise<void>;
  forget(project: string, key: string): Promise<void>;
}

export interface ImageDependencies {
  readonly builder: ImageBuilder;
  readonly openRegistry: (
    registry: RegistryAddress,
  ) => Promise<{ readonly manifests: ImageRegistry; readonly pusher: ImagePusher }>;
  readonly builds: KnownBuilds;
  readonly repositories: SourceRepository;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly logs: Logs;
  readonly facts: StageFacts;
}

const heartbeatMs = 300;
/** Without an event of the engine. A compiler may be silent longer than a push (judgement); the time limit of all images holds besides. */
const buildStallMs = 600_000;
const pushStallMs = 300_000;
/** Label by which an image of equal inputs is found again. */
const keyLabel = 'slipway.build-key';

type StageName = 'build' | 'push';

/** What building or pushing all images of one run works with. */
interface Work {
  readonly deps: ImageDependencies;
  readonly known: RunPipeline;
  readonly run: RunRef;
  readonly plan: RunPlan;
  readonly stage: StageName;
  readonly registry: RegistryAddress;
  readonly signal: AbortSignal;
  readonly moved: () => void;
}

/** Builds and pushes the images of runs by this worker's engine. */
export function createImageActivities(deps: ImageDependencies): ImageActivities {
  return {
    buildImages: ({ run, plan }) =>
      together(deps, { run, plan, stage: 'build' }, async (work) => {
        const checkout = once(() => checkOutContext(work));
        return forEach(work, work.known.pipeline.images, (image, log, signal) =>
          buildImage({ ...work, signal }, image, log, checkout),
        );
      }),

    pushImages: ({ run, plan, images }) =>
      together(deps, { run, plan, stage: 'push' }, async (work) => {
        const opened = await deps.openRegistry(work.registry);
        return forEach(work, images, (image, log, signal) => pushImage({ ...work, signal }, image, log, opened));
      }),
  };
}

/** Runs one of the two stages under a heartbeat and its time limit. */
async function together<T>(
  deps: ImageDependencies,
  { run, plan, stage }: { readonly run: RunRef; readonly plan: RunPlan; readonly stage: StageName },
  act: (work: Work) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(plan.buildTimeoutMs);
  try {
    return await withHeartbeat(
      heartbeatMs,
      async (cancelled, progress) => {
        const known = await deps.pipelines.of(plan);
        const registry = await registryAddress(known.pipeline.registry, deps.readSecret);
        const signal = AbortSignal.any([cancelled, late]);
        return act({ deps, known, run, plan, stage, registry, signal, moved: () => progress() });
      },
      undefined,
      stage === 'build' ? buildStallMs : pushStallMs,
    );
  } catch (error) {
    if (late.aborted && error === late.reason) {
      const minutes = Math.round(plan.buildTimeoutMs / 60_000);
      throw toFailure(
        new ProviderError('TimedOut', `the images took longer than the ${minutes} minutes of ${stage}`, {
          nonRetryable: true,
        }),
      );
    }
    throw toFailure(error);
  }
}

/**
 * Works on several images at once, each with a log and a report of its own. The first failure ends the others, for what they make is not
 * wanted any more, and is thrown when all have ended.
 */
async function forEach<I extends { readonly name: string }>(
  work: Work,
  images: readonly I[],
  act: (image: I, log: LogWriter, signal: AbortSignal) => Promise<ImageReport>,
): Promise<readonly ImageReport[]> {
  const { deps, run, stage, known } = work;
  const position = known.pipeline.stages.length + (stage === 'build' ? 0 : 1);
  const startedAt = new Date();
  const limit = pLimit(known.pipeline.builds.concurrency);
  const others = new AbortController();
  const signal = AbortSignal.any([work.signal, others.signal]);
  const steps: StepReport[] = [];
  const phase = stage === 'build' ? 'building' : 'pushing';
  deps.facts.stageStarted({ run, stage, position, at: startedAt.toISOString(), phase });

  async function one(image: I, index: number): Promise<ImageReport> {
    signal.throwIfAborted();
    const log = deps.logs.open({ run, stage, step: image.name, attempt: activityInfo().attempt });
    const fact = { run, stage, step: image.name, position: index };
    const began = new Date();
    const step = { name: image.name, startedAt: began.toISOString() };
    deps.facts.stepStarted({ ...fact, at: step.startedAt });
    const settle = (verdict: StepReport['verdict'], detail?: string): void => {
      const report = {
        ...step,
        verdict,
        durationMs: Date.now() - began.getTime(),
        ...(detail === undefined ? {} : { detail }),
      };
      steps[index] = report;
      deps.facts.stepSettled({ ...fact, report });
    };
    try {
      const report = await act(image, log, signal);
      settle('passed');
      return { ...report, durationMs: Date.now() - began.getTime() };
    } catch (error) {
      if (!signal.aborted) {
        const { type, message } = describeFailure(error);
        log.say(`${message}\n${failures[type].sentence}`);
        settle(type === 'BuildFailed' ? 'failed' : 'errored', message);
        others.abort(error);
      }
      throw error;
    } finally {
      await log.close();
    }
  }

  const settled = await Promise.allSettled(images.map((image, index) => limit(() => one(image, index))));
  const done = steps.filter((step) => (step as StepReport | undefined) !== undefined);
  const report = {
    name: stage,
    verdict: images.length === 0 ? 'passed' : worst(done.map(({ verdict }) => verdict)),
    steps: done,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
  } as const;
  deps.facts.stageSettled({ run, position, report });
  if (work.signal.aborted) throw work.signal.reason;
  if (others.signal.aborted) throw others.signal.reason;
  return settled.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

async function buildImage(
  work: Work,
  image: ImageSpec,
  log: LogWriter,
  checkout: () => Promise<string>,
): Promise<ImageReport> {
  const { deps, plan, run, registry } = work;
  const progress = progressOf(work, log);
  const inputs = await readInputs(work, image, progress);
  const { key } = inputs;
  const tags = plan.buildImages === 'validate' ? [] : tagsOf(work);
  const reported = { name: image.name, repository: image.repository, tags, durationMs: 0 };

  const stored = await findPushed(work, image, key);
  if (stored !== undefined) {
    log.say(`equal inputs gave ${stored.repository}@${stored.digest}; it is taken`);
    return { ...reported, digest: stored.digest, sizeBytes: stored.sizeBytes, reused: true };
  }
  const here = await deps.builder.find({ 'slipway.project': run.project, [keyLabel]: key });
  if (here !== undefined) {
    log.say(`equal inputs gave ${here.id}; it is taken`);
    if (tags[0] !== undefined) await deps.builder.tag(here.id, image.repository, tags[0]);
    return { ...reported, digest: here.id, sizeBytes: here.sizeBytes, reused: true };
  }

  const latest = await deps.builds.latest(run.project, image.name).catch(() => undefined);
  const built = await deps.builder.build(
    {
      name: image.name,
      folder: join(await checkout(), image.context),
      dockerfile: image.dockerfile,
      ignore: inputs.ignore,
      target: image.target,
      args: image.args,
      labels: labelsOf(work, image, key),
      platforms: image.platforms,
      network: image.network,
      modifiedAt: new Date(plan.commit.at),
      cache: latest === undefined ? undefined : `${latest.repository}@${latest.digest}`,
      credentials: registry.credentials,
    },
    progress,
  );
  log.say(`built ${built.id}, ${Math.round(built.sizeBytes / 1024)} KiB`);
  if (tags[0] !== undefined) await deps.builder.tag(built.id, image.repository, tags[0]);
  if (plan.buildImages === 'validate') await throwAway(work, built, log);
  return { ...reported, digest: built.id, sizeBytes: built.sizeBytes, reused: false };
}

/** A build that only had to show that it builds leaves its layers, for the next one, and no image. */
async function throwAway({ deps }: Work, built: LocalImage, log: LogWriter): Promise<void> {
  await deps.builder.remove(built.id);
  log.say('it was only built to see that it builds, and is thrown away');
}

interface Inputs {
  readonly key: string;
  readonly ignore: string;
}

/** Everything that decides what the image will be, read from the commit itself: what steps have made meanwhile is no part of it. */
async function readInputs(work: Work, image: ImageSpec, progress: BuildProgress): Promise<Inputs> {
  const { deps, run, plan, registry, signal } = work;
  const at = { project: run.project, commit: plan.commit.sha, signal };
  const path = (name: string): string => posix.join(image.context, name);
  const [tree, dockerfile, special, common] = await Promise.all([
    deps.repositories.listTree({ ...at, path: image.context }),
    deps.repositories.readFile({ ...at, path: path(image.dockerfile) }),
    deps.repositories.readFile({ ...at, path: path(`${image.dockerfile}.dockerignore`) }),
    deps.repositories.readFile({ ...at, path: path('.dockerignore') }),
  ]);
  if (tree === undefined) throw missing(image, `the commit has no folder ${image.context}`);
  if (dockerfile === undefined) throw missing(image, `the commit has no ${path(image.dockerfile)}`);
  const ignore = special ?? common ?? '';
  const ignored = readDockerignore(ignore);
  const bases = await deps.builder.resolve(baseImages(dockerfile, image.args), {
    ...progress,
    credentials: registry.credentials,
  });
  const key = buildKey({
    files: tree.filter((entry) => !ignored(entry.path)),
    dockerfilePath: image.dockerfile,
    dockerfile,
    target: image.target,
    args: image.args,
    bases,
    platforms: image.platforms,
    network: image.network,
  });
  return { key, ignore };
}

function missing(image: ImageSpec, what: string): ProviderError {
  return new ProviderError('BuildFailed', `the image ${image.name} cannot be built: ${what}`, {
    details: { image: image.name },
  });
}

/** The image in the registry that equal inputs gave, if the registry still has it. The store or the registry away: it is built. */
async function findPushed(work: Work, image: ImageSpec, key: string): Promise<KnownBuild | undefined> {
  const { deps, run, plan, registry, signal } = work;
  if (plan.buildImages !== 'push') return undefined;
  try {
    const found = await deps.builds.find(run.project, key);
    if (found?.repository !== image.repository) return undefined;
    const { manifests } = await deps.openRegistry(registry);
    if ((await manifests.readManifest(found.repository, found.digest, signal)) !== undefined) return found;
    await deps.builds.forget(run.project, key);
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}

/** One clean checkout for all images: what steps have left in the other must not get into an image unseen. */
async function checkOutContext({ deps, known, plan, signal }: Work): Promise<string> {
  const { context } = foldersOf(plan.workspace);
  const repository = await repositoryAddress(known.pair.project, deps.readSecret);
  const { after, ref } = known.input.event;
  await deps.repositories.checkOut({ repository, commit: after, ref, path: context, signal });
  return context;
}

async function pushImage(
  work: Work,
  image: ImageReport,
  log: LogWriter,
  { manifests, pusher }: { readonly manifests: ImageRegistry; readonly pusher: ImagePusher },
): Promise<ImageReport> {
  const { deps, run, signal } = work;
  const { repository } = image;
  const tags = tagsOf(work);
  const [first = 'untagged', ...others] = tags;
  const { output, moved } = progressOf(work, log);

  // The engine first: asked for the manifest of a local id whose configuration it holds as a blob, as after a push that was cut off
  // before its end, the registry answers 500 for ever.
  const here = await deps.builder.inspect(image.digest);
  let digest: string | undefined;
  if (here === undefined) {
    digest = (await manifests.readManifest(repository, image.digest, signal))?.digest;
    if (digest === undefined) {
      throw new ProviderError(
        'ImageNotFound',
        `${image.name} (${image.digest}) is neither on this worker nor in the registry`,
        {
          details: { image: image.name, digest: image.digest },
        },
      );
    }
    await manifests.ensureTag(repository, digest, first, signal);
    log.say(`${first}: the registry has ${digest} already`);
  } else {
    digest = await pusher.push({ id: here.id, repository, tag: first, output, moved, signal });
    const key = here.labels[keyLabel];
    if (key !== undefined) {
      const build = { project: run.project, key, name: image.name, repository, digest, sizeBytes: image.sizeBytes };
      // Forgotten, it is built again some day.
      await deps.builds.record(build).catch(() => undefined);
    }
  }
  for (const tag of others) {
    await manifests.ensureTag(repository, digest, tag, signal);
    log.say(`${tag}: the registry holds ${digest}`);
    moved();
  }
  return { ...image, digest, tags };
}

function tagsOf({ known, run, plan }: Work): readonly string[] {
  return imageTags({
    ref: known.input.event.ref,
    build: run.number,
    commit: plan.commit.sha,
    releaseBranch: known.pair.project.repository.releaseBranch,
  });
}

/** The labels of the OCI image specification, and those by which Slipway and people find the image again. */
function labelsOf({ known, run, plan }: Work, image: ImageSpec, key: string): Record<string, string> {
  const { url } = known.pair.project.repository;
  return {
    'org.opencontainers.image.title': image.name,
    'org.opencontainers.image.version': plan.version,
    'org.opencontainers.image.revision': plan.commit.sha,
    'org.opencontainers.image.created': new Date().toISOString(),
    'org.opencontainers.image.source': publicUrl({ project: run.project, url }),
    'slipway.project': run.project,
    'slipway.image': image.name,
    'slipway.build': String(run.number),
    [keyLabel]: key,
  };
}

function progressOf({ signal, moved }: Work, log: LogWriter): BuildProgress {
  return { output: (text) => void log.write(Buffer.from(text)), moved, signal };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
