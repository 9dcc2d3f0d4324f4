import { Buffer } from 'node:buffer';
import { createControlFilter, withoutControls } from './control.ts';
import type { LogFiles } from './log-files.ts';
import type { RedactingStream, Redactor } from './redact.ts';

/** A piece of a log that can be read from now on. */
export interface WrittenSegment {
  /** From 0, without gaps. */
  readonly sequence: number;
  readonly blob: string;
  /** Where in the whole log it begins. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** When its first byte came. */
  readonly at: string;
}

/** What a whole log came to. */
export interface LogEnd {
  readonly sizeBytes: number;
  readonly lines: number;
  /** Where all of it is, if anything was written. */
  readonly blob: string | undefined;
  /** What could not be written, the disk being full; 0 for a complete log. */
  readonly lostBytes: number;
}

export interface LogWriterOptions {
  /** Name of the log; the same attempt at the same step always has the same. */
  readonly log: string;
  readonly files: LogFiles;
  /** Hides secrets. Not needed for output of `runProcess` that was given one. */
  readonly redactor?: Redactor;
  /** Told of every segment, in order, after it was written. What it throws is lost: it hands on to the spool, which keeps. */
  readonly onSegment: (segment: WrittenSegment) => void | Promise<void>;
  /** Told once, when the log begins to lose. */
  readonly onLoss?: (error: unknown) => void;
  /** Default 1 MiB. */
  readonly maxSegmentBytes?: number;
  /** A segment is written this long after its first byte at the latest, ms. Default 1_000. */
  readonly maxSegmentAgeMs?: number;
}

export interface LogWriter {
  /** The chunk was taken over when this returns; the promise, if there is one, is open while writing lags behind. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** Says something in Slipway's own name, on a line of its own. */
  say(line: string): void;
  /** Writes what is left. Never throws. */
  close(): Promise<LogEnd>;
}

/** How many full segments may wait for the disk before the writer has to. */
const patience = 2;
const defaultSegmentBytes = 1_048_576;
/**
 * Buffers that are free, for all writers together: most logs are a few lines long, and a megabyte made new for each is what the garbage
 * collector is called for most often.
 */
const spare: Buffer[] = [];
const mostSpare = 8;
const newline = 0x0a;

/**
 * Cuts the output of one step into segments and writes them as it comes: complete, in order, without what a terminal would obey but for
 * colours. Memory stays at a few segments whatever the step prints, for whoever writes is made to wait.
 *
 * Losing a log never fails a step: after an error of the disk the rest is counted and dropped, and a line at its end says so.
 */
export function createLogWriter(options: LogWriterOptions): LogWriter {
  const maxBytes = options.maxSegmentBytes ?? defaultSegmentBytes;
  const stream: RedactingStream | undefined = options.redactor?.active === true ? options.redactor.stream() : undefined;
  // What comes without one comes from a step, whose output was made safe before its secrets were looked for.
  const shown = options.redactor === undefined ? undefined : createControlFilter();
  let current: Buffer | undefined;
  let used = 0;
  let firstAt = '';
  let endsLine = true;
  let sequence = 0;
  let offsetBytes = 0;
  let lines = 0;
  let lostBytes = 0;
  let blob: string | undefined;
  let lost = false;
  let queued = 0;
  let writing: Promise<void> = Promise.resolve();
  let ageTimer: NodeJS.Timeout | undefined;

  function take(part: Buffer): void {
    let rest = part;
    while (rest.length > 0) {
      if (current === undefined) begin();
      const copied = current === undefined ? 0 : rest.copy(current, used);
      used += copied;
      rest = rest.subarray(copied);
      if (used === maxBytes) cut();
    }
    if (part.length > 0) endsLine = part[part.length - 1] === newline;
  }
  function begin(): void {
    current = (maxBytes === defaultSegmentBytes ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(maxBytes);
    used = 0;
    firstAt = new Date().toISOString();
    ageTimer = setTimeout(cut, options.maxSegmentAgeMs ?? 1_000);
  }
  function cut(): void {
    clearTimeout(ageTimer);
    if (current === undefined) return;
    const [whole, bytes, at] = [current, current.subarray(0, used), firstAt];
    current = undefined;
    queued += 1;
    writing = writing.then(async () => {
      await put(bytes, at);
      queued -= 1;
      if (maxBytes === defaultSegmentBytes && spare.length < mostSpare) spare.push(whole);
    });
  }
  async function put(bytes: Buffer, at: string): Promise<void> {
    if (lost) {
      lostBytes += bytes.length;
      return;
    }
    try {
      blob = await options.files.append(options.log, { sequence, offsetBytes, at, firstLine: lines + 1 }, bytes);
    } catch (error) {
      lost = true;
      lostBytes += bytes.length;
      options.onLoss?.(error);
      return;
    }
    const segment = { sequence, blob, offsetBytes, sizeBytes: bytes.length, at };
    sequence += 1;
    offsetBytes += bytes.length;
    lines += countLines(bytes);
    try {
      await options.onSegment(segment);
    } catch (error) {
      options.onLoss?.(error);
    }
  }

  return {
    write(chunk) {
      const raw = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
      const bytes = shown === undefined ? raw : shown.push(raw);
      if (stream === undefined) take(bytes);
      else stream.push(bytes, take);
      return queued > patience ? writing : undefined;
    },
    say(line) {
      flush();
      const safe = withoutControls(line);
      const text = options.redactor?.text(safe) ?? safe;
      take(Buffer.from(`${endsLine ? '' : '\n'}${text}\n`));
    },
    async close() {
      flush();
      cut();
      await writing;
      if (lostBytes > 0) await sayLost();
      const end = { sizeBytes: offsetBytes, lines: lines + (endsLine ? 0 : 1), blob, lostBytes };
      try {
        await options.files.finish(options.log);
      } catch (error) {
        options.onLoss?.(error);
      }
      return end;
    },
  };

  function flush(): void {
    const rest = shown?.end();
    if (rest !== undefined && rest.length > 0) {
      if (stream === undefined) take(rest);
      else stream.push(rest, take);
    }
    stream?.end(take);
  }

  /** Where there is room again for one line, there was none for the log; where there is not, the row of the log says it. */
  async function sayLost(): Promise<void> {
    lost = false;
    const missing = lostBytes;
    await put(Buffer.from(`\n*** ${missing} bytes of this log could not be written ***\n`), new Date().toISOString());
    lostBytes = missing;
  }
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, at + 1)) count += 1;
  return count;
}
