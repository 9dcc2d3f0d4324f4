import { describe, expect, test } from '@jest/globals';
import {
  type BuiltImage,
  backupsToRemove,
  imagesToPrune,
  imagesToRemove,
  runOfArtifact,
  unnamedBlobs,
} from '../../../src/domain/retention.ts';

function image(build: number, over: Partial<BuiltImage> = {}): BuiltImage {
  const id = `sha256:${String(build).padStart(64, '0')}`;
  return {
    id,
    sizeBytes: 1,
    tags: [`registry:5000/hello/web:${build}-abcdef0`],
    digests: [`registry:5000/hello/web@sha256:${String(build).padStart(64, 'd')}`],
    labels: { 'slipway.image': 'web', 'slipway.build': String(build) },
    createdAt: new Date(build * 60_000).toISOString(),
    ...over,
  };
}

const builds = (images: readonly BuiltImage[]): number[] => images.map(({ labels }) => Number(labels['slipway.build']));

describe('images', () => {
  test('of runs that are kept stay, the others go', () => {
    const images = [1, 2, 3, 4].map((build) => image(build));
    expect(builds(imagesToRemove(images, { runs: [3, 4], digests: [] }))).toEqual([1, 2]);
  });

  test('that a needed release names stay, by the digest of the registry and by their own id', () => {
    const [first, second, third] = [image(1), image(2), image(9)];
    const byDigest = first.digests[0]?.split('@')[1] ?? '';
    expect(builds(imagesToRemove([first, second, third], { runs: [9], digests: [byDigest] }))).toEqual([2]);
    expect(builds(imagesToRemove([first, second, third], { runs: [9], digests: [second.id] }))).toEqual([1]);
  });

  test('that a kept run took because its inputs were equal stay', () => {
    const reused = image(1, { tags: ['registry:5000/hello/web:1-abcdef0', 'registry:5000/hello/web:40-1234567'] });
    expect(imagesToRemove([reused, image(50)], { runs: [40, 50], digests: [] })).toEqual([]);
    expect(builds(imagesToRemove([reused, image(50)], { runs: [50], digests: [] }))).toEqual([1]);
  });

  test('the newest of each name stays, for the next build', () => {
    const api = image(2, { labels: { 'slipway.image': 'api', 'slipway.build': '2' } });
    expect(builds(imagesToRemove([image(1), image(3), api], { runs: [], digests: [] }))).toEqual([1]);
  });

  test.each([{}, { 'slipway.build': 'x' }, { 'slipway.build': '0' }])(
    'that do not say whose they are stay: %j',
    (labels) => {
      expect(imagesToRemove([image(1, { labels }), image(9)], { runs: [], digests: [] })).toEqual([]);
    },
  );
});

describe('backups', () => {
  const backup = (deployment: number, database = true): Parameters<typeof backupsToRemove>[0][number] => {
    return { deployment, sizeBytes: 1, database };
  };
  const all = (count: number): ReturnType<typeof backup>[] =>
    Array.from({ length: count }, (_, index) => backup(index + 1));
  const numbers = (backups: ReturnType<typeof backupsToRemove>): number[] =>
    backups.map(({ deployment }) => deployment);

  test('beyond the fourteen newest go, the fifteenth that the previous release needs stays', () => {
    expect(numbers(backupsToRemove(all(16), 14, []))).toEqual([1, 2]);
    expect(numbers(backupsToRemove(all(16), 14, [2]))).toEqual([1]);
  });

  test('as long as there are no more than are kept none goes', () => {
    expect(backupsToRemove(all(14), 14, [])).toEqual([]);
  });

  test('that failed push no good one out, and go with their time', () => {
    const failed = [15, 16, 17].map((deployment) => backup(deployment, false));
    expect(backupsToRemove([...all(14), ...failed], 14, [])).toEqual([]);
    expect(numbers(backupsToRemove([backup(1, false), ...all(16).slice(1)], 14, []))).toEqual([1, 2]);
  });

  test('of an environment without a database are its configurations', () => {
    const configurations = all(3).map(({ deployment }) => backup(deployment, false));
    expect(numbers(backupsToRemove(configurations, 2, []))).toEqual([1]);
  });
});

describe('images on a disk that is too full', () => {
  test('go oldest first, the newest of each name after all others', () => {
    const api = image(1, { labels: { 'slipway.image': 'api', 'slipway.build': '1' } });
    const images = [image(4), image(2), api, image(3)];
    expect(builds(imagesToPrune(images, { runs: [], digests: [] }))).toEqual([2, 3, 1, 4]);
  });

  test('stay when they are needed, however full it is, and when nobody knows which run built them', () => {
    const stranger = image(5, { labels: { 'slipway.image': 'web' } });
    const needed = image(2);
    const digest = needed.digests[0]?.split('@')[1] ?? '';
    expect(builds(imagesToPrune([image(1), needed, image(3), stranger], { runs: [3], digests: [digest] }))).toEqual([
      1,
    ]);
  });
});

describe('files of artifacts and caches', () => {
  const before = new Date('2026-11-01T00:00:00Z');
  const blob = (key: string, writtenAt = '2026-10-31T23:59:59Z') => ({
    key,
    sizeBytes: 1,
    writtenAt: new Date(writtenAt),
  });

  test('go where nothing names them and they are old enough', () => {
    const blobs = [blob('a'), blob('b'), blob('c', before.toISOString())];
    expect(unnamedBlobs(blobs, ['a'], before)).toEqual([blob('b')]);
    expect(unnamedBlobs(blobs, ['a', 'b', 'd'], before)).toEqual([]);
  });

  test.each([
    ['artifacts/shop/12/test/all/3f1c-0', 12],
    ['artifacts/shop/12/test/all/0', 12],
    ['artifacts/shop/12/test/all', undefined],
    ['artifacts/shop/12/test/all/a/b', undefined],
    ['artifacts/shop/012/test/all/0', undefined],
    ['artifacts/shop/0/test/all/0', undefined],
    ['artifacts/shop/99999999999/test/all/0', undefined],
    ['artifacts/other/12/test/all/0', undefined],
    ['reports/shop/12/test/all/0', undefined],
  ])('%s is of run %s', (key, run) => {
    expect(runOfArtifact('shop', blob(key))).toBe(run);
  });
});
