import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { normalPlatform } from '../../domain/platform.ts';
import { runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { ImageRegistry, RegistryAddress } from '../registries/port.ts';
import { resolveBases } from './bases.ts';
import { runBuildx } from './buildx.ts';
import { type Layout, type LayoutImage, readLayout, writeSingleLayout } from './oci-layout.ts';
import type { BuildProgress, BuildRequest, ImageBuilder, LocalImage, SavedImage } from './port.ts';

/** Of a call that only writes a file. */
const callMs = 30_000;
const builderName = 'slipway';

/** A BuildKit daemon, and how it is spoken to. */
export interface BuildKitDaemon {
  /** `unix:///…` or `tcp://host:port`. */
  readonly address: string;
  /** In PEM. */
  readonly tls?:
    | {
        readonly ca: string;
        readonly certificate: string;
        readonly key: string;
        readonly serverName?: string | undefined;
      }
    | undefined;
}

export interface BuildKitDaemonOptions {
  readonly daemon: BuildKitDaemon;
  /** Absolute: images lie here, each as a layout, until they are pushed and the folder goes. */
  readonly folder: string;
  /** Of the project; its bases may lie there. */
  readonly registry: RegistryAddress;
  readonly openRegistry: (
    address: RegistryAddress,
  ) => Pick<ImageRegistry, 'readContent' | 'readPlatforms' | 'fetchImage'>;
  /** Any other registry that the Dockerfile of a stranger names. */
  readonly openForeign: (address: string) => Pick<ImageRegistry, 'readContent' | 'readPlatforms'>;
  /** Path of buildx; asked at each use, and may take long the first time. */
  readonly program: (signal?: AbortSignal) => Promise<string>;
}

/** Images of a builder that has no engine of its own: an image is known by the digest that registries will know it by. */
export type LayoutBuilder = ImageBuilder & {
  /**
   * Fetches an image that was pushed before, under the name of the build that would have made it.
   *
   * @throws `ImageNotFound`, `DigestMismatch`, `DiskFull` (not retried); `RegistryUnavailable` (retried)
   */
  readonly fetchImage: (
    image: { readonly name: string; readonly repository: string; readonly digest: string },
    progress: BuildProgress,
  ) => Promise<LocalImage>;
  /** The image itself, to be pushed; undefined where it is not here. */
  readonly readImage: (digest: string) => Promise<Layout | undefined>;
};

/**
 * Builds by a BuildKit daemon, through buildx: one or several platforms. What is built comes back as files, so that it is looked into before anybody
 * else has it; base images come from registries, and are built on by the digest that the registry named when the build began.
 */
export function createBuildKitDaemonBuilder(options: BuildKitDaemonOptions): LayoutBuilder {
  const { daemon, folder } = options;

  async function build(request: BuildRequest, progress: BuildProgress): Promise<LocalImage> {
    const buildx = await options.program(progress.signal);
    const made = join(folder, `${request.name}.new`);
    await rm(made, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    try {
      const warnings = await withScratch('buildkit', async (scratch) => {
        await connect(buildx, scratch, daemon, progress.signal);
        return await runBuildx(request, progress, {
          buildx,
          folder: scratch,
          builder: builderName,
          calledHere: `the BuildKit daemon at ${daemon.address}`,
          environment: {},
          options: [...pinned(request.bases), '--output', `type=oci,dest=${made},tar=false`],
        });
      });
      checkPlatforms(request, await read(made));
      return { ...(await keep(made, request.name)), warnings };
    } catch (error) {
      await rm(made, { recursive: true, force: true });
      throw error;
    }
  }

  /** Under its name only when it is whole. */
  async function keep(made: string, name: string): Promise<LocalImage> {
    await rm(join(folder, name), { recursive: true, force: true });
    await rename(made, join(folder, name));
    return described(await read(join(folder, name)));
  }

  async function all(): Promise<readonly { readonly name: string; readonly layout: Layout }[]> {
    const names = await readdir(folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    });
    const found = [];
    for (const name of names.filter((each) => !each.endsWith('.new'))) {
      found.push({ name, layout: await read(join(folder, name)) });
    }
    return found;
  }

  async function readImage(reference: string): Promise<Layout | undefined> {
    const digest = reference.slice(reference.indexOf('@') + 1);
    return (await all()).find(({ layout }) => layout.root.digest === digest)?.layout;
  }

  async function withLabels(labels: Readonly<Record<string, string>>): Promise<readonly Layout[]> {
    const wanted = Object.entries(labels);
    if (wanted.length === 0) return [];
    const layouts = (await all()).map(({ layout }) => layout);
    return layouts.filter(({ images }) =>
      images.every((image) => wanted.every(([name, value]) => image.labels[name] === value)),
    );
  }

  async function discard(digest: string): Promise<void> {
    for (const { name, layout } of await all()) {
      if (layout.root.digest === digest) await rm(join(folder, name), { recursive: true, force: true });
    }
  }

  return {
    build,
    readImage,

    async fetchImage({ name, repository, digest }, { output, moved, signal }) {
      const made = join(folder, `${name}.new`);
      await rm(made, { recursive: true, force: true });
      output(`fetching ${repository}@${digest}\n`);
      try {
        await options.openRegistry(options.registry).fetchImage(repository, digest, made, { signal, moved });
        return await keep(made, name);
      } catch (error) {
        await rm(made, { recursive: true, force: true });
        throw error;
      }
    },

    async inspect(reference) {
      const found = await readImage(reference);
      return found === undefined ? undefined : described(found);
    },

    async readLayers(reference, platform) {
      const images = (await readImage(reference))?.images ?? [];
      return (platform === undefined ? images[0] : images.find((each) => each.platform === platform))?.layers;
    },

    // The login is that of the registry itself, so it is left out where the Dockerfile is anybody's.
    resolve: (references, { platforms = [], anyPlatform = [], untrusted = false, signal }) =>
      resolveBases(references, {
        own: options.registry,
        open: options.openRegistry,
        openForeign: options.openForeign,
        untrusted,
        platforms: platforms.map(normalPlatform),
        anyPlatform,
        signal,
      }),

    // A layout has no names: those in the registry are given when it is pushed.
    tag: () => Promise.resolve(),

    async list(labels) {
      return (await withLabels(labels)).map((layout) => ({
        id: layout.root.digest,
        sizeBytes: sizeOf(layout.images),
        tags: [],
        digests: [],
        labels: layout.images[0]?.labels ?? {},
        createdAt: layout.images[0]?.layers.history[0]?.createdAt ?? new Date(0).toISOString(),
      }));
    },

    isUsed: () => Promise.resolve(false),

    async discard({ id }) {
      await discard(id);
      return true;
    },

    async save(id, target) {
      const layout = await readImage(id);
      if (layout === undefined) throw new ProviderError('EngineRefused', `there is no image ${id} in ${folder}`);
      const saved: SavedImage[] = [];
      for (const [index, image] of layout.images.entries()) {
        const path = join(target, `image-${index}`);
        await rm(path, { recursive: true, force: true });
        await writeSingleLayout(layout, image, path);
        saved.push({ platform: isList(layout) ? image.platform : undefined, form: 'oci-dir', path });
      }
      return saved;
    },

    readRoot: () => Promise.resolve(folder),
    remove: discard,
  };
}

/** Tells buildx where the daemon is, in files of the scratch folder that only this user can read. */
async function connect(
  buildx: string,
  scratch: string,
  { address, tls }: BuildKitDaemon,
  signal: AbortSignal,
): Promise<void> {
  const options: string[] = [];
  if (tls !== undefined) {
    for (const [name, text] of [
      ['cacert', tls.ca],
      ['cert', tls.certificate],
      ['key', tls.key],
    ] as const) {
      const file = join(scratch, `${name}.pem`);
      await writeFile(file, `${text.trimEnd()}\n`, { mode: 0o600 });
      options.push('--driver-opt', `${name}=${file}`);
    }
    if (tls.serverName !== undefined) options.push('--driver-opt', `servername=${tls.serverName}`);
  }
  const { exitCode, stderr, timedOut } = await runTool({
    command: [buildx, 'create', '--name', builderName, '--driver', 'remote', ...options, address],
    env: { BUILDX_CONFIG: join(scratch, 'buildx'), DOCKER_CONFIG: scratch },
    cwd: scratch,
    home: scratch,
    timeoutMs: callMs,
    signal,
  });
  if (exitCode === 0) return;
  const said = timedOut ? 'it took too long' : stderr.trim();
  throw new ProviderError('EngineRefused', `buildx does not take the BuildKit daemon at ${address}: ${said}`);
}

/** Named contexts go before what a registry says by then. */
function pinned(bases: Readonly<Record<string, string>> = {}): readonly string[] {
  return Object.entries(bases).flatMap(([name, digest]) => {
    // One with a digest of its own is pinned already.
    if (name.includes('@') || !digest.startsWith('sha256:')) return [];
    const repository = name.replace(/:[^/:]*$/, '');
    return ['--build-context', `${name}=docker-image://${repository}@${digest}`];
  });
}

async function read(folder: string): Promise<Layout> {
  try {
    return await readLayout(folder);
  } catch (error) {
    throw new ProviderError('BuildInterrupted', `what was built cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** @throws `BuildFailed` (not retried): what came is not for the platforms that were asked for. */
function checkPlatforms({ name, platforms }: BuildRequest, { images }: Layout): void {
  const built = images.map((image) => image.platform);
  const missing = platforms.map(normalPlatform).filter((platform) => !built.includes(platform));
  if (missing.length === 0 && images.length > 0) return;
  throw new ProviderError(
    'BuildFailed',
    `the build of ${name} made nothing for ${missing.join(', ') || 'any platform'}, only for ${built.join(', ') || 'none'}`,
    { details: { image: name, missing, built } },
  );
}

function described(layout: Layout): LocalImage {
  const { root, images } = layout;
  return {
    id: root.digest,
    sizeBytes: sizeOf(images),
    digests: [],
    labels: images[0]?.labels ?? {},
    ...(isList(layout)
      ? {
          platforms: images.map(({ platform, digest, sizeBytes, user }) => ({ platform, digest, sizeBytes, user })),
        }
      : {}),
  };
}

/** A list of one platform is a list all the same. */
function isList({ root, images }: Layout): boolean {
  return images.length !== 1 || images[0]?.digest !== root.digest;
}

/** Of the largest platform: that is what a machine will hold. */
function sizeOf(images: readonly LayoutImage[]): number {
  return Math.max(0, ...images.map(({ sizeBytes }) => sizeBytes));
}
