import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Client } from 'pg';
import { ProviderError } from '../../domain/failures.ts';
import type { BlobInfo, BlobStore } from '../blobs/port.ts';
import { readContent, readSchema, readTables, usePlainText } from './postgres-catalog.ts';
import type { PostgresServer } from './postgres-connection.ts';
import type { BackupOptions, BackupRecord, BackupRef, TableRecord } from './port.ts';

/** Keys of the blobs of one backup. */
export function blobKeys(ref: BackupRef): {
  readonly dump: string;
  readonly record: string;
  readonly schema: string;
  readonly writes: string;
} {
  const folder = `backups/${ref.project}/${ref.environment}/${ref.deployment}`;
  return {
    dump: `${folder}/database.dump`,
    record: `${folder}/database.json`,
    schema: `${folder}/schema.sql`,
    writes: `${folder}/later-writes.jsonl`,
  };
}

/** Reads the record of a backup that was taken; undefined when there is none. */
export async function readRecord(blobs: BlobStore, ref: BackupRef): Promise<BackupRecord | undefined> {
  const { record } = blobKeys(ref);
  if ((await blobs.size(record)) === undefined) return undefined;
  return JSON.parse(await text(await blobs.read(record))) as BackupRecord;
}

/** Dumps a database from one snapshot, and records what that snapshot held. The record is written last: where it is, the rest is. */
export async function takeBackup(
  server: PostgresServer,
  blobs: BlobStore,
  ref: BackupRef,
  options: BackupOptions,
): Promise<BackupRecord> {
  const startedAt = performance.now();
  const keys = blobKeys(ref);
  const { signal } = options;
  const progress = options.onProgress ?? (() => undefined);
  return server.connected(server.database, 'BackupFailed', async (client) => {
    await usePlainText(client);
    // The snapshot lives as long as this transaction; the dump, the schema and the counts all see exactly it.
    await client.query('begin isolation level repeatable read read only');
    const moment = await readMoment(client);
    const { snapshot } = moment;
    progress('dumping');
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const [dump, schema, tables] = await allOrNone(stop, [
      dumpTo(server, blobs, keys.dump, { snapshot, progress, signal: either, onLine: options.onLine }),
      readSchema(server, server.database, { snapshot, signal: either, otherwise: 'BackupFailed' }),
      readContents(client),
    ]);
    await client.query('commit');
    const tool = await readToolVersion(server, signal);
    await blobs.put(keys.schema, Readable.from([Buffer.from(schema.text)]));
    const record: BackupRecord = {
      project: ref.project,
      environment: ref.environment,
      deployment: ref.deployment,
      blob: keys.dump,
      recordBlob: keys.record,
      sizeBytes: dump.sizeBytes,
      sha256: dump.sha256,
      tool,
      serverVersion: moment.serverVersion,
      database: server.database,
      takenAt: moment.takenAt,
      walPosition: moment.walPosition,
      tables,
      schemaSha256: schema.sha256,
      durationMs: Math.round(performance.now() - startedAt),
    };
    // As a stream, which the store puts on the disk before it answers.
    await blobs.put(keys.record, Readable.from([Buffer.from(JSON.stringify(record))]));
    return record;
  });
}

/** Waits until all have ended, also after one failed: nothing may go on behind a call that has returned. Throws the first failure. */
async function allOrNone<A, B, C>(
  stop: AbortController,
  [a, b, c]: [Promise<A>, Promise<B>, Promise<C>],
): Promise<[A, B, C]> {
  let failed: { readonly error: unknown } | undefined;
  const heard = [a, b, c].map((part) =>
    part.catch((error: unknown) => {
      failed ??= { error };
      stop.abort(error);
    }),
  );
  await Promise.all(heard);
  if (failed !== undefined) throw failed.error;
  return Promise.all([a, b, c]);
}

interface Moment {
  readonly snapshot: string;
  readonly takenAt: string;
  readonly walPosition: string;
  readonly serverVersion: string;
}

async function readMoment(client: Client): Promise<Moment> {
  const { rows } = await client.query<{ snapshot: string; at: Date; wal: string; version: string }>(
    `select pg_export_snapshot() as snapshot, clock_timestamp() as at,
       (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text as wal,
       current_setting('server_version') as version`,
  );
  const [row] = rows;
  if (row === undefined) throw new ProviderError('BackupFailed', 'the server gave no snapshot');
  return { snapshot: row.snapshot, takenAt: row.at.toISOString(), walPosition: row.wal, serverVersion: row.version };
}

async function readToolVersion(server: PostgresServer, signal: AbortSignal | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  await server.run('pg_dump', ['--version'], server.database, {
    otherwise: 'BackupFailed',
    signal,
    sink: (chunk) => void chunks.push(Buffer.from(chunk)),
  });
  return Buffer.concat(chunks).toString('utf8').trim();
}

async function readContents(client: Client): Promise<TableRecord[]> {
  const records: TableRecord[] = [];
  for (const { table } of await readTables(client)) records.push(await readContent(client, table));
  return records;
}

async function dumpTo(
  server: PostgresServer,
  blobs: BlobStore,
  key: string,
  {
    snapshot,
    progress,
    signal,
    onLine,
  }: {
    readonly snapshot: string;
    readonly progress: (what: string) => void;
    readonly signal: AbortSignal;
    readonly onLine: BackupOptions['onLine'];
  },
): Promise<BlobInfo> {
  const pipe = new PassThrough({ highWaterMark: 1024 * 1024 });
  let bytes = 0;
  // Its end is told by the two that are awaited.
  pipe.on('error', () => undefined);
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const written = blobs.put(key, pipe, { signal: either });
  // Where it cannot be written (a full disk) the dump must end too; its own error is then only the consequence.
  const failed = written.then(
    () => undefined,
    (error: unknown) => {
      pipe.destroy();
      stop.abort(error);
    },
  );
  try {
    await server.run('pg_dump', ['--format=custom', `--snapshot=${snapshot}`], server.database, {
      otherwise: 'BackupFailed',
      signal: either,
      onLine,
      sink: async (chunk) => {
        bytes += chunk.length;
        progress(`dumping, ${bytes} bytes`);
        if (!pipe.write(Buffer.from(chunk))) await Promise.race([once(pipe, 'drain'), failed]);
      },
    });
    pipe.end();
    return await written;
  } catch (error) {
    // The blob must not be finished as if the dump had been.
    pipe.destroy(error instanceof Error ? error : undefined);
    stop.abort(error);
    await failed;
    await blobs.remove(key).catch(() => undefined);
    throw error;
  }
}
