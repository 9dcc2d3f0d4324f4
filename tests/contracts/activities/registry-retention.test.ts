import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { PushedRemoval, PushedRetention, RegistryRetentionActivities } from '../../../src/activities/contracts.ts';
import { createRegistryRetentionActivities } from '../../../src/activities/registry-retention.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createOciRegistry } from '../../../src/providers/registries/oci.ts';
import type { ImageRegistry } from '../../../src/providers/registries/port.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { findBuild, recordBuild } from '../../../src/store/builds.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { openRun, recordImages, settleRunRow } from '../../../src/store/runs.ts';
import { settleDeploymentRow } from '../../../src/store/settlements.ts';
import { projectYaml } from '../../support/api.ts';
import { components } from '../../support/components.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const environment = 'production';

let store: TestStore;
let folder: string;
let blobs: BlobStore;
let address: string;
let registry: ImageRegistry;
let activities: RegistryRetentionActivities;
/** Called before a manifest is deleted. */
let onDelete: () => Promise<void> = () => Promise.resolve();
let project: string;
let repository: string;
let count = 0;

beforeAll(async () => {
  const [parts, made] = await Promise.all([components('registry'), temporaryStore()]);
  store = made;
  address = parts.registry.address;
  folder = await mkdtemp(join(tmpdir(), 'slipway-registry-'));
  blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  registry = createOciRegistry({ address, insecure: true });
  activities = createRegistryRetentionActivities({
    store,
    blobs,
    readRegistry: () => Promise.resolve({ address, insecure: true }),
    openManifests: () => ({
      ...registry,
      async deleteManifest(...input) {
        await onDelete();
        await registry.deleteManifest(...input);
      },
    }),
  });
}, 120_000);

afterAll(async () => {
  await store.drop();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

beforeEach(async () => {
  count += 1;
  project = `r${count}`;
  repository = `${address}/slipway-test-${process.pid}/${project}/web`;
  onDelete = () => Promise.resolve();
  await addProject(project, 'retention: { runs: 2, registry: remove }\n');
});

async function addProject(name: string, more: string): Promise<void> {
  const text = projectYaml(name, more).replace('127.0.0.1:5000', address);
  await putProject(store.db, { name, text, hash: 'h', diff: '', by: 'ada' });
}

const remove = async (dryRun = false): Promise<PushedRemoval> =>
  await new MockActivityEnvironment().run((input: PushedRetention) => activities.removePushedImages(input), {
    project,
    ...(dryRun ? { dryRun: true as const } : {}),
  });

/** Puts a manifest of its own into the registry under a tag. */
async function put(tag: string, more: object = {}): Promise<string> {
  const path = repository.slice(address.length + 1);
  const config = Buffer.from(JSON.stringify({ tag, repository, at: Math.random() }));
  const digest = `sha256:${createHash('sha256').update(config).digest('hex')}`;
  const upload = await fetch(`http://${address}/v2/${path}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(upload.headers.get('location') ?? '', `http://${address}`);
  place.searchParams.set('digest', digest);
  expect((await fetch(place, { method: 'PUT', body: config })).status).toBe(201);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length },
    layers: [],
    ...more,
  });
  return await putManifest(tag, body, mediaType);
}

async function putManifest(tag: string, body: string, mediaType: string): Promise<string> {
  const url = `http://${address}/v2/${repository.slice(address.length + 1)}/manifests/${tag}`;
  const response = await fetch(url, { method: 'PUT', headers: { 'content-type': mediaType }, body });
  expect(response.status).toBe(201);
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

/** A run that is over and has pushed an image, of which there is a release. @returns the digest. */
async function push(number: number, tags = [`${number}-abcdef0`], pushed?: string): Promise<string> {
  const digest = pushed ?? (await put(tags[0]!));
  for (const tag of pushed === undefined ? tags.slice(1) : []) await registry.ensureTag(repository, digest, tag);
  const run = await begin(number);
  const image = { name: 'web', repository, digest };
  await recordImages(store.db, run, [{ ...image, tags, sizeBytes: 10, reused: false, durationMs: 1 }]);
  await recordRelease(store.db, {
    project,
    version: `1.0.${number}`,
    commit: 'c',
    build: number,
    images: [image],
    migrations: [],
    definition: 'd',
    runKey: `k${number}`,
    author: 'ada',
  });
  await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'ok' });
  return digest;
}

async function begin(
  number: number,
): Promise<{ readonly project: string; readonly key: string; readonly number: number }> {
  const event = {
    kind: 'push' as const,
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: number.toString(16).padStart(40, '0'),
    author: 'ada',
  };
  const key = `k${number}`;
  const { input } = await acceptRun(store.db, { project, key, event, acceptedAt: new Date().toISOString() });
  return await openRun(store.db, input);
}

/** A deployment of a version that succeeded, or is open. */
async function deploy(version: string, open = false): Promise<number> {
  const { input } = await openDeployment(store.db, {
    project,
    environment,
    version,
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date(Date.now() - 60_000).toISOString(),
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  const { number } = input;
  if (open) return number;
  const since = new Date().toISOString();
  const live = { version, commit: 'c', images: [], slot: 'blue' as const, deployment: number, since };
  const result = { project, environment, number, reason: 'ok', steps: [], live, outcome: 'succeeded' as const };
  await settleDeploymentRow(store.db, result, version, since);
  return number;
}

const tagsLeft = async (): Promise<string[]> => [...(await registry.listTags(repository))].sort();

describe('images in a registry', () => {
  test('go with what hangs on them, but for those of live, previous, open and backed-up releases and the newest runs', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 9; number += 1) digests.push(await push(number));
    const of = (number: number): string => digests[number - 1]!;
    for (const number of [3, 6]) {
      const hex = of(number).slice('sha256:'.length);
      await put(`sha256-${hex}.sig`);
      await put(`sha256-${hex}.att`);
    }
    // As of a run that was stopped in the middle: the image went, its signature did not.
    await push(10, ['10-abcdef0']);
    const orphan = (await registry.readManifest(repository, '10-abcdef0'))!.digest;
    await put(`sha256-${orphan.slice(7)}.sig`);
    await registry.deleteManifest(repository, orphan);
    await push(11);
    await push(12);
    await put('by-hand');
    const oldest = await deploy('1.0.1');
    await deploy('1.0.2');
    const backedUp = await deploy('1.0.3');
    await deploy('1.0.4');
    await deploy('1.0.5');
    await deploy('1.0.7', true);
    await blobs.put(`backups/${project}/${environment}/${backedUp}/database.json`, Buffer.from('{}'));
    expect(oldest).toBeLessThan(backedUp);

    const seen = await remove(true);
    expect(seen).toMatchObject({ count: 4, sizeBytes: 40 });
    expect(await tagsLeft()).toHaveLength(16 + 1);

    const done = await remove();
    expect(done).toEqual(seen);
    // 2 was live before the backup of 3 was taken; 4 is previous, 5 live, 7 on its way, 11 and 12 the newest.
    expect(done.names.map((name) => name.replace(/@.*/, ''))).toEqual(
      [1, 6, 8, 9].map((number) => `web:${number}-abcdef0`),
    );
    const three = of(3).replace(':', '-');
    expect(await tagsLeft()).toEqual(
      [
        ...[2, 3, 4, 5, 7, 11, 12].map((number) => `${number}-abcdef0`),
        'by-hand',
        `${three}.att`,
        `${three}.sig`,
      ].sort(),
    );
    for (const number of [2, 3, 4, 5, 7]) {
      expect(await registry.readManifest(repository, of(number))).toMatchObject({ digest: of(number) });
    }
    expect(await registry.readManifest(repository, of(6))).toBeUndefined();
    const { items } = await listAudit(store.db, { actor: 'retention', object: project }, {});
    expect(items).toMatchObject([
      {
        action: 'retention.signatures',
        detail: { count: 1, names: [expect.stringContaining(`:sha256-${orphan.slice(7)}.sig@sha256:`)] },
      },
      { action: 'retention.registry', detail: { count: 4, sizeBytes: 40, names: done.names } },
    ]);
    expect(await remove()).toMatchObject({ count: 0 });
  }, 60_000);

  test('are left, the rest for the next time, as soon as somebody builds or asks for a deployment', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 6; number += 1) digests.push(await push(number));
    let deleted = 0;
    onDelete = async () => {
      deleted += 1;
      if (deleted === 2) await begin(7);
    };
    expect(await remove()).toMatchObject({ count: 2, left: expect.stringContaining('somebody builds or deploys') });
    // What it may have found by its inputs before it was forgotten is there.
    expect(await registry.readManifest(repository, digests[2]!)).toBeDefined();
    expect(await remove()).toMatchObject({ count: 0, left: expect.any(String) });
  }, 60_000);

  test('are found by no build any more before they go', async () => {
    const old = await push(1);
    await recordBuild(store.db, { project, key: 'inputs', name: 'web', repository, digest: old, sizeBytes: 1 });
    for (const number of [2, 3, 4]) await push(number);
    let known: unknown = 'not asked';
    onDelete = async () => void (known = await findBuild(store.db, project, 'inputs'));
    expect(await remove()).toMatchObject({ count: 2 });
    expect(known).toBeUndefined();
  }, 60_000);

  test('of several platforms go whole, and those that another project keeps do not', async () => {
    const part = await put('part');
    const index = 'application/vnd.oci.image.index.v1+json';
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: index,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: part,
          size: (await registry.readContent(repository, part))!.sizeBytes,
          platform: { os: 'linux', architecture: 'amd64' },
        },
      ],
    });
    const list = await putManifest('1-abcdef0', body, index);
    await push(1, ['1-abcdef0', 'part'], list);
    const shared = await push(2);
    for (const number of [3, 4, 5]) await push(number);
    const mine = project;
    project = `other${count}`;
    await addProject(project, '');
    await push(1, ['2-abcdef0'], shared);
    project = mine;
    // The tag of the part is one of the list's for the store, and its digest no record's: it is nobody's.
    expect(await remove()).toMatchObject({ count: 2 });
    expect(await registry.readManifest(repository, list)).toBeUndefined();
    expect(await registry.readManifest(repository, shared)).toMatchObject({ digest: shared });
  }, 60_000);

  test('all stay where nobody can tell what another project keeps', async () => {
    for (let number = 1; number <= 4; number += 1) await push(number);
    await putProject(store.db, { name: 'broken', text: 'version: 2\n', hash: 'h', diff: '', by: 'ada' });
    try {
      await expect(remove()).rejects.toMatchObject({ type: 'DefinitionInvalid' });
      expect(await tagsLeft()).toHaveLength(4);
    } finally {
      await addProject('broken', '');
    }
  }, 60_000);
});

describe('what refers to a manifest', () => {
  test('is known by its `subject`, or stands under the tag that is made of its digest', async () => {
    const subject = await put('subject');
    expect(await registry.listReferrers(repository, subject)).toEqual([]);
    const index = 'application/vnd.oci.image.index.v1+json';
    const signature = await put('signature');
    const size = (await registry.readContent(repository, signature))!.sizeBytes;
    const manifests = [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: signature, size }];
    await putManifest(
      subject.replace(':', '-'),
      JSON.stringify({ schemaVersion: 2, mediaType: index, manifests }),
      index,
    );
    expect(await registry.listReferrers(repository, subject)).toEqual([signature]);
  });
});
