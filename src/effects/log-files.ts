import { Buffer } from 'node:buffer';
import { mkdir, open, readFile, rm, rmdir, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Where a segment lies in its log. */
export interface SegmentPlace {
  readonly sequence: number;
  readonly offsetBytes: number;
  readonly at: string;
  /** Number of the line it begins in, from 1. */
  readonly firstLine: number;
}

/** The time of a line, as far as it is known: of the first in a segment, so to the second. */
export interface LineTime {
  readonly line: number;
  readonly offsetBytes: number;
  readonly at: string;
}

/** Keeps logs as files, or as objects. Offsets are always those of the whole log, whatever it is kept in. */
export interface LogFiles {
  /**
   * Puts the next segment behind those before it; sequence 0 begins the log anew.
   *
   * @returns the blob it is in.
   */
  append(log: string, place: SegmentPlace, bytes: Buffer): Promise<string>;
  /** Nothing more will come. */
  finish(log: string): Promise<void>;
  /** At most `maxBytes` from `offsetBytes` of the log on, also while it is being written; empty behind its end. */
  read(blob: string, offsetBytes: number, maxBytes: number): Promise<Buffer>;
  /** Removes what a log was written to; none is as well. @returns its size, bytes. */
  remove(blob: string): Promise<number>;
  /** When which line was written, oldest first. */
  readTimes(blob: string): Promise<readonly LineTime[]>;
}

/**
 * One file a log, which grows segment by segment, so that there is nothing to put together at the end; beside it `<file>.times`. Not
 * synced: a killed process loses nothing of it, and a machine that fails loses the last seconds of a log and no more.
 */
export function createLogFolder(folder: string): LogFiles {
  const handles = new Map<string, { readonly file: FileHandle; readonly times: FileHandle }>();

  async function openFiles(log: string, blob: string): Promise<{ file: FileHandle; times: FileHandle }> {
    const path = join(folder, blob);
    await mkdir(dirname(path), { recursive: true });
    const opened = { file: await open(path, 'w'), times: await open(`${path}.times`, 'w') };
    handles.set(log, opened);
    return opened;
  }
  async function closeFiles(log: string): Promise<void> {
    const opened = handles.get(log);
    handles.delete(log);
    await opened?.file.close();
    await opened?.times.close();
  }

  return {
    async append(log, place, bytes) {
      const blob = blobName(log);
      if (place.sequence === 0) await closeFiles(log);
      const opened = handles.get(log) ?? (await openFiles(log, blob));
      // At its place and not just behind, so that a second try after half a write makes the same file.
      await writeAll(opened.file, bytes, place.offsetBytes);
      await opened.times.appendFile(`${JSON.stringify([place.firstLine, place.offsetBytes, place.at])}\n`);
      return blob;
    },
    finish: closeFiles,
    async read(blob, offsetBytes, maxBytes) {
      const file = await open(within(folder, blob), 'r');
      try {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(maxBytes), 0, maxBytes, offsetBytes);
        return buffer.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    },
    async remove(blob) {
      const paths = [within(folder, blob), `${within(folder, blob)}.times`];
      const sizes = await Promise.all(
        paths.map((path) =>
          stat(path).then(
            ({ size }) => size,
            () => 0,
          ),
        ),
      );
      await Promise.all(paths.map((path) => rm(path, { force: true })));
      await removeEmpty(dirname(within(folder, blob)), folder);
      return sizes.reduce((sum, size) => sum + size, 0);
    },
    async readTimes(blob) {
      const text = await readFile(`${within(folder, blob)}.times`, 'utf8').catch(() => '');
      // The last line may be being written.
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      return whole
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => {
          const [number, offsetBytes, at] = JSON.parse(line) as [number, number, string];
          return { line: number, offsetBytes, at };
        });
    },
  };
}

/** The folders of a log that nothing else is in, up to the one of all logs. */
async function removeEmpty(folder: string, root: string): Promise<void> {
  for (let at = folder; at.length > root.length && at.startsWith(root); at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      // Something is in it, or another one was quicker.
      return;
    }
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Names of steps are people's; a path may be made of them only when nothing in them is special. */
function blobName(log: string): string {
  const parts = log.split('/').map((part) => encodeURIComponent(part).replaceAll('.', '%2E').replaceAll('*', '%2A'));
  return `logs/${parts.join('/')}.log`;
}

function within(folder: string, blob: string): string {
  if (blob.split('/').includes('..')) throw new Error(`${blob} is not the name of a blob`);
  return join(folder, blob);
}
