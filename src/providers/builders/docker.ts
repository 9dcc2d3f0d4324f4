import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import type { BuiltImage } from '../../domain/retention.ts';
import type { RegistryCredentials } from '../registries/port.ts';
import { packContext } from './context.ts';
import { readDockerignore } from './dockerignore.ts';
import {
  EngineEventError,
  connectEngine,
  engineError,
  isEngineGone,
  messageOf,
  readEvents,
  statusOf,
  type EngineEvent,
} from './engine.ts';
import type { ImageLayers } from '../../domain/image-layers.ts';
import { contextOfOne, labelDockerfile } from './labels.ts';
import type { BuildProgress, BuildRequest, ImageBuilder, LocalImage } from './port.ts';

/** Lines of a failed build that go into its error. */
const detailLines = 20;
/** What a container of a build ends with when somebody killed it: its engine on the way down, or the kernel for want of memory. */
const killedCodes = [137, 143];
/** What the engine says of mistakes in a Dockerfile or its context. */
const ownMistake =
  /COPY failed|ADD failed|unknown instruction|dockerfile parse|syntax error|build target|build stage|invalid (reference|from|flag)|not found|forbidden path|requires|failed to process/i;
/** How long a stopping engine may take to be seen to be gone, ms. */
const stoppingMs = 2_000;

/**
 * Builds by the engine's own builder, the one that every engine has: one request with the context, one answer that streams.
 *
 * @param address - of the engine, as in DOCKER_HOST.
 */
export async function createDockerBuilder(address: string): Promise<ImageBuilder> {
  const docker = await connectEngine(address);

  async function inspect(reference: string): Promise<LocalImage | undefined> {
    try {
      const { Id, Size, RepoDigests, Config } = (await docker.getImage(reference).inspect()) as InspectedImage;
      return { id: Id, sizeBytes: Size, digests: RepoDigests ?? [], labels: Config?.Labels ?? {} };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `look for the image ${reference}`);
    }
  }

  async function readLayers(reference: string): Promise<ImageLayers | undefined> {
    try {
      const image = docker.getImage(reference);
      const [{ Config, RootFS }, history] = await Promise.all([
        image.inspect() as Promise<InspectedImage>,
        image.history() as Promise<readonly HistoryEntry[]>,
      ]);
      return {
        user: Config?.User ?? '',
        settings: Object.fromEntries((Config?.Env ?? []).map(variableOf)),
        count: RootFS?.Layers?.length ?? 0,
        history: history.map(({ Created, CreatedBy }) => ({
          createdAt: new Date(Created * 1_000).toISOString(),
          instruction: CreatedBy ?? '',
        })),
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `read the layers of ${reference}`);
    }
  }

  async function pull(
    reference: string,
    progress: BuildProgress,
    credentials: RegistryCredentials | undefined,
  ): Promise<void> {
    const own = credentials !== undefined && reference.startsWith(`${credentials.address}/`);
    const auth = own
      ? {
          authconfig: {
            username: credentials.username,
            password: credentials.password,
            serveraddress: credentials.address,
          },
        }
      : {};
    progress.output(`fetching ${reference}\n`);
    const stream = (await docker.createImage({
      ...auth,
      fromImage: reference,
      ...(/[:@][^/]*$/.test(reference) ? {} : { tag: 'latest' }),
      abortSignal: progress.signal,
    })) as AsyncIterable<Buffer>;
    for await (const event of readEvents(stream)) {
      progress.moved();
      if (event.status !== undefined && event.progress === undefined) progress.output(`${lineOf(event)}\n`);
    }
  }

  async function ensureBase(
    reference: string,
    progress: BuildProgress,
    credentials: RegistryCredentials | undefined,
  ): Promise<string> {
    const here = await inspect(reference);
    if (here !== undefined) return here.id;
    try {
      await pull(reference, progress, credentials);
    } catch (error) {
      if (progress.signal.aborted) throw progress.signal.reason;
      throw pullError(error, reference);
    }
    const fetched = await inspect(reference);
    if (fetched !== undefined) return fetched.id;
    throw new ProviderError('BuildFailed', `the base image ${reference} was fetched and is not here`, {
      details: { image: reference },
    });
  }

  /** Layers of an earlier image help only an engine that has built nothing of the name: its own, also of other stages, are more. */
  async function cacheFrom(request: BuildRequest, progress: BuildProgress): Promise<readonly string[]> {
    if (request.cache === undefined) return [];
    const name = request.labels['slipway.image'];
    const project = request.labels['slipway.project'];
    const built = await listByLabels(docker, {
      ...(name && { 'slipway.image': name }),
      ...(project && { 'slipway.project': project }),
    });
    if (built.length > 0) return [];
    try {
      await ensureBase(request.cache, progress, request.credentials);
      return [request.cache];
    } catch (error) {
      if (progress.signal.aborted) throw error;
      progress.output(`no cache from ${request.cache}: ${messageOf(error)}\n`);
      return [];
    }
  }

  /** Reads one build to its end. @returns the id of the image. */
  async function follow(
    context: NodeJS.ReadableStream,
    options: Docker.ImageBuildOptions,
    { name, platforms, credentials }: BuildRequest,
    { signal, moved }: BuildProgress,
    tell: (text: string) => void,
  ): Promise<string> {
    const building = docker.buildImage(context, {
      ...options,
      ...(platforms[0] === undefined ? {} : { platform: platforms[0] }),
      ...(credentials === undefined
        ? {}
        : {
            registryconfig: {
              [credentials.address]: { username: credentials.username, password: credentials.password },
            },
          }),
      rm: true,
      forcerm: true,
      abortSignal: signal,
    });
    const stream = await building.catch((error: unknown) => {
      // Without an answer nothing has begun.
      throw isEngineGone(error) && !signal.aborted ? engineError(error, `build ${name}`) : error;
    });
    let id: string | undefined;
    for await (const event of readEvents(stream as AsyncIterable<Buffer>)) {
      moved();
      id = event.aux?.ID ?? id;
      const text =
        event.stream ?? (event.status === undefined || event.progress !== undefined ? '' : `${lineOf(event)}\n`);
      if (text !== '') tell(text);
    }
    if (id === undefined) throw new ProviderError('BuildInterrupted', `the build of ${name} broke off before its end`);
    return id;
  }

  /** Whether an image made from this one would run something of it (ONBUILD): then it cannot be labelled by being made from. */
  async function hasTriggers(id: string): Promise<boolean> {
    const { Config } = (await docker.getImage(id).inspect()) as InspectedImage;
    return (Config?.OnBuild ?? []).length > 0;
  }

  /** @returns the id of the image. */
  async function runBuild(request: BuildRequest, progress: BuildProgress, said: Tail): Promise<string> {
    const { labels } = request;
    const cachefrom = await cacheFrom(request, progress);
    const make = (own: Readonly<Record<string, string>>): Promise<string> => {
      const context = packContext({
        folder: request.folder,
        ignores: readDockerignore(request.ignore),
        always: [request.dockerfile, '.dockerignore', `${request.dockerfile}.dockerignore`],
        modifiedAt: request.modifiedAt,
      });
      const options = {
        dockerfile: request.dockerfile,
        ...(request.target === undefined ? {} : { target: request.target }),
        buildargs: { ...request.args },
        labels: { ...own },
        ...(request.network === 'none' ? { networkmode: 'none' } : {}),
        ...(cachefrom.length === 0 ? {} : { cachefrom: JSON.stringify(cachefrom) }),
      };
      return follow(context as unknown as NodeJS.ReadableStream, options, request, progress, (text) => {
        said.push(text);
        progress.output(text);
      });
    };
    if (labelDockerfile('scratch', labels) === undefined) return await make(labels);
    const id = await make({});
    // All but the labels is in the engine's cache then.
    if (await hasTriggers(id)) return await make(labels);
    const context = contextOfOne(labelDockerfile(id, labels) ?? '');
    // What the engine says of it is of interest only where it refuses it.
    return await follow(context, { dockerfile: 'Dockerfile' }, request, progress, (text) => said.push(text));
  }

  /** A killed container is either the engine on its way down, which shows at once, or the build's own fault. */
  async function isGoingDown(): Promise<boolean> {
    const deadline = performance.now() + stoppingMs;
    do {
      const answers = await docker.ping().then(
        () => true,
        () => false,
      );
      if (!answers) return true;
      await delay(200);
    } while (performance.now() < deadline);
    return false;
  }

  async function buildError(error: unknown, request: BuildRequest, said: Tail): Promise<Error> {
    if (error instanceof ProviderError) return error;
    if (isEngineGone(error)) {
      return new ProviderError(
        'BuildInterrupted',
        `the engine went away in the middle of the build of ${request.name}`,
        { cause: error },
      );
    }
    const message = messageOf(error);
    const code = error instanceof EngineEventError ? error.code : undefined;
    const killed = code !== undefined && killedCodes.includes(code);
    // What is neither the status of a command nor a known mistake is most often an engine that is being stopped: it takes the ground away
    // from under its builds before it goes.
    const unclear = killed || (code === undefined && !ownMistake.test(message));
    if (/context canceled|shutting down/i.test(message) || (unclear && (await isGoingDown()))) {
      return new ProviderError('BuildInterrupted', `the engine stopped in the middle of the build of ${request.name}`, {
        cause: error,
      });
    }
    if (/no space left on device/i.test(message)) {
      return new ProviderError('DiskFull', `no room is left for the build of ${request.name} on the engine's disk`, {
        cause: error,
      });
    }
    if (!(error instanceof EngineEventError) && unclear && (statusOf(error) ?? 0) >= 500) {
      return engineError(error, `build ${request.name}`);
    }
    const lines = [...said.lines(), message];
    return new ProviderError(
      'BuildFailed',
      [`the build of ${request.name} failed: ${message}`, ...said.lines()].join('\n'),
      {
        details: { image: request.name, lastLines: lines.slice(-detailLines), ...(killed ? { killed: true } : {}) },
      },
    );
  }

  async function hasContainers(id: string): Promise<boolean> {
    const filters = JSON.stringify({ ancestor: [id] });
    return (await docker.listContainers({ all: true, filters })).length > 0;
  }

  return {
    inspect,
    readLayers,

    async resolve(references, { credentials, ...progress }) {
      const found: Record<string, string> = {};
      for (const reference of references) found[reference] = await ensureBase(reference, progress, credentials);
      return found;
    },

    async build(request, progress) {
      refuseSeveralPlatforms(request);
      const said = createTail();
      let id: string;
      try {
        id = await runBuild(request, progress, said);
      } catch (error) {
        if (progress.signal.aborted) throw progress.signal.reason;
        throw await buildError(error, request, said);
      }
      const built = await inspect(id);
      if (built !== undefined) return built;
      throw new ProviderError('BuildInterrupted', `${request.name} was built as ${id} and is gone`);
    },

    async tag(id, repository, tag) {
      try {
        await docker.getImage(id).tag({ repo: repository, tag });
      } catch (error) {
        throw engineError(error, `tag ${repository}:${tag}`);
      }
    },

    async list(labels) {
      const images = await listByLabels(docker, labels);
      return images.map(({ Id, Size, RepoTags, RepoDigests, Labels, Created }: ListedImage): BuiltImage => {
        return {
          id: Id,
          sizeBytes: Size,
          tags: named(RepoTags),
          digests: named(RepoDigests),
          labels: Labels ?? {},
          createdAt: new Date(Created * 1000).toISOString(),
        };
      });
    },

    async isUsed({ id }) {
      try {
        return await hasContainers(id);
      } catch (error) {
        throw engineError(error, `look for containers of ${id}`);
      }
    },

    async discard({ id, tags, digests }) {
      try {
        if (await hasContainers(id)) return false;
        // Name by name, for one that is known in several repositories is not removed by its id; the last name takes the image along.
        for (const name of [...tags, ...digests, id]) {
          await docker
            .getImage(name)
            .remove()
            .catch((error: unknown) => {
              if (statusOf(error) !== 404) throw error;
            });
        }
        return true;
      } catch (error) {
        // A container of it has come between.
        if (statusOf(error) === 409) return false;
        throw engineError(error, `remove the image ${id}`);
      }
    },

    async save(id, folder, { moved, signal }) {
      const path = join(folder, 'image.tar');
      try {
        const stream = (await docker.getImage(id).get()) as unknown as AsyncIterable<Buffer>;
        const moving = async function* (): AsyncGenerator<Buffer> {
          for await (const chunk of stream) {
            moved();
            yield chunk;
          }
        };
        await pipeline(moving, createWriteStream(path), { signal });
        return [{ form: 'docker-archive', path }];
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
          throw new ProviderError('DiskFull', `no room is left for ${path}`, { cause: error });
        }
        throw engineError(error, `save the image ${id}`);
      }
    },

    async readRoot() {
      try {
        const { DockerRootDir } = (await docker.info()) as { readonly DockerRootDir: string };
        return DockerRootDir;
      } catch (error) {
        throw engineError(error, 'ask where images lie');
      }
    },

    async remove(id) {
      try {
        // Without its parents: they are the cache of the next build.
        await docker.getImage(id).remove({ noprune: true });
      } catch (error) {
        if (![404, 409].includes(statusOf(error) ?? 0)) throw engineError(error, `remove the image ${id}`);
      }
    },
  };
}

/**
 * One engine keeps an image of one platform.
 *
 * @throws `EngineRefused` (not retried)
 */
export function refuseSeveralPlatforms({ name, platforms }: Pick<BuildRequest, 'name' | 'platforms'>): void {
  if (platforms.length <= 1) return;
  throw new ProviderError(
    'EngineRefused',
    `${name} asks for several platforms (${platforms.join(', ')}), of which a Docker engine keeps one. Give the project a BuildKit daemon: \`builds.builder: { kind: buildkit, address: unix:///run/buildkit/buildkitd.sock }\``,
    { details: { image: name, platforms: [...platforms] } },
  );
}

/** What is used of a listed image; an engine gives null for an empty list. */
interface ListedImage {
  readonly Id: string;
  readonly Size: number;
  readonly RepoTags?: readonly string[] | null | undefined;
  readonly RepoDigests?: readonly string[] | null | undefined;
  readonly Labels?: Readonly<Record<string, string>> | null | undefined;
  readonly Created: number;
}

/** Engines list an image without a name as `<none>`. */
function named(names: readonly string[] | null | undefined): readonly string[] {
  return (names ?? []).filter((name) => !name.includes('<none>'));
}

/** What is used of an inspected image. An engine leaves empty fields out, whatever its types say. */
interface InspectedImage {
  readonly Id: string;
  readonly Size: number;
  readonly RepoDigests?: readonly string[] | null;
  readonly Config?: {
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Env?: readonly string[] | null;
    readonly User?: string | null;
    readonly OnBuild?: readonly string[] | null;
  } | null;
  readonly RootFS?: { readonly Layers?: readonly string[] | null } | null;
}

/** One entry of what the engine calls the history of an image, the newest first. */
interface HistoryEntry {
  /** Seconds since 1970. */
  readonly Created: number;
  readonly CreatedBy?: string;
}

function variableOf(line: string): readonly [string, string] {
  const at = line.indexOf('=');
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
}

/** Newest first. */
async function listByLabels(
  docker: Docker,
  labels: Readonly<Record<string, string>>,
): Promise<readonly Docker.ImageInfo[]> {
  const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  if (label.length === 0) return [];
  try {
    const images = await docker.listImages({ filters: JSON.stringify({ label }) });
    return images.sort((a, b) => b.Created - a.Created);
  } catch (error) {
    throw engineError(error, 'list images');
  }
}

function pullError(error: unknown, reference: string): Error {
  const said = messageOf(error);
  const status = statusOf(error);
  const details = { image: reference };
  if (/not found|manifest unknown|access denied|denied|unauthorized|does not exist|invalid reference/i.test(said)) {
    return new ProviderError('BuildFailed', `the base image ${reference} cannot be had: ${said}`, {
      details,
      cause: error,
    });
  }
  if (isEngineGone(error)) return engineError(error, `fetch the base image ${reference}`);
  if (error instanceof EngineEventError || (status !== undefined && status >= 500)) {
    return new ProviderError('RegistryUnavailable', `the base image ${reference} could not be fetched: ${said}`, {
      details,
      cause: error,
    });
  }
  return engineError(error, `fetch the base image ${reference}`);
}

function lineOf(event: EngineEvent): string {
  return event.id === undefined ? (event.status ?? '') : `${event.id}: ${event.status ?? ''}`;
}

/** The last lines of what was said. */
interface Tail {
  push(text: string): void;
  lines(): readonly string[];
}

function createTail(): Tail {
  let text = '';
  return {
    push(more) {
      text = (text + more).slice(-16_384);
    },
    lines: () =>
      text

        .replaceAll(/\u001b\[[\d;]*m/g, '')
        .split(/\r?\n|\r/)
        .filter((line) => line.trim() !== '')
        .slice(-detailLines),
  };
}
