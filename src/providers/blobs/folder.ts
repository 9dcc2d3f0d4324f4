import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ProviderError } from '../../domain/failures.ts';
import type { BlobInfo, BlobStore, ListedBlob } from './port.ts';

export interface FolderBlobsOptions {
  /** Absolute; made when it is not there. On one file system, for renaming across two is not atomic. */
  readonly folder: string;
}

const keyForm = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const longestKey = 512;
/** Starts with a dot, as no part of a key can. */
const temporary = '.writing';

/** Blobs as files of a folder. */
export function createFolderBlobs({ folder }: FolderBlobsOptions): BlobStore {
  const pathOf = (key: string): string => {
    if (key.length <= longestKey && keyForm.test(key)) return join(folder, key);
    throw new ProviderError('InvalidInput', `${JSON.stringify(key.slice(0, 80))} cannot be the key of a blob.`);
  };

  async function put(key: string, content: Buffer | Readable, signal?: AbortSignal): Promise<BlobInfo> {
    const path = pathOf(key);
    const unfinished = join(folder, temporary, randomUUID());
    // Read a moment later, when the folders are there: what breaks before that is told then, and must not end the process now.
    if (!Buffer.isBuffer(content)) content.on('error', () => undefined);
    try {
      await Promise.all([mkdir(dirname(path), { recursive: true }), mkdir(dirname(unfinished), { recursive: true })]);
      const written = Buffer.isBuffer(content)
        ? await writeBuffer(unfinished, content)
        : await writeStream(unfinished, content, signal);
      await rename(unfinished, path);
      return { key, ...written };
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => undefined);
      if (signal?.aborted === true) throw signal.reason;
      throw translate(error, key, folder);
    }
  }

  const blobs: BlobStore = {
    put: (key, content, options = {}) => put(key, content, options.signal),
    async read(key, { start = 0, end } = {}) {
      const path = pathOf(key);
      if (end !== undefined && end <= start) return Readable.from([]);
      try {
        // Opened before it is handed out: what is missing is said now, and what is replaced meanwhile is read to its end.
        const file = await open(path);
        return file.createReadStream({ start, ...(end === undefined ? {} : { end: end - 1 }) });
      } catch (error) {
        throw translate(error, key, folder);
      }
    },
    async size(key) {
      try {
        return (await stat(pathOf(key))).size;
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined;
        throw translate(error, key, folder);
      }
    },
    concatenate: (key, parts) => put(key, Readable.from(chunksOf(parts.map(pathOf))), undefined),
    async list(prefix) {
      const files = await filesBelow(pathOf(prefix)).catch((error: unknown) => {
        throw translate(error, prefix, folder);
      });
      return files.map(({ path, sizeBytes, writtenAt }): ListedBlob => {
        return { key: relative(folder, path).split(sep).join('/'), sizeBytes, writtenAt };
      });
    },
    async removeUnfinished(before) {
      const files = await filesBelow(join(folder, temporary)).catch((error: unknown) => {
        throw translate(error, temporary, folder);
      });
      const left = files.filter(({ writtenAt }) => writtenAt < before);
      for (const { path } of left) await rm(path, { force: true });
      return { count: left.length, sizeBytes: left.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
    },
    async remove(key) {
      await rm(pathOf(key), { force: true }).catch((error: unknown) => {
        throw translate(error, key, folder);
      });
    },
    async removeAll(prefix) {
      await rm(pathOf(prefix), { recursive: true, force: true }).catch((error: unknown) => {
        throw translate(error, prefix, folder);
      });
    },
  };
  return blobs;
}

interface FoundFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly writtenAt: Date;
}

/** None where there is no such folder. */
async function filesBelow(folder: string): Promise<readonly FoundFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  const found: FoundFile[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    // Removed since it was listed.
    const known = await stat(path).catch(() => undefined);
    if (known !== undefined) found.push({ path, sizeBytes: known.size, writtenAt: known.mtime });
  }
  return found;
}

async function* chunksOf(paths: readonly string[]): AsyncGenerator<Buffer> {
  for (const path of paths) yield* createReadStream(path) as AsyncIterable<Buffer>;
}

/** Small ones, such as the segments of a log: one write, and no wait for the disk, for a lost tail of a log fails nothing. */
async function writeBuffer(
  path: string,
  content: Buffer,
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  await writeFile(path, content);
  return { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
}

async function writeStream(
  path: string,
  content: Readable,
  signal: AbortSignal | undefined,
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
  // Opened first: one that is still being opened when the source breaks would be there after it was removed.
  const file = await open(path, 'w');
  // `flush`: on the disk before the name is given; a backup must outlive the machine's next second.
  await pipeline(
    content,
    measure,
    file.createWriteStream({ flush: true }),
    ...(signal === undefined ? [] : [{ signal }]),
  );
  return { sizeBytes, sha256: hash.digest('hex') };
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function translate(error: unknown, key: string, folder: string): Error {
  if (error instanceof ProviderError) return error;
  const code = codeOf(error);
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new ProviderError('NotFound', `There is no blob ${key}.`, { cause: error });
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ProviderError('DiskFull', `There is no room for the blob ${key} on the disk of ${folder}.`, {
      cause: error,
    });
  }
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  return new ProviderError('BlobsUnavailable', `The blob ${key} cannot be reached (${code}).`, { cause: error });
}
