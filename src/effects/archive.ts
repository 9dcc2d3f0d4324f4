import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress, createZstdDecompress } from 'node:zlib';
import { type Pack, extract, pack } from 'tar-stream';
import { ProviderError } from '../domain/failures.ts';
import { nameOfOpen, openFolderInside, openInside } from './inside.ts';

/** Something to pack: a file or folder at a path below a root, under a name in the archive. */
export interface PackedPath {
  readonly root: string;
  readonly path: string;
  /** First part of its name in the archive. */
  readonly as: string;
}

export interface ArchiveLimits {
  /** Of all files, unpacked. */
  readonly bytes: number;
  readonly files: number;
}

/** Most entries of an archive. Judgement: a large `node_modules` has 60,000. */
export const mostArchivedFiles = 300_000;

/**
 * Packs files as they are, links as links, compressed with zstd. Nothing outside of the roots is ever read, whatever is put behind a path
 * meanwhile. What is not there is left out.
 *
 * The stream fails with `TooLarge` (not retried) where the limits are passed.
 *
 * @param look - sees what is in each file and gives it on as it is, or throws, which the stream fails with.
 */
export function packPaths(
  paths: readonly PackedPath[],
  limits: ArchiveLimits,
  look: (content: AsyncIterable<Buffer>, name: string) => AsyncIterable<Buffer> = (content) => content,
): Readable {
  const tar = pack();
  const counted = { bytes: 0, files: 0 };
  async function work(): Promise<void> {
    for (const { root, path, as } of paths) await add(root, path, `${as}/${path}`);
    tar.finalize();
  }
  async function add(root: string, path: string, name: string): Promise<void> {
    const folder = await openFolderInside(root, path);
    if (folder !== undefined) {
      await addFolder(root, path, name, folder);
      return;
    }
    const file = await openInside(root, path);
    if (file !== undefined) await addFile(name, file);
  }
  async function addFolder(root: string, path: string, name: string, folder: FileHandle): Promise<void> {
    try {
      count(0);
      const { mode, mtime } = await folder.stat();
      await entry(tar, { name, type: 'directory', mode: mode & 0o777, mtime });
      const entries = await readdir(nameOfOpen(folder), { withFileTypes: true });
      for (const each of entries.sort((one, other) => (one.name < other.name ? -1 : 1))) {
        if (each.isSymbolicLink()) {
          count(0);
          const linkname = await readlink(join(nameOfOpen(folder), each.name)).catch(() => undefined);
          if (linkname !== undefined) {
            await entry(tar, { name: `${name}/${each.name}`, type: 'symlink', linkname, mode: 0o777 });
          }
        } else if (each.isDirectory() || each.isFile()) {
          await add(root, join(path, each.name), `${name}/${each.name}`);
        }
      }
    } finally {
      await folder.close();
    }
  }
  async function addFile(name: string, file: FileHandle): Promise<void> {
    try {
      const { size, mode, mtime } = await file.stat();
      count(size);
      const header = { name, type: 'file' as const, size, mode: mode & 0o777, mtime };
      if (size === 0) await entry(tar, header);
      // Exactly so many bytes as were announced, should it grow meanwhile.
      else {
        const content = file.createReadStream({ end: size - 1, autoClose: false });
        await pipeline(content, (chunks: AsyncIterable<Buffer>) => look(chunks, name), tar.entry(header));
      }
    } finally {
      await file.close();
    }
  }
  function count(bytes: number): void {
    counted.bytes += bytes;
    counted.files += 1;
    if (counted.bytes > limits.bytes || counted.files > limits.files) {
      throw new ProviderError('TooLarge', `more than ${limits.files} files or ${limits.bytes} bytes`);
    }
  }
  work().catch((error: unknown) => tar.destroy(error as Error));
  const packed = createZstdCompress();
  pipeline(tar, packed).catch((error: unknown) => packed.destroy(error as Error));
  return packed;
}

function entry(tar: Pack, header: Parameters<Pack['entry']>[0], content = Buffer.alloc(0)): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry(header, content, (error) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
}

/**
 * Unpacks what {@link packPaths} made, into a folder that nobody else writes to.
 *
 * @throws ProviderError `TooLarge`, `Internal` (not retried): it is larger than it may be, or not such an archive.
 */
export async function unpack(
  archive: Readable,
  folder: string,
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<void> {
  const counted = { bytes: 0, files: 0 };
  const links: { readonly path: string; readonly to: string }[] = [];
  const tar = extract();
  const reading = pipeline(archive, createZstdDecompress(), bounded(limits.bytes * 2 + 1_048_576), tar, { signal });
  // Told by what reads the entries.
  reading.catch(() => undefined);
  for await (const each of tar) {
    const { name, type, size, mode, mtime, linkname } = each.header;
    const path = name.replace(/\/$/, '');
    const parts = path.split('/');
    if (path.startsWith('/') || parts.includes('..') || parts.includes('')) {
      throw new ProviderError('Internal', `the archive has an entry ${JSON.stringify(name)}`);
    }
    counted.bytes += size;
    counted.files += 1;
    if (counted.bytes > limits.bytes || counted.files > limits.files) {
      throw new ProviderError('TooLarge', `more than ${limits.files} files or ${limits.bytes} bytes`);
    }
    const at = join(folder, path);
    if (type === 'directory') {
      await mkdir(at, { recursive: true, mode: (mode & 0o777) | 0o700 });
      each.resume();
    } else if (type === 'file') {
      await mkdir(dirname(at), { recursive: true });
      const file = await open(
        at,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        mode & 0o777,
      );
      try {
        await file.writeFile(each as AsyncIterable<Buffer>);
        await file.utimes(mtime, mtime);
      } finally {
        await file.close();
      }
    } else {
      // Last of all, so that nothing is ever written through one.
      if (type === 'symlink' && typeof linkname === 'string') links.push({ path: at, to: linkname });
      each.resume();
    }
  }
  await reading;
  for (const { path, to } of links) await symlink(to, path);
}

function bounded(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      left -= chunk.length;
      if (left < 0) done(new ProviderError('TooLarge', `unpacked it has more than ${bytes} bytes`));
      else done(null, chunk);
    },
  });
}

/**
 * Puts a file or folder at a path below a root that hostile programs write to, in place of what is there.
 *
 * @param aside - a folder of the same file system for what was there.
 * @returns false where the path leads out of the root, or through something that is no folder.
 */
export async function putInside(from: string, root: string, path: string, aside: string): Promise<boolean> {
  const parent = await ensureFolderInside(root, dirname(path));
  if (parent === undefined) return false;
  try {
    const to = join(nameOfOpen(parent), basename(path));
    await rename(to, aside).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
    await rename(from, to);
    return true;
  } finally {
    await parent.close();
    await rm(aside, { recursive: true, force: true });
  }
}

async function ensureFolderInside(root: string, path: string): Promise<FileHandle | undefined> {
  const opened = await openFolderInside(root, path);
  if (opened !== undefined || path === '.') return opened;
  const parent = await ensureFolderInside(root, dirname(path));
  if (parent === undefined) return undefined;
  try {
    await mkdir(join(nameOfOpen(parent), basename(path))).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  } finally {
    await parent.close();
  }
  return await openFolderInside(root, path);
}
