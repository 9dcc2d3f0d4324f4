import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { BackupReport, DataActivities } from '../../../src/activities/contracts.ts';
import { createDataActivities } from '../../../src/activities/data.ts';
import { createDatabases } from '../../../src/activities/databases.ts';
import type { Place } from '../../../src/activities/places.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import { PostgresBackup, createPostgresBackup } from '../../../src/providers/backups/postgres.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { migrationsOf } from '../../../src/providers/migrations/files.ts';
import type { MigrationFile, MigrationRunner } from '../../../src/providers/migrations/port.ts';
import { createSqlMigrationRunner } from '../../../src/providers/migrations/sql.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { applyFacts } from '../../../src/store/facts.ts';
import { putProject } from '../../../src/store/projects.ts';
import { readLastProofMs } from '../../../src/store/proofs.ts';
import { projectYaml } from '../../support/api.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { type FakeDeploymentLogs, createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

const environment = 'production';

let store: TestStore;
let fence: Fence;
let folder: string;
let count = 0;

beforeAll(async () => {
  store = await temporaryStore();
  fence = createFence({ connectionString: store.url });
  folder = await mkdtemp(join(tmpdir(), 'slipway-data-'));
}, 120_000);

afterAll(async () => {
  await fence.close();
  await store.drop();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

describe('the data of a release that is taken back', () => {
  let project: string;
  let number: number;
  let step: number;
  let logs: FakeDeploymentLogs;
  let database: ApplicationDatabase;
  let runner: MigrationRunner;
  let migrations: readonly MigrationFile[];
  let activities: Omit<DataActivities, never>;

  beforeEach(async () => {
    count += 1;
    project = `p${count}`;
    step = 0;
    migrations = [];
    await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
    const opened = await openDeployment(store.db, {
      project,
      environment,
      version: '1.0.1',
      requestedBy: 'ada',
      author: 'ada',
      priority: 'routine',
      requestedAt: new Date().toISOString(),
      kind: 'rollout',
      request: crypto.randomUUID(),
      startedBy: 'api',
    });
    number = opened.input.number;
    database = await createApplicationDatabase();
    await database.query(
      `create table notes (id int primary key, body text); insert into notes values (1, 'one'), (2, 'two')`,
    );
    const { url, clientBin } = database;
    logs = createFakeDeploymentLogs({ DATABASE_URL: url });
    const blobs = createFolderBlobs({ folder: join(folder, project) });
    const backup = createPostgresBackup(PostgresBackup.parse({ kind: 'postgres', url, clientBin }), blobs);
    runner = createSqlMigrationRunner({ url, name: 'notes', lockTimeoutMs: 1_000, statementTimeoutMs: 5_000 });
    const spec = { project, name: environment, target: { name: `${project}-target` }, database: {}, secrets: {} };
    activities = createDataActivities({
      store,
      places: { open: () => Promise.resolve({ spec, definition: 'd' } as unknown as Place) },
      materials: { of: () => Promise.resolve({ migrations } as never) },
      databases: createDatabases(() =>
        Promise.resolve({
          backup,
          migrations: runner,
          ping: async () => {
            await database.query('select 1');
          },
        }),
      ),
      blobs,
      fence,
      logs,
      recordProof: (deployment, at, durationMs) =>
        void applyFacts(store.db, [{ key: at, fact: { kind: 'proof', ...deployment, at, durationMs } }]),
    });
  }, 120_000);

  afterEach(async () => {
    await runner.close();
    await database.drop();
  }, 60_000);

  async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
    return await new MockActivityEnvironment().run(activity, input);
  }
  const change = (): { project: string; environment: string; number: number; step: number } => {
    step += 1;
    return { project, environment, number, step };
  };
  const backUp = (prove = true): Promise<BackupReport> =>
    call(activities.ensureBackup, { ...change(), database: true, configuration: false, prove });
  const goBack = (
    backup: BackupReport,
    restore: 'ask' | 'automatic',
    migrated: boolean,
  ): ReturnType<DataActivities['ensureDataRolledBack']> =>
    call(activities.ensureDataRolledBack, { ...change(), to: '1.0.0', backup, restore, migrated });
  const notes = async (): Promise<string[]> =>
    (await database.query<{ body: string }>('select body from notes order by id')).map(({ body }) => body);
  const columns = async (): Promise<string[]> =>
    (
      await database.query<{ name: string }>(
        `select column_name as name from information_schema.columns where table_name = 'notes' order by ordinal_position`,
      )
    ).map(({ name }) => name);

  async function migrate(kind: string, sql: string, down?: string): Promise<void> {
    migrations = migrationsOf([
      { path: '001_change.sql', text: `-- slipway: ${kind}\n${sql}` },
      ...(down === undefined ? [] : [{ path: '001_change.down.sql', text: down }]),
    ]);
    const done = await call(activities.runMigrations, { ...change(), version: '1.0.1' });
    expect(done.applied).toEqual(['001_change.sql']);
  }
  const damage = (): Promise<unknown> => database.query(`update notes set body = 'damaged' where id = 1`);

  /** What was written down of a stage, once it is. */
  async function logOf(stage: string, count = 1): Promise<string> {
    const texts = (): string[] =>
      [...logs.texts].filter(([name]) => name.startsWith(`${stage}/`)).map(([, text]) => text);
    await until(() => texts().length === count, { what: `${count} logs of ${stage}` });
    return texts().at(-1) ?? '';
  }

  test('what the tools said of a backup and its proof can be read, without the password, and the next plan knows how long it took', async () => {
    const backup = await backUp();
    const text = await logOf('backup');
    expect(text).toMatch(/pg_dump: .*dumping contents of table "public\.notes"/);
    expect(text).toMatch(
      /pg_restore: .*TABLE DATA "?public\.notes|pg_restore: processing data for table "public\.notes"/,
    );
    expect(text).toContain(`took ${backup.sizeBytes} bytes`);
    expect(text).toMatch(/proved in \d+ ms: .*1 table with 2 rows/);
    expect(text).not.toContain(decodeURIComponent(new URL(database.url).password));
    await until(async () => (await readLastProofMs(store.db, project, environment)) === backup.proofMs, {
      what: 'the store to know the proof',
    });
    expect(backup.proofMs).toBeGreaterThan(0);
  });

  test("a migration that failed is read in the server's own words, with what it said before", async () => {
    migrations = migrationsOf([
      {
        path: '001_change.sql',
        text: `-- slipway: expand\ndo $$ begin raise notice 'looking at %', 'notes'; end $$;\nalter table nowhere add column x int;`,
      },
    ]);
    const migrating = call(activities.runMigrations, { ...change(), version: '1.0.1' });
    await expect(migrating).rejects.toMatchObject({ type: 'MigrationFailed' });
    const text = await logOf('migrate');
    expect(text).toContain('1 of 1 migrations are pending');
    expect(text).toMatch(
      /001_change\.sql begins\nNOTICE: looking at notes\n001_change\.sql was rolled back after \d+ ms/,
    );
    expect(text).toContain('relation "nowhere" does not exist');
    expect(text).toContain('file: 001_change.sql');
  });

  test('goes back where that is automatic, though the release migrated nothing', async () => {
    const backup = await backUp();
    await damage();
    const data = await goBack(backup, 'automatic', false);
    expect(data).toMatchObject({
      action: 'swapped',
      damagedDatabase: `${database.name}_damaged_${number}`,
      laterWrites: { inserted: 0, updated: 1, deleted: 0, blob: expect.any(String) },
      refusedWritesMs: expect.any(Number),
    });
    expect(await notes()).toEqual(['one', 'two']);
    expect(await database.queryIn(data.damagedDatabase!, 'select body from notes where id = 1')).toEqual([
      { body: 'damaged' },
    ]);
    await database.query(`insert into notes values (3, 'three')`);
    const verified = await call(activities.verifyData, { project, environment, number, backup, swapped: true });
    expect(verified).toMatchObject({ verdict: 'passed', detail: expect.stringMatching(/3 rows now and had 2 in/) });
  });

  test('goes back where that is automatic, with what the release migrated', async () => {
    const backup = await backUp();
    await migrate('expand', 'alter table notes add column extra text');
    await damage();
    expect(await goBack(backup, 'automatic', true)).toMatchObject({ action: 'swapped' });
    expect([await columns(), await notes()]).toEqual([
      ['id', 'body'],
      ['one', 'two'],
    ]);
  });

  test('goes back by a backup that nobody had proved, once it is', async () => {
    const backup = await backUp(false);
    await damage();
    expect(await goBack(backup, 'automatic', false)).toMatchObject({ action: 'swapped' });
    expect(await notes()).toEqual(['one', 'two']);
  });

  test('is back before anybody exports what was written since, which is done by itself, and twice the same', async () => {
    const backup = await backUp();
    await damage();
    const input = { to: '1.0.0', backup, restore: 'automatic', migrated: false, exportsLater: true } as const;
    const data = await call(activities.ensureDataRolledBack, { ...change(), ...input });
    expect(data).toEqual({
      action: 'swapped',
      detail: expect.stringMatching(/^the proved copy took its place; writes were refused for \d+ ms$/),
      damagedDatabase: `${database.name}_damaged_${number}`,
      refusedWritesMs: expect.any(Number),
    });
    expect(await notes()).toEqual(['one', 'two']);
    await database.query(`insert into notes values (3, 'after the swap')`);
    const exported = await call(activities.ensureLaterWritesExported, { ...change(), backup });
    expect(exported).toEqual({
      laterWrites: { inserted: 0, updated: 1, deleted: 0, blob: expect.stringMatching(/later-writes\.jsonl$/) },
      detail: expect.stringMatching(
        /^since the backup 0 rows were inserted, 1 updated, 0 deleted in 1 tables, exported to /,
      ),
    });
    expect(await call(activities.ensureLaterWritesExported, { ...change(), backup })).toEqual(exported);
    await until(() => [...logs.texts.keys()].some((name) => name.includes('later-writes')), { what: 'its log' });
  });

  test('stays where it is asked for and nothing was migrated', async () => {
    const backup = await backUp();
    await damage();
    expect(await goBack(backup, 'ask', false)).toMatchObject({ action: 'none' });
    expect(await notes()).toEqual(['damaged', 'two']);
  });

  test('goes back unasked when nothing was written since, and the second call says the same', async () => {
    const backup = await backUp();
    await migrate('contract', 'alter table notes rename column body to text');
    await database.query('alter table notes rename column text to body');
    await database.query('create view bodies as select body from notes');
    const first = await goBack(backup, 'ask', true);
    expect(first).toMatchObject({ action: 'swapped', laterWrites: { inserted: 0, updated: 0, deleted: 0 } });
    expect(await database.query(`select to_regclass('bodies') as view`)).toEqual([{ view: null }]);
    // An application that goes on writing, and a worker that died before it could tell.
    await database.query(`insert into notes values (3, 'three')`);
    expect(await goBack(backup, 'ask', true)).toEqual(first);
    expect(await notes()).toEqual(['one', 'two', 'three']);
  });

  test('a swap that was cut off while it refused connections is ended, asked for or not', async () => {
    const backup = await backUp();
    await migrate('expand', 'create table fresh (id int)');
    const proof = `${database.name}_proof_${number}`;
    const [mark] = await database.queryIn<{ comment: string }>(
      'postgres',
      `select shobj_description(oid, 'pg_database') as comment from pg_database where datname = '${proof}'`,
    );
    const begun = mark!.comment.replace(/\}$/, `,"since":"${new Date().toISOString()}"}`);
    await database.queryIn('postgres', `comment on database ${proof} is '${begun}'`);
    await database.queryIn('postgres', `alter database ${database.name} with allow_connections false`);
    expect(await goBack(backup, 'ask', true)).toMatchObject({ action: 'swapped' });
    expect(await notes()).toEqual(['one', 'two']);
  });

  test('with writes that would be lost: what is reversible is taken back', async () => {
    const backup = await backUp();
    await migrate('reversible', 'alter table notes add column extra text', 'alter table notes drop column extra');
    await damage();
    expect(await goBack(backup, 'ask', true)).toMatchObject({
      action: 'down',
      detail: expect.stringContaining('001_change.sql'),
    });
    expect([await columns(), await notes()]).toEqual([
      ['id', 'body'],
      ['damaged', 'two'],
    ]);
  });

  test('with writes that would be lost: what only expands is left', async () => {
    const backup = await backUp();
    await migrate('expand', 'alter table notes add column extra text');
    await damage();
    expect(await goBack(backup, 'ask', true)).toMatchObject({ action: 'left' });
    expect([await columns(), await notes()]).toEqual([
      ['id', 'body', 'extra'],
      ['damaged', 'two'],
    ]);
  });

  test('with writes that would be lost: what contracts is held for a person, whose word restores it', async () => {
    const backup = await backUp();
    await migrate('contract', 'delete from notes where id = 2');
    await damage();
    const held = await goBack(backup, 'ask', true);
    expect(held).toMatchObject({ action: 'held' });
    expect(held.detail).toContain(`slipway retry ${project}/${environment} --reason `);
    expect(await notes()).toEqual(['damaged']);
    expect(await goBack(backup, 'automatic', true)).toMatchObject({
      action: 'swapped',
      laterWrites: { updated: 1, deleted: 1 },
    });
    expect(await notes()).toEqual(['one', 'two']);
  });
});
