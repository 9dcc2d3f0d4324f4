import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import type { PushedRemoval, PushedRetention, RegistryRetentionActivities } from '../../../src/activities/contracts.ts';
import { createRegistryRetentionActivities } from '../../../src/activities/registry-retention.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createOciRegistry } from '../../../src/providers/registries/oci.ts';
import type { ImageRegistry } from '../../../src/providers/registries/port.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { findBuild, recordBuild } from '../../../src/store/builds.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { claimUse } from '../../../src/store/registry-claims.ts';
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
/** Called when the tags of a repository are asked for. */
let onLook: () => Promise<void> = () => Promise.resolve();
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
      async listTags(...input) {
        const tags = await registry.listTags(...input);
        await onLook();
        return tags;
      },
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
  onLook = () => Promise.resolve();
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

/** Puts a manifest of its own into the registry under a tag, or under its digest only. */
async function put(tag: string | undefined, more: object = {}): Promise<string> {
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

async function putManifest(tag: string | undefined, body: string, mediaType: string): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  const url = `http://${address}/v2/${repository.slice(address.length + 1)}/manifests/${tag ?? digest}`;
  const response = await fetch(url, { method: 'PUT', headers: { 'content-type': mediaType }, body });
  expect(response.status).toBe(201);
  return digest;
}

/** A run that is over and has pushed an image, of which there is a release. @returns the digest. */
async function push(
  number: number,
  tags = [`${number}-abcdef0`],
  pushed?: string,
  platforms: readonly PlatformManifest[] = [],
): Promise<string> {
  const digest = pushed ?? (await put(tags[0]));
  for (const tag of pushed === undefined ? tags.slice(1) : []) await registry.ensureTag(repository, digest, tag);
  const run = await begin(number);
  const image = { name: 'web', repository, digest };
  const evidence = { buildKey: 'k', bases: {}, warnings: [], ...(platforms.length === 0 ? {} : { platforms }) };
  await recordImages(store.db, run, [{ ...image, tags, sizeBytes: 10, reused: false, durationMs: 1, evidence }]);
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

/** Signs it as cosign does, and attests to it. */
async function sign(digest: string): Promise<void> {
  for (const end of ['sig', 'att']) await put(`sha256-${digest.slice(7)}.${end}`);
}

interface PlatformManifest {
  readonly platform: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** An image of several platforms, signed as a whole and each of them. @param shared - platforms that it has from another one. */
async function pushList(
  number: number,
  shared: readonly PlatformManifest[] = [],
): Promise<{ readonly list: string; readonly parts: readonly PlatformManifest[] }> {
  const parts = [...shared];
  for (const platform of ['linux/amd64', 'linux/arm64'].slice(shared.length)) {
    const digest = await put(undefined);
    const { sizeBytes } = (await registry.readContent(repository, digest))!;
    parts.push({ platform, digest, sizeBytes });
    await sign(digest);
  }
  const index = 'application/vnd.oci.image.index.v1+json';
  const manifests = parts.map(({ platform, digest, sizeBytes }) => {
    const [os, architecture] = platform.split('/');
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    return { mediaType, digest, size: sizeBytes, platform: { os, architecture } };
  });
  const tag = `${number}-abcdef0`;
  const list = await putManifest(tag, JSON.stringify({ schemaVersion: 2, mediaType: index, manifests }), index);
  await put(`sha256-${list.slice(7)}.sig`);
  await push(number, [tag], list, parts);
  return { list, parts };
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

  test('stay, all of them, where the registry has more names of them than can be read', async () => {
    for (let number = 1; number <= 4; number += 1) await push(number);
    onLook = () => Promise.reject(new ProviderError('TooLarge', 'more tags than are read'));
    for (const dryRun of [true, false]) await expect(remove(dryRun)).rejects.toMatchObject({ type: 'TooLarge' });
    expect(await tagsLeft()).toHaveLength(4);
  });

  test('are left where a run has claimed them since, or somebody has asked for a deployment; the others go', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 6; number += 1) digests.push(await push(number));
    const run = await begin(7);
    let deleted = 0;
    const answers: boolean[] = [];
    onDelete = async () => {
      deleted += 1;
      if (deleted !== 1) return;
      // 1 is going, 2 and 3 are claimed by the retention, too, but nothing has become of that yet.
      for (const digest of digests.slice(0, 2)) {
        answers.push(await claimUse(store.db, { user: { run, image: digest }, repository, digests: [digest] }));
      }
      await expect(deploy('1.0.3', true)).rejects.toMatchObject({ type: 'ImageBeingRemoved' });
    };
    const removed = await remove();
    expect(answers).toEqual([false, false]);
    expect(removed).toMatchObject({ count: 4, left: expect.stringContaining('1 are left for the next time') });
    expect(removed.names.map((name) => name.replace(/@.*/, ''))).toEqual(
      [1, 3, 4, 5].map((number) => `web:${number}-abcdef0`),
    );
    expect(await registry.readManifest(repository, digests[1]!)).toBeDefined();
    // What was being removed is removed by the end, and who has waited can bring it again.
    expect(await registry.readManifest(repository, digests[0]!)).toBeUndefined();
    expect(await claimUse(store.db, { user: { run, image: 'again' }, repository, digests: [digests[0]!] })).toBe(true);
    expect(await remove()).toMatchObject({ count: 0, left: expect.any(String) });
    await settleRunRow(store.db, run, { outcome: 'failed', reason: 'no' });
    expect(await remove()).toMatchObject({ count: 1 });
  }, 60_000);

  test('are left where a run pushes there, whose digest nobody knows yet', async () => {
    for (let number = 1; number <= 4; number += 1) await push(number);
    const run = await begin(5);
    expect(await claimUse(store.db, { user: { run, image: 'web' }, repository, digests: [] })).toBe(true);
    expect(await remove()).toMatchObject({ count: 0, left: expect.stringContaining('3 are left') });
    await settleRunRow(store.db, run, { outcome: 'failed', reason: 'no' });
    expect(await remove()).toMatchObject({ count: 3 });
  }, 60_000);

  test('are left where they came to be on record between the look into the registry and their turn', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 4; number += 1) digests.push(await push(number));
    let looked = 0;
    onLook = async () => {
      looked += 1;
      // Claimed, pushed, on record and free again, all of it within one look.
      if (looked === 1) await push(5, ['1-abcdef0'], digests[0]);
    };
    expect(await remove()).toMatchObject({ count: 0, left: expect.any(String) });
    expect(await registry.readManifest(repository, digests[0]!)).toBeDefined();
    onLook = () => Promise.resolve();
    // Two other runs are the newest now, and 1 belongs to one of them.
    expect((await remove()).names.map((name) => name.replace(/@.*/, ''))).toEqual(['web:2-abcdef0', 'web:3-abcdef0']);
  }, 60_000);

  test('are deployed by nobody while they go: whoever asks before finds them there, whoever asks after is told', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 12; number += 1) digests.push(await push(number));
    const going = digests.slice(0, 10);
    const asking: Promise<unknown>[] = [];
    const opened = new Set<number>();
    onDelete = async () => {
      // One ahead of what is deleted, in the moment in which it is: one of both is first.
      const number = asking.length + 2;
      if (number > 10) return;
      asking.push(
        deploy(`1.0.${number}`, true).then(
          () => opened.add(number),
          (error: unknown) => expect(error).toMatchObject({ type: 'ImageBeingRemoved' }),
        ),
      );
      await Promise.resolve();
    };
    await remove();
    await Promise.all(asking);
    for (const [index, digest] of going.entries()) {
      if (!opened.has(index + 1)) continue;
      expect(await registry.readManifest(repository, digest)).toMatchObject({ digest });
    }
  }, 60_000);

  test('are left by who lost the claim meanwhile, and what was begun is finished the next time', async () => {
    const { list, parts } = await pushList(1);
    for (const number of [2, 3, 4]) await push(number);
    let deleted = 0;
    onDelete = async () => {
      deleted += 1;
      // As after a worker that stood still for two minutes, between the list and its platforms.
      if (deleted === 1) await sql`update registry_claims set expires_at = now() - interval '1 s'`.execute(store.db);
    };
    expect(await remove()).toMatchObject({ count: 0, left: expect.any(String) });
    expect(deleted).toBe(1);
    expect(await registry.readManifest(repository, list)).toBeUndefined();
    for (const { digest } of parts) expect(await registry.readManifest(repository, digest)).toBeDefined();
    onDelete = () => Promise.resolve();

    expect(await remove()).toMatchObject({ count: 1 });
    for (const { digest } of parts) expect(await registry.readManifest(repository, digest)).toBeUndefined();
    expect(await tagsLeft()).toEqual(['3-abcdef0', '4-abcdef0']);
    expect(await remove()).toMatchObject({ count: 0 });
  }, 60_000);

  test('stay claimed where the registry gave no answer, for it may still do it; the others are free at once', async () => {
    const digests: string[] = [];
    for (let number = 1; number <= 4; number += 1) digests.push(await push(number));
    onDelete = () => Promise.reject(new ProviderError('RegistryUnavailable', 'no answer within 15 s'));
    await expect(remove()).rejects.toMatchObject({ type: 'RegistryUnavailable' });
    const run = await begin(5);
    const claim = (digest: string): Promise<boolean> =>
      claimUse(store.db, { user: { run, image: digest }, repository, digests: [digest] });
    expect(await claim(digests[0]!)).toBe(false);
    expect(await claim(digests[1]!)).toBe(true);
    await sql`update registry_claims set expires_at = now() - interval '1 s' where purpose = 'removal'`.execute(
      store.db,
    );
    expect(await claim(digests[0]!)).toBe(true);
    await settleRunRow(store.db, run, { outcome: 'failed', reason: 'no' });
    onDelete = () => Promise.resolve();
    expect(await remove()).toMatchObject({ count: 3 });
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

  test('of several platforms go whole, with what is signed of each platform, and those that another project keeps do not', async () => {
    const { list, parts } = await pushList(1);
    expect(await tagsLeft()).toHaveLength(1 + 1 + 2 * 2);
    const shared = await push(2);
    for (const number of [3, 4, 5]) await push(number);
    const mine = project;
    project = `other${count}`;
    await addProject(project, '');
    await push(1, ['2-abcdef0'], shared);
    project = mine;
    expect(await remove()).toMatchObject({ count: 2 });
    expect(await registry.readManifest(repository, list)).toBeUndefined();
    for (const { digest } of parts) expect(await registry.readManifest(repository, digest)).toBeUndefined();
    expect(await registry.readManifest(repository, shared)).toMatchObject({ digest: shared });
    expect(await tagsLeft()).toEqual(['2-abcdef0', '4-abcdef0', '5-abcdef0']);
  }, 60_000);

  test('leave a platform that another image has as well, with what is signed of it', async () => {
    const { list, parts } = await pushList(1);
    const [amd64, arm64] = parts;
    const other = await pushList(2, [amd64!]);
    for (const number of [3, 4]) await push(number);
    await deploy('1.0.2');
    expect(await remove()).toMatchObject({ count: 1 });
    expect(await registry.readManifest(repository, list)).toBeUndefined();
    expect(await registry.readManifest(repository, arm64!.digest)).toBeUndefined();
    expect(await registry.readManifest(repository, other.list)).toBeDefined();
    expect(await registry.readManifest(repository, amd64!.digest)).toBeDefined();
    expect(await tagsLeft()).toContain(`sha256-${amd64!.digest.slice(7)}.sig`);
    expect(await tagsLeft()).not.toContain(`sha256-${arm64!.digest.slice(7)}.sig`);
  }, 60_000);

  test('that went before leave nothing that is signed of their platforms, as an older Slipway did', async () => {
    const { list, parts } = await pushList(1);
    for (const number of [2, 3]) await push(number);
    await registry.deleteManifest(repository, list);
    for (const { digest } of parts) await registry.deleteManifest(repository, digest);
    const foreign = `sha256-${createHash('sha256').update(repository).digest('hex')}.sig`;
    await put(foreign);
    expect(await tagsLeft()).toHaveLength(1 + 2 * 2 + 2 + 1);

    // Somebody is about to push the image again, and to sign it.
    const run = await begin(4);
    await claimUse(store.db, { user: { run, image: 'web' }, repository, digests: [list] });
    expect(await remove()).toMatchObject({ count: 1, left: expect.stringContaining('3 are left') });
    expect(await tagsLeft()).toHaveLength(1 + 2 * 2 + 1 + 1);
    await settleRunRow(store.db, run, { outcome: 'failed', reason: 'no' });

    expect(await remove()).toMatchObject({ count: 0 });
    expect(await tagsLeft()).toEqual(['3-abcdef0', foreign].sort());
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
