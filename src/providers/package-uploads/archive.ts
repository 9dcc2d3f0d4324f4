import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import type { Entry, ZipFile } from 'yauzl';
import { ProviderError } from '../../domain/failures.ts';

/** Unpacked, of all that is in a package. Judgement: ten times the largest that PyPI takes. */
const mostBytes = 2 ** 30;
/** Judgement: a wheel of a large framework has 20,000. */
const mostEntries = 100_000;
/** Of one file of metadata. Judgement: a README as description has some kilobytes. */
const mostMetadata = 2 ** 20;

/**
 * Reads some files of a `.tar.gz`, looking at every entry: none may lie outside of its one folder, or be a link or a device.
 *
 * @param wants - whether the file of a path is read; the others are passed over.
 * @throws ProviderError `PackageRefused`
 */
export async function readTarGz(
  file: string,
  content: Buffer,
  wants: (path: string) => boolean,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer>> {
  const found = new Map<string, Buffer>();
  const tar = extract();
  const reading = pipeline(Readable.from(slices(content)), createGunzip(), bounded(), tar, { signal });
  // Told by what reads the entries.
  reading.catch(() => undefined);
  let entries = 0;
  try {
    for await (const each of tar) {
      const { name, type, size } = each.header;
      entries += 1;
      if (entries > mostEntries) throw new Unreadable(`has more than ${mostEntries} entries`);
      const path = checkedPath(name);
      if (type !== 'file' && type !== 'directory') throw new Unreadable(`has ${shown(name)}, a ${type}`);
      if (type === 'directory' || !wants(path)) {
        each.resume();
        continue;
      }
      if (size > mostMetadata) throw new Unreadable(`has ${shown(name)} of more than ${mostMetadata} bytes`);
      if (found.has(path)) throw new Unreadable(`has ${shown(name)} twice`);
      const parts: Buffer[] = [];
      for await (const part of each as AsyncIterable<Buffer>) parts.push(part);
      found.set(path, Buffer.concat(parts));
    }
    await reading;
  } catch (error) {
    tar.destroy();
    throw refused(file, error, signal);
  }
  return found;
}

/**
 * Reads some files of a zip, looking at every entry as {@link readTarGz} does.
 *
 * @throws ProviderError `PackageRefused`
 */
export async function readZip(
  file: string,
  content: Buffer,
  wants: (path: string) => boolean,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer>> {
  const { fromBufferPromise } = await import('yauzl');
  const found = new Map<string, Buffer>();
  try {
    // Its names are checked by the library: none is absolute, leads upwards or has a backslash.
    const zip = await fromBufferPromise(content, {
      lazyEntries: true,
      validateEntrySizes: true,
      strictFileNames: true,
    });
    if (zip.entryCount > mostEntries) throw new Unreadable(`has more than ${mostEntries} entries`);
    let bytes = 0;
    for await (const entry of entriesOf(zip)) {
      signal.throwIfAborted();
      const { fileName: name } = entry;
      bytes += entry.uncompressedSize;
      if (bytes > mostBytes) throw new Unreadable(`has more than ${mostBytes} bytes unpacked`);
      // The upper half has the mode that Unix gave it; a link there is one for whoever unpacks it.
      if (((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000)
        throw new Unreadable(`has ${shown(name)}, a link`);
      const path = checkedPath(name);
      if (name.endsWith('/') || !wants(path)) continue;
      if (entry.uncompressedSize > mostMetadata) {
        throw new Unreadable(`has ${shown(name)} of more than ${mostMetadata} bytes`);
      }
      if (found.has(path)) throw new Unreadable(`has ${shown(name)} twice`);
      const parts: Buffer[] = [];
      for await (const part of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) parts.push(part);
      found.set(path, Buffer.concat(parts));
    }
  } catch (error) {
    throw refused(file, error, signal);
  }
  return found;
}

/** What is wrong with a package, as it reads after the name of its file. */
export class Unreadable extends Error {}

/** @returns the error of a package that is not what it should be; that of an abort as it is. */
export function refused(file: string, error: unknown, signal?: AbortSignal): Error {
  if (signal?.aborted === true) return signal.reason as Error;
  if (error instanceof ProviderError) return error;
  const why = error instanceof Unreadable ? error.message : `cannot be read: ${(error as Error).message}`;
  return new ProviderError('PackageRefused', `${file} ${why}`, { details: { file } });
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for await (const entry of zip.eachEntry()) yield entry;
}

function checkedPath(name: string): string {
  const path = name.replace(/^\.\//, '').replace(/\/$/, '');
  const parts = path.split('/');
  if (
    path === '' ||
    path.startsWith('/') ||
    path.includes('\\') ||
    path.includes('\0') ||
    parts.some((part) => part === '..' || part === '')
  ) {
    throw new Unreadable(`has ${shown(name)}, which leads out of it`);
  }
  return path;
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 200));
}

function bounded(): Transform {
  let left = mostBytes;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      left -= chunk.length;
      if (left < 0) done(new Unreadable(`has more than ${mostBytes} bytes unpacked`));
      else done(null, chunk);
    },
  });
}

/** Pieces, so that a bomb is not unpacked in one go. */
function* slices(content: Buffer): Generator<Buffer> {
  const most = 64 * 1024;
  for (let at = 0; at < content.length; at += most) yield content.subarray(at, at + most);
}
