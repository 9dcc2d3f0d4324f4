import { mkdtempSync, rmSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type RemovedFiles, removeKeptFiles } from '../../../src/activities/kept-files.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import type { ArtifactRecord } from '../../../src/store/kept-files.ts';
import { type MemoryKeptFiles, createMemoryKeptFiles } from '../../support/fakes/kept-files.ts';

const dayMs = 86_400_000;
const project = 'shop';

let root: string;
let blobs: BlobStore;
let records: MemoryKeptFiles;
/** What was told before it was removed. */
let told: string[];
/** Blobs that cannot be removed. */
let stuck: Set<string>;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-kept-'));
  blobs = createFolderBlobs({ folder: root });
  records = createMemoryKeptFiles();
  told = [];
  stuck = new Set();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A blob that was written so many days ago. */
async function put(key: string, daysAgo = 0): Promise<string> {
  await blobs.put(key, Buffer.from('bytes'));
  const at = new Date(Date.now() - daysAgo * dayMs);
  await utimes(join(root, key), at, at);
  return key;
}

/** An artifact of run 7 that is on record, with two files that were written when it was made. */
async function artifact(name: string, daysAgo: number, keptDays: number): Promise<readonly string[]> {
  const keys = [0, 1].map((index) => `artifacts/${project}/7/test/${name}/${index}`);
  for (const key of keys) await put(key, daysAgo);
  const createdAt = Date.now() - daysAgo * dayMs;
  const record: ArtifactRecord = {
    ...{ project, run: 7, stage: 'test', name, sizeBytes: 10 },
    files: keys.map((blob) => ({ path: blob, sizeBytes: 5, sha256: 'x', blob })),
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: new Date(createdAt + keptDays * dayMs).toISOString(),
  };
  records.record(record);
  return keys;
}

async function round(cachesBytes?: number): Promise<RemovedFiles> {
  return await removeKeptFiles(
    {
      records,
      blobs: {
        ...blobs,
        async remove(key) {
          if (stuck.has(key)) throw new Error(`${key} is stuck`);
          await blobs.remove(key);
        },
      },
    },
    { project, ...(cachesBytes === undefined ? {} : { cachesBytes }) },
    {
      tell: (what, things) => Promise.resolve(void told.push(...things.map(({ name }) => `${what} ${name}`))),
      signal: new AbortController().signal,
      progress: () => undefined,
    },
  );
}

async function left(): Promise<readonly string[]> {
  const lists = await Promise.all(['artifacts', 'caches'].map((folder) => blobs.list(folder)));
  return lists
    .flat()
    .map(({ key }) => key)
    .sort();
}

describe('artifacts', () => {
  test('go when their time is over, whatever their age, and are told of before', async () => {
    records.endRun(project, 7);
    const kept = [...(await artifact('long', 60, 90)), ...(await artifact('young', 1, 30))];
    await artifact('over', 31, 30);
    await artifact('brief', 2, 1);
    const removed = await round();
    expect(await left()).toEqual([...kept].sort());
    expect(removed).toEqual({
      things: [
        { name: 'shop#7 test/over', sizeBytes: 10 },
        { name: 'shop#7 test/brief', sizeBytes: 10 },
      ],
    });
    expect(told).toEqual(['artifacts shop#7 test/over', 'artifacts shop#7 test/brief']);
    expect(await round()).toEqual({ things: [] });
  });

  test('of which a file cannot be removed keep no other, and go in the next round', async () => {
    const [first = ''] = await artifact('over', 31, 30);
    await artifact('brief', 2, 1);
    stuck.add(first);
    const removed = await round();
    expect(removed.things.map(({ name }) => name)).toEqual(['shop#7 test/brief']);
    expect(removed.left).toContain(`${first} is stuck`);
    expect(await left()).toEqual([first]);
    stuck.clear();
    expect((await round()).things.map(({ name }) => name)).toEqual(['shop#7 test/over']);
    expect(await left()).toEqual([]);
  });
});

describe('files of artifacts that nothing names', () => {
  test('go once nothing can tell of them any more; those on record stay', async () => {
    records.endRun(project, 7);
    const kept = await artifact('long', 60, 90);
    // Of a try before, under the same artifact; and of a record that was marked before its files were gone.
    await put(`artifacts/${project}/7/test/long/orphan-0`, 31);
    await put(`artifacts/${project}/7/test/none/0`, 31);
    const young = await put(`artifacts/${project}/7/test/none/1`, 29);
    expect((await round()).things.map(({ name }) => name).sort()).toEqual([
      `artifacts/${project}/7/test/long/orphan-0`,
      `artifacts/${project}/7/test/none/0`,
    ]);
    expect(await left()).toEqual([...kept, young].sort());
    expect(told.every((line) => line.startsWith('unnamed '))).toBe(true);
  });

  test('stay where the run is not known or not over, and where they are not named as ours', async () => {
    records.endRun(project, 7);
    const keys = [
      // The store was lost, or the run goes on.
      `artifacts/${project}/8/test/all/0`,
      `artifacts/${project}/7/strange`,
      `artifacts/${project}/x/test/all/0`,
      // Those of another project.
      'artifacts/other/7/test/all/0',
    ];
    for (const key of keys) await put(key, 365);
    expect(await round()).toEqual({ things: [] });
    expect(await left()).toEqual([...keys].sort());
  });

  test('that cannot be removed keep no other, and go in the next round', async () => {
    records.endRun(project, 7);
    const keys = [0, 1].map((index) => `artifacts/${project}/7/test/none/${index}`);
    for (const key of keys) await put(key, 31);
    stuck.add(keys[0] ?? '');
    expect(await round()).toMatchObject({ things: [{ name: keys[1] }], left: expect.stringContaining('is stuck') });
    stuck.clear();
    expect(await round()).toEqual({ things: [{ name: keys[0], sizeBytes: 5 }] });
  });
});

describe('caches', () => {
  const cache = async (key: string, daysAgo: number): Promise<string> => {
    const blob = await put(`caches/${project}/pip/${key}`, daysAgo);
    records.putCache({ project, scope: 'main', name: 'pip', key, blob, sizeBytes: 5 });
    return blob;
  };

  test('beyond what the project keeps go, those not used for longest first', async () => {
    const first = await cache('1', 3);
    const others = [await cache('2', 2), await cache('3', 1)];
    expect(await round(10)).toEqual({ things: [{ name: first, sizeBytes: 5 }] });
    expect(told).toEqual([`caches ${first}`]);
    expect(await left()).toEqual(others);
  });

  test('stay where nothing is said of how much is kept', async () => {
    const blob = await cache('1', 365);
    expect(await round()).toEqual({ things: [] });
    expect(await left()).toEqual([blob]);
  });

  test('that nothing names go a day after they were written', async () => {
    const kept = await cache('1', 365);
    const orphan = await put(`caches/${project}/pip/orphan`, 1.1);
    const young = await put(`caches/${project}/pip/young`, 0.9);
    const others = await put('caches/other/pip/orphan', 365);
    expect(await round(1_000)).toEqual({ things: [{ name: orphan, sizeBytes: 5 }] });
    expect(await left()).toEqual([kept, young, others].sort());
  });
});

test('what cannot be written down before is not removed', async () => {
  const keys = await artifact('over', 31, 30);
  const removing = removeKeptFiles(
    { records, blobs },
    { project },
    {
      tell: () => Promise.reject(new Error('the store is away')),
      signal: new AbortController().signal,
      progress: () => undefined,
    },
  );
  await expect(removing).rejects.toThrow('the store is away');
  expect(await left()).toEqual(keys);
  expect(await records.listExpired(project)).toHaveLength(1);
});
