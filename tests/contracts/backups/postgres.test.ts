import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import type { ProviderError } from '../../../src/domain/failures.ts';
import { PostgresBackup, createPostgresBackup } from '../../../src/providers/backups/postgres.ts';
import type { Backup } from '../../../src/providers/backups/port.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { components } from '../../support/components.ts';
import { type SmallTablespace, createSmallTablespace, mountSmallDisk } from '../../support/small-disk.ts';
import { until } from '../../support/until.ts';
import { describeBackup } from './suite.ts';

function createBackup(database: ApplicationDatabase, folder: string): Backup {
  const { url, clientBin } = database;
  return createPostgresBackup(
    PostgresBackup.parse({ kind: 'postgres', url, clientBin, diskFolder: folder }),
    createFolderBlobs({ folder }),
  );
}

describeBackup('postgres', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-backups-'));
  const database = await createApplicationDatabase();
  await database.query('create table pairs (key text primary key, value text)');
  return {
    backup: createBackup(database, folder),
    put: async (key, value) => {
      await database.query('insert into pairs values ($1, $2) on conflict (key) do update set value = excluded.value', [
        key,
        value,
      ]);
    },
    remove: async (key) => {
      await database.query('delete from pairs where key = $1', [key]);
    },
    rows: async () => {
      const rows = await database.query<{ key: string; value: string }>('select * from pairs order by key');
      return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
    },
    stop: async () => {
      await database.drop();
      await rm(folder, { recursive: true });
    },
  };
});

describe('postgres in particular', () => {
  let folder: string;
  let database: ApplicationDatabase;
  let backup: Backup;
  const ref = { project: 'hello', environment: 'staging', deployment: 3 };

  async function caught(promise: Promise<unknown>): Promise<ProviderError> {
    return promise.then(
      () => {
        throw new Error('it should have failed');
      },
      (error: unknown) => error as ProviderError,
    );
  }
  async function databases(): Promise<string[]> {
    const rows = await database.queryIn<{ datname: string }>(
      'postgres',
      `select datname from pg_database where datname like '${database.name}%' order by 1`,
    );
    return rows.map(({ datname }) => datname.slice(database.name.length));
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-backups-'));
    database = await createApplicationDatabase();
    await database.query(`
      create schema "Odd Name";
      create type mood as enum ('calm', 'loud');
      create table "Odd Name"."Table" (id int, part int, t text, data bytea, primary key (part, id));
      insert into "Odd Name"."Table" select n, n % 3, 'row ' || n, decode(md5(n::text), 'hex') from generate_series(1, 5000) n;
      create table events (at timestamptz default now(), what text, how mood default 'calm');
      insert into events (what) values ('same'), ('same'), ('other');
      create view loud as select * from events where how = 'loud';
      create function twice(n int) returns int language sql as 'select n * 2';
      create index on events (what);
      comment on database ${database.name} is 'mine';
      alter database ${database.name} set search_path to 'Odd Name', public`);
    backup = createBackup(database, folder);
  }, 120_000);
  afterEach(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  }, 120_000);

  test('the blob is the dump that its record describes', async () => {
    const record = await backup.ensureTaken(ref);
    const dump = await readFile(join(folder, record.blob));
    expect(dump.subarray(0, 5).toString()).toBe('PGDMP');
    expect(record.sizeBytes).toBe(dump.length);
    expect(record.sha256).toBe(createHash('sha256').update(dump).digest('hex'));
    expect(record.tool).toMatch(/^pg_dump \(PostgreSQL\) \d+/);
    expect(record.walPosition).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(record.tables.map(({ table, rows }) => [table, rows])).toEqual([
      ['"Odd Name"."Table"', 5000],
      ['public.events', 3],
    ]);
  });

  test('what is written while it is taken is in it or not, but never half', async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    const stop = new AbortController();
    const writer = (async () => {
      while (!stop.signal.aborted) await client.query(`insert into events (what) values ('during'), ('during')`);
    })();
    const record = await backup.ensureTaken(ref);
    stop.abort();
    await writer;
    await client.end();
    await backup.ensureProved(record);
  });

  test('nobody can connect to the proof', async () => {
    const proof = await backup.ensureProved(await backup.ensureTaken(ref));
    await expect(database.queryIn(proof.database, 'select 1')).rejects.toThrow('not currently accepting connections');
  });

  test('a swap keeps settings, comment and owner, and ends the sessions of the application', async () => {
    const record = await backup.ensureTaken(ref);
    await backup.ensureProved(record);
    const session = new Client({ connectionString: database.url });
    session.on('error', () => undefined);
    await session.connect();
    const { refusedWritesMs } = await backup.ensureSwapped(record);
    expect(refusedWritesMs).toBeLessThan(2_000);
    await expect(session.query('select 1')).rejects.toThrow();
    const [state] = await database.query(
      `select current_setting('search_path') as path, shobj_description(oid, 'pg_database') as comment, pg_get_userbyid(datdba) as owner
       from pg_database where datname = current_database()`,
    );
    expect(state).toEqual({ path: '"Odd Name", public', comment: 'mine', owner: database.name });
    await expect(database.queryIn(`${database.name}_damaged_3`, 'delete from events')).rejects.toThrow('read-only');
    await database.query(`insert into events (what) values ('goes on')`);
  });

  describe('while the server vacuums', () => {
    async function asAdmin<R extends object>(...statements: readonly string[]): Promise<R[]> {
      const admin = new Client({ connectionString: database.adminUrl });
      await admin.connect();
      try {
        let rows: R[] = [];
        for (const statement of statements) ({ rows } = await admin.query<R>(statement));
        return rows;
      } finally {
        await admin.end();
      }
    }
    /** Until one of its workers, which are nobody's, is at the database. */
    async function untilVacuumed(name: string): Promise<void> {
      await until(
        async () => {
          const [row] = await asAdmin<{ n: number }>(
            `select count(*)::int as n from pg_stat_activity where datname = '${name}' and backend_type = 'autovacuum worker'`,
          );
          return (row?.n ?? 0) > 0;
        },
        { timeoutMs: 90_000, what: `${name} to be vacuumed` },
      );
    }

    beforeEach(async () => {
      // Vacuumed for minutes as soon as the server looks, in the copy as well.
      await database.query(`
        create table public.slow (id int, filler text) with (autovacuum_vacuum_insert_threshold = 1,
          autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
        insert into public.slow select n, repeat('x', 1000) from generate_series(1, 20000) n`);
      await asAdmin(`alter system set autovacuum_naptime = '1s'`, 'select pg_reload_conf()');
    });
    afterEach(async () => {
      await asAdmin('alter system reset autovacuum_naptime', 'select pg_reload_conf()');
    });

    test('the live database is swapped', async () => {
      const record = await backup.ensureTaken(ref);
      await backup.ensureProved(record);
      await untilVacuumed(database.name);
      expect(await backup.ensureSwapped(record)).toMatchObject({ changed: true });
      expect(await databases()).toEqual(['', '_damaged_3']);
    }, 180_000);

    test('the proof is dropped', async () => {
      const { database: proof } = await backup.ensureProved(await backup.ensureTaken(ref));
      await untilVacuumed(proof);
      await backup.ensureProofDropped(ref);
      expect(await databases()).toEqual(['']);
    }, 180_000);
  });

  test('a swap does not end sessions of a superuser, and says so', async () => {
    const record = await backup.ensureTaken(ref);
    await backup.ensureProved(record);
    const theirs = new URL(database.adminUrl);
    theirs.pathname = `/${database.name}`;
    const session = new Client({ connectionString: theirs.href });
    await session.connect();
    const error = await caught(backup.ensureSwapped(record));
    expect(error.type).toBe('RestoreFailed');
    expect(error.message).toContain(`1 of the sessions of ${database.name} do not end (those of a superuser`);
    await session.query('select 1');
    await session.end();
    expect(await backup.ensureSwapped(record)).toMatchObject({ changed: true });
  }, 60_000);

  test('a swap that was cut off while it refused connections is ended by the next call', async () => {
    const record = await backup.ensureTaken(ref);
    await backup.ensureProved(record);
    await database.queryIn('postgres', `alter database ${database.name} with allow_connections false`);
    expect((await backup.ensureSwapped(record)).changed).toBe(true);
    expect(await databases()).toEqual(['', '_damaged_3']);
    expect(await database.query('select count(*)::int as n from events')).toEqual([{ n: 3 }]);
  });

  test('later writes: by key, without a key, and beside new columns and tables', async () => {
    const record = await backup.ensureTaken(ref);
    await backup.ensureProved(record);
    await database.query(`
      alter table "Odd Name"."Table" add column note text default 'new';
      update "Odd Name"."Table" set t = 'damaged' where id <= 10;
      delete from "Odd Name"."Table" where id = 11;
      insert into "Odd Name"."Table" values (6000, 1, 'later', null);
      insert into events (at, what) select at, what from events where what = 'same' limit 1;
      delete from events where what = 'other';
      create table public.fresh (id int primary key);
      insert into public.fresh values (1), (2)`);
    const expected = {
      inserted: 4,
      updated: 10,
      deleted: 2,
      tables: [
        { table: '"Odd Name"."Table"', inserted: 1, updated: 10, deleted: 1 },
        { table: 'public.events', inserted: 1, updated: 0, deleted: 1 },
        { table: 'public.fresh', inserted: 2, updated: 0, deleted: 0 },
      ],
    };
    expect(await backup.readLaterWrites(record)).toEqual(expected);
    await backup.ensureSwapped(record);
    const { blob, ...counts } = await backup.ensureLaterWritesExported(record);
    expect(counts).toEqual(expected);
    const lines = (await readFile(join(folder, blob ?? ''), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(16);
    expect(lines).toContainEqual({
      table: '"Odd Name"."Table"',
      change: 'inserted',
      key: [1, 6000],
      row: { id: 6000, part: 1, t: 'later', data: null, note: 'new' },
    });
    expect(lines).toContainEqual(
      expect.objectContaining({ change: 'updated', key: [1, 1], before: expect.objectContaining({ t: 'row 1' }) }),
    );
    expect(lines).toContainEqual(expect.objectContaining({ change: 'deleted', key: [2, 11] }));
    expect(await databases()).toEqual(['', '_damaged_3']);
  }, 120_000);

  test('a dump that is damaged is not proved, and leaves no scratch database', async () => {
    const record = await backup.ensureTaken(ref);
    const file = join(folder, record.blob);
    await truncate(file, Math.floor((await stat(file)).size / 2));
    expect(await caught(backup.ensureProved(record))).toMatchObject({ type: 'BackupNotProved', retryable: false });
    expect(await databases()).toEqual(['']);
  });

  test('a dump of something else is not proved, and says what differs', async () => {
    const record = await backup.ensureTaken(ref);
    const wrong = {
      ...record,
      schemaSha256: '0'.repeat(64),
      tables: record.tables.map((table, index) => (index === 0 ? { ...table, content: '1' } : { ...table, rows: 9 })),
    };
    const error = await caught(backup.ensureProved(wrong));
    expect(error.type).toBe('BackupNotProved');
    expect(error.details['differences']).toEqual([
      'schema, in its order only',
      '"Odd Name"."Table" has other contents',
      'public.events has 3 rows instead of 9',
    ]);
    expect(await databases()).toEqual(['']);
  });

  test('a database that is in the way is left alone', async () => {
    const record = await backup.ensureTaken(ref);
    await database.queryIn('postgres', `create database ${database.name}_proof_3`);
    expect(await caught(backup.ensureProved(record))).toMatchObject({ type: 'BackupNotProved' });
    expect(await databases()).toEqual(['', '_proof_3']);
  });

  test('a scratch database whose maker was killed before it could mark it is made again', async () => {
    const record = await backup.ensureTaken(ref);
    await database.queryIn('postgres', `create database ${database.name}_proof_3 connection limit 60007`);
    expect(await backup.ensureProved(record)).toMatchObject({ tables: 2, rows: 5003 });
  });

  test('a full disk: told as such, and no blob is left', async () => {
    const disk = mountSmallDisk('64k');
    try {
      const error = await caught(createBackup(database, disk.folder).ensureTaken(ref));
      expect(error).toMatchObject({ type: 'DiskFull', retryable: false });
      expect(error.message).toContain(disk.folder);
      const left = await readdir(disk.folder, { recursive: true, withFileTypes: true });
      expect(left.filter((entry) => entry.isFile())).toEqual([]);
    } finally {
      disk.unmount();
    }
  });

  test('a disk that nobody can see is not told to be free', async () => {
    const { url, clientBin } = database;
    const blobs = createFolderBlobs({ folder });
    for (const diskFolder of [undefined, join(folder, 'not-there')]) {
      const blind = createPostgresBackup(PostgresBackup.parse({ kind: 'postgres', url, clientBin, diskFolder }), blobs);
      expect(await blind.estimate()).toMatchObject({ freeDiskBytes: null, problems: [] });
    }
  });

  describe('without a folder of programs', () => {
    /** Of this server, as it says itself. */
    let major: number;
    let root: string;

    beforeEach(async () => {
      const [row] = await database.query<{ major: number }>(
        `select current_setting('server_version_num')::int / 10000 as major`,
      );
      major = row!.major;
      root = await mkdtemp(join(tmpdir(), 'slipway-programs-'));
    });
    afterEach(async () => {
      await rm(root, { recursive: true });
    });

    /** Programs of a version: the real ones, or one that says a word and fails. */
    async function programs(of: number, says: Readonly<Record<string, string>> = {}): Promise<void> {
      const bin = join(root, 'usr/lib/postgresql', String(of), 'bin');
      await mkdir(bin, { recursive: true });
      for (const name of ['pg_dump', 'pg_restore']) {
        const words = says[name];
        if (words === undefined) await symlink(join(database.clientBin, name), join(bin, name));
        else await writeFile(join(bin, name), `#!/bin/sh\necho '${words}' >&2\nexit 1\n`, { mode: 0o755 });
      }
    }
    const finding = (): Backup =>
      createPostgresBackup(
        PostgresBackup.parse({ kind: 'postgres', url: database.url }),
        createFolderBlobs({ folder }),
        { root, path: '' },
      );
    const wrong = { pg_dump: 'pg_dump: error: the wrong one', pg_restore: 'pg_restore: error: the wrong one' };

    test("it takes those of the server's own version", async () => {
      await programs(major - 1, wrong);
      await programs(major);
      await programs(major + 1, wrong);
      expect((await finding().estimate()).problems).toEqual([]);
      const record = await finding().ensureTaken(ref);
      expect(record.tool).toContain(` ${String(major)}.`);
      expect(await finding().ensureProved(record)).toMatchObject({ tables: 2, rows: 5003 });
    });

    test('it takes newer ones where there are none of that version', async () => {
      await programs(major - 1, wrong);
      await programs(major + 1);
      await programs(major + 2, wrong);
      expect(await finding().ensureProved(await finding().ensureTaken(ref))).toMatchObject({ tables: 2, rows: 5003 });
    });

    test('older ones are nothing: the estimate says so, and a backup is not begun', async () => {
      await programs(major - 1, wrong);
      const { problems } = await finding().estimate();
      expect(problems).toEqual([expect.stringMatching(/^programs: database .* found \d+ in .*clientBin/)]);
      expect(await caught(finding().ensureTaken(ref))).toMatchObject({ type: 'ToolMissing', retryable: false });
      const left = await readdir(folder, { recursive: true, withFileTypes: true });
      expect(left.filter((entry) => entry.isFile())).toEqual([]);
    });

    test('a newer one that the server does not understand is told as such, with what helps', async () => {
      await programs(major + 2, {
        pg_restore:
          'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"',
      });
      const error = await caught(finding().ensureProved(await finding().ensureTaken(ref)));
      expect(error.type).toBe('BackupNotProved');
      expect(error.message).toMatch(/"transaction_timeout"\. Programs newer than a server .*SLIPWAY_POSTGRES_CLIENTS/);
      expect(await databases()).toEqual(['']);
    });

    test('a folder that is set and has none is told as such by the estimate', async () => {
      await programs(major);
      const set = createPostgresBackup(
        PostgresBackup.parse({ kind: 'postgres', url: database.url, clientBin: join(root, 'opt') }),
        createFolderBlobs({ folder }),
        { root, path: '' },
      );
      const words = `\`database.clientBin\` names ${join(root, 'opt')}, which has no`;
      expect((await set.estimate()).problems).toEqual([expect.stringContaining(words)]);
      expect(await caught(set.ensureTaken(ref))).toMatchObject({ type: 'ToolMissing', retryable: false });
    });

    test('a folder that is set wins, and one that is older than the server is told as such', async () => {
      await programs(major);
      await programs(major - 1, {
        pg_dump: 'pg_dump: error: aborting because of server version mismatch',
      });
      const clientBin = join(root, 'usr/lib/postgresql', String(major - 1), 'bin');
      const set = createPostgresBackup(
        PostgresBackup.parse({ kind: 'postgres', url: database.url, clientBin }),
        createFolderBlobs({ folder }),
        { root, path: '' },
      );
      const error = await caught(set.ensureTaken(ref));
      expect(error).toMatchObject({ type: 'ToolTooOld', retryable: false });
      expect(error.message).toContain('`database.clientBin`');
    });
  });

  test('the estimate says when it will not fit', async () => {
    const disk = mountSmallDisk('64k');
    try {
      const { freeDiskBytes, problems } = await createBackup(database, disk.folder).estimate();
      expect(freeDiskBytes).toBeLessThan(65_537);
      expect(problems).toEqual([expect.stringContaining('disk')]);
    } finally {
      disk.unmount();
    }
  });

  test('a disk that is full when later writes are exported: told as such, and with room the next call has them all', async () => {
    const disk = mountSmallDisk('16m');
    try {
      const small = createBackup(database, disk.folder);
      const record = await small.ensureTaken(ref);
      await small.ensureProved(record);
      await database.query(`insert into events (what) select 'later ' || n from generate_series(1, 2000) n`);
      await small.ensureSwapped(record);
      disk.fill();
      const error = await caught(small.ensureLaterWritesExported(record));
      expect(error).toMatchObject({ type: 'DiskFull', retryable: false });
      expect(error.message).toContain(disk.folder);
      // Nothing of the swap is lost by it, and no copy to compare with is left behind.
      expect(await databases()).toEqual(['', '_damaged_3']);
      disk.clear();
      expect(await small.ensureLaterWritesExported(record)).toMatchObject({ inserted: 2000, updated: 0, deleted: 0 });
    } finally {
      disk.unmount();
    }
  }, 120_000);

  test('a server that is away, and one that does not want us, without the password in the words', async () => {
    const away = new URL(database.url);
    away.port = '1';
    const refusing = new URL(database.url);
    refusing.password = 'wrong-password';
    for (const [url, type] of [
      [away, 'DatabaseUnreachable'],
      [refusing, 'DatabaseRefused'],
    ] as const) {
      const error = await caught(createBackup({ ...database, url: url.href }, folder).ensureTaken(ref));
      expect(error.type).toBe(type);
      expect(JSON.stringify([error.message, error.details])).not.toContain(url.password);
    }
  });

  test('an abort leaves no blob and no scratch database behind', async () => {
    await writeFile(join(folder, 'unrelated'), '');
    const stop = new AbortController();
    const taking = backup.ensureTaken(ref, { signal: stop.signal, onProgress: () => stop.abort(new Error('stopped')) });
    await expect(taking).rejects.toThrow('stopped');
    const left = await readdir(folder, { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile()).map((entry) => entry.name)).toEqual(['unrelated']);
  });
});

describe('postgres on a disk that gets full', () => {
  let tablespace: SmallTablespace;
  let database: ApplicationDatabase;
  let folder: string;
  let backup: Backup;
  const ref = { project: 'hello', environment: 'staging', deployment: 3 };

  beforeEach(async () => {
    const { applicationPostgres } = await components('applicationPostgres');
    // An empty database is 8 MB, the notes are 11 MB, and the proof takes the same once more.
    tablespace = await createSmallTablespace(applicationPostgres.url, '64m');
    database = await createApplicationDatabase({ tablespace: tablespace.name });
    folder = await mkdtemp(join(tmpdir(), 'slipway-backups-'));
    await database.query(
      `create table notes as select n, repeat(md5(n::text), 20) as text from generate_series(1, 16000) n`,
    );
    backup = createBackup(database, folder);
  }, 120_000);
  afterEach(async () => {
    await database.drop();
    await tablespace.drop();
    await rm(folder, { recursive: true });
  }, 120_000);

  async function expectNoRoom(proof: Promise<unknown>): Promise<void> {
    await expect(proof).rejects.toMatchObject({
      type: 'DiskFull',
      retryable: false,
      message: expect.stringMatching(/no room on the disk of the server of database .*No space left on device/),
    });
    // The application goes on, and nothing of the proof takes its room.
    await database.query(`insert into notes values (0, 'still here')`);
    const left = await database.queryIn(
      'postgres',
      `select datname from pg_database where datname like '${database.name}\\_%'`,
    );
    expect(left).toEqual([]);
  }

  test('in the middle of the proof: told as such, the scratch database is dropped, and with room it is proved', async () => {
    const record = await backup.ensureTaken(ref);
    // Room for an empty database and a part of the notes.
    tablespace.fill(12 * 1024 * 1024);
    await expectNoRoom(backup.ensureProved(record));
    tablespace.clear();
    await expect(backup.ensureProved(record)).resolves.toMatchObject({ tables: 1, rows: 16_000 });
  }, 120_000);

  test('before the scratch database is made: told as such, and not as a database that does not answer', async () => {
    const record = await backup.ensureTaken(ref);
    tablespace.fill();
    await expect(backup.ensureProved(record)).rejects.toMatchObject({ type: 'DiskFull', retryable: false });
    tablespace.clear();
    await expect(backup.ensureProved(record)).resolves.toMatchObject({ rows: 16_000 });
  }, 120_000);
});
