import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { createAlone } from '../../../src/activities/image-alone.ts';
import { attestImage } from '../../../src/activities/image-attest.ts';
import { evidenceFiles } from '../../../src/activities/image-files.ts';
import type { Alone, ImageWork } from '../../../src/activities/image-work.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type Statement, buildType, runOf } from '../../../src/domain/provenance.ts';
import type { ImageReport } from '../../../src/domain/run.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import type { SignedImage } from '../../../src/providers/signers/port.ts';
import { type FakeSigner, createFakeSigner } from '../../support/fakes/signer.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

/** What several workers say about one image that equal inputs gave to their runs. */
let store: TestStore;
let folder: string;
let fences: Fence[];
let workers: Alone[];
let signer: FakeSigner;
let image: SignedImage;
let made = 0;

beforeAll(async () => {
  store = await temporaryStore();
  folder = mkdtempSync(join(tmpdir(), 'slipway-attest-'));
  // Two workers, each with sessions of its own.
  fences = [1, 2].map(() => createFence({ connectionString: store.url, waitMs: 1_000 }));
  workers = fences.map((fence) => createAlone(fence));
}, 120_000);
afterAll(async () => {
  await Promise.all(fences.map((fence) => fence.close()));
  await store.drop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);
beforeEach(() => {
  made += 1;
  signer = createFakeSigner();
  image = {
    registry: { address: 'reg', insecure: false },
    repository: 'reg/shop/app',
    digest: `sha256:${String(made).padStart(64, 'a')}`,
  };
  signer.add(image);
});

interface Given {
  readonly number: number;
  readonly alone: Alone;
  /** That the run signs with. */
  readonly key?: string;
  readonly trust?: readonly string[];
  readonly kept?: readonly number[] | 'away';
  readonly signal?: AbortSignal;
  readonly said?: string[];
  readonly moved?: () => void;
}

/** A run of its own commit, which has taken the image. */
async function attest(given: Given): Promise<readonly string[]> {
  const { number, alone, key = 'KEY', trust = ['KEY'], kept = [], said = [], moved = () => undefined } = given;
  const { signal = new AbortController().signal } = given;
  const run = { project: 'shop', key: `k${number}`, number };
  const plan = {
    run,
    commit: { sha: String(number).padStart(40, '0'), at: '2026-11-27T00:00:00Z' },
    definition: 'd'.repeat(64),
    version: `1.0.${number}`,
    workspace: { path: join(folder, `${made}-${number}`, 'source') },
  };
  const work = {
    deps: {
      alone,
      keptRuns: () =>
        kept === 'away' ? Promise.reject(new ProviderError('StoreUnavailable', 'away')) : Promise.resolve(kept),
      readSecret: () => Promise.resolve(`private:${key}`),
      supplyChain: { signer, version: '1.0.0', blobs: { put: () => Promise.resolve() } },
    },
    known: {
      input: { event: { ref: 'refs/heads/main' } },
      pair: {
        project: {
          repository: { url: 'https://example.com/shop.git' },
          images: { trust },
          retention: { runs: 30 },
        },
      },
      pipeline: { supplyChain: { signing: { key: { env: 'K' } }, builder: 'urn:us' }, stages: [] },
    },
    run,
    plan,
    registry: image.registry,
    signal,
    moved,
  } as unknown as ImageWork;
  const files = evidenceFiles(work.plan, 'app');
  mkdirSync(files.folder, { recursive: true });
  for (const file of [files.spdx, files.cyclonedx]) writeFileSync(file, JSON.stringify({ of: number }));
  const report = { name: 'app', repository: image.repository, digest: image.digest, reused: true } as ImageReport;
  return await attestImage(work, report, { stages: [], packages: [] }, {
    say: (line: string) => said.push(line),
  } as never);
}

async function runsIn(keys: readonly string[] = ['KEY']): Promise<readonly (number | undefined)[]> {
  const statements = await signer.readAttestations(image, keys, 'provenance');
  return statements.map((statement) => runOf(statement)?.number).sort((a, b) => Number(a) - Number(b));
}

const alone = (worker: number): Alone => workers[worker]!;

/** So many runs have attested, of which nothing else is known. */
async function attested(numbers: readonly number[], project = 'shop'): Promise<void> {
  const predicateFile = join(folder, 'older.json');
  for (const run of numbers) {
    const buildDefinition = { buildType, externalParameters: { project }, internalParameters: { run } };
    writeFileSync(predicateFile, JSON.stringify({ buildDefinition }));
    const key = { privateKey: 'private:KEY', password: '' };
    await signer.attest(image, key, { type: 'provenance', predicateFile, replace: false });
  }
}

describe('two runs that attest one image at once', () => {
  test('lose nothing of each other, on one worker and on two', async () => {
    const numbers = Array.from({ length: 8 }, (_, index) => index + 1);
    await Promise.all(numbers.map((number) => attest({ number, alone: alone(number % 2) })));
    expect(await runsIn()).toEqual(numbers);
    expect(await signer.readAttestations(image, ['KEY'], 'spdx')).toHaveLength(1);
  }, 60_000);

  test('wait for each other, and no longer than the images of the run may take', async () => {
    const other = { digest: image.digest, signal: new AbortController().signal, waiting: () => undefined };
    const begun = Promise.withResolvers<undefined>();
    const over = Promise.withResolvers<undefined>();
    const holds = alone(0)(other, () => {
      begun.resolve(undefined);
      return over.promise;
    });
    await begun.promise;
    const late = new AbortController();
    const said: string[] = [];
    const waiting = attest({ number: 1, alone: alone(1), signal: late.signal, said });
    await until(() => said.length > 0);
    late.abort(new Error('late'));
    await expect(waiting).rejects.toThrow('late');
    expect(said).toEqual([expect.stringMatching(/: the signature waits$/)]);
    over.resolve(undefined);
    await holds;
    await expect(runsIn()).rejects.toMatchObject({ type: 'ImageNotSigned' });
    await attest({ number: 1, alone: alone(1) });
    expect(await runsIn()).toEqual([1]);
  }, 60_000);
});

describe('while the key is exchanged', () => {
  const none: Alone = ({ signal }, work) => work(signal);

  test.each([[['OLD', 'NEW']], [['NEW', 'OLD']]])('runs are attested by either, with %j trusted', async (trust) => {
    await attest({ number: 1, alone: none, key: 'OLD', trust });
    await attest({ number: 2, alone: none, key: 'NEW', trust });
    expect(await runsIn(trust)).toEqual([1, 2]);
  });

  test('a key that nobody trusts is told of, and tried no more than a few times', async () => {
    const refused = attest({ number: 1, alone: none, key: 'OTHER' });
    await expect(refused).rejects.toMatchObject({ type: 'SignerFailed', retryable: false });
  });
});

describe('what was written last', () => {
  const none: Alone = ({ signal }, work) => work(signal);

  test('is looked for without reading lists, which may be larger than what can be read', async () => {
    const read = signer.readAttestations.bind(signer);
    signer.readAttestations = async (of, keys, type, signal) => {
      if (type !== 'provenance') throw new ProviderError('SignerFailed', 'it said more than can be read');
      return await read(of, keys, type, signal);
    };
    expect(await attest({ number: 1, alone: none })).toEqual(['signature', 'spdx', 'cyclonedx', 'provenance']);
    expect(await signer.listAttested(image)).toEqual(new Set(['spdx', 'cyclonedx', 'provenance']));
  });

  test('is written again where somebody else has taken a list away', async () => {
    // It is looked twice: before anything is written, and at the end.
    const looks = jest.spyOn(signer, 'listAttested');
    looks.mockResolvedValueOnce(new Set()).mockResolvedValueOnce(new Set(['spdx', 'provenance']));
    const write = jest.spyOn(signer, 'attest');
    await attest({ number: 1, alone: none });
    const written = write.mock.calls.map(([, , { type }]) => type);
    expect(written).toEqual(['spdx', 'cyclonedx', 'provenance', 'cyclonedx']);
  });

  test('and is always gone again ends the run, which says that somebody else is at it', async () => {
    signer.listAttested = () => Promise.resolve(new Set(['spdx', 'provenance'] as const));
    await expect(attest({ number: 1, alone: none })).rejects.toMatchObject({
      type: 'SignerFailed',
      retryable: false,
      message: expect.stringMatching(/ was attested 5 times, and cyclonedx was gone each time: does somebody else/),
    });
  });
});

describe('an image that is taken again and again', () => {
  const none: Alone = ({ signal }, work) => work(signal);
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

  test('keeps what belongs to kept runs, to itself and to others', async () => {
    await attested([...hundred, 300]);
    await attested([7], 'other');
    await attest({ number: 200, alone: none, kept: [3, 99] });
    expect(await runsIn()).toEqual([3, 7, 99, 200, 300]);
    // It was told once that it is attested, and nothing more.
    await attest({ number: 200, alone: none, kept: [] });
    expect(await runsIn()).toEqual([3, 7, 99, 200, 300]);
  });

  test('says that it gets on while all of that is looked through', async () => {
    await attested(hundred);
    let moved = 0;
    await attest({ number: 200, alone: none, kept: 'away', moved: () => (moved += 1) });
    expect(moved).toBeGreaterThan(100);
  });

  test('keeps all while there are few, or nobody knows what is kept', async () => {
    await attested(hundred.slice(1));
    await attest({ number: 200, alone: none });
    expect(await runsIn()).toHaveLength(100);
    await attest({ number: 201, alone: none, kept: 'away' });
    expect(await runsIn()).toHaveLength(101);
    await attest({ number: 202, alone: none });
    expect(await runsIn()).toEqual([202]);
  });

  test('is refused before cosign would', async () => {
    const others: Statement['predicate'][] = Array.from({ length: 900 });
    await attested([...others.keys()], 'other');
    await expect(attest({ number: 1, alone: none })).rejects.toMatchObject({
      type: 'SignerFailed',
      retryable: false,
      message: expect.stringContaining('has 900 statements'),
    });
  }, 30_000);
});
