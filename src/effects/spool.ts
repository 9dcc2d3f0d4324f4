import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import pRetry from 'p-retry';
import { ProviderError } from '../domain/failures.ts';
import { isAlive, ownIdentity } from './liveness.ts';

/** A fact with the key by which its second arrival is recognised: it may be forwarded twice. */
export interface Keyed<F> {
  readonly key: string;
  readonly fact: F;
}

/** One that will not be taken however often it comes; it is put aside, for it must not keep the others waiting. */
export interface Refused {
  readonly key: string;
  readonly reason: string;
}

export interface SpoolOptions<F> {
  /**
   * Only processes of one machine share it, also such as run in containers: the files of the dead are taken over by the living. Of a process in
   * another container nobody can ask whether it lives; its files are taken over when it has touched none for {@link SpoolOptions.silentMs}.
   */
  readonly folder: string;
  /** Hands facts on, in the order of {@link Spool.append}; while it throws, it is tried again, for ever. */
  readonly forward: (facts: readonly Keyed<F>[]) => Promise<readonly Refused[]>;
  /** Told of every failed try and of every fact that was refused or had no room. */
  readonly onError?: (error: unknown) => void;
  /** Of all files together. Default 268_435_456: hours of a busy engine without its store. Judgement. */
  readonly maxBytes?: number;
  /** Default 4_194_304. */
  readonly maxSegmentBytes?: number;
  /** How many facts are forwarded at once. Default 200. */
  readonly batchFacts?: number;
  /** Between two tries: grows from the first to the second, ms. Default 100 and 5_000. */
  readonly retryMs?: readonly [number, number];
  /** How often it is looked whether another process died and left something, ms. Default 10_000. */
  readonly adoptEveryMs?: number;
  /** After how long a process of another container or boot counts as dead, ms. Default 60_000: six times of what it touches its files in. Judgement. */
  readonly silentMs?: number;
}

export interface Spool<F> {
  /**
   * The fact is on disk when this settles, and reaches the store sooner or later. Calls made together share one fsync.
   *
   * @throws `SpoolFull` (not retried) - the store was away for too long.
   */
  append(key: string, fact: F): Promise<void>;
  /** The same for whoever must go on whatever happens: never throws, and nothing waits for it. */
  record(key: string, fact: F): void;
  /** Waits until everything appended so far has been forwarded; false when that took longer than `timeoutMs`. */
  flush(timeoutMs: number): Promise<boolean>;
  /** What waits on disk. */
  pendingBytes(): number;
  /** Puts what was appended on disk and stops forwarding; the rest is there at the next start. */
  close(): Promise<void>;
}

/** Length and CRC-32 of what follows, four bytes each: a record that a crash cut off is recognised by them. */
const headerBytes = 8;

interface Segment {
  readonly path: string;
  /** Whole records only. */
  bytes: number;
  forwardedBytes: number;
}

interface Waiting {
  readonly record: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens the spool: what a process that died had left is read, a record it was cut off in is dropped, and forwarding begins.
 *
 * Facts of one process stay in their order. Each arrives at least once; what was forwarded before a crash may come again.
 */
export async function createSpool<F>(options: SpoolOptions<F>): Promise<Spool<F>> {
  const maxBytes = options.maxBytes ?? 268_435_456;
  const maxSegmentBytes = options.maxSegmentBytes ?? 4_194_304;
  const batchFacts = options.batchFacts ?? 200;
  const [firstRetryMs, longestRetryMs] = options.retryMs ?? [100, 5_000];
  const silentMs = options.silentMs ?? 60_000;
  await mkdir(options.folder, { recursive: true });
  const segments: Segment[] = await adopt(options.folder, silentMs);
  const closing = new AbortController();
  const waiting: Waiting[] = [];
  let current: { readonly segment: Segment; readonly file: FileHandle } | undefined;
  let made = 0;
  let queuedBytes = 0;
  let writing: Promise<void> | undefined;
  let wake: (() => void) | undefined;

  const pendingBytes = (): number =>
    queuedBytes + segments.reduce((sum, segment) => sum + segment.bytes - segment.forwardedBytes, 0);
  /** What is on disk, forwarded or not: a segment goes as a whole. */
  const usedBytes = (): number => queuedBytes + segments.reduce((sum, segment) => sum + segment.bytes, 0);

  async function openSegment(): Promise<{ segment: Segment; file: FileHandle }> {
    made += 1;
    const path = join(options.folder, segmentName(made));
    const file = await open(path, 'ax');
    const folder = await open(options.folder, 'r');
    // Without this the file itself may be missing after a crash of the machine, however often its content was synced.
    await folder.sync().finally(() => folder.close());
    const segment = { path, bytes: 0, forwardedBytes: 0 };
    segments.push(segment);
    return { segment, file };
  }

  async function writeWaiting(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.splice(0);
      const bytes = Buffer.concat(batch.map(({ record }) => record));
      try {
        if (current !== undefined && current.segment.bytes >= maxSegmentBytes) await endSegment();
        current ??= await openSegment();
        await current.file.appendFile(bytes);
        await current.file.datasync();
        // Who was stopped for long may have been taken for dead: then these records may lie in a file that is gone.
        if (!(await isThere(current.segment.path))) {
          forget(current.segment);
          await endSegment();
          current = await openSegment();
          await current.file.appendFile(bytes);
          await current.file.datasync();
        }
        current.segment.bytes += bytes.length;
        for (const { resolve } of batch) resolve();
        wake?.();
      } catch (error) {
        // What was half written is cut off again, or every later record of this file would be unreadable.
        await abandonSegment();
        for (const { reject } of batch) reject(fullOr(error));
      } finally {
        queuedBytes -= bytes.length;
      }
    }
    // In the same turn as the look at `waiting`, or who comes in between finds a writer that is about to leave.
    writing = undefined;
  }
  /** Somebody else has taken the file over, and forwards what was in it. */
  function forget(segment: Segment): void {
    const place = segments.indexOf(segment);
    if (place >= 0) segments.splice(place, 1);
  }
  async function endSegment(): Promise<void> {
    const ended = current;
    current = undefined;
    await ended?.file.close();
  }
  async function abandonSegment(): Promise<void> {
    const broken = current;
    current = undefined;
    await broken?.file.truncate(broken.segment.bytes).catch(() => undefined);
    await broken?.file.close().catch(() => undefined);
  }

  function append(key: string, fact: F): Promise<void> {
    const record = encode(key, fact);
    if (closing.signal.aborted) {
      return Promise.reject(new ProviderError('Internal', `the spool in ${options.folder} is closed`));
    }
    if (usedBytes() + record.length > maxBytes) {
      return Promise.reject(
        new ProviderError('SpoolFull', `the spool in ${options.folder} holds ${usedBytes()} of ${maxBytes} bytes`, {
          details: { folder: options.folder, maxBytes },
        }),
      );
    }
    queuedBytes += record.length;
    const written = new Promise<void>((resolve, reject) => waiting.push({ record, resolve, reject }));
    // A turn later, so that what is appended together is synced together.
    writing ??= Promise.resolve().then(writeWaiting);
    return written;
  }

  const isClosing = (): boolean => closing.signal.aborted;

  async function forwarding(): Promise<void> {
    while (!isClosing()) {
      await dropForwarded();
      const segment = segments.find(({ bytes, forwardedBytes }) => forwardedBytes < bytes);
      if (segment === undefined) {
        // Asked again: it may have been closed while the files were removed, and then nobody wakes us any more.
        if (isClosing()) return;
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      try {
        await forwardSome(segment);
      } catch (error) {
        // Not the store's fault, or it would still be trying (p-retry gives up on a TypeError); the facts must not stay here for it.
        if (isClosing()) return;
        if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !(await isThere(segment.path))) {
          forget(segment);
          if (segment === current?.segment && writing === undefined) await endSegment();
          continue;
        }
        options.onError?.(error);
        await delay(longestRetryMs, undefined, { signal: closing.signal }).catch(() => undefined);
        continue;
      }
      // A file that everything of was forwarded is replaced now and then, so that a crash does not forward it all again.
      if (
        segment === current?.segment &&
        segment.forwardedBytes === segment.bytes &&
        segment.bytes > 65_536 &&
        writing === undefined
      ) {
        await endSegment();
      }
    }
  }
  async function dropForwarded(): Promise<void> {
    for (const segment of [...segments]) {
      if (segment === current?.segment || segment.forwardedBytes < segment.bytes) continue;
      segments.splice(segments.indexOf(segment), 1);
      await rm(segment.path, { force: true });
    }
  }
  async function forwardSome(segment: Segment): Promise<void> {
    const { facts, nextBytes } = await readSome<F>(segment, batchFacts);
    if (facts.length > 0) {
      const refused = await pRetry(() => options.forward(facts), {
        retries: Infinity,
        minTimeout: firstRetryMs,
        maxTimeout: longestRetryMs,
        randomize: true,
        signal: closing.signal,
        onFailedAttempt: ({ error }) => options.onError?.(error),
      });
      for (const each of refused) await putAside(facts, each);
    }
    segment.forwardedBytes = nextBytes;
  }
  async function putAside(facts: readonly Keyed<F>[], refused: Refused): Promise<void> {
    const fact = facts.find(({ key }) => key === refused.key)?.fact;
    const path = join(options.folder, 'refused.jsonl');
    options.onError?.(new Error(`the fact ${refused.key} was refused: ${refused.reason}`));
    const size = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    // Beyond that they tell nothing new.
    if (size < maxSegmentBytes) await writeFile(path, `${JSON.stringify({ ...refused, fact })}\n`, { flag: 'a' });
  }

  // Another process of this machine may die while this one runs; what it left must not wait for the next start.
  const adopting = setInterval(() => {
    for (const { path } of segments) utimes(path, new Date(), new Date()).catch(() => undefined);
    adopt(options.folder, silentMs).then(
      (adopted) => {
        segments.unshift(...adopted);
        if (adopted.length > 0) wake?.();
      },
      (error: unknown) => options.onError?.(error),
    );
  }, options.adoptEveryMs ?? 10_000);
  adopting.unref();
  const forwarded = forwarding().catch((error: unknown) => options.onError?.(error));
  return {
    append,
    record(key, fact) {
      append(key, fact).catch((error: unknown) => options.onError?.(error));
    },
    async flush(timeoutMs) {
      const until = performance.now() + timeoutMs;
      await writing;
      const goals = segments.map((segment) => ({ segment, bytes: segment.bytes }));
      const done = (): boolean => goals.every(({ segment, bytes }) => segment.forwardedBytes >= bytes);
      while (!done()) {
        if (performance.now() > until) return false;
        await delay(5);
      }
      return true;
    },
    pendingBytes,
    async close() {
      closing.abort();
      clearInterval(adopting);
      wake?.();
      await forwarded;
      await writing;
      const empty = current !== undefined && current.segment.forwardedBytes === current.segment.bytes;
      const path = current?.segment.path;
      await endSegment();
      if (empty && path !== undefined) await rm(path, { force: true });
    },
  };
}

function encode(key: string, fact: unknown): Buffer {
  const payload = Buffer.from(JSON.stringify({ key, fact }));
  const record = Buffer.allocUnsafe(headerBytes + payload.length);
  record.writeUInt32LE(payload.length, 0);
  record.writeUInt32LE(crc32(payload), 4);
  payload.copy(record, headerBytes);
  return record;
}

interface Decoded {
  readonly payload: Buffer;
  /** Where the next record begins. */
  readonly end: number;
}

function decode(bytes: Buffer, start: number): Decoded | undefined {
  if (start + headerBytes > bytes.length) return undefined;
  const end = start + headerBytes + bytes.readUInt32LE(start);
  if (end > bytes.length) return undefined;
  const payload = bytes.subarray(start + headerBytes, end);
  return crc32(payload) === bytes.readUInt32LE(start + 4) ? { payload, end } : undefined;
}

async function readSome<F>(
  segment: Segment,
  most: number,
): Promise<{ readonly facts: readonly Keyed<F>[]; readonly nextBytes: number }> {
  const bytes = (await readFile(segment.path)).subarray(0, segment.bytes);
  const facts: Keyed<F>[] = [];
  let nextBytes = segment.forwardedBytes;
  while (facts.length < most) {
    const record = decode(bytes, nextBytes);
    if (record === undefined) break;
    facts.push(JSON.parse(record.payload.toString()) as Keyed<F>);
    nextBytes = record.end;
  }
  // A record that was whole when the file was opened and is not now: the disk is at fault, and what follows cannot be found.
  return { facts, nextBytes: facts.length === 0 ? segment.bytes : nextBytes };
}

const namePattern = /^(\d+)-(\d+)-(\d+)-(\d+)(?:-([0-9a-f]{8}))?\.spool$/;

/** Sorts by time, and says who writes it, so that nobody takes a file away under a living process. */
function segmentName(number: number): string {
  const { pid, startedAt } = ownIdentity();
  return `${String(Date.now()).padStart(15, '0')}-${pid}-${startedAt}-${number}-${hostDigest()}.spool`;
}

/** A pid says something only in its own pid namespace: in containers every process may have the same one. */
function hostDigest(): string {
  return createHash('sha256').update(ownIdentity().host).digest('hex').slice(0, 8);
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  );
}

/** Of another container or boot: by when its file was touched last. */
async function isSilent(path: string, silentMs: number): Promise<boolean> {
  return await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs > silentMs,
    () => false,
  );
}

/** Takes over the files whose writers are dead, each up to its last whole record. */
async function adopt(folder: string, silentMs: number): Promise<Segment[]> {
  const adopted: Segment[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const [, , pid, startedAt, , host] = namePattern.exec(name) ?? [];
    if (pid === undefined || startedAt === undefined) continue;
    // One without a host is of an earlier version, which knew of no containers.
    const lives =
      host === undefined || host === hostDigest()
        ? isAlive({ host: ownIdentity().host, pid: Number(pid), startedAt }) === true
        : !(await isSilent(join(folder, name), silentMs));
    if (lives) continue;
    // Renamed to be ours: a second process that starts now must leave it alone, and only one rename can win.
    const path = join(folder, segmentName(adopted.length).replace(/^\d+/, name.slice(0, 15)));
    try {
      await rename(join(folder, name), path);
    } catch {
      continue;
    }
    const bytes = await readFile(path);
    let whole = 0;
    for (let record = decode(bytes, 0); record !== undefined; record = decode(bytes, whole)) whole = record.end;
    adopted.push({ path, bytes: whole, forwardedBytes: 0 });
  }
  return adopted;
}

function fullOr(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new ProviderError('SpoolFull', 'the disk of the spool is full', { cause: error })
    : error;
}
