import { join, posix } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ImageSpec } from '../definition/specs/image.ts';
import { ProviderError } from '../domain/failures.ts';
import { type ImageEvidence, fetchedRef } from '../domain/run.ts';
import { type ImageTag, imageTags, runTag } from '../domain/image-tags.ts';
import { isRoot } from '../domain/image-user.ts';
import { buildKey } from '../providers/builders/build-key.ts';
import { dockerfileWarnings, sizeWarnings } from '../providers/builders/dockerfile-warnings.ts';
import { needsBuildKit } from '../providers/builders/buildkit.ts';
import { baseImages, foreignBases } from '../providers/builders/dockerfile.ts';
import { readDockerignore } from '../providers/builders/dockerignore.ts';
import type { BuildProgress, BuildRequest, LocalImage, PlatformImage } from '../providers/builders/port.ts';
import type { ImageRegistry, ManifestContent } from '../providers/registries/port.ts';
import { publicUrl } from '../providers/repositories/git-command.ts';
import { claimImage } from './image-claims.ts';
import { type ImageEnd, type ImageWork, progressOf } from './image-work.ts';
import type { LogWriter } from './logs.ts';
import { repositoryAddress } from './secrets.ts';
import { foldersOf } from './workspaces.ts';

/** Label for people who look at an image. Anybody can put it on one, so nothing here goes by it. */
const keyLabel = 'slipway.build-key';

/** Builds one image, or takes the one that equal inputs gave before. */
export async function buildImage(
  work: ImageWork,
  image: ImageSpec,
  log: LogWriter,
  checkout: () => Promise<string>,
): Promise<ImageEnd> {
  const { deps, plan, run, registry } = work;
  const progress = progressOf(work, log);
  const inputs = await readInputs(work, image, progress);
  const { key } = inputs;
  const fork = work.known.input.event.fork === true;
  const tags = plan.buildImages === 'validate' ? [] : tagsOf(work).map(({ name }) => name);
  const { warnings } = inputs;
  const [bases, stored, here, latest] = await Promise.all([
    publicDigests(work, inputs.bases),
    findPushed(work, image, key),
    findBuiltHere(work, key),
    deps.builds.latest(run.project, image.name).catch(() => undefined),
  ]);
  const evidence = { buildKey: key, bases, warnings };
  const reported = { name: image.name, repository: image.repository, tags, durationMs: 0, evidence };
  const ended = (made: LocalImage, reused: boolean): ImageEnd => {
    const all = [...warnings, ...(made.warnings ?? []), ...warningsOf(work, made, warnings)];
    for (const warning of all) log.say(`warning: ${warning}`);
    return {
      image: {
        ...reported,
        evidence: { ...evidence, warnings: all, ...platformsOf(made) },
        digest: made.id,
        sizeBytes: made.sizeBytes,
        reused,
      },
      ...(all.length === 0 ? {} : { detail: `warning: ${all.join('; ')}` }),
    };
  };
  if (stored !== undefined) {
    log.say(`equal inputs gave ${image.repository}@${stored.id}; it is taken`);
    return ended(stored, true);
  }
  if (here !== undefined) {
    log.say(`equal inputs gave ${here.id}; it is taken`);
    // Its label names the run that built it: what says that this one needs it, too, is a tag.
    const names = tags[0] === undefined ? [] : [tags[0], runTag(run.number, plan.commit.sha)];
    for (const name of new Set(names)) await work.builder.tag(here.id, image.repository, name);
    return ended(here, true);
  }

  const [context, secrets] = await Promise.all([checkout(), readBuildSecrets(work, image)]);
  const builder = inputs.buildKit ? work.buildKit : work.builder;
  const built = await builder.build(
    {
      name: image.name,
      folder: join(context, image.context),
      dockerfile: image.dockerfile,
      ignore: inputs.ignore,
      target: image.target,
      args: image.args,
      labels: labelsOf(work, image, key),
      platforms: image.platforms,
      network: image.network,
      modifiedAt: new Date(plan.commit.at),
      bases: inputs.bases,
      // What the definition names goes before what is known.
      cache:
        latest === undefined || image.cache !== undefined || fork ? undefined : `${latest.repository}@${latest.digest}`,
      caches: image.cache,
      ...(fork
        ? { registry: { address: registry.address, insecure: registry.insecure } }
        : { registry, credentials: registry.credentials }),
      ...secrets,
    },
    progress,
  );
  for (const { name, digest, sizeBytes } of builtOf(built)) {
    log.say(`built ${name}${digest}, ${Math.round(sizeBytes / 1024)} KiB`);
  }
  // What only had to be seen to build is thrown away.
  if (plan.buildImages !== 'validate') {
    await deps.builds.recordBuilt({ project: run.project, key, name: image.name, id: built.id }).catch(() => undefined);
  }
  if (tags[0] !== undefined) await work.builder.tag(built.id, image.repository, tags[0]);
  return ended(built, false);
}

/** What of the image itself could be better, by the limits of now: what was built of equal inputs is looked at anew. */
function warningsOf({ known }: ImageWork, made: LocalImage, dockerfile: readonly string[]): readonly string[] {
  const { maxSizeBytes } = known.pipeline.supplyChain;
  const large = builtOf(made).flatMap(({ name, sizeBytes }) =>
    sizeWarnings(sizeBytes, maxSizeBytes).map((warning) => `${name}${warning}`),
  );
  return [...rootWarnings(made, dockerfile), ...large];
}

/** The image itself, or each platform of it, as a line names it. */
function builtOf({ id, sizeBytes, platforms }: LocalImage): readonly {
  readonly name: string;
  readonly digest: string;
  readonly sizeBytes: number;
}[] {
  return platforms === undefined
    ? [{ name: '', digest: id, sizeBytes }]
    : platforms.map((each) => ({ name: `${each.platform}: `, digest: each.digest, sizeBytes: each.sizeBytes }));
}

/** A base image may name its user for one platform and not for another; the Dockerfile shows neither. */
function rootWarnings({ platforms = [] }: LocalImage, known: readonly string[]): readonly string[] {
  const asRoot = platforms.filter(({ user }) => isRoot(user));
  if (asRoot.length === 0 || known.includes('it runs as root')) return [];
  return [`${asRoot.map(({ platform }) => platform).join(', ')}: it runs as root`];
}

function platformsOf({ platforms }: LocalImage): Pick<ImageEvidence, 'platforms'> {
  if (platforms === undefined) return {};
  return { platforms: platforms.map(({ platform, digest, sizeBytes }) => ({ platform, digest, sizeBytes })) };
}

interface Inputs {
  readonly key: string;
  readonly ignore: string;
  /** By the name that the Dockerfile has for them. */
  readonly bases: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
  /** Whether the engine's own builder is not enough. */
  readonly buildKit: boolean;
}

/** Entries that are matched before everything else has its turn. Judgement: some ms. */
const entriesATurn = 250;

/** The entries that are not ignored. A repository may have a hundred thousand, and the worker has one thread. */
async function without<T extends { readonly path: string }>(
  entries: readonly T[],
  ignored: (path: string) => boolean,
): Promise<readonly T[]> {
  const kept: T[] = [];
  for (const [index, entry] of entries.entries()) {
    if (index % entriesATurn === entriesATurn - 1) await nextTurn();
    if (!ignored(entry.path)) kept.push(entry);
  }
  return kept;
}

/** Everything that decides what the image will be, read from the commit itself: what steps have made meanwhile is no part of it. */
async function readInputs(work: ImageWork, image: ImageSpec, progress: BuildProgress): Promise<Inputs> {
  const { deps, known, run, plan, registry, signal } = work;
  const fork = known.input.event.fork === true;
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
  const bases = await work.builder.resolve(baseImages(dockerfile, image.args), {
    ...progress,
    // The Dockerfile of a fork may name any image: it gets what anybody gets.
    ...(fork ? { untrusted: true } : { credentials: registry.credentials }),
    platforms: image.platforms,
    anyPlatform: foreignBases(dockerfile, image.args),
  });
  const key = buildKey({
    files: await without(tree, ignored),
    dockerfilePath: image.dockerfile,
    dockerfile,
    target: image.target,
    args: image.args,
    bases,
    platforms: image.platforms,
    network: image.network,
    secrets: Object.keys(image.secrets),
    ssh: Object.keys(image.ssh),
    fork,
  });
  const mounts = Object.keys(image.secrets).length > 0 || Object.keys(image.ssh).length > 0;
  const buildKit = mounts || image.cache !== undefined || needsBuildKit(dockerfile);
  return { key, ignore, bases, buildKit, warnings: dockerfileWarnings(dockerfile, image.target) };
}

/** Read at the moment of the build. */
async function readBuildSecrets(
  { deps }: ImageWork,
  { secrets, ssh }: ImageSpec,
): Promise<Pick<BuildRequest, 'secrets' | 'ssh'>> {
  const values: Record<string, string> = {};
  for (const [name, ref] of Object.entries(secrets)) values[name] = await deps.readSecret(ref);
  const keys: Record<string, { readonly key: string } | { readonly socket: string }> = {};
  for (const [name, each] of Object.entries(ssh)) {
    keys[name] = each.kind === 'agent' ? { socket: each.socket } : { key: await deps.readSecret(each.key) };
  }
  return {
    ...(Object.keys(values).length === 0 ? {} : { secrets: values }),
    ...(Object.keys(keys).length === 0 ? {} : { ssh: keys }),
  };
}

/** Of base images that came from a registry the digest there, by which anybody can have them; of others the id on this engine. */
async function publicDigests(
  { builder }: ImageWork,
  ids: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const digests: Record<string, string> = {};
  for (const [name, id] of Object.entries(ids)) {
    const found = await builder.inspect(id);
    digests[name] = found?.digests[0]?.replace(/^.*@/, '') ?? id;
  }
  return digests;
}

function missing(image: ImageSpec, what: string): ProviderError {
  return new ProviderError('BuildFailed', `the image ${image.name} cannot be built: ${what}`, {
    details: { image: image.name },
  });
}

/** The image on this engine that a worker has built of equal inputs. Without the store nothing is known of any, and it is built. */
async function findBuiltHere({ deps, run, builder }: ImageWork, key: string): Promise<LocalImage | undefined> {
  for (const id of await deps.builds.listBuilt(run.project, key).catch(() => [])) {
    const here = await builder.inspect(id);
    if (here?.id === id) return here;
  }
  return undefined;
}

/** The image in the registry that equal inputs gave, if the registry still has it. The store or the registry away: it is built. */
async function findPushed(work: ImageWork, image: ImageSpec, key: string): Promise<LocalImage | undefined> {
  const { deps, run, plan, registry, signal } = work;
  if (plan.buildImages !== 'push') return undefined;
  try {
    const found = await deps.builds.find(run.project, key);
    if (found?.repository !== image.repository) return undefined;
    const { manifests } = await deps.openRegistry(registry);
    // Before it is looked for: what is there from now on stays until the run has ended.
    if (!(await claimImage(work, image, { digest: found.digest, manifests: [] }))) return undefined;
    const content = await manifests.readContent(found.repository, found.digest, signal);
    if (content !== undefined) {
      if (content.manifests.length > 0 && !(await claimImage(work, image, content))) return undefined;
      const platforms = await readPlatforms(manifests, found.repository, content, signal);
      const { digest: id, sizeBytes } = found;
      return { id, sizeBytes, digests: [], labels: {}, ...(platforms.length === 0 ? {} : { platforms }) };
    }
    await deps.builds.forget(run.project, key);
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}

/** Empty where it is no list. */
async function readPlatforms(
  manifests: ImageRegistry,
  repository: string,
  { digest, manifests: listed }: ManifestContent,
  signal: AbortSignal,
): Promise<readonly PlatformImage[]> {
  if (listed.length === 0) return [];
  const platforms: PlatformImage[] = [];
  for (const each of await manifests.readPlatforms(repository, digest, signal)) {
    const content = await manifests.readContent(repository, each.digest, signal);
    const sizeBytes = content?.blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0) ?? 0;
    const user = (await manifests.readUser(repository, each.digest, signal)) ?? '';
    platforms.push({ ...each, sizeBytes, user });
  }
  return platforms;
}

/** One clean checkout for all images: what steps have left in the other must not get into an image unseen. */
export async function checkOutContext({ deps, known, plan, signal }: ImageWork): Promise<string> {
  const { context } = foldersOf(plan.workspace);
  const repository = await repositoryAddress(known.pair.project, deps.readSecret);
  const { event } = known.input;
  await deps.repositories.checkOut({ repository, commit: event.after, ref: fetchedRef(event), path: context, signal });
  return context;
}

/** The tags of the images of a run, the identifying one first. */
export function tagsOf({ known, run, plan }: ImageWork): readonly ImageTag[] {
  const { ref, pullRequest } = known.input.event;
  return imageTags({
    ref,
    pullRequest,
    build: run.number,
    commit: plan.commit.sha,
    releaseBranch: known.pair.project.repository.releaseBranch,
    templates: known.pipeline.supplyChain.tags,
  });
}

/** The labels of the OCI image specification, and those by which Slipway and people find the image again. */
function labelsOf({ known, run, plan }: ImageWork, image: ImageSpec, key: string): Record<string, string> {
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
