import { statfs } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { once } from 'node:events';
import { z } from 'zod';
import type { Client } from 'pg';
import { ProviderError } from '../../domain/failures.ts';
import type { BlobStore } from '../blobs/port.ts';
import { countRows, readSchema, readTables, usePlainText } from './postgres-catalog.ts';
import { describeServer, maintenanceDatabase } from './postgres-connection.ts';
import type { ProgramPlaces } from './postgres-programs.ts';
import { tellingWork } from './postgres-progress.ts';
import { proveBackup, restoreInto } from './postgres-prove.ts';
import { allowStatement, dropMarked, readDatabases, scratchName, scratchOf } from './postgres-scratch.ts';
import { readSwapBegun, swapDatabases } from './postgres-swap.ts';
import { blobKeys, readRecord, takeBackup } from './postgres-take.ts';
import { compareDatabases, type RowChange } from './postgres-writes.ts';
import type { Backup, BackupOptions, BackupRecord, DatabaseWrites } from './port.ts';

/** One PostgreSQL database. */
export const PostgresBackup = z.strictObject({
  kind: z.literal('postgres'),
  url: z.string().describe('Connection URL with its password. The role must own the database and may create others.'),
  clientBin: z
    .string()
    .optional()
    .describe(
      'Folder of `pg_dump` and `pg_restore`. Default: found by the version that the server says (postgres-programs.ts).',
    ),
  diskFolder: z
    .string()
    .optional()
    .describe('Folder on the disk that backups go to, for the estimate. Default: not looked at.'),
});
export type PostgresBackup = z.infer<typeof PostgresBackup>;

/** Connections that backup, proof and comparison have open at once. */
const ownConnections = 4;
/** Dump, scratch copy, and the copy that later writes are compared with; a custom dump is smaller than its database. */
const copies = 3;

/**
 * Creates the safety of one database.
 *
 * @param blobs - take dumps, records and exports.
 * @param places - where the programs are looked for without `clientBin`. Default: those of this machine.
 */
export function createPostgresBackup(
  options: PostgresBackup,
  blobs: BlobStore,
  places?: Partial<ProgramPlaces>,
): Backup {
  const server = describeServer({ ...options, places });

  /** Compares two databases, each as it is at one moment. */
  async function compare(
    before: string,
    after: string,
    onChange: (change: RowChange) => Promise<void>,
    { signal, onProgress }: BackupOptions,
  ): Promise<DatabaseWrites> {
    const still = async (client: Client): Promise<void> => {
      await usePlainText(client);
      await client.query('begin isolation level repeatable read read only');
    };
    return server.connected(before, 'RestoreFailed', (old) =>
      server.connected(after, 'RestoreFailed', async (now) => {
        await Promise.all([still(old), still(now)]);
        return compareDatabases(old, now, onChange, onProgress ?? (() => undefined), signal);
      }),
    );
  }

  async function allow(database: string, connections: boolean): Promise<void> {
    await server.connected(maintenanceDatabase, 'RestoreFailed', (client) =>
      client.query(allowStatement(database, connections)),
    );
  }

  async function exportWrites(record: BackupRecord, how: BackupOptions): Promise<DatabaseWrites> {
    const key = blobKeys(record).writes;
    const damaged = scratchName(record.database, 'damaged', record.deployment);
    how.onProgress?.('restoring the backup to compare with');
    // The restored database has been written to since the swap, so the comparison takes the backup itself once more.
    const copy = await restoreInto(server, blobs, record, 'compare', how);
    try {
      const pipe = new PassThrough();
      pipe.on('error', () => undefined);
      const written = blobs.put(key, pipe, how.signal === undefined ? {} : { signal: how.signal });
      const failed = written.then(
        () => undefined,
        () => pipe.destroy(),
      );
      try {
        const writes = await compare(
          copy,
          damaged,
          async (change) => {
            // Where it cannot be written there is nothing left to compare for; this throws why.
            if (pipe.destroyed) await written;
            if (!pipe.write(`${JSON.stringify(change)}\n`)) await Promise.race([once(pipe, 'drain'), failed]);
          },
          how,
        );
        pipe.end();
        await written;
        return { ...writes, blob: key };
      } catch (error) {
        pipe.destroy(error instanceof Error ? error : undefined);
        await failed;
        throw error;
      }
    } finally {
      await server
        .connected(maintenanceDatabase, 'RestoreFailed', (client) => dropMarked(client, copy, ['compare']))
        .catch(() => undefined);
    }
  }

  return {
    async estimate() {
      const sizes = await server.connected(server.database, 'BackupFailed', readSizes);
      const noPrograms = await server.programFolder(server.database, 'BackupFailed').then(
        () => [],
        (error: unknown) => {
          if (error instanceof ProviderError && error.type === 'ToolMissing') return [`programs: ${error.message}`];
          throw error;
        },
      );
      const folders = [options.diskFolder, sizes.dataFolder].filter((folder) => folder !== undefined);
      const free = await Promise.all(folders.map(freeBytes));
      const seen = free.filter((bytes) => bytes !== undefined);
      const freeDiskBytes = seen.length === 0 ? null : Math.min(...seen);
      const connectionsNeeded = sizes.applicationConnections + ownConnections;
      const diskNeeded = sizes.databaseBytes * copies;
      const problems = [
        ...noPrograms,
        ...(freeDiskBytes === null || freeDiskBytes >= diskNeeded
          ? []
          : [
              `disk: a backup and its proof may take ${diskNeeded} bytes, ${freeDiskBytes} are free on the disk of ${folders[free.indexOf(freeDiskBytes)] ?? 'the server'}; make room there`,
            ]),
        ...(sizes.connectionsFree >= connectionsNeeded
          ? []
          : [
              `connections: ${connectionsNeeded} are needed for both releases and the proof, ${sizes.connectionsFree} are free; raise max_connections or lower the pool of the application`,
            ]),
      ];
      return {
        databaseBytes: sizes.databaseBytes,
        freeDiskBytes,
        connectionsNeeded,
        connectionsFree: sizes.connectionsFree,
        problems,
      };
    },

    async ensureTaken(ref, how = {}) {
      const known = await readRecord(blobs, ref);
      return known ?? tellingWork(server, [server.database], how, () => takeBackup(server, blobs, ref, how));
    },

    ensureProved: (record, how = {}) =>
      tellingWork(server, [scratchName(record.database, 'proof', record.deployment)], how, () =>
        proveBackup(server, blobs, record, how),
      ),

    async readLaterWrites(record, how = {}) {
      const proof = scratchName(record.database, 'proof', record.deployment);
      const there = await server.connected(maintenanceDatabase, 'BackupNotProved', (client) =>
        readDatabases(client, [proof]),
      );
      if (there.get(proof)?.mark?.state !== 'proved') {
        throw new ProviderError(
          'BackupNotProved',
          `there is no proof of the backup of ${record.database} to compare with`,
        );
      }
      await allow(proof, true);
      try {
        return await tellingWork(server, [proof, record.database], how, () =>
          compare(proof, record.database, () => Promise.resolve(), how),
        );
      } finally {
        await allow(proof, false);
      }
    },

    ensureSwapped: (record) => swapDatabases(server, record),

    readSwapBegun: (record) => readSwapBegun(server, record),

    ensureLaterWritesExported(record, how = {}) {
      const named = (['compare', 'damaged'] as const).map((role) =>
        scratchName(record.database, role, record.deployment),
      );
      return tellingWork(server, named, how, () => exportWrites(record, how));
    },

    verify: (record, how = {}) =>
      tellingWork(server, [record.database], how, async () => {
        const { signal } = how;
        const schema = await readSchema(server, record.database, { otherwise: 'RestoreFailed', signal });
        return server.connected(record.database, 'RestoreFailed', async (client) => {
          await usePlainText(client);
          const there = new Set((await readTables(client)).map(({ table }) => table));
          const problems = schema.sha256 === record.schemaSha256 ? [] : ['the schema is not the one of the backup'];
          let rows = 0;
          for (const { table } of record.tables) {
            signal?.throwIfAborted();
            if (there.has(table)) rows += await countRows(client, table);
            else problems.push(`${table} is missing`);
          }
          return { problems, rows, tables: record.tables.length };
        });
      }),

    async ensureProofDropped(ref) {
      await server.connected(maintenanceDatabase, 'BackupFailed', async (client) => {
        for (const role of ['proof', 'compare'] as const) {
          await dropMarked(client, scratchName(server.database, role, ref.deployment), [role]);
        }
      });
    },

    async readDamaged() {
      return server.connected(maintenanceDatabase, 'BackupFailed', async (client) =>
        [...(await readDatabases(client)).values()]
          .filter(({ mark }) => mark?.role === 'damaged' && mark.of === server.database)
          .map(({ name, mark, sizeBytes }) => ({
            database: name,
            deployment: mark?.deployment ?? 0,
            since: mark?.since ?? '',
            sizeBytes,
          }))
          .sort((a, b) => a.since.localeCompare(b.since)),
      );
    },

    async readScratch() {
      return server.connected(maintenanceDatabase, 'BackupFailed', async (client) =>
        [...(await readDatabases(client)).values()]
          .flatMap((found) => {
            const deployment = scratchOf(found, server.database);
            return deployment === undefined ? [] : [{ database: found.name, deployment, sizeBytes: found.sizeBytes }];
          })
          .sort((a, b) => a.database.localeCompare(b.database)),
      );
    },

    async dropDamaged(before, signal) {
      const old = (await this.readDamaged()).filter(({ since }) => since < before).map(({ database }) => database);
      return server.connected(maintenanceDatabase, 'BackupFailed', async (client) => {
        const dropped: string[] = [];
        for (const name of old) {
          if (signal?.aborted === true) break;
          if (await dropMarked(client, name, ['damaged'])) dropped.push(name);
        }
        return dropped;
      });
    },
  };
}

interface ServerSizes {
  readonly databaseBytes: number;
  readonly connectionsFree: number;
  readonly applicationConnections: number;
  readonly dataFolder: string | undefined;
}

async function readSizes(client: Client): Promise<ServerSizes> {
  const { rows } = await client.query<{ size: string; free: number; application: number; folder: string | null }>(`
    select pg_database_size(current_database())::text as size,
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as free,
      (select count(*)::int from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()) as application,
      case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory') end as folder`);
  const [row] = rows;
  return {
    databaseBytes: Number(row?.size ?? 0),
    connectionsFree: row?.free ?? 0,
    applicationConnections: row?.application ?? 0,
    dataFolder: row?.folder ?? undefined,
  };
}

/** Undefined where the folder is on another machine. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
