import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { KnownLists } from '../../../src/activities/image-work.ts';
import type { ImageEvidence, ImageReport, KeptList } from '../../../src/domain/run.ts';
import { recordImages } from '../../../src/store/runs.ts';
import { createKnownLists } from '../../../src/workers/facts.ts';
import { createMemoryLists } from '../../support/fakes/builds.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
const problems: unknown[] = [];
beforeAll(async () => {
  store = await temporaryStore();
});
afterAll(async () => {
  await store.drop();
});

const digest = `sha256:${'a'.repeat(64)}`;
const repository = 'reg/shop/app';
const method = 'syft-1.0.0:both';
const list: KeptList = { method, spdx: '1'.repeat(64), cyclonedx: '2'.repeat(64) };

function image(evidence: Partial<ImageEvidence> | undefined, over: Partial<ImageReport> = {}): ImageReport {
  return {
    ...{ name: 'app', repository, digest, tags: [], sizeBytes: 1, reused: false, durationMs: 0 },
    ...(evidence === undefined ? {} : { evidence: { buildKey: 'k', bases: {}, warnings: [], ...evidence } }),
    ...over,
  };
}

type Recorded = (project: string, run: number, images: readonly ImageReport[]) => Promise<void>;

describe.each<[string, () => { readonly lists: KnownLists; readonly record: Recorded }]>([
  [
    'the store',
    () => ({
      lists: createKnownLists(store, (error) => void problems.push(error)),
      record: (project, number, images) => recordImages(store.db, { project, key: `k${number}`, number }, images),
    }),
  ],
  [
    'a memory',
    () => {
      const lists = createMemoryLists();
      return {
        lists,
        record(project, number, images) {
          lists.record({ project, number }, images);
          return Promise.resolve();
        },
      };
    },
  ],
])('known lists of %s', (name, open) => {
  const project = `shop-of-${name.replaceAll(' ', '-')}`;

  test('are found by what they are of and how they were made, the newest first', async () => {
    const { lists, record } = open();
    const wanted = { project, repository, digest, method };
    expect(await lists.find(wanted)).toBeUndefined();
    await record(project, 1, [image({ list, packages: 1 })]);
    await record(project, 12, [image({ list, packages: 2 }, { name: 'web' })]);
    await record(project, 9, [image({ list, packages: 3 })]);
    // What has none, or is of before there were any, is passed over.
    await record(project, 13, [image({ unlisted: 'no room' }), image(undefined, { name: 'old' })]);
    await record(project, 14, [image({ list: { ...list, method: 'syft-2.0.0:both' } })]);
    expect(await lists.find(wanted)).toMatchObject({ run: 12, name: 'web', evidence: { list, packages: 2 } });
    for (const other of [
      { project: 'another' },
      { repository: 'reg/shop/web' },
      { digest: `sha256:${'b'.repeat(64)}` },
      { method: 'syft-1.0.0:one' },
    ]) {
      expect(await lists.find({ ...wanted, ...other })).toBeUndefined();
    }
  });

  test('of several platforms are found by the list of them', async () => {
    const { lists, record } = open();
    const platforms = ['linux/amd64', 'linux/arm64'].map((platform) => ({ platform, digest, sizeBytes: 1, list }));
    const several = { project: `${project}-several`, repository, digest, method };
    await record(several.project, 3, [image({ platforms })]);
    expect(await lists.find(several)).toMatchObject({ run: 3, evidence: { platforms } });
  });
});

test('a store that does not answer knows none, and says so', async () => {
  const closed = await temporaryStore();
  await closed.drop();
  const told: unknown[] = [];
  const lists = createKnownLists(closed, (error) => void told.push(error));
  expect(await lists.find({ project: 'shop', repository, digest, method })).toBeUndefined();
  expect(told).toHaveLength(1);
  expect(problems).toEqual([]);
});
