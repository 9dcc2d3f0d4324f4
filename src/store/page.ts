import { ProviderError } from '../domain/failures.ts';

/** One page of a list and the way to the next one. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Absent on the last page. */
  readonly next?: string;
}

export interface PageRequest {
  /** 1 to 200; default 50. */
  readonly limit?: number | undefined;
  /** `next` of the page before, asked for with the same filters. */
  readonly cursor?: string | undefined;
}

const defaultLimit = 50;
const maximumLimit = 200;

/** How many rows to read: one more than is shown, to know whether there is a next page. */
export function rowsToRead(request: PageRequest): number {
  return limitOf(request) + 1;
}

function limitOf(request: PageRequest): number {
  return Math.min(Math.max(request.limit ?? defaultLimit, 1), maximumLimit);
}

/**
 * Where the page begins: rows with a smaller id. By key, not by offset: rows that arrive meanwhile move nothing, and the last page costs
 * as much as the first.
 *
 * @throws ProviderError `InvalidInput` - the cursor is not one of this list.
 */
export function before(request: PageRequest): number | undefined {
  if (request.cursor === undefined) return undefined;
  const id = Number(Buffer.from(request.cursor, 'base64url').toString());
  if (Number.isSafeInteger(id) && id > 0) return id;
  throw new ProviderError('InvalidInput', 'The cursor is not one that this list has given; begin again without it.');
}

/** Makes the page of the rows read, which are in descending order of their id; the id itself stays here. */
export function toPage<R extends { readonly id: number }>(
  rows: readonly R[],
  request: PageRequest,
): Page<Omit<R, 'id'>> {
  const shown = rows.slice(0, limitOf(request));
  const last = shown.at(-1);
  const more = rows.length > shown.length && last !== undefined;
  return {
    items: shown.map((row) => omit(row, 'id')),
    ...(more ? { next: Buffer.from(String(last.id)).toString('base64url') } : {}),
  };
}

/** A copy without these fields. */
export function omit<R extends object, K extends keyof R>(row: R, ...keys: readonly K[]): Omit<R, K> {
  const copy = { ...row };
  for (const key of keys) Reflect.deleteProperty(copy, key);
  return copy;
}
