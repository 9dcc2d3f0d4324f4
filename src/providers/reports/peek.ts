import type { ReportSource } from './port.ts';

/** How far is looked for the first character that says something, bytes. */
const farthest = 4_096;

/** The first character that is no space, of a report that is read afterwards from its beginning; empty where there is none. */
export async function peek(source: ReportSource): Promise<{ readonly first: string; readonly source: ReportSource }> {
  const iterator = source.bytes[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let first = '';
  for (let bytes = 0; first === '' && bytes < farthest;) {
    const next = await iterator.next();
    if (next.done === true) break;
    seen.push(next.value);
    bytes += next.value.length;
    first = new TextDecoder().decode(next.value.subarray(0, farthest)).trim().charAt(0);
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
  return { first, source: { ...source, bytes: all() } };
}
