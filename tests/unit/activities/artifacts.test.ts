import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { type KeptArtifact, createStageArtifacts } from '../../../src/activities/artifacts.ts';
import type { StageFiles } from '../../../src/activities/stage-files.ts';
import type { StageSpec } from '../../../src/definition/specs/stage.ts';
import { createFileSecrets } from '../../../src/effects/file-secrets.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';

let root: string;
let blobs: BlobStore;
let said: string[];
let recorded: KeptArtifact[];
/** Ends all keeping of the stage, as after its time. */
let time: AbortController;
let stop: AbortController;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-artifacts-'));
  blobs = createFolderBlobs({ folder: join(root, 'blobs') });
  mkdirSync(join(root, 'source'));
  for (const name of ['a', 'b', 'c']) writeFileSync(join(root, 'source', `${name}.txt`), name.repeat(100));
  said = [];
  recorded = [];
  time = new AbortController();
  stop = new AbortController();
  jest.spyOn(AbortSignal, 'timeout').mockReturnValue(time.signal);
});
afterEach(() => {
  jest.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

interface Told {
  readonly largestBytes?: number;
  /** Called when so many files are there. */
  readonly after?: (put: number) => void;
  /** How often removing a blob fails. */
  readonly failing?: number;
  readonly record?: (artifact: KeptArtifact) => void;
}

/** Keeps an artifact of three files of 100 bytes. */
async function keep({ largestBytes = 1_000, after, failing = 0, record }: Told = {}): Promise<string | undefined> {
  let put = 0;
  const failures = new Map<string, number>();
  const artifacts = createStageArtifacts({
    blobs: {
      ...blobs,
      async put(key, content, options) {
        const info = await blobs.put(key, content, options);
        put += 1;
        after?.(put);
        return info;
      },
      async remove(key) {
        const failed = failures.get(key) ?? 0;
        failures.set(key, failed + 1);
        if (failed < failing) throw new Error('the disk is away');
        await blobs.remove(key);
      },
    },
    record: record ?? ((artifact) => void recorded.push(artifact)),
  });
  const files: StageFiles = {
    run: { project: 'shop', key: 'k', number: 7 },
    commit: 'c'.repeat(40),
    event: { ref: 'refs/heads/main' },
    releaseBranch: 'main',
    source: join(root, 'source'),
    home: join(root, 'home'),
    scratch: join(root, 'scratch'),
    secrets: createFileSecrets([]),
    say: (line) => void said.push(line),
    signal: stop.signal,
  };
  const spec = {
    name: 'test',
    artifacts: [{ name: 'all', paths: ['*.txt'], when: 'always', largestBytes, retentionMs: 86_400_000 }],
  } as unknown as StageSpec;
  return await artifacts.keep(files, spec, true);
}

async function left(): Promise<readonly string[]> {
  return (await blobs.list('artifacts')).map(({ key }) => key).sort();
}

describe('an artifact', () => {
  test('is on record with all of its files', async () => {
    expect(await keep()).toBeUndefined();
    const [artifact] = recorded;
    expect(artifact).toMatchObject({ stage: 'test', name: 'all', sizeBytes: 300 });
    expect(artifact?.files.map(({ path }) => path)).toEqual(['a.txt', 'b.txt', 'c.txt']);
    expect(artifact?.files.map(({ blob }) => blob).sort()).toEqual(await left());
  });

  test('that is too large leaves nothing of it', async () => {
    expect(await keep({ largestBytes: 250 })).toMatch(/more than the 250 bytes/);
    expect(recorded).toEqual([]);
    expect(await left()).toEqual([]);
  });

  test('that is out of time leaves nothing of it', async () => {
    expect(await keep({ after: (put) => put === 2 && time.abort(new Error('out of time')) })).toMatch(
      /could not be kept within 120 s/,
    );
    expect(recorded).toEqual([]);
    expect(await left()).toEqual([]);
  });

  test('of a stage that is aborted leaves nothing of it', async () => {
    const aborted = keep({ after: (put) => put === 2 && stop.abort(new Error('aborted by ada')) });
    await expect(aborted).rejects.toThrow('aborted by ada');
    expect(recorded).toEqual([]);
    expect(await left()).toEqual([]);
  });

  test('that cannot be put on record leaves nothing of it', async () => {
    const record = (): void => {
      throw new Error('the spool is full');
    };
    expect(await keep({ record })).toMatch(/the spool is full/);
    expect(await left()).toEqual([]);
  });

  test('takes nothing of one that an earlier try has put on record', async () => {
    await keep();
    const before = await left();
    writeFileSync(join(root, 'source/a.txt'), 'z'.repeat(100));
    expect(await keep({ largestBytes: 250 })).toMatch(/more than the 250 bytes/);
    await expect(keep({ after: () => stop.abort(new Error('aborted')) })).rejects.toThrow('aborted');
    expect(await left()).toEqual(before);
    const [first] = recorded[0]?.files ?? [];
    expect(await text(await blobs.read(first?.blob ?? ''))).toBe('a'.repeat(100));
  });
});

describe('files of an artifact that is not kept', () => {
  test('are removed again where that failed', async () => {
    expect(await keep({ largestBytes: 250, failing: 2 })).toMatch(/more than the 250 bytes/);
    expect(await left()).toEqual([]);
    expect(said.join('\n')).not.toContain('could not be removed');
  });

  test('that cannot be removed are told beside the reason, not in place of it', async () => {
    const aborted = keep({ failing: Infinity, after: (put) => put === 2 && stop.abort(new Error('aborted by ada')) });
    await expect(aborted).rejects.toThrow('aborted by ada');
    expect(await left()).toHaveLength(2);
    expect(said).toEqual([
      'artifact all: 2 files of it could not be removed, which the retention will do: the disk is away',
    ]);
  });
});
