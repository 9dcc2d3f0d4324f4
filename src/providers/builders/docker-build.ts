import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import { packContext } from './context.ts';
import type { EnsureBase } from './docker-bases.ts';
import { type DockerImages, listByLabels } from './docker-images.ts';
import { readDockerignore } from './dockerignore.ts';
import {
  EngineEventError,
  engineError,
  isEngineGone,
  messageOf,
  progressLine,
  readEvents,
  statusOf,
} from './engine.ts';
import { contextOfOne, labelDockerfile } from './labels.ts';
import type { BuildProgress, BuildRequest } from './port.ts';

/** Lines of a failed build that go into its error. */
const detailLines = 20;
/** What a container of a build ends with when somebody killed it: its engine on the way down, or the kernel for want of memory. */
const killedCodes = [137, 143];
/** What the engine says of mistakes in a Dockerfile or its context. */
const ownMistake =
  /COPY failed|ADD failed|unknown instruction|dockerfile parse|syntax error|build target|build stage|invalid (reference|from|flag)|not found|forbidden path|requires|failed to process/i;
/** How long a stopping engine may take to be seen to be gone, ms. */
const stoppingMs = 2_000;

/** Builds one image. @returns its id. @throws what `ImageBuilder.build` throws. */
export type RunBuild = (request: BuildRequest, progress: BuildProgress) => Promise<string>;

/** Runs builds with one engine: from the packed context to the id, and from what the engine says to what failed. */
export function createBuildRunner(docker: Docker, images: DockerImages, ensureBase: EnsureBase): RunBuild {
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
        event.stream ?? (event.status === undefined || event.progress !== undefined ? '' : `${progressLine(event)}\n`);
      if (text !== '') tell(text);
    }
    if (id === undefined) throw new ProviderError('BuildInterrupted', `the build of ${name} broke off before its end`);
    return id;
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
    if (await images.hasTriggers(id)) return await make(labels);
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

  return async (request, progress) => {
    const said = createTail();
    try {
      return await runBuild(request, progress, said);
    } catch (error) {
      if (progress.signal.aborted) throw progress.signal.reason;
      throw await buildError(error, request, said);
    }
  };
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
