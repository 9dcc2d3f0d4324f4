import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../../domain/failures.ts';
import type { BlobStore } from '../blobs/port.ts';
import { sqlState } from '../migrations/postgres-errors.ts';
import { describeSchemaDifference, readContent, readSchema, readTables, usePlainText } from './postgres-catalog.ts';
import { type PostgresServer, maintenanceDatabase, quoteName } from './postgres-connection.ts';
import {
  allowStatement,
  createScratch,
  dropMarked,
  isOurs,
  markStatement,
  readDatabases,
  scratchName,
  type Mark,
} from './postgres-scratch.ts';
import { blobKeys } from './postgres-take.ts';
import type { BackupOptions, BackupProof, BackupRecord } from './port.ts';

const shownDifferences = 10;
/**
 * A creation goes on in the server after whoever asked for it was killed: the name is taken (42P04, or 23505 in the same moment) or the
 * template in use (55006) until it is done, ms.
 */
const inTheMaking = new Set(['42P04', '23505', '55006']);
const createTimeoutMs = 30_000;

/**
 * Restores a backup into a scratch database of its own; one of the same name and role is dropped first.
 *
 * @throws `BackupNotProved`, `DiskFull`: the scratch database was dropped.
 */
export async function restoreInto(
  server: PostgresServer,
  blobs: BlobStore,
  record: BackupRecord,
  role: 'proof' | 'compare',
  { signal, onLine, onProgress }: BackupOptions,
): Promise<string> {
  const name = scratchName(record.database, role, record.deployment);
  const mark: Mark = {
    role,
    of: record.database,
    deployment: record.deployment,
    state: 'restoring',
    sha256: record.sha256,
  };
  await server.connected(maintenanceDatabase, 'BackupNotProved', async (client) => {
    const deadline = performance.now() + createTimeoutMs;
    for (;;) {
      const there = (await readDatabases(client, [name])).get(name);
      if (there !== undefined && !isOurs(there, [role])) {
        throw new ProviderError(
          'BackupNotProved',
          `database ${name} at ${server.address} is in the way and not Slipway's; rename or drop it`,
        );
      }
      await dropMarked(client, name, [role]);
      try {
        await createScratch(client, record.database, name, mark);
        return;
      } catch (error) {
        if (!inTheMaking.has(sqlState(error) ?? '') || performance.now() > deadline) throw error;
        signal?.throwIfAborted();
        await delay(100);
      }
    }
  });
  try {
    await server.run('pg_restore', ['--exit-on-error', `--dbname=${name}`], name, {
      otherwise: 'BackupNotProved',
      signal,
      onLine,
      input: Readable.from(
        counted(await blobs.read(record.blob), (bytes) => onProgress?.(`restoring, ${bytes} bytes`)),
        { objectMode: false },
      ),
    });
    return name;
  } catch (error) {
    const left = await dropScratch(server, name, role, error);
    if (left === undefined || !(error instanceof ProviderError)) throw error;
    throw new ProviderError(error.type, `${error.message} (${left})`, {
      details: error.details,
      nonRetryable: !error.retryable,
      cause: error,
    });
  }
}

/** Tells of every chunk that was taken. */
async function* counted(source: Readable, taken: (bytes: number) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    yield chunk;
    bytes += chunk.length;
    taken(bytes);
  }
}

/**
 * Drops a scratch database as far as the server can be reached; what is left is dropped by the next attempt.
 *
 * @param why - what went wrong with it.
 * @returns what there is to say of one that is left.
 */
async function dropScratch(
  server: PostgresServer,
  name: string,
  role: Mark['role'],
  why: unknown,
): Promise<string | undefined> {
  if (why instanceof ProviderError && why.type === 'DiskFull') await emptyScratch(server, name, role);
  return await server
    .connected(maintenanceDatabase, 'BackupNotProved', (client) => dropMarked(client, name, [role]))
    .then(
      () => undefined,
      (error: unknown) =>
        `scratch database ${name} could not be dropped and still takes room: ${error instanceof Error ? error.message : String(error)}`,
    );
}

/** A database is dropped after a checkpoint only, and a full disk may refuse that: what takes the room goes first. Best effort. */
async function emptyScratch(server: PostgresServer, name: string, role: Mark['role']): Promise<void> {
  await server
    .connected(name, 'BackupNotProved', async (client) => {
      const found = (await readDatabases(client, [name])).get(name);
      if (found === undefined || !isOurs(found, [role])) return;
      const { rows } = await client.query<{ schema: string }>(
        `select nspname as schema from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'`,
      );
      for (const { schema } of rows) await client.query(`drop schema ${quoteName(schema)} cascade`);
    })
    .catch(() => undefined);
}

/** Proves a backup by restoring and comparing it; see {@link Backup.ensureProved}. */
export async function proveBackup(
  server: PostgresServer,
  blobs: BlobStore,
  record: BackupRecord,
  options: BackupOptions,
): Promise<BackupProof> {
  const progress = options.onProgress ?? (() => undefined);
  const name = scratchName(record.database, 'proof', record.deployment);
  const rows = record.tables.reduce((sum, table) => sum + table.rows, 0);
  const known = await server.connected(maintenanceDatabase, 'BackupNotProved', async (client) =>
    (await readDatabases(client, [name])).get(name),
  );
  if (known?.mark?.state === 'proved' && known.mark.sha256 === record.sha256) {
    return { database: name, tables: record.tables.length, rows, durationMs: known.mark.durationMs ?? 0 };
  }
  const startedAt = performance.now();
  progress('restoring into a scratch database');
  await restoreInto(server, blobs, record, 'proof', options);
  try {
    progress('comparing the restored database');
    const differences = await findDifferences(server, blobs, record, name, options);
    if (differences.length > 0) {
      throw new ProviderError(
        'BackupNotProved',
        `the backup of database ${record.database} differs from what was backed up: ${differences[0] ?? ''}`,
        { details: { differences: differences.slice(0, shownDifferences), blob: record.blob } },
      );
    }
    const durationMs = Math.round(performance.now() - startedAt);
    const mark: Mark = {
      role: 'proof',
      of: record.database,
      deployment: record.deployment,
      state: 'proved',
      sha256: record.sha256,
      rows,
      durationMs,
    };
    await server.connected(maintenanceDatabase, 'BackupNotProved', async (client) => {
      // From now on nobody can change what was proved, until it takes the place of the live one.
      await client.query(allowStatement(name, false));
      await client.query(markStatement(name, mark));
    });
    return { database: name, tables: record.tables.length, rows, durationMs };
  } catch (error) {
    if (error instanceof ProviderError && !error.retryable) await dropScratch(server, name, 'proof', error);
    throw error;
  }
}

async function findDifferences(
  server: PostgresServer,
  blobs: BlobStore,
  record: BackupRecord,
  name: string,
  { signal }: BackupOptions,
): Promise<string[]> {
  const schema = await readSchema(server, name, { signal, otherwise: 'BackupNotProved' });
  const differences: string[] = [];
  if (schema.sha256 !== record.schemaSha256) {
    const wanted = await text(await blobs.read(blobKeys(record).schema));
    differences.push(...describeSchemaDifference(wanted, schema.text).map((line) => `schema, ${line}`));
    if (differences.length === 0) differences.push('schema, in its order only');
  }
  await server.connected(name, 'BackupNotProved', async (client) => {
    await usePlainText(client);
    const there = new Set((await readTables(client)).map(({ table }) => table));
    for (const wanted of record.tables) {
      signal?.throwIfAborted();
      if (!there.has(wanted.table)) {
        differences.push(`${wanted.table} is missing`);
        continue;
      }
      const found = await readContent(client, wanted.table);
      if (found.rows !== wanted.rows)
        differences.push(`${wanted.table} has ${found.rows} rows instead of ${wanted.rows}`);
      else if (found.content !== wanted.content) differences.push(`${wanted.table} has other contents`);
    }
  });
  return differences;
}
