import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import type Docker from 'dockerode';
import { type LocalContext, announce } from './context.ts';
import { type DockerHandle, connectDocker } from './docker.ts';
import { type ImageProgram, type ImageRecipe, readContent, withImageArchive } from './image-archive.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';
import { withLock } from './state.ts';

export type { ImageFolder, ImageProgram, ImageRecipe } from './image-archive.ts';

/** An image on the engine of this machine. */
export interface ImageHandle {
  readonly name: string;
  readonly how: 'found' | 'started';
  /** As it stands in `FROM`. */
  readonly image: string;
}

/** Where an image comes from: the public one where the engine can pull it, or one made of this machine's programs. */
export interface ImageOptions {
  /** Tried first, such as `node:24-slim`. Default: not tried. */
  readonly publicImage?: string | undefined;
}

/** Label that says what an image was made of. */
const recipeLabel = 'slipway.recipe';

/**
 * An image with Node, a shell and the usual small tools, made without a download: the Node that runs this, the
 * libraries that `ldd` names, and busybox. 106 MB, in a second or two.
 *
 * @throws ProviderError `ToolMissing` (not retried) - no busybox, and it cannot be installed.
 */
export async function ensureNodeBaseImage(
  context: LocalContext,
  docker: DockerHandle,
  options: ImageOptions = {},
): Promise<ImageHandle> {
  return await ensureImage(context, docker, 'node-base', options, async () => ({
    tag: process.versions.node,
    programs: [{ from: process.execPath, to: '/usr/local/bin/node' }, await busybox(context)],
    env: { NODE_VERSION: process.versions.node },
    cmd: ['node'],
  }));
}

/**
 * As {@link ensureNodeBaseImage}, with bash and git where this machine has them: what steps run in by default.
 */
export async function ensureToolsImage(
  context: LocalContext,
  docker: DockerHandle,
  options: ImageOptions = {},
): Promise<ImageHandle> {
  return await ensureImage(context, docker, 'tools', options, async () => ({
    tag: process.versions.node,
    programs: [
      { from: process.execPath, to: '/usr/local/bin/node' },
      await busybox(context),
      ...['bash', 'git'].flatMap((name) => {
        const from = findProgram(context, name);
        return from === undefined ? [] : [{ from, to: `/usr/bin/${name}` }];
      }),
    ],
    env: { NODE_VERSION: process.versions.node },
    cmd: ['sh'],
  }));
}

/**
 * Finds `slipway/<name>:<tag>`, or the public image where it is asked for and can be had, or makes it of programs of
 * this machine.
 *
 * What is made has the same id wherever it is made of the same contents: installations that share an engine, and builds that begin from it,
 * must not see it change under them.
 */
export async function ensureImage(
  context: LocalContext,
  docker: DockerHandle,
  name: string,
  options: ImageOptions,
  recipe: () => Promise<ImageRecipe>,
): Promise<ImageHandle> {
  const engine = connectDocker(docker.address);
  const { publicImage } = options;
  if (publicImage !== undefined) {
    if (await hasImage(engine, publicImage)) return { name, how: 'found', image: publicImage };
    try {
      await pullImage(context, docker, publicImage);
      return { name, how: 'started', image: publicImage };
    } catch (error) {
      const message = `${publicImage} cannot be pulled (${reasonOf(error)}), making one of this machine's programs`;
      context.report({ component: name, message, elapsedMs: 0 });
    }
  }
  return await withLock(join(context.stateFolder, 'run', `image-${name}.lock`), async () => {
    const wanted = await recipe();
    const image = `slipway/${name}:${wanted.tag}`;
    const content = await readContent(context, wanted);
    if ((await labelsOf(engine, image))?.[recipeLabel] === content.fingerprint) return { name, how: 'found', image };
    const programs = wanted.programs.map(({ from }) => basename(from)).join(', ');
    await announce(context, name, `making ${image} of ${programs}`, () =>
      withImageArchive(
        { image, content, recipe: wanted, labels: { [recipeLabel]: content.fingerprint } },
        async (file) => await loadImage(engine, file),
      ),
    );
    return { name, how: 'started', image };
  });
}

async function hasImage(engine: Docker, image: string): Promise<boolean> {
  return (await labelsOf(engine, image)) !== undefined;
}

/** @returns undefined where there is no such image. */
async function labelsOf(engine: Docker, image: string): Promise<Record<string, string> | undefined> {
  try {
    // The engine leaves the labels out as null, whatever its client's types say.
    const { Config } = (await engine.getImage(image).inspect()) as {
      Config?: { Labels?: Record<string, string> | null };
    };
    return Config?.Labels ?? {};
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return undefined;
    throw error;
  }
}

/** Pulls an image unless the engine has it. Throws as {@link pullImage} does. */
export async function ensureImagePulled(context: LocalContext, docker: DockerHandle, image: string): Promise<void> {
  if (!(await hasImage(connectDocker(docker.address), image))) await pullImage(context, docker, image);
}

/** A machine without internet must notice soon; a layer may take its time once it comes. */
const firstProgressMs = 8_000;
const stallMs = 60_000;

/**
 * Pulls an image.
 *
 * @throws Error - the engine's own reason, or no progress for 8 s at the beginning or 60 s later.
 */
export async function pullImage(context: LocalContext, docker: DockerHandle, image: string): Promise<void> {
  const engine = connectDocker(docker.address);
  const reference = image.includes(':') ? image : `${image}:latest`;
  await announce(context, 'docker', `pulling ${reference}`, async (detail) => {
    const abort = new AbortController();
    const giveUpAfter = (ms: number): NodeJS.Timeout =>
      setTimeout(() => {
        abort.abort(new Error(`no progress for ${String(ms / 1000)} s`));
      }, ms);
    let timer = giveUpAfter(firstProgressMs);
    try {
      const stream = (await engine.pull(reference, { abortSignal: abort.signal })) as AsyncIterable<Buffer>;
      let text = '';
      for await (const chunk of stream) {
        clearTimeout(timer);
        timer = giveUpAfter(stallMs);
        const lines = (text + chunk.toString('utf8')).split('\n');
        text = lines.pop() ?? '';
        for (const line of lines) readPullEvent(line, detail);
      }
      if (text.trim() !== '') readPullEvent(text, detail);
    } catch (error) {
      throw new Error(reasonOf(abort.signal.aborted ? abort.signal.reason : error), { cause: error });
    } finally {
      clearTimeout(timer);
    }
  });
}

/** A pull that fails half-way ends like one that succeeds, but for one line of its stream. */
function readPullEvent(line: string, detail: (line: string) => void): void {
  const event = JSON.parse(line) as { error?: string; status?: string; id?: string; progress?: string };
  if (event.error !== undefined) throw new Error(event.error);
  detail([event.id, event.status, event.progress].filter((part) => part !== undefined).join(' '));
}

async function busybox(context: LocalContext): Promise<ImageProgram> {
  const from = await obtain(
    'busybox',
    [
      { what: '`busybox` on PATH', take: () => findProgram(context, 'busybox') },
      {
        what: 'installing busybox-static by apt',
        take: async () => {
          await installDebianPackages(context, 'images', ['busybox-static']);
          return findProgram(context, 'busybox');
        },
      },
    ],
    'Install busybox, or let the Docker engine pull public images.',
  );
  const listed = await runHelper(context, from, ['--list-full']);
  const links = listed.stdout
    .split('\n')
    .filter((path) => path !== '' && basename(path) !== 'busybox')
    .map((path) => `/${path}`);
  return { from, to: '/bin/busybox', links };
}

/** @throws Error - the engine's own reason. */
async function loadImage(engine: Docker, file: string): Promise<void> {
  const response = (await engine.loadImage(createReadStream(file))) as AsyncIterable<Buffer>;
  let text = '';
  for await (const chunk of response) text += chunk.toString('utf8');
  // A load that fails half-way answers 200 all the same.
  for (const line of text.split('\n')) if (line.trim() !== '') readPullEvent(line, () => undefined);
}
