import type { ReportSource } from './port.ts';

/** How far is looked for the first character that says something, bytes. */
const farthest = 4_096;

/** The first character that is no space, of a report that is read afterwards from its beginning; empty where there is none. */
export async function peek(given: ReportSource): Promise<{ readonly first: string; readonly source: ReportSource }> {
  const { start, source } = await peekStart(given, (text) => text !== '');
  return { first: start.charAt(0), source };
}

/**
 * How a report begins that is read afterwards from its beginning: as much as is `enough`, without the spaces before. Letters beyond ASCII may be
 * wrong.
 */
export async function peekStart(
  source: ReportSource,
  enough: (start: string) => boolean,
): Promise<{ readonly start: string; readonly source: ReportSource }> {
  const iterator = source.bytes[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let start = '';
  for (let bytes = 0; !enough(start) && bytes < farthest;) {
    const next = await iterator.next();
    if (next.done === true) break;
    seen.push(next.value);
    bytes += next.value.length;
    start = new TextDecoder().decode(Buffer.concat(seen).subarray(0, farthest)).trim();
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield* seen;
    try {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
    } finally {
      // A file that is not read to its end is closed by this.
      await iterator.return?.();
    }
  }
  return { start, source: { ...source, bytes: all() } };
}
