import type { Client } from 'pg';
import { quoteName, quoteText } from './postgres-connection.ts';
import { readContent, readTables, type TableShape } from './postgres-catalog.ts';
import type { DatabaseWrites, TableWrites } from './port.ts';

/** One difference, as it stands in a line of the export. */
export interface RowChange {
  readonly table: string;
  readonly change: 'inserted' | 'updated' | 'deleted';
  /** Values of the primary key; absent where the table has none. */
  readonly key?: unknown;
  /** The row as it is now; absent when it was deleted. */
  readonly row?: unknown;
  /** The row as the backup has it; absent when it was inserted. */
  readonly before?: unknown;
  /** How many equal rows, where a table has no key. Absent for one. */
  readonly times?: number;
}

/** Records of Slipway's own in the application's database. */
const ownTables = new Set(['public.slipway_migrations']);
const rowsAtOnce = 1_000;

/**
 * Compares two databases table by table and row by row: by primary key, or by whole rows where there is none. A column that only one side has
 * is not a difference of the rows. Tables that only `after` has count as inserted, those that only `before` has as deleted.
 *
 * @param onChange - takes every difference; awaited, so a slow taker slows the reading.
 */
export async function compareDatabases(
  before: Client,
  after: Client,
  onChange: (change: RowChange) => Promise<void>,
  onProgress: (what: string) => void,
  signal: AbortSignal | undefined,
): Promise<DatabaseWrites> {
  const [olds, news] = [byName(await readTables(before)), byName(await readTables(after))];
  const tables: TableWrites[] = [];
  for (const table of [...new Set([...olds.keys(), ...news.keys()])].sort()) {
    if (ownTables.has(table)) continue;
    signal?.throwIfAborted();
    onProgress(`comparing ${table}`);
    const writes = await compareTable(
      { client: before, shape: olds.get(table) },
      { client: after, shape: news.get(table) },
      table,
      onChange,
      { signal, onRows: () => onProgress(`comparing ${table}`) },
    );
    if (writes.inserted + writes.updated + writes.deleted > 0) tables.push(writes);
  }
  const sum = (kind: 'inserted' | 'updated' | 'deleted'): number => tables.reduce((all, table) => all + table[kind], 0);
  return { inserted: sum('inserted'), updated: sum('updated'), deleted: sum('deleted'), tables };
}

interface Side {
  readonly client: Client;
  readonly shape: TableShape | undefined;
}

interface Reading {
  readonly signal: AbortSignal | undefined;
  /** Called with every handful of rows. */
  readonly onRows: () => void;
}

async function compareTable(
  before: Side,
  after: Side,
  table: string,
  onChange: (change: RowChange) => Promise<void>,
  how: Reading,
): Promise<TableWrites> {
  const counts = { inserted: 0, updated: 0, deleted: 0 };
  if (await haveEqualContents(before, after)) return { table, ...counts };
  const common = commonColumns(before.shape, after.shape);
  const keyed = hasEqualKey(before.shape, after.shape);
  const [olds, news] = [
    readRows(before, common, keyed, how)[Symbol.asyncIterator](),
    readRows(after, common, keyed, how)[Symbol.asyncIterator](),
  ];
  const tell = async (
    change: RowChange['change'],
    was: Row | undefined,
    is: Row | undefined,
    times: number,
  ): Promise<void> => {
    counts[change] += times;
    await onChange({
      table,
      change,
      ...(keyed ? { key: JSON.parse((is ?? was)?.key ?? 'null') as unknown } : times > 1 ? { times } : {}),
      ...(is === undefined ? {} : { row: JSON.parse(is.row) as unknown }),
      ...(was === undefined ? {} : { before: JSON.parse(was.row) as unknown }),
    });
  };
  // Both sides come in the order of their keys' bytes, so one pass finds what is on one side only.
  let [was, is] = [await next(olds), await next(news)];
  while (was !== undefined || is !== undefined) {
    const order =
      was === undefined ? 1 : is === undefined ? -1 : Buffer.compare(Buffer.from(was.key), Buffer.from(is.key));
    if (order < 0) {
      await tell('deleted', was, undefined, was?.count ?? 1);
      was = await next(olds);
    } else if (order > 0) {
      await tell('inserted', undefined, is, is?.count ?? 1);
      is = await next(news);
    } else {
      const more = (is?.count ?? 1) - (was?.count ?? 1);
      if (more > 0) await tell('inserted', undefined, is, more);
      else if (more < 0) await tell('deleted', was, undefined, -more);
      else if (was?.compared !== is?.compared) await tell('updated', was, is, 1);
      [was, is] = [await next(olds), await next(news)];
    }
  }
  return { table, ...counts };
}

interface Row {
  /** What rows are matched by. */
  readonly key: string;
  /** The columns that both sides have. */
  readonly compared: string;
  /** All columns. */
  readonly row: string;
  /** How many rows are exactly so; more than 1 only without a key. */
  readonly count: number;
}

async function* readRows(
  side: Side,
  common: readonly string[],
  keyed: boolean,
  { signal, onRows }: Reading,
): AsyncGenerator<Row, undefined> {
  const { client, shape } = side;
  if (shape === undefined) return undefined;
  const without = shape.columns.filter((column) => !common.includes(column)).map(quoteText);
  const compared =
    without.length === 0
      ? 'to_jsonb(slipway_row)::text'
      : `(to_jsonb(slipway_row) - array[${without.join(', ')}])::text`;
  const key = `jsonb_build_array(${shape.key.map((column) => `slipway_row.${quoteName(column)}`).join(', ')})::text`;
  const query = keyed
    ? `select ${key} as key, ${compared} as compared, to_jsonb(slipway_row)::text as row, 1 as count from ${shape.table} slipway_row`
    : `select ${compared} as key, '' as compared, min(to_jsonb(slipway_row)::text) as row, count(*)::int as count from ${shape.table} slipway_row group by 1`;
  await client.query(`declare slipway_rows no scroll cursor for select * from (${query}) r order by key collate "C"`);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { rows } = await client.query<Row>(`fetch ${rowsAtOnce} from slipway_rows`);
      if (rows.length === 0) return undefined;
      onRows();
      yield* rows;
    }
  } finally {
    await client.query('close slipway_rows').catch(() => undefined);
  }
}

async function next(rows: AsyncIterator<Row, undefined>): Promise<Row | undefined> {
  return (await rows.next()).value;
}

async function haveEqualContents(before: Side, after: Side): Promise<boolean> {
  if (before.shape === undefined || after.shape === undefined) return false;
  if (before.shape.columns.join('\n') !== after.shape.columns.join('\n')) return false;
  const [old, now] = await Promise.all([
    readContent(before.client, before.shape.table),
    readContent(after.client, after.shape.table),
  ]);
  return old.rows === now.rows && old.content === now.content;
}

function commonColumns(before: TableShape | undefined, after: TableShape | undefined): readonly string[] {
  if (before === undefined || after === undefined) return (before ?? after)?.columns ?? [];
  return before.columns.filter((column) => after.columns.includes(column));
}

function hasEqualKey(before: TableShape | undefined, after: TableShape | undefined): boolean {
  const keys = [before, after].filter((shape) => shape !== undefined).map((shape) => shape.key.join('\n'));
  return keys.every((key) => key !== '' && key === keys[0]);
}

function byName(tables: readonly TableShape[]): Map<string, TableShape> {
  return new Map(tables.map((shape) => [shape.table, shape]));
}
