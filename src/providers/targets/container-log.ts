import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { SlotLine } from './port.ts';

/** How long to wait before asking again for the log of a container that ended or an engine that went away, ms. */
const reconnectMs = 200;
/**
 * How far the stamps of neighbouring lines may be out of order, ms: the engine stamps each stream of a container by itself and then writes them one
 * after the other, so a line may lie behind one that is stamped later. Microseconds are usual; the rest is for an engine that waits for its disk.
 * Judgement.
 */
const disorderMs = 2_000;
/** A longer line comes in pieces. */
const longestLineBytes = 65_536;

/**
 * Follows the log of whichever container `find` names, across restarts of the container and of the engine, until the signal; no line
 * comes twice.
 *
 * @param since - ISO 8601.
 * @param find - the container's id, or undefined when there is none at the moment; asked again after every interruption.
 * @param onPresent - called once, when every line that was there before the call has been given.
 */
export async function* followLog(
  docker: Docker,
  find: () => Promise<string | undefined>,
  since: string,
  signal: AbortSignal,
  onPresent?: () => void,
): AsyncGenerator<SlotLine> {
  // What is there already is asked for by itself, for only that answer has an end.
  let following = onPresent === undefined;
  const first = toNanoseconds(since);
  const seen = createSeenLines();
  while (!signal.aborted) {
    try {
      const id = await find();
      if (id !== undefined) {
        const from = later(first, seen.againFrom());
        const stream = await openLog(docker, id, { since: toSeconds(from), follow: following }, signal);
        const again = seen.openAgain(id);
        for await (const line of readFrames(stream)) {
          if (line.at >= first && again.isNew(line)) yield line;
        }
        if (!following) {
          following = true;
          onPresent?.();
          continue;
        }
      }
    } catch {
      // The engine is away or the container gone: what it wrote meanwhile is asked for when it is back.
    }
    await delay(reconnectMs, undefined, { signal }).catch(() => undefined);
  }
}

interface SeenLines {
  /** From which moment on the log has to be asked for again, so that nothing is lost; empty at the beginning. */
  againFrom(): string;
  /** Begins a reading of a container's log, of which what was given before is left out. */
  openAgain(id: string): { isNew(line: SlotLine): boolean };
}

/**
 * Knows which lines have been given, as far back as their stamps may be out of order. A stream's own lines come in their order, so those of one
 * stream with one stamp are told apart by their number.
 */
function createSeenLines(): SeenLines {
  /** How many lines there were, by container, stream and stamp. */
  let counts = new Map<string, { readonly at: string; count: number }>();
  let newest = '';
  let forgetAfter = '';

  /** Twice as far as is read again: the engine may leave out by the stamp only up to the first line that it gives. */
  function forget(): void {
    const oldest = earlier(newest, 2 * disorderMs);
    counts = new Map([...counts].filter(([, { at }]) => at >= oldest));
    forgetAfter = earlier(newest, -disorderMs);
  }

  return {
    againFrom: () => (newest === '' ? '' : earlier(newest, disorderMs)),
    openAgain(id) {
      const before = new Map([...counts].map(([key, { count }]) => [key, count]));
      return {
        isNew({ at, stream }) {
          const key = `${id} ${stream} ${at}`;
          const left = before.get(key) ?? 0;
          if (left > 0) {
            before.set(key, left - 1);
            return false;
          }
          const known = counts.get(key);
          if (known === undefined) counts.set(key, { at, count: 1 });
          else known.count += 1;
          if (at > newest) newest = at;
          if (newest > forgetAfter) forget();
          return true;
        },
      };
    },
  };
}

function later(a: string, b: string): string {
  return a > b ? a : b;
}

/** Past dockerode's own call, which gives a log that is not followed only as one piece, and that may be larger than the memory. */
function openLog(
  docker: Docker,
  id: string,
  { since, follow }: { readonly since: string; readonly follow: boolean },
  signal: AbortSignal,
): Promise<Readable> {
  const request = {
    path: `/containers/${encodeURIComponent(id)}/logs?`,
    method: 'GET',
    isStream: true,
    statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
    options: { follow, stdout: true, stderr: true, timestamps: true, since },
    abortSignal: signal,
  };
  return new Promise((resolve, reject) => {
    docker.modem.dial(request, (error: unknown, stream: unknown) => {
      if (stream instanceof Readable) resolve(stream);
      else reject(error instanceof Error ? error : new Error('the engine gave no log'));
    });
  });
}

/** Reads the last lines of a container, oldest first. */
export async function readLastLines(
  docker: Docker,
  id: string,
  count: number,
  signal?: AbortSignal,
): Promise<string[]> {
  const abort = signal === undefined ? {} : { abortSignal: signal };
  const stream = await docker.getContainer(id).logs({ stdout: true, stderr: true, tail: count, ...abort });
  const lines: string[] = [];
  for await (const { text } of splitFrames([stream])) lines.push(text);
  return lines;
}

/** Cuts a log that was asked for with timestamps into lines. */
async function* readFrames(stream: Readable): AsyncGenerator<SlotLine> {
  for await (const { stream: name, text } of splitFrames(stream as AsyncIterable<Buffer>)) {
    const space = text.indexOf(' ');
    if (space > 0) yield { at: text.slice(0, space), stream: name, text: text.slice(space + 1) };
  }
}

/** Undoes the engine's framing: eight bytes (stream, three zeros, length) before every chunk. */
async function* splitFrames(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<{ stream: 'stdout' | 'stderr'; text: string }> {
  let rest: Buffer = Buffer.alloc(0);
  const lines = { stdout: '', stderr: '' };
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 8) {
      const length = rest.readUInt32BE(4);
      if (rest.length < 8 + length) break;
      const stream = rest[0] === 2 ? 'stderr' : 'stdout';
      const parts = (lines[stream] + rest.toString('utf8', 8, 8 + length)).split('\n');
      rest = rest.subarray(8 + length);
      lines[stream] = parts.pop() ?? '';
      for (const text of parts) yield { stream, text: text.replace(/\r$/, '') };
      if (lines[stream].length > longestLineBytes) {
        yield { stream, text: lines[stream] };
        lines[stream] = '';
      }
    }
  }
  for (const stream of ['stdout', 'stderr'] as const) if (lines[stream] !== '') yield { stream, text: lines[stream] };
}

/** The engine's own form, so that moments compare as texts. */
function toNanoseconds(at: string): string {
  const fraction = /\.(\d+)/.exec(at)?.[1] ?? '';
  return `${at.slice(0, 19)}.${fraction.padEnd(9, '0').slice(0, 9)}Z`;
}

/** So many whole ms before; the nanoseconds stay. */
function earlier(at: string, ms: number): string {
  const moment = new Date(Date.parse(`${at.slice(0, 23)}Z`) - ms).toISOString();
  return `${moment.slice(0, 23)}${at.slice(23)}`;
}

/** The engine wants seconds with a fraction; a number would lose the nanoseconds. */
function toSeconds(at: string): string {
  return `${Date.parse(`${at.slice(0, 19)}Z`) / 1000}${at.slice(19, 29)}`;
}
