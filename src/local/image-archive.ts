import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Header, type Pack, pack } from 'tar-stream';
import { withScratch } from '../effects/scratch-folder.ts';
import type { LocalContext } from './context.ts';
import { lastLines, runHelper } from './programs.ts';

/** A program to put into an image; its libraries come along. */
export interface ImageProgram {
  /** On this machine. */
  readonly from: string;
  /** In the image. */
  readonly to: string;
  /** More names for it, as links. */
  readonly links?: readonly string[];
}

/** A folder to put into an image as it is; the libraries of the shared objects in it come along, links to folders do not. */
export interface ImageFolder {
  /** On this machine. */
  readonly from: string;
  /** In the image. */
  readonly to: string;
  /** Whether a file or folder, by its path from `from`, stays out. Default: none does. */
  readonly leaveOut?: (path: string) => boolean;
}

/** What an image is made of. */
export interface ImageRecipe {
  readonly tag: string;
  readonly programs: readonly ImageProgram[];
  /** Default: none. */
  readonly folders?: readonly ImageFolder[];
  readonly env: Readonly<Record<string, string>>;
  readonly cmd: readonly string[];
}

/** Everything that will be in an image, by its path in it. */
export interface ImageContent {
  readonly files: readonly ImageFile[];
  /** Path and what it leads to. */
  readonly links: readonly (readonly [string, string])[];
  /** Of contents and recipe; where on this machine they lie, and how old they are, is no part of it. 16 hexadecimal characters. */
  readonly fingerprint: string;
}

interface ImageFile {
  readonly to: string;
  readonly from: string;
  readonly sha256: string;
  /** All that is kept of its rights: those of others depend on the umask of whoever installed it. */
  readonly executable: boolean;
}

/** Raised whenever an image made by older code would no longer do. */
const recipeVersion = 2;
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Time of everything in an image: a time of its own would be an id of its own. */
const epoch = new Date(0);

/**
 * Looks up what a recipe comes to on this machine. Half a second for an image with Node.
 *
 * @throws Error - a program or one of its libraries is not there.
 */
export async function readContent(context: LocalContext, recipe: ImageRecipe): Promise<ImageContent> {
  const sources = new Map<string, string>();
  const links = new Map<string, string>();
  for (const program of recipe.programs) {
    for (const link of program.links ?? []) if (!links.has(link)) links.set(link, program.to);
    sources.set(program.to, program.from);
    for (const library of await librariesOf(context, [program.from])) sources.set(library, library);
  }
  for (const folder of recipe.folders ?? []) {
    const objects: string[] = [];
    for (const path of filesIn(folder)) {
      const from = join(folder.from, path);
      sources.set(join(folder.to, path), from);
      if (/\.so(?:\.|$)/.test(path)) objects.push(from);
    }
    for (let at = 0; at < objects.length; at += mostAtOnce) {
      const libraries = await librariesOf(context, objects.slice(at, at + mostAtOnce));
      for (const library of libraries) sources.set(library, library);
    }
  }
  const certificates = '/etc/ssl/certs/ca-certificates.crt';
  if (existsSync(certificates)) sources.set(certificates, certificates);
  const files: ImageFile[] = [];
  for (const [to, from] of sorted(sources)) {
    const executable = (statSync(from).mode & 0o111) !== 0;
    files.push({ to, from, executable, sha256: await sha256Of(from) });
  }
  // A real program, such as bash beside busybox, goes before a link of the same name.
  const free = sorted(links).filter(([link]) => !sources.has(link));
  const parts = [
    recipeVersion,
    recipe.tag,
    sorted(Object.entries(recipe.env)),
    recipe.cmd,
    files.map(({ to, sha256, executable }) => [to, sha256, executable]),
    free,
  ];
  const fingerprint = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
  return { files, links: free, fingerprint };
}

/**
 * Writes an image as `docker save` would, for as long as the work takes. Equal contents are equal bytes, and so have the same id on every engine.
 */
export async function withImageArchive<T>(
  options: {
    /** `name:tag` that it gets. */
    readonly image: string;
    readonly recipe: ImageRecipe;
    readonly content: ImageContent;
    readonly labels: Readonly<Record<string, string>>;
  },
  work: (file: string) => Promise<T>,
): Promise<T> {
  return await withScratch('image', async (folder) => {
    const { image, recipe, content, labels } = options;
    const layer = join(folder, 'layer.tar');
    const diffId = await writeTar(layer, (tar) => fillLayer(tar, content));
    const config = Buffer.from(
      JSON.stringify({
        architecture: architectures[process.arch] ?? process.arch,
        os: 'linux',
        created: epoch.toISOString(),
        config: {
          Env: envOf(recipe),
          Cmd: recipe.cmd,
          Labels: labels,
        },
        rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
        history: [{ created: epoch.toISOString(), created_by: 'slipway, of programs of a machine' }],
      }),
    );
    const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
    const manifest = JSON.stringify([{ Config: configName, RepoTags: [image], Layers: ['layer.tar'] }]);
    const archive = join(folder, 'image.tar');
    await writeTar(archive, async (tar) => {
      await add(tar, { name: configName }, config);
      await addFile(tar, { name: 'layer.tar', mode: 0o644 }, layer);
      await add(tar, { name: 'manifest.json' }, Buffer.from(manifest));
    });
    return await work(archive);
  });
}

/** The usual search path first, unless the recipe has one of its own. */
function envOf({ env }: ImageRecipe): readonly string[] {
  const { PATH = searchPath, ...others } = env;
  return [`PATH=${PATH}`, ...sorted(Object.entries(others)).map(([key, value]) => `${key}=${value}`)];
}

/** As images call what Node calls otherwise. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

async function fillLayer(tar: Pack, { files, links }: ImageContent): Promise<void> {
  for (const [name, mode, owner] of [
    ['tmp', 0o1777, 0],
    ['var/tmp', 0o1777, 0],
    ['root', 0o700, 0],
    ['etc', 0o755, 0],
    ['run', 0o755, 0],
    ['home/node', 0o755, 1000],
  ] as const) {
    await add(tar, { name, type: 'directory', mode, uid: owner, gid: owner });
  }
  const users = [
    'root:x:0:0:root:/root:/bin/sh',
    'node:x:1000:1000:node:/home/node:/bin/sh',
    'nobody:x:65534:65534:nobody:/:/bin/false',
  ];
  await add(tar, { name: 'etc/passwd' }, Buffer.from(`${users.join('\n')}\n`));
  await add(tar, { name: 'etc/group' }, Buffer.from('root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n'));
  await add(tar, { name: 'etc/nsswitch.conf' }, Buffer.from('hosts: files dns\n'));
  for (const { to, from, executable } of files) {
    await addFile(tar, { name: to.slice(1), mode: executable ? 0o755 : 0o644 }, from);
  }
  for (const [link, to] of links) await add(tar, { name: link.slice(1), type: 'symlink', linkname: to });
}

type EntryHeader = Partial<Header> & Pick<Header, 'name'>;

/** @returns its SHA-256, hexadecimal. */
async function writeTar(file: string, fill: (tar: Pack) => Promise<void>): Promise<string> {
  const tar = pack();
  const hash = createHash('sha256');
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const written = pipeline(tar, counted, createWriteStream(file));
  const filled = fill(tar).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error as Error),
  );
  await Promise.all([written, filled]);
  return hash.digest('hex');
}

async function add(tar: Pack, header: EntryHeader, body?: Buffer): Promise<void> {
  await new Promise<void>((done, fail) => {
    const whole = { mode: 0o644, ...header, mtime: epoch, ...(body === undefined ? {} : { size: body.length }) };
    const entry = tar.entry(whole, (error) => {
      if (error instanceof Error) fail(error);
      else done();
    });
    if (body !== undefined) entry.end(body);
  });
}

async function addFile(tar: Pack, header: EntryHeader, from: string): Promise<void> {
  const real = realpathSync(from);
  await pipeline(createReadStream(real), tar.entry({ ...header, mtime: epoch, size: statSync(real).size }));
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Shared objects that one `ldd` looks at; judgement, far below what a command line may hold. */
const mostAtOnce = 100;

/** Every file of a folder that is not left out, by its path from there. */
function* filesIn(folder: ImageFolder, path = ''): Generator<string> {
  for (const entry of readdirSync(join(folder.from, path), { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (folder.leaveOut?.(inner) === true) continue;
    if (entry.isDirectory()) yield* filesIn(folder, inner);
    else if (statSync(join(folder.from, inner), { throwIfNoEntry: false })?.isFile() === true) yield inner;
  }
}

/** The shared libraries of programs, and their loader; none for static ones. */
async function librariesOf(context: LocalContext, programs: readonly string[]): Promise<string[]> {
  const { exitCode, stdout, stderr } = await runHelper(context, 'ldd', programs);
  const names = programs.map((program) => basename(program)).join(', ');
  if (exitCode !== 0 && !/not a dynamic executable|statically linked/.test(stdout + stderr)) {
    throw new Error(`ldd ${names} failed: ${lastLines(stderr)}`);
  }
  const missing = /^\s*(\S+) => not found/m.exec(stdout)?.[1];
  if (missing !== undefined) throw new Error(`${names} needs ${missing}, which this machine does not have`);
  return [...stdout.matchAll(/(?:=>\s+)?(\/\S+)\s+\(0x/g)].map((match) => match[1] ?? '').filter((path) => path !== '');
}

function sorted(entries: Iterable<readonly [string, string]>): readonly (readonly [string, string])[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}
