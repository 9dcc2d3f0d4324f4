import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheIndex, KeptCache } from '../../../src/activities/caches.ts';
import {
  expireArtifacts,
  forgetOldCacheUses,
  listArtifacts,
  listCaches,
  readHitRates,
  recordArtifact,
  recordCacheUse,
} from '../../../src/store/kept-files.ts';
import { createCacheIndex } from '../../../src/workers/kept-files.ts';
import { createMemoryCacheIndex } from '../../support/fakes/caches.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore();
}, 60_000);
afterAll(() => store.drop());

let project = 0;
let name = '';
beforeEach(() => {
  project += 1;
  name = `p${project}`;
});

function cache(key: string, more: Partial<KeptCache> = {}): KeptCache {
  return {
    project: name,
    scope: 'main',
    name: 'pip',
    key,
    blob: `${name}/${key}/${more.scope ?? 'main'}`,
    sizeBytes: 10,
    ...more,
  };
}

const find = (
  index: CacheIndex,
  key: string,
  more: { readonly scopes?: readonly string[]; readonly fallback?: boolean } = {},
) => index.find({ project: name, scopes: ['main'], name: 'pip', key, fallback: false, ...more });

describe.each([
  ['of the store', () => createCacheIndex(store, (error) => expect(error).toBeUndefined())],
  ['in memory', () => createMemoryCacheIndex()],
])('the index of caches %s', (_, create) => {
  test('finds by key, in the scopes in their order, and in no other', async () => {
    const index = create();
    await index.put(cache('1'), 1_000);
    await index.put(cache('1', { scope: 'x' }), 1_000);
    expect(await find(index, '1', { scopes: ['x', 'main'] })).toMatchObject({ scope: 'x' });
    expect(await find(index, '1', { scopes: ['y', 'main'] })).toMatchObject({ scope: 'main' });
    expect(await find(index, '1', { scopes: ['y'] })).toBeUndefined();
    expect(await find(index, '2')).toBeUndefined();
  });

  test('falls back to the newest of the name, but never when the key is there', async () => {
    const index = create();
    await index.put(cache('1'), 1_000);
    await index.put(cache('2'), 1_000);
    expect(await find(index, '3', { fallback: true })).toMatchObject({ key: '2' });
    expect(await find(index, '1', { fallback: true })).toMatchObject({ key: '1' });
  });

  test('gives up what was used longest ago when there is no more room, and what it replaces', async () => {
    const index = create();
    await index.put(cache('1'), 30);
    await index.put(cache('2'), 30);
    await index.put(cache('3'), 30);
    expect(await find(index, '1')).toMatchObject({ key: '1' });
    expect(await index.put(cache('4'), 30)).toEqual([cache('2').blob]);
    expect(await find(index, '2')).toBeUndefined();
    expect(await index.put(cache('1', { blob: 'another' }), 30)).toEqual([cache('1').blob]);
    await index.forget(cache('1', { blob: 'another' }));
    expect(await find(index, '1')).toBeUndefined();
  });
});

describe('artifacts', () => {
  const artifact = (
    more: Partial<Parameters<typeof recordArtifact>[1]> = {},
  ): Parameters<typeof recordArtifact>[1] => ({
    project: name,
    run: 1,
    stage: 'test',
    name: 'reports',
    files: [{ path: 'a', sizeBytes: 1, sha256: 'x', blob: `${name}/a` }],
    sizeBytes: 1,
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    ...more,
  });

  test('are there until their time is over, and their files are given up once', async () => {
    await recordArtifact(store.db, artifact());
    await recordArtifact(store.db, artifact({ name: 'old', expiresAt: new Date(Date.now() - 1_000).toISOString() }));
    expect((await listArtifacts(store.db, name, 1)).map((each) => each.name)).toEqual(['reports']);
    expect(await expireArtifacts(store.db)).toEqual([`${name}/a`]);
    expect(await expireArtifacts(store.db)).toEqual([]);
  });

  test('of a machine that was lost, told late, do not take the place of newer ones', async () => {
    const [before, now] = [new Date(Date.now() - 60_000).toISOString(), new Date().toISOString()];
    await recordArtifact(store.db, artifact({ createdAt: now, files: [], sizeBytes: 7 }));
    await recordArtifact(store.db, artifact({ createdAt: before, files: [], sizeBytes: 1 }));
    expect(await listArtifacts(store.db, name, 1)).toMatchObject([{ sizeBytes: 7 }]);
  });

  test('of a stage that ran again are those of the last time', async () => {
    await recordArtifact(store.db, artifact());
    await recordArtifact(store.db, artifact({ files: [], sizeBytes: 0 }));
    expect(await listArtifacts(store.db, name, 1)).toMatchObject([{ files: [], sizeBytes: 0 }]);
  });
});

test('the hit rate of caches counts every use once', async () => {
  const at = Date.now();
  for (const [index, hit] of (['miss', 'exact', 'exact', 'fallback'] as const).entries()) {
    const use = {
      project: name,
      run: index,
      stage: 's',
      cache: 'pip',
      hit,
      sizeBytes: 1,
      durationMs: 1,
      at: new Date(at).toISOString(),
    };
    await recordCacheUse(store.db, use);
    await recordCacheUse(store.db, use);
  }
  expect(await readHitRates(store.db, name)).toEqual([
    { cache: 'pip', uses: 4, exact: 2, fallback: 1, hitRatio: 0.75 },
  ]);
  expect(await listCaches(store.db, name)).toEqual([]);
  await forgetOldCacheUses(store.db, 0);
  expect(await readHitRates(store.db, name)).toEqual([]);
});
