import { Buffer } from 'node:buffer';
import { StringDecoder } from 'node:string_decoder';

/** Keeps the end of a stream. */
export interface Tail {
  push(part: Buffer): void;
  text(): string;
}

/** Keeps the last `maxBytes` of what is pushed, in two buffers of that size and no more. */
export function createTail(maxBytes: number): Tail {
  // Filled in turn: when the young one is full it becomes the old one, and together they hold at least the last maxBytes.
  let old: Buffer = Buffer.alloc(0);
  let young: Buffer | undefined;
  let used = 0;
  return {
    push(part) {
      if (maxBytes <= 0) return;
      let rest = part.length > maxBytes ? part.subarray(part.length - maxBytes) : part;
      while (rest.length > 0) {
        young ??= Buffer.allocUnsafe(maxBytes);
        const copied = rest.copy(young, used);
        used += copied;
        rest = rest.subarray(copied);
        if (used === maxBytes) {
          old = young;
          young = undefined;
          used = 0;
        }
      }
    },
    text() {
      const all = Buffer.concat([old, young?.subarray(0, used) ?? Buffer.alloc(0)]);
      return wholeCharacters(all.subarray(Math.max(0, all.length - maxBytes))).toString();
    },
  };
}

/** Keeps the beginning of a stream. */
export interface Head {
  readonly push: (part: Buffer) => void;
  text(): string;
  truncated(): boolean;
}

/** Keeps the first `maxBytes` of what is pushed. */
export function createHead(maxBytes: number): Head {
  const parts: Buffer[] = [];
  let bytes = 0;
  let cut = false;
  return {
    push(part) {
      const kept = part.subarray(0, Math.max(0, maxBytes - bytes));
      if (kept.length > 0) parts.push(kept);
      bytes += kept.length;
      cut ||= kept.length < part.length;
    },
    text: () => new StringDecoder('utf8').write(Buffer.concat(parts)),
    truncated: () => cut,
  };
}

/** Longer lines are handed on in pieces, for a program that never ends its line must not fill the memory. */
const longestLineChars = 65_536;

/** Cuts a stream into lines, without their ends. */
export function createLines(take: (line: string) => void): { push(part: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  return {
    push(part) {
      const lines = (rest + decoder.write(part)).split(/\r?\n/);
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
      while (rest.length > longestLineChars) {
        take(rest.slice(0, longestLineChars));
        rest = rest.slice(longestLineChars);
      }
    },
    end() {
      rest += decoder.end();
      if (rest !== '') take(rest);
      rest = '';
    },
  };
}

/** Drops the rest of a character that was cut at the beginning. */
function wholeCharacters(bytes: Buffer): Buffer {
  let start = 0;
  while (start < Math.min(3, bytes.length) && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.subarray(start);
}
