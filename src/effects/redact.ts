import { Buffer } from 'node:buffer';

/** What stands where a secret was. */
export const mask = '***';

/** Takes bytes as they come and gives them on without secrets, also where one lies across two chunks. */
export interface RedactingStream {
  /**
   * Gives on what is certain; what may be the beginning of a secret stays here until the next call. What is emitted may be a view
   * of `chunk`: copy it before `chunk` is used again.
   */
  push(chunk: Uint8Array, emit: (part: Buffer) => void): void;
  /** Gives on what was held back. */
  end(emit: (part: Buffer) => void): void;
  /** Secrets that were taken out so far. */
  readonly hidden: number;
}

/** Knows a set of secrets and takes them out of whatever leaves the machine. */
export interface Redactor {
  /** False when there is nothing to hide, so that callers may go round it. */
  readonly active: boolean;
  stream(): RedactingStream;
  text(text: string): string;
  /** The same for a text that was cut off: what may be the beginning of a secret at its end is left out. */
  beginning(text: string): string;
  /** A copy of a JSON-like value with every string in it (keys too) redacted. */
  value<T>(value: T): T;
}

/** Shorter values would blacken half the log and protect nothing: they can be guessed. Judgement. */
const shortestSecretBytes = 3;
/** A line of a secret of several lines, a password in a URL, and a piece of base64, is hidden on its own from this length. Judgement. */
const shortestPartBytes = 8;

/**
 * Compiles the forms of all secrets (as they are, base64 at every alignment and base64url, percent-encoded, escaped for JSON, and
 * for a secret of several lines each line, for a URL its password) into one scan.
 *
 * The scan is that of Wu and Manber ("A fast algorithm for multi-pattern searching", 1994): it looks at the last two bytes of a
 * window as long as the shortest form and leaps, so its cost does not grow with the number of secrets.
 *
 * @param secrets - values shorter than three bytes are not hidden.
 */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Map<string, Buffer>();
  for (const secret of secrets) {
    for (const form of formsOf(secret)) forms.set(form.toString('latin1'), form);
  }
  const patterns = [...forms.values()];
  if (patterns.length === 0) return transparent;
  const scan = compile(patterns);
  const read = (text: string, whole: boolean): string => {
    const stream = createStream(scan);
    const parts: Buffer[] = [];
    const collect = (part: Buffer): void => void parts.push(part);
    stream.push(Buffer.from(text), collect);
    if (whole) stream.end(collect);
    return Buffer.concat(parts).toString();
  };
  const redactor: Redactor = {
    active: true,
    stream: () => createStream(scan),
    text: (text) => read(text, true),
    beginning: (text) => read(text, false),
    value: (value) => mapStrings(value, (text) => redactor.text(text)) as typeof value,
  };
  return redactor;
}

const transparent: Redactor = {
  active: false,
  stream: () => ({
    push: (chunk, emit) => {
      emit(asBuffer(chunk));
    },
    end: () => undefined,
    hidden: 0,
  }),
  text: (text) => text,
  beginning: (text) => text,
  value: (value) => value,
};

/**
 * Takes the password out of every URL in a text, whoever's it is: `postgres://app:***@db`. For what a service says of itself, whose settings
 * hold addresses that no secret of Slipway names.
 *
 * Linear in the text: it looks from each `://` to the next `/`, `?`, `#` or blank only.
 */
export function hideUrlPasswords(text: string): string {
  return text.includes('://') ? text.replaceAll(/:\/\/([^\s:/?#@]*):[^\s/?#]*@/gu, `://$1:${mask}@`) : text;
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

/** The password that a URL carries (`postgres://app:…@host/db`), as it is typed elsewhere: drivers say it alone. */
function passwordOf(secret: string): string | undefined {
  if (!secret.includes('://')) return undefined;
  try {
    const password = decodeURIComponent(new URL(secret.trim()).password);
    return Buffer.byteLength(password) >= shortestPartBytes ? password : undefined;
  } catch {
    return undefined;
  }
}

function* formsOf(secret: string): Generator<Buffer> {
  const password = passwordOf(secret);
  if (password !== undefined) yield* formsOf(password);

  // Half a surrogate pair cannot be percent-encoded, nor can it come out of a process.
  const given = Buffer.from(secret).toString();
  const whole = [given, given.trim(), given.replaceAll(/\r?\n/g, '\r\n')];
  const lines = given.includes('\n') ? given.split(/\r?\n/).map((line) => line.trim()) : [];
  for (const text of new Set(whole)) {
    const bytes = Buffer.from(text);
    if (bytes.length < shortestSecretBytes) continue;
    yield bytes;
    yield Buffer.from(encodeURIComponent(text));
    yield Buffer.from(encodeURIComponent(text).replaceAll('%20', '+'));
    yield Buffer.from(JSON.stringify(text).slice(1, -1));
    yield* base64Forms(bytes);
  }
  for (const line of lines) {
    if (line.length >= shortestPartBytes) yield Buffer.from(line);
  }
}

/** Inside a longer base64 text (`user:password`) a value begins at one of three offsets; only the characters it alone decides count. */
function* base64Forms(bytes: Buffer): Generator<Buffer> {
  if (bytes.length >= 6) yield Buffer.from(bytes.toString('base64'));
  for (const offset of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replaceAll('=', '');
    const first = Math.ceil((offset * 4) / 3);
    const last = Math.floor(((offset + bytes.length) * 4) / 3);
    const certain = encoded.slice(first, last);
    if (certain.length < shortestPartBytes) continue;
    yield Buffer.from(certain);
    yield Buffer.from(certain.replaceAll('+', '-').replaceAll('/', '_'));
  }
}

interface Scan {
  /** Length of the shortest pattern: the width of the window. */
  readonly width: number;
  /** By the last two bytes of the window: how far it may leap; 0 says look. */
  readonly leaps: Uint8Array;
  /** By the same two bytes: the patterns whose window ends with them, longest first. */
  readonly ending: ReadonlyMap<number, readonly Buffer[]>;
  /** By first byte: the patterns that begin with it. */
  readonly beginning: readonly (readonly Buffer[] | undefined)[];
  readonly longest: number;
}

function compile(patterns: readonly Buffer[]): Scan {
  const sorted = [...patterns].sort((a, b) => b.length - a.length);
  const width = Math.min(...patterns.map((pattern) => pattern.length));
  const leaps = new Uint8Array(65_536).fill(Math.min(width - 1, 255));
  const ending = new Map<number, Buffer[]>();
  const beginning: (Buffer[] | undefined)[] = Array.from({ length: 256 });
  for (const pattern of sorted) {
    for (let at = 1; at < width; at += 1) {
      const pair = pattern.readUInt16LE(at - 1);
      leaps[pair] = Math.min(leaps[pair] ?? 0, width - 1 - at);
    }
    const last = pattern.readUInt16LE(width - 2);
    ending.set(last, [...(ending.get(last) ?? []), pattern]);
    const first = pattern[0] ?? 0;
    beginning[first] = [...(beginning[first] ?? []), pattern];
  }
  return { width, leaps, ending, beginning, longest: sorted[0]?.length ?? 0 };
}

const maskBytes = Buffer.from(mask);

function createStream(scan: Scan): RedactingStream {
  let held: Buffer = Buffer.alloc(0);
  let hidden = 0;
  const counting =
    (emit: (part: Buffer) => void) =>
    (part: Buffer): void => {
      if (part === maskBytes) hidden += 1;
      emit(part);
    };
  return {
    get hidden() {
      return hidden;
    },
    push(chunk, emit) {
      const bytes = held.length === 0 ? asBuffer(chunk) : Buffer.concat([held, chunk]);
      const kept = redactUpTo(scan, bytes, firstOpen(scan, bytes, 0), counting(emit));
      // A copy, for the chunk belongs to its stream, which may use it again.
      held = Buffer.from(bytes.subarray(kept));
    },
    end(emit) {
      const rest = held;
      held = Buffer.alloc(0);
      redactUpTo(scan, rest, rest.length, counting(emit));
    },
  };
}

/** Emits `bytes` up to `limit`, redacted, and returns where what must wait begins. */
function redactUpTo(scan: Scan, bytes: Buffer, limit: number, emit: (part: Buffer) => void): number {
  const { width, leaps } = scan;
  let from = 0;
  let open = limit;
  let at = width - 1;
  // A match that begins before `open` may reach past it, never past the end: what is there would be open itself.
  while (at - width + 1 < open && at < bytes.length) {
    const leap = leaps[(bytes[at - 1] ?? 0) | ((bytes[at] ?? 0) << 8)] ?? 1;
    if (leap > 0) {
      at += leap;
      continue;
    }
    const start = at - width + 1;
    const found = matchAt(scan, bytes, start);
    if (found === undefined) {
      at += 1;
      continue;
    }
    if (start > from) emit(bytes.subarray(from, start));
    emit(maskBytes);
    from = start + found.length;
    at = from + width - 1;
    if (from > open) open = firstOpen(scan, bytes, from);
  }
  if (open > from) emit(bytes.subarray(from, open));
  return Math.max(from, open);
}

function matchAt(scan: Scan, bytes: Buffer, start: number): Buffer | undefined {
  const last = start + scan.width - 1;
  const candidates = scan.ending.get((bytes[last - 1] ?? 0) | ((bytes[last] ?? 0) << 8)) ?? [];
  return candidates.find(
    (pattern) =>
      start + pattern.length <= bytes.length &&
      pattern.compare(bytes, start, start + pattern.length, 0, pattern.length) === 0,
  );
}

/** The first place from which the rest of `bytes` is a beginning, but not the whole, of some pattern. */
function firstOpen(scan: Scan, bytes: Buffer, from: number): number {
  for (let start = Math.max(from, bytes.length - scan.longest + 1); start < bytes.length; start += 1) {
    const rest = bytes.length - start;
    const open = scan.beginning[bytes[start] ?? 0]?.some(
      (pattern) => pattern.length > rest && pattern.compare(bytes, start, bytes.length, 0, rest) === 0,
    );
    if (open === true) return start;
  }
  return bytes.length;
}

function mapStrings(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, map));
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [map(key), mapStrings(item, map)]));
}
