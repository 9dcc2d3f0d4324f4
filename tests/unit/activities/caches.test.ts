import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type CacheIndex, type CacheUse, type StageCaches, createStageCaches } from '../../../src/activities/caches.ts';
import type { StageFiles } from '../../../src/activities/stage-files.ts';
import type { StageSpec } from '../../../src/definition/specs/stage.ts';
import { createFileSecrets } from '../../../src/effects/file-secrets.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { createMemoryCacheIndex } from '../../support/fakes/caches.ts';

let root: string;
let blobs: BlobStore;
let index: CacheIndex;
let stop: AbortController;
let caches: StageCaches;
let uses: CacheUse[];
let said: string[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-caches-'));
  uses = [];
  said = [];
  blobs = createFolderBlobs({ folder: join(root, 'blobs') });
  index = createMemoryCacheIndex();
  stop = new AbortController();
  caches = createCaches({});
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** With these in place of what does as it should. */
function createCaches(wrong: {
  readonly blobs?: Partial<BlobStore>;
  readonly index?: Partial<CacheIndex>;
}): StageCaches {
  return createStageCaches({
    blobs: { ...blobs, ...wrong.blobs },
    index: { ...index, ...wrong.index },
    repositories: { listTree: () => Promise.resolve([{ mode: '100644', object: 'abc', path: 'lock' }]) },
    recordUse: (use) => void uses.push(use),
  });
}

async function keptBlobs(): Promise<readonly string[]> {
  return (await blobs.list('caches')).map(({ key }) => key);
}

const spec = {
  name: 'install',
  steps: [],
  matrix: {},
  caches: [
    {
      name: 'modules',
      paths: [{ root: 'source', path: 'modules' }],
      key: ['lock'],
      fallback: false,
      largestBytes: 1_000_000,
      totalBytes: 10_000_000,
    },
  ],
} as unknown as StageSpec;

/** A run with a checkout of its own, which finds a cache or makes one that says whose it is. */
async function run(event: StageFiles['event'], content: string, secrets: readonly string[] = []): Promise<string> {
  const own = mkdtempSync(join(root, 'run-'));
  for (const folder of ['source', 'home']) mkdirSync(join(own, folder));
  const files: StageFiles = {
    run: { project: 'shop', key: 'k', number: 1 },
    commit: 'c'.repeat(40),
    event,
    releaseBranch: 'main',
    source: join(own, 'source'),
    home: join(own, 'home'),
    scratch: own,
    secrets: createFileSecrets(secrets),
    say: (line) => void said.push(line),
    signal: stop.signal,
  };
  const restored = await caches.restore(files, spec);
  const file = join(own, 'source/modules/by');
  if (!existsSync(file)) {
    mkdirSync(join(own, 'source/modules'));
    writeFileSync(file, content);
  }
  await restored.save();
  // What was unpacked on the way is not left about.
  expect(readdirSync(own).sort()).toEqual(['home', 'source']);
  return readFileSync(file, 'utf8');
}

test('a cache with a secret in it is not kept: every branch and fork may read it', async () => {
  const main = { ref: 'refs/heads/main' };
  const content = '//registry/:_authToken=s3cr3t-value';
  expect(await run(main, content, ['s3cr3t-value'])).toBe(content);
  expect(said.at(-1)).toMatch(/^cache modules: not kept: source\/modules\/by: the value of a secret of the run/);
  expect(
    readdirSync(join(root, 'blobs'), { recursive: true, withFileTypes: true }).filter((one) => one.isFile()),
  ).toEqual([]);
  expect(await run(main, 'without', ['s3cr3t-value'])).toBe('without');
  expect(await run({ ref: 'refs/pull/8/head', fork: true }, 'never')).toBe('without');
});

describe('what a fork puts into a cache', () => {
  const main = { ref: 'refs/heads/main' };

  test.each([
    ['a pull request', { ref: 'refs/pull/7/head', fork: true }],
    ['one that says it is the release branch', { ref: 'refs/heads/main', fork: true }],
    ['one that says it is another branch', { ref: 'refs/heads/develop', fork: true }],
  ])('is found by itself only: %s', async (_, fork) => {
    expect(await run(fork, 'poison')).toBe('poison');
    expect(await run(fork, 'other poison')).toBe('poison');
    expect(await run(main, 'good')).toBe('good');
    expect(await run({ ref: 'refs/heads/develop' }, 'never')).toBe('good');
    expect(await run({ ref: 'refs/pull/8/head', fork: true }, 'never')).toBe('good');
  });

  test('is not needed where the release branch has one, and cannot take its place', async () => {
    expect(await run(main, 'good')).toBe('good');
    expect(await run({ ref: 'refs/pull/7/head', fork: true }, 'poison')).toBe('good');
    expect(await run(main, 'new')).toBe('good');
    expect(uses.map(({ hit }) => hit)).toEqual(['miss', 'exact', 'exact']);
  });
});

describe('a cache that is of no use', () => {
  const main = { ref: 'refs/heads/main' };
  const other = { ref: 'refs/heads/other' };
  const broken = Buffer.from('no archive');

  test('goes with its blob, and another takes its place', async () => {
    await run(main, 'good');
    const [blob = ''] = await keptBlobs();
    await blobs.put(blob, broken);
    expect(await run(other, 'made again')).toBe('made again');
    expect(said).toContainEqual(expect.stringContaining('could not be restored, going on without it'));
    const left = await keptBlobs();
    expect(left).toHaveLength(1);
    expect(left).not.toContain(blob);
  });

  test('is said where its blob cannot be removed, and found no more', async () => {
    await run(main, 'good');
    const [blob = ''] = await keptBlobs();
    await blobs.put(blob, broken);
    caches = createCaches({ blobs: { remove: () => Promise.reject(new Error('the disk is away')) } });
    expect(await run(other, 'made again')).toBe('made again');
    expect(said).toContainEqual(
      'cache modules: 1 that nobody needs could not be removed, which the retention will do: the disk is away',
    );
    expect(await run(main, 'anew')).toBe('anew');
  });

  test('is not one that a full disk has kept from being unpacked', async () => {
    await run(main, 'good');
    const full = new Readable({
      read() {
        this.destroy(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
      },
    });
    caches = createCaches({ blobs: { read: () => Promise.resolve(full) } });
    expect(await run(other, 'without')).toBe('without');
    caches = createCaches({});
    expect(await run({ ref: 'refs/heads/third' }, 'never')).toBe('good');
  });

  test('leaves no blob where the stage is aborted before it is found by anybody', async () => {
    caches = createCaches({
      index: {
        put: () => {
          stop.abort(new Error('aborted by ada'));
          return Promise.reject(new Error('the store is away'));
        },
      },
    });
    await expect(run(main, 'good')).rejects.toThrow('aborted by ada');
    expect(await keptBlobs()).toEqual([]);
  });
});
