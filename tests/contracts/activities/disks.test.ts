import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pack } from 'tar-stream';
import type { DiskActivities } from '../../../src/activities/contracts.ts';
import { createDiskActivities } from '../../../src/activities/disks.ts';
import type { Place } from '../../../src/activities/places.ts';
import { enginesToPrune, judgeDisks, usedShare } from '../../../src/domain/disk.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createDockerBuilder } from '../../../src/providers/builders/docker.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { openRun, settleRunRow } from '../../../src/store/runs.ts';
import { settleDeploymentRow } from '../../../src/store/settlements.ts';
import { listMachines } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { type SmallEngine, startSmallEngine } from '../../support/small-engine.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const project = 'hello';
const environment = 'production';
const limits = { high: 0.85, low: 0.8 };

let engine: SmallEngine;
let store: TestStore;
let fence: Fence;
let blobs: BlobStore;
let folder: string;
let disks: Pick<DiskActivities, keyof DiskActivities>;

beforeAll(async () => {
  // First, so that nothing has to be taken back where it cannot be started.
  engine = await startSmallEngine('160m');
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-disks-'));
  blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  fence = createFence({ connectionString: store.url, waitMs: 1_000 });
  await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
  disks = createDiskActivities({
    store,
    places: {
      open: ({ project: of, environment: name }: { readonly project: string; readonly environment: string }) =>
        Promise.resolve({ spec: { project: of, name, target: { name: `${of}-target` } } } as unknown as Place),
    },
    fence,
    blobs,
    machine: { queue: 'machine-here', name: 'here' },
    limits,
    folders: { blobs: folder, gone: join(folder, 'gone') },
    engine: engine.address,
    openEngine: createDockerBuilder,
  });
}, 120_000);
afterAll(async () => {
  await fence.close();
  await store.drop();
  await engine.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}

/** An image of eight megabytes that nothing can make smaller. @returns its id. */
async function makeImage(tag: string, labels: Readonly<Record<string, string>>): Promise<string> {
  const archive = pack();
  archive.entry({ name: 'bytes' }, randomBytes(8 * 1024 * 1024));
  archive.finalize();
  const changes = Object.entries(labels).map(([name, value]) => `LABEL ${name}=${value}`);
  const [repo, version] = tag.split(':');
  const stream = await engine.docker.importImage(Readable.from(archive), { repo, tag: version, changes });
  // Read to its end: the image is there then.
  await new Promise<void>((resolve, reject) =>
    (stream as unknown as Readable).resume().once('end', resolve).once('error', reject),
  );
  return (await engine.docker.getImage(tag).inspect()).Id;
}

/** A run with an image and a release; open when it is to be. */
async function build(number: number, open = false): Promise<string> {
  const key = `k${number}`;
  const after = number.toString(16).padStart(40, '0');
  const event = { kind: 'push' as const, ref: 'refs/heads/main', before: '0'.repeat(40), after, author: 'ada' };
  const { input } = await acceptRun(store.db, { project, key, event, acceptedAt: new Date().toISOString() });
  const run = await openRun(store.db, input);
  expect(run.number).toBe(number);
  const labels = { 'slipway.project': project, 'slipway.image': 'web', 'slipway.build': String(number) };
  const digest = await makeImage(`hello/web:${number}-abcdef0`, labels);
  if (open) return digest;
  await recordRelease(store.db, {
    project,
    version: `1.0.${number}`,
    build: number,
    commit: after,
    images: [{ name: 'web', repository: 'hello/web', digest }],
    definition: 'd',
    migrations: [],
    runKey: key,
    author: 'ada',
  });
  await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'ok' });
  return digest;
}

async function deploy(version: string): Promise<number> {
  const at = new Date().toISOString();
  const { input } = await openDeployment(store.db, {
    project,
    environment,
    version,
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: at,
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  const { number } = input;
  const live = { version, commit: 'c', images: [], slot: 'blue' as const, deployment: number, since: at };
  const result = { project, environment, number, outcome: 'succeeded' as const, reason: 'ok', steps: [], live };
  await settleDeploymentRow(store.db, result, version, at);
  return number;
}

async function tagsLeft(): Promise<string[]> {
  const images = await engine.docker.listImages();
  return images.flatMap(({ RepoTags }) => RepoTags ?? []).sort();
}

test('a disk that is too full is freed of the images that nothing needs, and of nothing else', async () => {
  // 1 has a backup, 2 is previous and 3 is live; 4 and 7 are nobody's, 5 has a container, 6 is being built.
  for (const number of [1, 2, 3, 4, 5]) await build(number);
  await build(6, true);
  await build(7);
  // Two more between them, or the first would be one of the last two that succeeded.
  const backedUp = await deploy('1.0.1');
  await blobs.put(`backups/${project}/${environment}/${backedUp}/database.json`, Buffer.from('{}'));
  for (const version of ['1.0.2', '1.0.3', '1.0.2', '1.0.3']) await deploy(version);
  await makeImage('somebody/base:1', {});
  await makeImage('stranger/web:1-abcdef0', { 'slipway.project': 'stranger', 'slipway.build': '1' });
  // Of another installation, which has a project of this name, too.
  const theirs = { 'slipway.project': project, 'slipway.image': 'web', 'slipway.build': '4' };
  await makeImage('theirs/web:4-1234567', theirs);
  await engine.docker.createContainer({ Image: 'hello/web:5-abcdef0', Cmd: ['/bytes'], name: 'somebodys' });

  const before = await call(disks.readDisks, undefined);
  const own = before.disks.find(({ engines }) => engines.includes(engine.address));
  expect(own?.holds).toEqual([`engine ${engine.address}`]);
  expect(before.unmeasured).toEqual([expect.stringContaining('the disk of gone could not be measured: ENOENT')]);
  expect(await listMachines(store.db, 1)).toEqual([{ queue: 'machine-here', name: 'here' }]);

  // Filled so that one of eight megabytes less is enough.
  const total = (own?.usedBytes ?? 0) + (own?.availableBytes ?? 0);
  engine.disk.fill(Math.floor(total * (1 - limits.low)) - 4 * 1024 * 1024);
  const full = await call(disks.readDisks, undefined);
  expect(usedShare(full.disks.find(({ engines }) => engines.includes(engine.address))!)).toBeGreaterThan(limits.low);
  const first = await call(disks.pruneImages, { engine: engine.address, until: limits.low });
  expect(first).toMatchObject({ count: 1 });
  expect(await tagsLeft()).not.toContain('hello/web:4-abcdef0');
  expect(await tagsLeft()).toContain('hello/web:7-abcdef0');
  expect(await call(disks.pruneImages, { engine: engine.address, until: limits.low })).toMatchObject({ count: 0 });

  // Nearly full: even the cache of the next build goes, and no more than that.
  engine.disk.fill(2 * 1024 * 1024);
  const nearly = await call(disks.readDisks, undefined);
  expect(enginesToPrune(nearly)).toContain(engine.address);
  expect(judgeDisks(nearly).verdict).toBe('failed');
  expect(await call(disks.pruneImages, { engine: engine.address, until: 0.01 })).toMatchObject({ count: 1 });
  expect(await tagsLeft()).toEqual([
    ...[1, 2, 3, 5, 6].map((number) => `hello/web:${number}-abcdef0`),
    'somebody/base:1',
    'stranger/web:1-abcdef0',
    'theirs/web:4-1234567',
  ]);
  const { items } = await listAudit(store.db, { actor: 'disk-watch' }, {});
  expect(items.map(({ detail }) => detail['name'])).toEqual(['hello/web:7-abcdef0', 'hello/web:4-abcdef0']);
}, 120_000);

test('an engine that is away is told, and is not well', async () => {
  const away: typeof disks = createDiskActivities({
    store,
    places: { open: () => Promise.reject(new Error('not asked')) },
    fence,
    blobs,
    machine: { queue: 'machine-here', name: 'here' },
    limits,
    folders: {},
    engine: 'unix:///nowhere/docker.sock',
    openEngine: createDockerBuilder,
  });
  const reading = await call(away.readDisks, undefined);
  expect(reading.unmeasured).toEqual([expect.stringContaining('engine unix:///nowhere/docker.sock')]);
  expect(judgeDisks(reading).verdict).toBe('errored');
});
