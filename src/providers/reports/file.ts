import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises';
import { join, posix, relative, sep } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { matchesPath } from '../../domain/glob.ts';
import type { Report, ReportKind, ReportProblem } from '../../domain/report.ts';
import { reportReaders } from './index.ts';
import { type ReportReader, UnreadableReport } from './port.ts';
import { tooLarge } from './text.ts';

/** Files of one pattern, and entries of the workspace that are looked through for them; judgement. */
const mostFiles = 200;
const mostEntries = 200_000;
const deepestFolder = 40;
/** Entries of one folder that are looked at before everything else has its turn. Judgement: some ms. */
const entriesATurn = 250;

/** Where reports are looked for. The content is hostile: links are not followed out of it. */
export interface ReportFolder {
  /** Absolute. */
  readonly root: string;
  /** The same folder as the tools saw it, for paths in their reports. */
  readonly seenAs?: readonly string[];
  /** What lay there before the tools began (`markReports`): what is still the same was written by none of them. */
  readonly before?: ReadonlyMap<string, string>;
}

/** Marks the files that some patterns name, so that what is there already is not taken for a report later. */
export async function markReports(root: string, patterns: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const marks = new Map<string, string>();
  for (const pattern of new Set(patterns)) {
    for (const path of await filesOf(root, pattern).catch(() => [])) {
      const found = await stat(join(root, path)).catch(() => undefined);
      if (found !== undefined) marks.set(path, markOf(found));
    }
  }
  return marks;
}

/** Changes with every write and every replacement; unlike the time of change of its content nobody can set it back. */
function markOf({ ino, size, ctimeMs }: Pick<Stats, 'ino' | 'size' | 'ctimeMs'>): string {
  return `${ino}/${size}/${ctimeMs}`;
}

/**
 * Reads the reports that a pattern names; never throws for what it finds, and never answers with nothing: a pattern without a file is one errored
 * report.
 *
 * @param base - folder the tool ran in, from the root.
 */
export async function readReports(
  folder: ReportFolder,
  asked: { readonly kind: ReportKind; readonly path: string; readonly base: string },
  signal?: AbortSignal,
): Promise<readonly Report[]> {
  const { kind, path, base } = asked;
  let files: readonly string[];
  try {
    files = await filesOf(folder.root, path);
  } catch (error) {
    return [errored(kind, path, problemOf(error, path, kind))];
  }
  if (files.length === 0) {
    return [
      errored(kind, path, {
        reason: 'is not there',
        place: path,
        remedy: `Check that the step writes it (${reportReaders[kind].made}), and where: paths go from the root of the repository.`,
      }),
    ];
  }
  const reports: Report[] = [];
  for (const file of files) {
    signal?.throwIfAborted();
    reports.push(await readReport(folder, { kind, path: file, base }, signal));
  }
  return reports;
}

/** Reads one file of a workspace. */
export async function readReport(
  { root, seenAs = [], before }: ReportFolder,
  { kind, path, base }: { readonly kind: ReportKind; readonly path: string; readonly base: string },
  signal?: AbortSignal,
): Promise<Report> {
  const reader: ReportReader = reportReaders[kind];
  let file: FileHandle | undefined;
  try {
    file = await openInside(root, path, reader.maxBytes);
    if (before?.get(path) === markOf(await file.stat())) {
      throw new UnreadableReport('was there before the stage began, and no step of it has written it', {
        remedy: 'Declare it at the stage that writes it; a report that lies in the repository proves nothing.',
      });
    }
    const content = await reader.read({ bytes: chunksOf(file, signal), path, roots: [root, ...seenAs], base });
    return { state: 'read', kind, path, ...content };
  } catch (error) {
    signal?.throwIfAborted();
    return errored(kind, path, problemOf(error, path, kind));
  } finally {
    await file?.close().catch(() => undefined);
  }
}

function errored(kind: ReportKind, path: string, problem: ReportProblem): Report {
  return { state: 'errored', kind, path, problem };
}

function problemOf(error: unknown, path: string, kind: ReportKind): ReportProblem {
  const { made } = reportReaders[kind];
  if (error instanceof UnreadableReport) {
    return {
      reason: error.message,
      place: error.place === undefined ? path : `${path}, ${error.place}`,
      remedy: error.remedy ?? `Let the tool write it anew (${made}), and read its log for why it did not finish.`,
    };
  }
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return { reason: 'is not there', place: path, remedy: `Check that the step writes it (${made}).` };
  }
  if (code !== undefined) {
    return {
      reason: `cannot be read (${code})`,
      place: path,
      remedy: 'Check what the step leaves there, and who may read it.',
    };
  }
  // A reader that trips over content is a bug of ours; the gate must not pass for it.
  const what = error instanceof Error ? error.message : String(error);
  return {
    reason: `could not be understood (${what.slice(0, 200)})`,
    place: path,
    remedy: 'Report this as a defect of Slipway, with the report.',
  };
}

/** Opens a plain file of the folder, and nothing that lies elsewhere, whatever links there are. */
export async function openInside(root: string, path: string, maxBytes: number): Promise<FileHandle> {
  const top = await realpath(root);
  const real = await realpath(join(top, path));
  if (!isInside(top, real)) {
    throw new UnreadableReport('is a link that leads out of the repository', {
      remedy: 'Let the tool write the report into the repository itself.',
    });
  }
  // Without waiting: a named pipe would keep the reader for ever.
  const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found: Stats = await file.stat();
    if (!found.isFile()) throw new UnreadableReport('is no plain file', { remedy: 'Name the report itself.' });
    if (found.nlink > 1) {
      throw new UnreadableReport('is a second name of another file', {
        remedy: 'Let the tool write the report itself.',
      });
    }
    // Asked again: a folder on the way may have become a link in between.
    if (!isInside(top, await realpath(join(top, path)))) throw new UnreadableReport('was changed while it was opened');
    if (found.size > maxBytes) throw tooLarge(maxBytes);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * What a file holds, in pieces. No stream of Node: one that fails before somebody listens to it ends the process.
 *
 * @throws the reason of `signal`
 */
export async function* chunksOf(file: FileHandle, signal?: AbortSignal): AsyncGenerator<Buffer> {
  for (;;) {
    signal?.throwIfAborted();
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const { bytesRead } = await file.read(buffer, 0, chunkBytes, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

const chunkBytes = 65_536;

function isInside(top: string, path: string): boolean {
  const inside = relative(top, path);
  return inside !== '' && inside !== '..' && !inside.startsWith(`..${sep}`);
}

/** Whether a file is one that {@link filesOf} would find for the pattern. */
export function isFileOf(pattern: string, path: string): boolean {
  const plain = posix.normalize(pattern);
  return isGlob(plain) ? matchesPath(plain, path) : plain === path;
}

/** What makes more of a path than one file: the characters that `matchesPath` knows. */
const globbing = /[*?]|\{[^},]*,[^}]*\}/u;

function isGlob(pattern: string): boolean {
  return globbing.test(pattern);
}

/** The folder that a pattern begins with; empty for the root. */
function folderOf(pattern: string): string {
  const before = pattern.slice(0, globbing.exec(pattern)?.index);
  return before.slice(0, Math.max(0, before.lastIndexOf('/')));
}

/**
 * The files that a pattern names, in order. Links to folders are not followed.
 *
 * @throws {@link UnreadableReport}: too many files, or a workspace too large to look through.
 */
export async function filesOf(root: string, written: string): Promise<readonly string[]> {
  const pattern = posix.normalize(written);
  if (!isGlob(pattern)) return [pattern];
  const found: string[] = [];
  let entries = 0;
  async function walk(folder: string, depth: number): Promise<void> {
    if (depth > deepestFolder) return;
    const inside = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
    for (const entry of inside.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      entries += 1;
      if (entries % entriesATurn === 0) await nextTurn();
      if (entries > mostEntries) {
        throw new UnreadableReport(`is a pattern for which more than ${mostEntries} files would be looked through`, {
          remedy: 'Begin the pattern with the folder that the reports are in.',
        });
      }
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && entry.name !== '.git') await walk(path, depth + 1);
      else if (!entry.isDirectory() && matchesPath(pattern, path)) found.push(path);
      if (found.length > mostFiles) {
        throw new UnreadableReport(`is a pattern that more than ${mostFiles} files match`, {
          remedy: 'Make it narrower.',
        });
      }
    }
  }
  const start = folderOf(pattern);
  if (start.startsWith('..') || start.startsWith('/')) {
    throw new UnreadableReport('is a pattern that leads out of the repository', {
      remedy: 'Begin it inside of the repository.',
    });
  }
  await walk(start, 0);
  return found;
}
