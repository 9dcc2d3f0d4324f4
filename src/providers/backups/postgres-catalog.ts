import { createHash } from 'node:crypto';
import type { Client } from 'pg';
import type { PostgresServer } from './postgres-connection.ts';
import type { TableRecord } from './port.ts';

/** A table with what is needed to read and compare its rows. */
export interface TableShape {
  /** `schema.name`, quoted where SQL needs it. */
  readonly table: string;
  readonly columns: readonly string[];
  /** Columns of the primary key, in its order; empty without one. */
  readonly key: readonly string[];
}

/** Makes a session print every value in one way, whatever server and role have set. */
export async function usePlainText(client: Client): Promise<void> {
  await client.query(
    "set datestyle to 'ISO, YMD'; set intervalstyle to 'postgres'; set timezone to 'UTC'; set bytea_output to 'hex'; set extra_float_digits to 1; set statement_timeout to 0; set lock_timeout to 0",
  );
}

/** Ordinary tables that belong to the application: nothing of the system, of an extension, or temporary. */
export async function readTables(client: Client): Promise<TableShape[]> {
  const { rows } = await client.query<{ table: string; columns: string[] | null; key: string[] | null }>(`
    select format('%I.%I', n.nspname, c.relname) as table,
      (select array_agg(a.attname::text order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
      (select array_agg(a.attname::text order by k.position)
        from pg_index i cross join unnest(i.indkey::int[]) with ordinality as k(attnum, position)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary) as key
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
      and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    order by 1`);
  return rows.map(({ table, columns, key }) => ({ table, columns: columns ?? [], key: key ?? [] }));
}

/** Counts the rows of a table and sums their hashes, so that equal contents in any order give equal records. */
export async function readContent(client: Client, table: string): Promise<TableRecord> {
  const { rows } = await client.query<{ rows: string; content: string }>(
    `select count(*)::text as rows, coalesce(sum(hashtextextended(slipway_row::text, 0)::numeric), 0)::text as content from ${table} slipway_row`,
  );
  return { table, rows: Number(rows[0]?.rows ?? 0), content: rows[0]?.content ?? '0' };
}

/** Counts the rows of a table. */
export async function countRows(client: Client, table: string): Promise<number> {
  const { rows } = await client.query<{ rows: string }>(`select count(*)::text as rows from ${table}`);
  return Number(rows[0]?.rows ?? 0);
}

/** The schema as `pg_dump` writes it, without what differs between two dumps of the same. */
export async function readSchema(
  server: PostgresServer,
  database: string,
  options: {
    readonly snapshot?: string;
    readonly signal?: AbortSignal | undefined;
    readonly otherwise: 'BackupFailed' | 'BackupNotProved' | 'RestoreFailed';
  },
): Promise<{ readonly text: string; readonly sha256: string }> {
  const chunks: Buffer[] = [];
  const snapshot = options.snapshot === undefined ? [] : [`--snapshot=${options.snapshot}`];
  await server.run('pg_dump', ['--schema-only', ...snapshot], database, {
    otherwise: options.otherwise,
    signal: options.signal,
    sink: (chunk) => void chunks.push(Buffer.from(chunk)),
  });
  const text = Buffer.concat(chunks)
    .toString('utf8')
    .split('\n')
    // Comments name versions; `\restrict` carries a key of its own in every dump.
    .filter((line) => line.trim() !== '' && !line.startsWith('--') && !/^\\(un)?restrict /.test(line))
    .join('\n');
  return { text, sha256: createHash('sha256').update(text).digest('hex') };
}

/** The first lines in which two schemas differ, for a message. */
export function describeSchemaDifference(wanted: string, found: string): string[] {
  const [before, after] = [new Set(wanted.split('\n')), new Set(found.split('\n'))];
  const missing = [...before].filter((line) => !after.has(line)).map((line) => `missing: ${line.trim()}`);
  const added = [...after].filter((line) => !before.has(line)).map((line) => `additional: ${line.trim()}`);
  return [...missing.slice(0, 5), ...added.slice(0, 5)];
}
