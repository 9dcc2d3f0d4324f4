import { createHash } from 'node:crypto';
import { createReadStream, existsSync, realpathSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import { type Pack, pack } from 'tar-stream';
import { type LocalContext, announce } from './context.ts';
import { type DockerHandle, connectDocker } from './docker.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, lastLines, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';
import { withLock } from './state.ts';
import { join } from 'node:path';

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

/** Raised whenever an image made by older code would no longer do. */
const recipeVersion = 1;
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

/** A program to put into an image; its libraries come along. */
export interface ImageProgram {
  /** On this machine. */
  readonly from: string;
  /** In the image. */
  readonly to: string;
  /** More names for it, as links. */
  readonly links?: readonly string[];
}

/** What an image is made of. */
export interface ImageRecipe {
  readonly tag: string;
  readonly programs: readonly ImageProgram[];
  readonly env: Readonly<Record<string, string>>;
  readonly cmd: readonly string[];
}

/**
 * Finds `slipway/<name>:<tag>`, or the public image where it is asked for and can be had, or makes it of programs of
 * this machine.
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
    const { tag, programs, env, cmd } = await recipe();
    const image = `slipway/${name}:${tag}`;
    const fingerprint = fingerprintOf({ tag, programs, env, cmd });
    if ((await labelsOf(engine, image))?.[recipeLabel] === fingerprint) return { name, how: 'found', image };
    await announce(context, name, `making ${image} of ${programs.map(({ from }) => basename(from)).join(', ')}`, () =>
      importImage(context, engine, image, programs, [
        `ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        ...Object.entries(env).map(([key, value]) => `ENV ${key}=${value}`),
        `LABEL ${recipeLabel}=${fingerprint}`,
        `CMD ${JSON.stringify(cmd)}`,
      ]),
    );
    return { name, how: 'started', image };
  });
}

function fingerprintOf(recipe: ImageRecipe): string {
  const files = recipe.programs.map(({ from }) => {
    const { size, mtimeMs } = statSync(from);
    return [size, mtimeMs];
  });
  const text = JSON.stringify([recipeVersion, recipe, files]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
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

async function importImage(
  context: LocalContext,
  engine: Docker,
  image: string,
  programs: readonly ImageProgram[],
  changes: readonly string[],
): Promise<void> {
  const archive = pack();
  const [repo, tag] = image.split(':') as [string, string];
  const filling = fill(context, archive, programs).catch((error: unknown) => {
    archive.destroy(error as Error);
    throw error;
  });
  // The query string carries one `changes` for each line; the client's types know only of one.
  const options = { repo, tag, changes } as unknown as { repo: string; tag: string };
  const response = await engine.importImage(archive as unknown as NodeJS.ReadableStream, options);
  await filling;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    for (const line of chunk.toString('utf8').split('\n')) {
      if (line.trim() !== '') readPullEvent(line, () => undefined);
    }
  }
}

async function fill(context: LocalContext, archive: Pack, programs: readonly ImageProgram[]): Promise<void> {
  addSkeleton(archive);
  const files = new Map<string, string>();
  const links = new Map<string, string>();
  for (const program of programs) {
    for (const link of program.links ?? []) if (!links.has(link)) links.set(link, program.to);
    files.set(program.to, program.from);
    for (const library of await librariesOf(context, program.from)) files.set(library, library);
  }
  const certificates = '/etc/ssl/certs/ca-certificates.crt';
  if (existsSync(certificates)) files.set(certificates, certificates);
  for (const [to, from] of files) await addFile(archive, from, to);
  for (const [link, to] of links) {
    // A real program, such as bash beside busybox, goes before a link of the same name.
    if (!files.has(link)) archive.entry({ name: link.slice(1), type: 'symlink', linkname: to });
  }
  archive.finalize();
}

function addSkeleton(archive: Pack): void {
  for (const [name, mode] of [
    ['tmp', 0o1777],
    ['var/tmp', 0o1777],
    ['root', 0o700],
    ['etc', 0o755],
    ['run', 0o755],
  ] as const) {
    archive.entry({ name, type: 'directory', mode });
  }
  archive.entry({ name: 'home/node', type: 'directory', mode: 0o755, uid: 1000, gid: 1000 });
  const users = [
    'root:x:0:0:root:/root:/bin/sh',
    'node:x:1000:1000:node:/home/node:/bin/sh',
    'nobody:x:65534:65534:nobody:/:/bin/false',
  ];
  archive.entry({ name: 'etc/passwd', mode: 0o644 }, `${users.join('\n')}\n`);
  archive.entry({ name: 'etc/group', mode: 0o644 }, 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n');
  archive.entry({ name: 'etc/nsswitch.conf', mode: 0o644 }, 'hosts: files dns\n');
}

/** The shared libraries of a program, and its loader; none for a static one. */
async function librariesOf(context: LocalContext, program: string): Promise<string[]> {
  const { exitCode, stdout, stderr } = await runHelper(context, 'ldd', [program]);
  if (exitCode !== 0) {
    if (/not a dynamic executable|statically linked/.test(stdout + stderr)) return [];
    throw new Error(`ldd ${program} failed: ${lastLines(stderr)}`);
  }
  const missing = /^\s*(\S+) => not found/m.exec(stdout)?.[1];
  if (missing !== undefined) throw new Error(`${program} needs ${missing}, which this machine does not have`);
  return [...stdout.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)].map((match) => match[1] ?? '').filter((path) => path !== '');
}

async function addFile(archive: Pack, from: string, to: string): Promise<void> {
  const real = realpathSync(from);
  const { size, mode } = statSync(real);
  const entry = archive.entry({ name: to.slice(1), size, mode: mode & 0o755 });
  await pipeline(createReadStream(real), entry);
}
