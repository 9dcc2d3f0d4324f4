import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { access, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { EnvironmentRetention, UpkeepActivities } from '../../../src/activities/contracts.ts';
import { createDatabases } from '../../../src/activities/databases.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createUpkeepActivities } from '../../../src/activities/upkeep.ts';
import type { DeploymentResult } from '../../../src/domain/deployment.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { LiveRelease } from '../../../src/domain/release.ts';
import type { BuiltImage } from '../../../src/domain/retention.ts';
import { withFenceBeside } from '../../../src/effects/fence-beside.ts';
import { type Fence, type FenceRequest, createFence, withFence } from '../../../src/effects/fence.ts';
import { currentLease } from '../../../src/effects/lease.ts';
import { createLogFolder } from '../../../src/effects/log-files.ts';
import { PostgresBackup, createPostgresBackup } from '../../../src/providers/backups/postgres.ts';
import type { Backup } from '../../../src/providers/backups/port.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun, deliveriesKeptDays } from '../../../src/store/inbox.ts';
import { putCache, recordArtifact } from '../../../src/store/kept-files.ts';
import { addSegment, beginLog, closeLog, listLogs } from '../../../src/store/logs.ts';
import { putProject } from '../../../src/store/projects.ts';
import { settleDeploymentRow } from '../../../src/store/settlements.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { openRun, recordImages, settleRunRow } from '../../../src/store/runs.ts';
import { createKeptFileRecords } from '../../../src/workers/kept-files.ts';
import { projectYaml } from '../../support/api.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

const dayMs = 86_400_000;
const environment = 'production';

let store: TestStore;
let folder: string;
let blobs: BlobStore;
let fence: Fence;
let database: ApplicationDatabase;
let backup: Backup;
let upkeep: Omit<UpkeepActivities, 'readAbandoned' | 'settleAbandoned'>;
let images: BuiltImage[] = [];
/** Called before an image is removed. */
let onDiscard: () => Promise<void> = () => Promise.resolve();
let project: string;
let count = 0;

beforeAll(async () => {
  [store, database] = await Promise.all([temporaryStore(), createApplicationDatabase()]);
  folder = await mkdtemp(join(tmpdir(), 'slipway-upkeep-'));
  blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  fence = createFence({ connectionString: store.url, waitMs: 1_000 });
  await database.query('create table pairs (key text primary key, value text)');
  const { url, clientBin } = database;
  backup = createPostgresBackup(PostgresBackup.parse({ kind: 'postgres', url, clientBin }), blobs);
  const places = {
    open: ({ project: name, environment: of }: { readonly project: string; readonly environment: string }) => {
      if (of === 'removed') throw new ProviderError('NotFound', 'the project has it no more');
      const spec = { project: name, name: of, target: { name: targetOf(name) }, database: {} };
      return Promise.resolve({ spec, definition: 'd' } as unknown as Place);
    },
  };
  const engine = {
    list: (labels: Readonly<Record<string, string>>) =>
      Promise.resolve(images.filter((image) => image.labels['slipway.project'] === labels['slipway.project'])),
    discard: async (image: BuiltImage) => {
      await onDiscard();
      images = images.filter((other) => other !== image);
      return true;
    },
  };
  upkeep = createUpkeepActivities({
    store,
    places,
    databases: createDatabases(() => Promise.resolve({ backup } as never)),
    blobs,
    keptFiles: createKeptFileRecords(store),
    files: createLogFolder(join(folder, 'logs')),
    fence,
    repositories: { removeLeftovers: () => Promise.resolve([]) },
    builder: engine,
    openEngine: () => Promise.resolve(engine),
    workspaces: { folder: join(folder, 'runs') },
  });
}, 120_000);

afterAll(async () => {
  await fence.close();
  await Promise.all([store.drop(), database.drop()]);
  await rm(folder, { recursive: true, force: true });
}, 60_000);

beforeEach(async () => {
  count += 1;
  project = `p${count}`;
  images = [];
  onDiscard = () => Promise.resolve();
  await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
});

const targetOf = (name: string): string => `${name}-target`;
const kept = (over: Partial<EnvironmentRetention> = {}): EnvironmentRetention => {
  return { project, environment, runs: 30, backups: 14, damagedDatabasesMs: 14 * dayMs, ...over };
};
const digestOf = (build: number): string => `sha256:${build.toString(16).padStart(64, '0')}`;

async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}

/** Changes a target as a deployment does, until the returned function is called. */
async function hold(request: FenceRequest): Promise<() => Promise<void>> {
  let release = (): void => undefined;
  let begun = false;
  const holding = withFence(fence, request, async () => {
    begun = true;
    await new Promise<void>((resolve) => (release = resolve));
  });
  await until(() => begun);
  return async () => {
    release();
    await holding;
  };
}

/** A run that is over, with an image in the engine, a release of it and a log. */
async function build(number: number): Promise<void> {
  const event = {
    kind: 'push' as const,
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: number.toString(16).padStart(40, '0'),
    author: 'ada',
  };
  const key = `k${number}`;
  const { input } = await acceptRun(store.db, { project, key, event, acceptedAt: new Date().toISOString() });
  const run = await openRun(store.db, input);
  const image = { name: 'web', repository: 'registry:5000/web', digest: digestOf(number) };
  await recordImages(store.db, run, [{ ...image, tags: [], sizeBytes: 1, reused: false, durationMs: 1 }]);
  await recordRelease(store.db, {
    project,
    version: `1.0.${number}`,
    build: run.number,
    commit: event.after,
    images: [image],
    definition: 'd',
    migrations: [],
    runKey: key,
    author: 'ada',
  });
  const owner = { project, run: run.number, stage: 'test', step: 'unit', attempt: 1 };
  const at = new Date().toISOString();
  const files = createLogFolder(join(folder, 'logs'));
  const log = `run/${project}/${run.number}/test/unit/1`;
  const blob = await files.append(log, { sequence: 0, offsetBytes: 0, at, firstLine: 1 }, Buffer.from('said\n'));
  await files.finish(log);
  await addSegment(store.db, owner, { sequence: 0, blob, offsetBytes: 0, sizeBytes: 5, at });
  await closeLog(store.db, owner, { at, sizeBytes: 5 });
  await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'ok' });
  images.push({
    id: `sha256:${(number + 1_000_000).toString(16).padStart(64, '0')}`,
    sizeBytes: 10,
    tags: [`registry:5000/web:${number}-abcdef0`],
    digests: [`registry:5000/web@${digestOf(number)}`],
    labels: { 'slipway.project': project, 'slipway.image': 'web', 'slipway.build': String(number) },
    createdAt: new Date(number * 60_000).toISOString(),
  });
}

/** A deployment of a version; without an outcome it stays open. */
async function deploy(
  version: string,
  over: Partial<DeploymentResult> = {},
  settledAt = new Date().toISOString(),
): Promise<number> {
  const { input } = await openDeployment(store.db, {
    project,
    environment,
    version,
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  const { number } = input;
  const { outcome } = over;
  if (outcome === undefined) return number;
  const live: LiveRelease = { version, commit: 'c', images: [], slot: 'blue', deployment: number, since: settledAt };
  const result: DeploymentResult = {
    project,
    environment,
    number,
    reason: 'ok',
    steps: [],
    ...(outcome === 'succeeded' ? { live } : {}),
    ...over,
    outcome,
  };
  await settleDeploymentRow(store.db, result, version, settledAt);
  return number;
}

const numbersLeft = (): number[] => images.map(({ labels }) => Number(labels['slipway.build']));

describe('images and logs', () => {
  test('beyond the newest runs go, but for those of live, previous, last good and open releases', async () => {
    for (let number = 1; number <= 9; number += 1) await build(number);
    await deploy('1.0.1', { outcome: 'succeeded' });
    await deploy('1.0.2', { outcome: 'succeeded' });
    await deploy('1.0.3', { outcome: 'failed' });
    await deploy('1.0.4');
    const removal = await call(upkeep.removeOldImages, { ...kept({ runs: 3 }), on: 'targets' });
    expect(removal).toMatchObject({ count: 3, sizeBytes: 30 });
    // 1 is previous, 2 is live, 4 is on its way, 7 to 9 are the newest.
    expect(numbersLeft()).toEqual([1, 2, 4, 7, 8, 9]);
    const logs = await call(upkeep.removeOldLogs, kept({ runs: 3 }));
    expect(logs).toMatchObject({ count: 3, more: false });
    expect(logs.sizeBytes).toBeGreaterThanOrEqual(15);
    expect(await listLogs(store.db, { project, run: 3 })).toEqual([]);
    await expect(access(join(folder, 'logs', 'logs', 'run', project, '3'))).rejects.toThrow('ENOENT');
    for (const run of [1, 2, 4, 9]) expect(await listLogs(store.db, { project, run })).toHaveLength(1);
    expect(await call(upkeep.removeOldLogs, kept({ runs: 3 }))).toMatchObject({ count: 0 });
    const { items } = await listAudit(store.db, { actor: 'retention', object: project }, {});
    expect(items.map(({ action, detail }) => [action, detail['count'], detail['sizeBytes']])).toEqual([
      ['retention.logs', 3, 15],
      ['retention.images', 3, 30],
    ]);
    expect(items[0]?.detail['names']).toEqual([3, 5, 6].map((run) => `${project}#${run}`));
  });

  test('of deployments stay for the newest of each environment, the open ones and what may have to run again', async () => {
    for (let number = 1; number <= 6; number += 1) await build(number);
    const at = new Date().toISOString();
    const logOf = async (number: number): Promise<void> => {
      const owner = { project, environment, number, stage: 'migrate', step: 'database-9', attempt: 1 };
      await beginLog(store.db, owner, at);
      await closeLog(store.db, owner, { at, sizeBytes: 0 });
    };
    for (const version of ['1.0.1', '1.0.2', '1.0.3', '1.0.4']) {
      await logOf(await deploy(version, { outcome: version === '1.0.2' ? 'succeeded' : 'failed' }));
    }
    await logOf(await deploy('1.0.5'));
    await logOf(await deploy('1.0.6', { outcome: 'failed' }));
    // 2 is live, 5 is open, 6 is the newest.
    expect(await call(upkeep.removeOldLogs, kept({ runs: 1 }))).toMatchObject({ count: expect.any(Number) });
    const left: number[] = [];
    for (let number = 1; number <= 6; number += 1) {
      if ((await listLogs(store.db, { project, environment, number })).length > 0) left.push(number);
    }
    expect(left).toEqual([2, 5, 6]);
    const { items } = await listAudit(store.db, { actor: 'retention', object: project }, {});
    expect(items[0]?.detail['names']).toEqual(
      expect.arrayContaining([1, 3, 4].map((number) => `${project}/${environment}/${number}`)),
    );
  });

  test('… and so does their evidence, with its pages, and is audited', async () => {
    for (let number = 1; number <= 5; number += 1) {
      await build(number);
      await blobs.put(`evidence/${project}/${number}/app/scan.json`, Buffer.from('scan'));
      await blobs.put(`reports/${project}/${number}/test.json`, Buffer.from('report'));
    }
    await deploy('1.0.2', { outcome: 'succeeded' });
    // 2 is live, 4 and 5 are the newest.
    expect(await call(upkeep.removeOldEvidence, kept({ runs: 2 }))).toMatchObject({ count: 4, sizeBytes: 20 });
    for (const kind of ['evidence', 'reports']) {
      const left = (await blobs.list(`${kind}/${project}`)).map(({ key }) => Number(key.split('/')[2]));
      expect(left.sort((a, b) => a - b)).toEqual([2, 4, 5]);
    }
    expect(await call(upkeep.removeOldEvidence, kept({ runs: 2 }))).toMatchObject({ count: 0 });
    const { items } = await listAudit(store.db, { actor: 'retention', object: project }, {});
    expect(items.map(({ action, detail }) => [action, detail['count']])).toEqual([['retention.evidence', 4]]);
  });

  test('of what a backup was taken for, and of what was live by then, stay, and so does their evidence', async () => {
    for (let number = 1; number <= 8; number += 1) {
      await build(number);
      await blobs.put(`evidence/${project}/${number}/app/scan.json`, Buffer.from('scan'));
    }
    await deploy('1.0.1', { outcome: 'succeeded' });
    await deploy('1.0.2', { outcome: 'succeeded' });
    const backedUp = await deploy('1.0.3', { outcome: 'failed' });
    await blobs.put(`backups/${project}/${environment}/${backedUp}/database.json`, Buffer.from('{}'));
    await deploy('1.0.5', { outcome: 'succeeded' });
    await deploy('1.0.6', { outcome: 'succeeded' });
    expect(await call(upkeep.removeOldImages, { ...kept({ runs: 1 }), on: 'targets' })).toMatchObject({ count: 3 });
    // 2 was live when the backup for 3 was taken, 5 is previous, 6 live, 8 the newest.
    expect(numbersLeft()).toEqual([2, 3, 5, 6, 8]);
    expect(await call(upkeep.removeOldEvidence, kept({ runs: 1 }))).toMatchObject({ count: 3 });
    const left = (await blobs.list(`evidence/${project}`)).map(({ key }) => Number(key.split('/')[2]));
    expect(left.sort((a, b) => a - b)).toEqual([2, 3, 5, 6, 8]);
  });

  test('… and with it artifacts over their time, caches that are too many, and files of both that nothing names', async () => {
    await build(1);
    const put = async (key: string, daysAgo: number): Promise<string> => {
      await blobs.put(key, Buffer.from('bytes'));
      const at = new Date(Date.now() - daysAgo * dayMs);
      await utimes(join(folder, 'blobs', key), at, at);
      return key;
    };
    for (const [name, days] of [
      ['kept', 90],
      ['over', 30],
    ] as const) {
      const createdAt = Date.now() - 60 * dayMs;
      await recordArtifact(store.db, {
        ...{ project, run: 1, stage: 'test', name, sizeBytes: 5, createdAt: new Date(createdAt).toISOString() },
        files: [{ path: 'a', sizeBytes: 5, sha256: 'x', blob: await put(`artifacts/${project}/1/test/${name}/0`, 60) }],
        expiresAt: new Date(createdAt + days * dayMs).toISOString(),
      });
    }
    await put(`artifacts/${project}/1/test/kept/orphan`, 60);
    await put(`artifacts/${project}/2/test/kept/0`, 60);
    await put(`caches/${project}/pip/orphan`, 2);
    for (const key of ['1', '2']) {
      const blob = await put(`caches/${project}/pip/${key}`, 2);
      await putCache(store.db, { project, scope: 'main', name: 'pip', key, blob, sizeBytes: 5 }, 1_000);
    }
    // The artifact, one cache and two files without a record.
    expect(await call(upkeep.removeOldEvidence, kept({ cachesBytes: 5 }))).toMatchObject({ count: 4, sizeBytes: 20 });
    const left = [...(await blobs.list(`artifacts/${project}`)), ...(await blobs.list(`caches/${project}`))];
    expect(left.map(({ key }) => key).sort()).toEqual([
      `artifacts/${project}/1/test/kept/0`,
      `artifacts/${project}/2/test/kept/0`,
      `caches/${project}/pip/2`,
    ]);
    expect(await call(upkeep.removeOldEvidence, kept({ cachesBytes: 5 }))).toMatchObject({ count: 0 });
    const { items } = await listAudit(store.db, { actor: 'retention', object: project }, {});
    expect(items.map(({ action, detail }) => [action, detail['count']])).toEqual([
      ['retention.unnamed', 1],
      ['retention.unnamed', 1],
      ['retention.caches', 1],
      ['retention.artifacts', 1],
    ]);
  });

  test('are left when somebody changes the target, who is never kept waiting nor refused', async () => {
    for (let number = 1; number <= 5; number += 1) await build(number);
    await deploy('1.0.5', { outcome: 'succeeded' });
    const target = targetOf(project);
    const turn = Date.now();
    const step = (number: number, work: () => Promise<unknown> = () => Promise.resolve(true)): Promise<unknown> =>
      withFence(fence, { target, deployment: turn, step: number, attempt: 1 }, work);
    const release = await hold({ target, deployment: turn, step: 1, attempt: 1 });
    const removal = await call(upkeep.removeOldImages, { ...kept({ runs: 1 }), on: 'targets' });
    expect(removal).toMatchObject({ count: 0, left: expect.stringContaining('somebody changes') });
    await release();
    expect(numbersLeft()).toEqual([1, 2, 3, 4, 5]);
    let discarding = false;
    onDiscard = async () => {
      discarding = true;
      // Whoever comes newer is heard of at once, and not only when the lease is due.
      const lease = currentLease();
      await until(() => lease?.signal.aborted === true);
    };
    const removing = call(upkeep.removeOldImages, { ...kept({ runs: 1 }), on: 'targets' });
    await until(() => discarding);
    const second = step(2);
    const interrupted = await removing;
    await expect(second).resolves.toBe(true);
    expect(interrupted.left).toContain('somebody changes');
    expect(interrupted.count).toBe(1);
    // Its turn goes on where it was: nothing of it has become older than the upkeep.
    await expect(step(3)).resolves.toBe(true);
  });
});

test('beside a fence that nobody holds, work is alone, and raises no order', async () => {
  const target = targetOf(project);
  expect(await withFenceBeside(fence, { target }, (lease) => Promise.resolve(lease.target))).toBe(target);
  const outer = withFenceBeside(fence, { target }, () =>
    withFenceBeside(fence, { target: `${target}-2` }, () => Promise.resolve(1)),
  );
  expect(await outer).toBe(1);
  const { rows } = await fence.pool.query('select deployment, step, attempt, holder from fence where target = $1', [
    target,
  ]);
  expect(rows).toEqual([{ deployment: '0', step: '0', attempt: '0', holder: null }]);
});

describe('backups', () => {
  const prefix = (number: number): string => `backups/${project}/${environment}/${number}`;
  async function put(number: number): Promise<void> {
    for (const [file, bytes] of [
      ['database.dump', 100],
      ['configuration.json', 5],
      ['database.json', 5],
    ] as const) {
      await blobs.put(`${prefix(number)}/${file}`, Buffer.alloc(bytes));
    }
  }
  async function left(): Promise<number[]> {
    const listed = await blobs.list(`backups/${project}/${environment}`);
    return [...new Set(listed.map(({ key }) => Number(key.split('/')[3])))].sort((a, b) => a - b);
  }

  test('beyond fourteen go whole; those that live, previous and a database put aside need stay', async () => {
    const swapped = { action: 'swapped', detail: '' } as const;
    const rollback = { trigger: 't', steps: [], totalMs: 1, data: swapped };
    await deploy('1.0.1', { outcome: 'succeeded' });
    await deploy('1.0.2', { outcome: 'succeeded' });
    await deploy('1.0.3', { outcome: 'rolled-back', rollback });
    await deploy('1.0.4', { outcome: 'failed' });
    await deploy('1.0.5', { outcome: 'rolled-back', rollback }, new Date(Date.now() - 20 * dayMs).toISOString());
    // What a roll-back leaves live is the release before; written as it is in life.
    await store.db
      .updateTable('environments')
      .set({
        live: JSON.stringify({ version: '1.0.2', deployment: 2, images: [] }),
        previous: JSON.stringify({ version: '1.0.1', deployment: 1, images: [] }),
      })
      .where('project', '=', project)
      .execute();
    for (let number = 1; number <= 19; number += 1) await put(number);
    const removal = await call(upkeep.removeOldBackups, kept());
    expect(removal).toMatchObject({ count: 2, sizeBytes: 220 });
    expect(await left()).toEqual([1, 2, 3, ...Array.from({ length: 14 }, (_, index) => index + 6)]);
    expect(await call(upkeep.removeOldBackups, kept())).toMatchObject({ count: 0 });
    const { items } = await listAudit(store.db, { object: `environment/${project}/${environment}` }, {});
    expect(items).toMatchObject([
      { actor: 'retention', detail: { count: 2, sizeBytes: 220, names: [prefix(4), prefix(5)] } },
    ]);
  });

  test('of an environment that is held stay, all of them', async () => {
    await deploy('1.0.1', { outcome: 'held' });
    for (let number = 1; number <= 3; number += 1) await put(number);
    expect(await call(upkeep.removeOldBackups, kept({ backups: 1 }))).toMatchObject({
      count: 0,
      left: expect.stringContaining('held'),
    });
    expect(await left()).toEqual([1, 2, 3]);
  });
});

describe('databases', () => {
  async function names(): Promise<string[]> {
    const rows = await database.queryIn<{ datname: string }>(
      'postgres',
      `select datname from pg_database where datname like '${database.name}\\_%' order by 1`,
    );
    return rows.map(({ datname }) => datname.slice(database.name.length));
  }

  test('put aside long ago, and copies of deployments that are over, are dropped; those of open ones and of a held environment stay', async () => {
    const at = new Date(Date.now() - 2 * dayMs).toISOString();
    const swapped = await deploy('1.0.1', { outcome: 'rolled-back' }, at);
    const dead = await deploy('1.0.2', { outcome: 'errored' }, at);
    const open = await deploy('1.0.3');
    const fresh = await deploy('1.0.4', { outcome: 'errored' });
    for (const deployment of [swapped, dead, open, fresh]) {
      const record = await backup.ensureTaken({ project, environment, deployment });
      await backup.ensureProved(record);
      if (deployment === swapped) await backup.ensureSwapped(record);
    }
    expect(await names()).toEqual(['_damaged_1', '_proof_2', '_proof_3', '_proof_4']);
    expect(await call(upkeep.removeOldDatabases, kept())).toMatchObject({
      count: 1,
      what: `databases of ${project}/${environment}`,
    });
    expect(await names()).toEqual(['_damaged_1', '_proof_3', '_proof_4']);
    const release = await hold({ target: targetOf(project), deployment: 1, step: 1, attempt: 1 });
    const busy = await call(upkeep.removeOldDatabases, kept({ damagedDatabasesMs: 0 }));
    expect(busy).toMatchObject({ count: 0, left: expect.stringContaining('somebody changes') });
    await release();
    await store.db
      .updateTable('environments')
      .set({ hold: JSON.stringify({ outcome: 'held', reason: 'r', since: at, number: swapped }) })
      .where('project', '=', project)
      .execute();
    expect(await call(upkeep.removeOldDatabases, kept({ damagedDatabasesMs: 0 }))).toMatchObject({
      count: 0,
      left: expect.stringContaining('held'),
    });
    await store.db.updateTable('environments').set({ hold: null }).where('project', '=', project).execute();
    const removal = await call(upkeep.removeOldDatabases, kept({ damagedDatabasesMs: 0 }));
    expect(removal.count).toBe(1);
    expect(removal.sizeBytes).toBeGreaterThan(1_000_000);
    expect(await names()).toEqual(['_proof_3', '_proof_4']);
  }, 120_000);
});

describe('what is kept', () => {
  test('is what project.yaml says, else the numbers of the specification', async () => {
    await deploy('1.0.1');
    const other = `${project}-other`;
    const text = `${projectYaml(other)}\nretention: { runs: 5, backups: 2, damagedDatabases: 3d }\n`;
    await putProject(store.db, { name: other, text, hash: 'o', diff: '', by: 'ada' });
    await putProject(store.db, { name: `${project}-broken`, text: 'version: 9', hash: 'b', diff: '', by: 'ada' });
    const { projects, problems } = await call(upkeep.readRetention, undefined);
    expect(projects).toContainEqual({
      project,
      runs: 30,
      backups: 14,
      damagedDatabasesMs: 14 * dayMs,
      cachesBytes: 10 * 1_024 ** 3,
      environments: [environment],
    });
    expect(projects).toContainEqual({
      project: other,
      runs: 5,
      backups: 2,
      damagedDatabasesMs: 3 * dayMs,
      cachesBytes: 10 * 1_024 ** 3,
      environments: [],
    });
    expect(problems).toContainEqual(expect.stringContaining(`${project}-broken: its project.yaml cannot be read`));
  });

  test('are rows that guard against nothing any more', async () => {
    await store.db
      .insertInto('deliveries')
      .values(
        [deliveriesKeptDays + 1, deliveriesKeptDays - 1].map((days) => ({
          project,
          id: `d${days}`,
          event: 'push',
          runKey: null,
          ignored: null,
          receivedAt: new Date(Date.now() - days * dayMs).toISOString(),
        })),
      )
      .execute();
    const removed = await call(upkeep.removeOldRows, undefined);
    expect(removed.find(({ what }) => what === 'deliveries')?.count).toBe(1);
    expect(removed.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['records of built images', 'uses of caches']),
    );
    const rows = await store.db.selectFrom('deliveries').select('id').where('project', '=', project).execute();
    expect(rows).toEqual([{ id: `d${deliveriesKeptDays - 1}` }]);
  });

  test('are checkouts of runs that are open or just over; the others are removed from this machine', async () => {
    for (const number of [1, 2]) await build(number);
    await acceptRun(store.db, {
      project,
      key: 'open',
      event: { kind: 'push', ref: 'refs/heads/x', before: '', after: 'c'.repeat(40), author: 'ada' },
      acceptedAt: new Date().toISOString(),
    });
    await store.db
      .updateTable('runs')
      .set({ settledAt: new Date(Date.now() - 2 * dayMs).toISOString() })
      .where('project', '=', project)
      .where('key', '=', 'k1')
      .execute();
    for (const key of ['k1', 'k2', 'open', 'stranger']) {
      await mkdir(join(folder, 'runs', project, key, 'source'), { recursive: true });
      await writeFile(join(folder, 'runs', project, key, 'source', 'file'), 'bytes');
    }
    expect(await call(upkeep.removeLeftFiles, undefined)).toMatchObject({ count: 1, sizeBytes: 5 });
    await expect(access(join(folder, 'runs', project, 'k1'))).rejects.toThrow('ENOENT');
    for (const key of ['k2', 'open', 'stranger']) await access(join(folder, 'runs', project, key));
  });
});
