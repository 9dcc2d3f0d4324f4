import { chmod, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { PostgresBackup, createPostgresBackup } from '../../../src/providers/backups/postgres.ts';
import { describeServer } from '../../../src/providers/backups/postgres-connection.ts';
import { isWorking, tellingWork } from '../../../src/providers/backups/postgres-progress.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { until } from '../../support/until.ts';

let folder: string;
let database: ApplicationDatabase;
let clients: Client[];
const busy = 'select count(*) from generate_series(1, 1000000000) n where md5(n::text) is null';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-progress-'));
  database = await createApplicationDatabase();
  clients = [];
}, 120_000);

afterEach(async () => {
  await database.drop();
  await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
  await rm(folder, { recursive: true });
}, 120_000);

/** Asks for something that ends when the test does. */
async function begin(sql: string, name = 'pg_restore'): Promise<void> {
  const client = new Client({ connectionString: database.url, application_name: name });
  client.on('error', () => undefined);
  clients.push(client);
  await client.connect();
  client.query(sql).catch(() => undefined);
  await until(
    async () => {
      const query = `select 1 from pg_stat_activity where datname = '${database.name}' and application_name = '${name}' and query = $1`;
      return (await database.query(query, [sql])).length > 0;
    },
    { what: `the server to hear ${sql}` },
  );
}

describe('whether a server works for us', () => {
  test('is so while it computes what a program of ours has asked for, which says nothing meanwhile', async () => {
    const server = describeServer(database);
    expect(await isWorking(server, [database.name])).toBe(false);
    await begin(busy);
    await until(() => isWorking(server, [database.name]), { what: 'the work to be seen' });
    expect(await isWorking(server, [`${database.name}_proof_7`])).toBe(false);
  });

  test.each([
    ['it waits for the clock', 'select pg_sleep(600)', 'pg_restore'],
    ['it waits for a lock', 'select count(*) from locked', 'pg_restore'],
    ['it works for the application', busy, 'the application'],
  ])('is not so while %s', async (_, sql, name) => {
    await database.query('create table locked (id int)');
    await begin('begin; lock table locked in access exclusive mode; select 1', 'the application');
    await begin(sql, name === 'the application' ? 'the application itself' : name);
    const server = describeServer(database);
    // A window in which nothing may be seen.
    for (let look = 0; look < 10; look += 1) {
      expect(await isWorking(server, [database.name])).toBe(false);
      await delay(30);
    }
  });
});

describe('progress of what says nothing', () => {
  test('is told while the server works, and no more when it has ended', async () => {
    const server = describeServer(database);
    const told: string[] = [];
    const how = { onProgress: (what: string) => void told.push(what) };
    await begin(busy);
    await tellingWork(server, [database.name], how, () => until(() => told.length > 2), 20);
    expect(new Set(told)).toEqual(new Set(['the server works']));
    const after = told.length;
    await delay(100);
    expect(told).toHaveLength(after);
  });

  test('of a restore is every piece that it takes; one that hangs tells nothing', async () => {
    await database.query(
      `create table big as select n as id, md5(n::text) || md5((n + 1)::text) as body from generate_series(1, 60000) n`,
    );
    const blobs = createFolderBlobs({ folder });
    const over = (clientBin: string) =>
      createPostgresBackup(PostgresBackup.parse({ kind: 'postgres', url: database.url, clientBin }), blobs);
    const backup = over(database.clientBin);
    const record = await backup.ensureTaken({ project: 'hello', environment: 'staging', deployment: 3 });
    const told: string[] = [];
    const how = { onProgress: (what: string) => void told.push(what) };
    await backup.ensureProved(record, how);
    const pieces = told.filter((what) => what.startsWith('restoring, '));
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.at(-1)).toBe(`restoring, ${record.sizeBytes} bytes`);

    // The same programs, but for one that reads nothing and says nothing.
    const bin = await mkdtemp(join(folder, 'bin-'));
    for (const file of await readdir(database.clientBin)) {
      if (file !== 'pg_restore') await symlink(join(database.clientBin, file), join(bin, file));
    }
    await writeFile(join(bin, 'pg_restore'), '#!/bin/sh\nexec sleep 600\n');
    await chmod(join(bin, 'pg_restore'), 0o755);
    await backup.ensureProofDropped(record);
    told.length = 0;
    const stop = new AbortController();
    const hanging = over(bin)
      .ensureProved(record, { ...how, signal: stop.signal })
      .catch((error: unknown) => error);
    await until(() => told.length > 1, { what: 'the restore to begin' });
    // What fits into the pipe is taken; then it is silent, for longer than three questions to the server.
    const server = describeServer(database);
    let before = 0;
    const isFull = (): boolean => {
      const full = told.length === before;
      before = told.length;
      return full;
    };
    await until(isFull, { everyMs: 500, what: 'the pipe to be full' });
    await tellingWork(server, [`${database.name}_proof_3`], how, () => delay(1_000), 20);
    expect(told).toHaveLength(before);
    expect(told.at(-1)).not.toBe(`restoring, ${record.sizeBytes} bytes`);
    stop.abort(new Error('the test has seen enough'));
    await hanging;
  }, 60_000);
});
