import { readdir, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import type { ReportSpec } from '../definition/specs/stage.ts';
import type { KeptPages } from '../domain/evidence.ts';
import type { RunRef } from '../domain/run.ts';
import type { Redactor } from '../effects/redact.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { chunksOf, filesOf, openInside } from '../providers/reports/file.ts';
import { UnreadableReport } from '../providers/reports/port.ts';

/** Of one report in HTML; judgement: coverage of a large repository is 30 MB. */
const mostBytes = 100 * 2 ** 20;
const mostFiles = 5_000;
const deepestFolder = 20;

/** A part of a path that can be part of a blob's key. */
const plainName = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

interface PagesOf {
  readonly run: RunRef;
  readonly spec: { readonly name: string };
  readonly source: string;
  readonly redactor: Redactor;
  readonly signal: AbortSignal;
}

/** Keeps reports in HTML as they are, file by file. One that cannot be kept is named; it decides nothing, so it fails nothing. */
export async function keepPages(
  blobs: Pick<BlobStore, 'put'>,
  asked: readonly ReportSpec[],
  work: PagesOf,
): Promise<{ readonly pages: readonly KeptPages[]; readonly lost: readonly string[] }> {
  const pages: KeptPages[] = [];
  const lost: string[] = [];
  for (const { path: pattern } of asked) {
    try {
      const paths = await filesOf(work.source, pattern);
      if (paths.length === 0) lost.push(`${pattern} is not there.`);
      for (const path of paths) pages.push(await keepOne(blobs, path, pages.length, work));
    } catch (error) {
      work.signal.throwIfAborted();
      if (error instanceof UnreadableReport) lost.push(`${pattern} ${error.message}.`);
      else if (isMissing(error)) lost.push(`${pattern} is not there.`);
      else throw error;
    }
  }
  return { pages, lost };
}

async function keepOne(
  blobs: Pick<BlobStore, 'put'>,
  path: string,
  index: number,
  { run, spec, source, redactor, signal }: PagesOf,
): Promise<KeptPages> {
  const prefix = `pages/${run.project}/${run.number}/${spec.name}/${index}`;
  const single = (await stat(join(source, path))).isFile();
  const folder = single ? posix.dirname(path) : path;
  const names = single ? [posix.basename(path)] : await namesIn(join(source, path));
  const entry = single ? (names[0] ?? '') : 'index.html';
  if (!names.includes(entry) || !plainName.test(posix.basename(entry))) {
    throw new UnreadableReport('has no page `index.html` to begin with');
  }
  let sizeBytes = 0;
  for (const name of names) {
    signal.throwIfAborted();
    const file = await openInside(source, posix.join(folder, name), mostBytes - sizeBytes);
    try {
      const content = Readable.from(redacted(chunksOf(file, signal), redactor));
      const kept = await blobs.put(`${prefix}/${name}`, content, { signal });
      sizeBytes += kept.sizeBytes;
    } finally {
      await file.close();
    }
  }
  return { path, prefix, entry, files: names.length, sizeBytes };
}

/** What a file holds, without secrets. */
export async function* redacted(content: AsyncIterable<Buffer>, redactor: Redactor): AsyncGenerator<Buffer> {
  const stream = redactor.stream();
  let parts: Buffer[] = [];
  // Copied: what is emitted may be a view of a chunk that is used again.
  const collect = (part: Buffer): void => void parts.push(Buffer.from(part));
  for await (const chunk of content) {
    stream.push(chunk, collect);
    yield* parts;
    parts = [];
  }
  stream.end(collect);
  yield* parts;
}

/** Files below a folder whose names can be those of blobs; links and hidden files are left out. */
async function namesIn(root: string): Promise<readonly string[]> {
  const names: string[] = [];
  async function walk(folder: string, depth: number): Promise<void> {
    if (depth > deepestFolder) return;
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      if (!plainName.test(entry.name)) continue;
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) await walk(name, depth + 1);
      else if (entry.isFile()) names.push(name);
      if (names.length > mostFiles) throw new UnreadableReport(`has more than ${mostFiles} files`);
    }
  }
  await walk('', 0);
  return names;
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
