import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import type { ProviderError } from '../../../src/domain/failures.ts';
import { migrationsOf } from '../../../src/providers/migrations/files.ts';
import type { MigrationFile, MigrationRunner } from '../../../src/providers/migrations/port.ts';
import { createSqlMigrationRunner } from '../../../src/providers/migrations/sql.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { until } from '../../support/until.ts';

describe('migrations in SQL files', () => {
  let database: ApplicationDatabase;
  let runner: MigrationRunner;

  const files = migrationsOf([
    { path: '001_notes.sql', text: '-- slipway: reversible\ncreate table notes (id int primary key);' },
    { path: '001_notes.down.sql', text: 'drop table notes;' },
    { path: '002_body.sql', text: `-- slipway: reversible\nalter table notes add body text default 'none';` },
    { path: '002_body.down.sql', text: 'alter table notes drop column body;' },
  ]);

  async function tables(): Promise<string[]> {
    const rows = await database.query<{ name: string }>(
      `select table_name as name from information_schema.tables where table_schema = 'public' order by 1`,
    );
    return rows.map(({ name }) => name);
  }
  async function caught(promise: Promise<unknown>): Promise<ProviderError> {
    return promise.then(
      () => {
        throw new Error('it should have failed');
      },
      (error: unknown) => error as ProviderError,
    );
  }
  function one(name: string, sql: string): MigrationFile[] {
    return [...migrationsOf([{ path: name, text: sql }])];
  }
  function create(url: string): MigrationRunner {
    return createSqlMigrationRunner({ url, name: 'notes', lockTimeoutMs: 300, statementTimeoutMs: 800 });
  }

  beforeAll(async () => {
    database = await createApplicationDatabase();
  }, 180_000);
  afterAll(async () => {
    await database.drop();
  });
  beforeEach(async () => {
    runner = create(database.url);
    await database.query('drop schema public cascade; create schema public');
  });
  afterEach(async () => {
    await runner.close();
  });

  test('looking changes nothing', async () => {
    expect(await runner.pending(files)).toEqual(files.map(({ name, checksum, kind }) => ({ name, checksum, kind })));
    expect(await tables()).toEqual([]);
  });

  test('applies what is pending, in order and once', async () => {
    expect(await runner.run({ files: files.slice(0, 1), deployment: 1 })).toEqual(['001_notes.sql']);
    expect(await runner.run({ files, deployment: 2 })).toEqual(['002_body.sql']);
    expect(await runner.run({ files, deployment: 3 })).toEqual([]);
    expect(await runner.pending(files)).toEqual([]);
    expect(await runner.appliedBy(2)).toEqual(['002_body.sql']);
  });

  test('takes back what one deployment applied, and only that', async () => {
    await runner.run({ files: files.slice(0, 1), deployment: 1 });
    await runner.run({ files, deployment: 2 });
    expect(await runner.down({ deployment: 2 })).toEqual(['002_body.sql']);
    expect(await runner.down({ deployment: 2 })).toEqual([]);
    expect((await runner.pending(files)).map(({ name }) => name)).toEqual(['002_body.sql']);
    expect(await tables()).toContain('notes');
  });

  test('a file that fails is rolled back whole, with its line in the error, and what came before stays', async () => {
    const broken = one(
      '003_broken.sql',
      'create table half (id int);\ninsert into notes values (1);\nselect nonsense;',
    );
    const error = await caught(runner.run({ files: [...files, ...broken], deployment: 4 }));
    expect(error).toMatchObject({ type: 'MigrationFailed', retryable: false });
    expect(error.message).toContain('003_broken.sql, line 3');
    expect(await tables()).toEqual(['notes', 'slipway_migrations']);
    expect((await runner.pending([...files, ...broken])).map(({ name }) => name)).toEqual(['003_broken.sql']);
  });

  test('a file that was changed after it was applied is refused', async () => {
    await runner.run({ files, deployment: 1 });
    const changed = files.map((file) => (file.name === '001_notes.sql' ? { ...file, checksum: 'other' } : file));
    expect(await caught(runner.pending(changed))).toMatchObject({
      type: 'MigrationFailed',
      details: { changed: ['001_notes.sql'] },
    });
  });

  test('waits for a lock only so long, and runs once it is free', async () => {
    await runner.run({ files: files.slice(0, 1), deployment: 1 });
    const user = new Client({ connectionString: database.url });
    await user.connect();
    await user.query('begin; lock table notes in access share mode');
    expect(await caught(runner.run({ files, deployment: 2 }))).toMatchObject({
      type: 'MigrationLocked',
      retryable: true,
    });
    await user.query('commit');
    await user.end();
    expect(await runner.run({ files, deployment: 2 })).toEqual(['002_body.sql']);
  });

  test('a statement that takes too long is ended and undone', async () => {
    const slow = one('001_slow.sql', 'create table slow (id int); select pg_sleep(5);');
    const error = await caught(runner.run({ files: slow, deployment: 1 }));
    expect(error.type).toBe('MigrationFailed');
    expect(error.message).toContain('longer than 800 ms');
    expect(await tables()).toEqual(['slipway_migrations']);
  });

  describe('what a file sets for its session', () => {
    const setting = [
      'set lock_timeout = 0;',
      'set statement_timeout = 0;',
      `select pg_catalog.set_config('search_path', '', false);`,
      'create temporary table scratch (id int);',
      'prepare planned as select 1;',
      'create table public.first (id int);',
    ].join('\n');
    const asking = [
      `create table seen as select current_setting('search_path') as path, current_setting('lock_timeout') as lock,`,
      `  current_setting('statement_timeout') as statement, to_regclass('scratch') is null as clean,`,
      `  (select count(*) from pg_prepared_statements where name = 'planned') as prepared;`,
    ].join('\n');
    const both = migrationsOf([
      { path: '001_sets.sql', text: `-- slipway: reversible\n${setting}` },
      { path: '001_sets.down.sql', text: asking },
      { path: '002_asks.sql', text: `-- slipway: reversible\n${asking}` },
      { path: '002_asks.down.sql', text: `set search_path = ''; set lock_timeout = 0; drop table public.seen;` },
    ]);
    const fresh = { lock: '300ms', statement: '800ms', clean: true, prepared: '0' };

    async function seen(): Promise<unknown> {
      const [row] = await database.query('select lock, statement, clean, prepared, path from public.seen');
      return row;
    }

    test('ends with it: the next file begins as if it were alone, and both are recorded', async () => {
      expect(await runner.run({ files: both, deployment: 1 })).toEqual(['001_sets.sql', '002_asks.sql']);
      expect(await seen()).toMatchObject(fresh);
      expect(await seen()).toMatchObject({ path: expect.stringContaining('public') });
      expect(await runner.appliedBy(1)).toEqual(['001_sets.sql', '002_asks.sql']);
    });

    test('ends with it on the way down too', async () => {
      await runner.run({ files: both, deployment: 1 });
      expect(await runner.down({ deployment: 1 })).toEqual(['002_asks.sql', '001_sets.sql']);
      expect(await seen()).toMatchObject(fresh);
    });

    test('does not end the lock of all runners', async () => {
      const waiting = [
        ...one('001_first.sql', 'create table notes (id int);'),
        ...one('002_waits.sql', 'select pg_sleep(0.6);'),
      ];
      const other = create(database.url);
      const first = runner.run({ files: waiting, deployment: 1 });
      await until(async () => (await tables()).includes('notes'));
      expect(await caught(other.run({ files: waiting, deployment: 2 }))).toMatchObject({ type: 'MigrationLocked' });
      expect(await first).toEqual(['001_first.sql', '002_waits.sql']);
      await other.close();
    });
  });

  test('two runners do not run at once', async () => {
    const waiting = one('001_waits.sql', 'select pg_sleep(0.6);');
    const other = create(database.url);
    const first = runner.run({ files: waiting, deployment: 1 });
    await until(
      async () =>
        (
          await database.query(
            `select 1 from pg_stat_activity where query like '%pg_sleep(0.6)%' and pid <> pg_backend_pid()`,
          )
        ).length > 0,
    );
    expect(await caught(other.run({ files: waiting, deployment: 2 }))).toMatchObject({ type: 'MigrationLocked' });
    expect(await first).toEqual(['001_waits.sql']);
    expect(await other.run({ files: waiting, deployment: 2 })).toEqual([]);
    await other.close();
  });

  test('an abort in the middle leaves nothing of the file', async () => {
    const stop = new AbortController();
    const slow = one('001_slow.sql', 'create table slow (id int); select pg_sleep(0.7);');
    const running = runner.run({ files: slow, deployment: 1, signal: stop.signal });
    await until(
      async () =>
        (
          await database.query(
            `select 1 from pg_stat_activity where query like '%pg_sleep(0.7)%' and pid <> pg_backend_pid()`,
          )
        ).length > 0,
    );
    stop.abort(new Error('stopped by the test'));
    await expect(running).rejects.toThrow('stopped by the test');
    await until(async () => !(await tables()).includes('slow'));
    expect((await runner.pending(slow)).map(({ name }) => name)).toEqual(['001_slow.sql']);
  });

  test('a server that is away and one that refuses are told apart, without the password', async () => {
    for (const [change, type] of [
      [(url: URL) => (url.port = '1'), 'DatabaseUnreachable'],
      [(url: URL) => (url.password = 'wrong-password'), 'DatabaseRefused'],
    ] as const) {
      const url = new URL(database.url);
      change(url);
      const error = await caught(create(url.href).pending(files));
      expect(error.type).toBe(type);
      expect(JSON.stringify([error.message, error.details])).not.toContain(url.password);
    }
  });
});
