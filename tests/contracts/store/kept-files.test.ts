import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheIndex, KeptCache } from '../../../src/activities/caches.ts';
import type { KeptFileRecords } from '../../../src/activities/kept-files.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import {
  type ArtifactRecord,
  forgetOldCacheUses,
  listArtifacts,
  listCaches,
  putCache,
  readHitRates,
  recordArtifact,
  recordCacheUse,
} from '../../../src/store/kept-files.ts';
import { openRun, settleRunRow } from '../../../src/store/runs.ts';
import { putProject } from '../../../src/store/projects.ts';
import { createCacheIndex, createKeptFileRecords } from '../../../src/workers/kept-files.ts';
import { projectYaml } from '../../support/api.ts';
import { createMemoryCacheIndex } from '../../support/fakes/caches.ts';
import { createMemoryKeptFiles } from '../../support/fakes/kept-files.ts';
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

function artifact(more: Partial<ArtifactRecord> = {}): ArtifactRecord {
  return {
    project: name,
    run: 1,
    stage: 'test',
    name: 'reports',
    files: [{ path: 'a', sizeBytes: 1, sha256: 'x', blob: `${name}/a` }],
    sizeBytes: 1,
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    ...more,
  };
}

interface KeptFiles {
  readonly records: KeptFileRecords;
  readonly record: (artifact: ArtifactRecord) => Promise<void>;
  readonly putCache: (cache: KeptCache) => Promise<void>;
  /** The first run of the project. */
  readonly startRun: () => Promise<void>;
  readonly endRun: () => Promise<void>;
}

function ofStore(): KeptFiles {
  const run = () => ({ project: name, key: 'k1', number: 1 });
  return {
    records: createKeptFileRecords(store),
    record: (one) => recordArtifact(store.db, one),
    putCache: async (one) => {
      await putCache(store.db, one, 1_000_000);
    },
    startRun: async () => {
      await putProject(store.db, { name, text: projectYaml(name), hash: 'h', diff: '', by: 'ada' });
      const event = {
        ...{ kind: 'push' as const, ref: 'refs/heads/main', before: '0'.repeat(40) },
        ...{ after: 'a'.repeat(40), author: 'ada' },
      };
      const acceptedAt = new Date().toISOString();
      const { input } = await acceptRun(store.db, { project: name, key: 'k1', event, acceptedAt });
      expect(await openRun(store.db, input)).toEqual(run());
    },
    endRun: () => settleRunRow(store.db, run(), { outcome: 'succeeded', reason: 'ok' }),
  };
}

function inMemory(): KeptFiles {
  const records = createMemoryKeptFiles();
  const settled = (work: () => void): Promise<void> => {
    work();
    return Promise.resolve();
  };
  return {
    records,
    record: (one) => settled(() => records.record(one)),
    putCache: (one) => settled(() => records.putCache(one)),
    startRun: () => Promise.resolve(),
    endRun: () => settled(() => records.endRun(name, 1)),
  };
}

describe.each([
  ['of the store', ofStore],
  ['in memory', inMemory],
])('records of kept files %s', (_, create) => {
  const over = (ms = 1_000): string => new Date(Date.now() - ms).toISOString();

  test('have what is over its time, the oldest first, until it is marked', async () => {
    const { records, record } = create();
    const files = [{ path: 'b', sizeBytes: 1, sha256: 'x', blob: `${name}/b` }];
    await record(artifact());
    await record(artifact({ name: 'late', expiresAt: over(1_000) }));
    await record(artifact({ name: 'first', expiresAt: over(2_000), files }));
    await record(artifact({ project: `${name}-other`, name: 'first', expiresAt: over() }));
    const expired = await records.listExpired(name);
    expect(expired).toMatchObject([
      { project: name, run: 1, stage: 'test', name: 'first', sizeBytes: 1 },
      { project: name, run: 1, stage: 'test', name: 'late', sizeBytes: 1 },
    ]);
    expect(await records.readExpiredBlobs(expired[0]!)).toEqual([`${name}/b`]);
    await records.markRemoved(expired[0]!);
    expect(await records.readExpiredBlobs(expired[0]!)).toEqual([]);
    expect((await records.listExpired(name)).map((one) => one.name)).toEqual(['late']);
    await records.markRemoved(expired[1]!);
    expect(await records.listExpired(name)).toEqual([]);
  });

  test('give up nothing of an artifact that was told of anew', async () => {
    const { records, record, startRun, endRun } = create();
    await startRun();
    await record(artifact({ expiresAt: over() }));
    const [expired] = await records.listExpired(name);
    await record(artifact());
    expect(await records.readExpiredBlobs(expired!)).toEqual([]);
    await records.markRemoved(expired!);
    await endRun();
    expect(await records.readArtifactBlobs(name, 1)).toEqual([`${name}/a`]);
  });

  test('know which blobs artifacts of a run name, once it is over', async () => {
    const { records, record, startRun, endRun } = create();
    expect(await records.readArtifactBlobs(name, 1)).toBeUndefined();
    await startRun();
    await record(artifact());
    await record(
      artifact({ name: 'old', expiresAt: over(), files: [{ ...artifact().files[0]!, blob: `${name}/old` }] }),
    );
    await record(artifact({ run: 2, files: [{ ...artifact().files[0]!, blob: `${name}/2` }] }));
    expect(await records.readArtifactBlobs(name, 1)).toBeUndefined();
    await endRun();
    expect([...((await records.readArtifactBlobs(name, 1)) ?? [])].sort()).toEqual([`${name}/a`, `${name}/old`]);
    await records.markRemoved((await records.listExpired(name))[0]!);
    expect(await records.readArtifactBlobs(name, 1)).toEqual([`${name}/a`]);
    await record(artifact({ files: [] }));
    expect(await records.readArtifactBlobs(name, 1)).toEqual([]);
  });

  test('trim caches to what is kept, those not used for longest first, of one project', async () => {
    const { records, putCache: put } = create();
    for (const key of ['1', '2', '3']) await put(cache(key));
    await put(cache('1', { project: `${name}-other`, blob: 'other' }));
    expect(await records.trimCaches(name, 30)).toEqual([]);
    expect(await records.trimCaches(name, 20)).toEqual([{ blob: cache('1').blob, sizeBytes: 10 }]);
    expect([...(await records.readCacheBlobs(name))].sort()).toEqual([cache('2').blob, cache('3').blob]);
    expect(await records.readCacheBlobs(`${name}-other`)).toEqual(['other']);
  });
});

describe('artifacts', () => {
  test('are there until their time is over', async () => {
    await recordArtifact(store.db, artifact());
    await recordArtifact(store.db, artifact({ name: 'old', expiresAt: new Date(Date.now() - 1_000).toISOString() }));
    expect((await listArtifacts(store.db, name, 1)).map((each) => each.name)).toEqual(['reports']);
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
  expect(await forgetOldCacheUses(store.db, 0)).toBe(4);
  expect(await readHitRates(store.db, name)).toEqual([]);
});
