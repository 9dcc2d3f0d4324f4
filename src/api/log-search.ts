import { Buffer } from 'node:buffer';
import type { LogFiles } from '../effects/log-files.ts';
import type { LogStream } from '../store/logs.ts';

/** A line of a log that has what was looked for. */
export interface LogMatch {
  /** From 1. */
  readonly line: number;
  /** When the piece of the log that it lies in was begun; lines come at most a second after that. Null where that is not known. */
  readonly at: string | null;
  readonly text: string;
}

/** A log, with the lines of it that were looked for. */
export type FoundLog = LogStream & { readonly matches?: readonly LogMatch[] };

/** What is wanted of the logs of a run or a deployment. */
export interface LogFilter {
  /** A stage, a step, or `stage/step`. */
  readonly step?: string | undefined;
  /** A text that must be in it, exactly as it is written. */
  readonly q?: string | undefined;
}

/** Of all logs together, and of one. */
const mostMatches = 1_000;
const mostMatchesOfOne = 100;

const pieceBytes = 1_048_576;
const newline = 0x0a;
/** Of a line that is shown. */
const longestText = 500;
/** Of a line that is looked into as a whole; of a longer one this much at a time. */
const longestLine = 65_536;

/** Where in a log, and when. */
interface Place {
  readonly blob: string;
  readonly sizeBytes: number;
}

/** Those of some logs that are wanted; where a text is looked for, only those that have it, with the lines. */
export async function findLogs(
  files: LogFiles,
  all: readonly LogStream[],
  { step, q }: LogFilter,
): Promise<readonly FoundLog[]> {
  const wanted = all.filter(
    (log) => step === undefined || [log.stage, log.step, `${log.stage}/${log.step}`].includes(step),
  );
  if (q === undefined) return wanted;
  const found: FoundLog[] = [];
  let left = mostMatches;
  for (const log of wanted) {
    if (left === 0) break;
    if (log.blob === null) continue;
    const place = { blob: log.blob, sizeBytes: log.sizeBytes };
    const matches = await searchLog(files, place, q, Math.min(left, mostMatchesOfOne));
    left -= matches.length;
    if (matches.length > 0) found.push({ ...log, matches });
  }
  return found;
}

/**
 * The lines of a log that contain a text, exactly as it is written. Reads a piece at a time, whatever the size of the log.
 *
 * @param most - no more than these are looked for.
 */
export async function searchLog(
  logs: LogFiles,
  { blob, sizeBytes }: Place,
  text: string,
  most: number,
): Promise<readonly LogMatch[]> {
  const wanted = Buffer.from(text);
  const found: { readonly line: number; readonly offset: number; readonly text: string }[] = [];
  let line = 1;
  let rest: Buffer = Buffer.alloc(0);
  let restAt = 0;
  for (let offset = 0; offset < sizeBytes && found.length < most;) {
    const piece = await logs.read(blob, offset, Math.min(pieceBytes, sizeBytes - offset));
    if (piece.length === 0) break;
    offset += piece.length;
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const end = offset >= sizeBytes ? bytes.length : wholeLines(bytes);
    const last = look(bytes.subarray(0, end), restAt);
    line += last;
    rest = Buffer.from(bytes.subarray(end));
    restAt += end;
  }
  if (found.length === 0) return [];
  const times = await logs.readTimes(blob);
  return found.map(({ offset, ...match }) => ({
    ...match,
    at: times.findLast((time) => time.offsetBytes <= offset)?.at ?? null,
  }));

  /** @returns how many lines end in it. */
  function look(bytes: Buffer, at: number): number {
    let lines = 0;
    let counted = 0;
    for (let hit = bytes.indexOf(wanted); hit >= 0 && found.length < most;) {
      const begin = bytes.lastIndexOf(newline, hit) + 1;
      const close = bytes.indexOf(newline, hit + wanted.length);
      const end = close < 0 ? bytes.length : close;
      lines += newlines(bytes, counted, begin);
      counted = begin;
      const shown = bytes.toString('utf8', begin, Math.min(end, begin + longestText * 4)).slice(0, longestText);
      found.push({ line: line + lines, offset: at + begin, text: shown });
      hit = end >= bytes.length ? -1 : bytes.indexOf(wanted, end);
    }
    return lines + newlines(bytes, counted, bytes.length);
  }
}

/** Where the last line that is whole ends; a line that goes on for too long is taken as it is. */
function wholeLines(bytes: Buffer): number {
  const end = bytes.lastIndexOf(newline) + 1;
  return bytes.length - end > longestLine ? bytes.length : end;
}

function newlines(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = bytes.indexOf(newline, from); at >= 0 && at < to; at = bytes.indexOf(newline, at + 1)) count += 1;
  return count;
}

/** Puts before every line when the piece that it lies in was begun. */
export async function* withTimes(
  bytes: AsyncIterable<Buffer>,
  times: readonly { readonly offsetBytes: number; readonly at: string }[],
): AsyncGenerator<Buffer> {
  let offset = 0;
  let begins = true;
  let next = 0;
  for await (const piece of bytes) {
    const parts: Buffer[] = [];
    for (let at = 0; at < piece.length;) {
      if (begins) {
        while (next + 1 < times.length && (times[next + 1]?.offsetBytes ?? Infinity) <= offset + at) next += 1;
        parts.push(Buffer.from(`${times[next]?.at ?? '-'} `));
      }
      const close = piece.indexOf(newline, at);
      const end = close < 0 ? piece.length : close + 1;
      parts.push(piece.subarray(at, end));
      begins = close >= 0;
      at = end;
    }
    offset += piece.length;
    yield Buffer.concat(parts);
  }
}
