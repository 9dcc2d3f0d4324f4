import { describe, expect, test } from '@jest/globals';
import { imagePlace } from '../../../src/domain/base-image.ts';
import { type ScanVerdict, mergeScans, worstOf } from '../../../src/domain/image-scan.ts';
import { normalPlatform, platformOf } from '../../../src/domain/platform.ts';

describe('a platform', () => {
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
  ])('%s is %s', (written, meant) => {
    expect(normalPlatform(written)).toBe(meant);
  });

  test('has no variant where none is told', () => {
    expect(platformOf('linux', 'arm64')).toBe('linux/arm64');
  });
});

describe('where an image lies', () => {
  test.each([
    ['node:24', 'docker.io', 'library/node', '24'],
    ['acme/app', 'docker.io', 'acme/app', 'latest'],
    ['127.0.0.1:5000/a/b:1', '127.0.0.1:5000', 'a/b', '1'],
    ['ghcr.io/a/b:1@sha256:ab', 'ghcr.io', 'a/b', 'sha256:ab'],
    ['localhost/a', 'localhost', 'a', 'latest'],
  ])('%s', (reference, registry, repository, tag) => {
    expect(imagePlace(reference)).toEqual({ registry, repository, tag });
  });
});

const verdict = (word: ScanVerdict['verdict'], more: Partial<ScanVerdict> = {}): ScanVerdict => ({
  verdict: word,
  reason: `it ${word}`,
  scanner: { name: 'osv-scanner', version: '2' },
  databaseAt: '2026-11-02T00:00:00Z',
  scannedAt: '2026-11-03T00:00:00Z',
  packages: 2,
  counts: { critical: 0, high: 1, medium: 0, low: 0, unknown: 0 },
  lines: [`line of ${word}`],
  excepted: [],
  ...more,
});

describe('a scan of several platforms', () => {
  test('is as bad as the worst of them, which is named', () => {
    const all = worstOf([
      { platform: 'linux/amd64', scan: verdict('passed', { lines: [] }) },
      { platform: 'linux/arm64', scan: verdict('failed', { databaseAt: '2026-11-01T00:00:00Z' }) },
    ]);
    expect(all).toMatchObject({
      verdict: 'failed',
      reason: 'linux/arm64: it failed',
      lines: ['linux/arm64: line of failed'],
      packages: 4,
      databaseAt: '2026-11-01T00:00:00Z',
      counts: { high: 2 },
    });
  });

  test('is errored where one of them could not be looked into', () => {
    const errored = worstOf([
      { platform: 'linux/amd64', scan: verdict('passed') },
      { platform: 'linux/arm64', scan: verdict('errored', { packages: 0 }) },
    ]);
    expect(errored).toMatchObject({ verdict: 'errored', reason: 'linux/arm64: it errored' });
  });

  test('is that of the image itself where it is no list', () => {
    const one = verdict('passed');
    expect(worstOf([{ scan: one }])).toBe(one);
  });

  test('has an advisory once that is about the same package of both', () => {
    const scan = (packages: readonly string[], databaseAt: string) => ({
      scanner: { name: 's', version: '1' },
      databaseAt,
      scannedAt: '2026-11-03T00:00:00Z',
      packages: packages.length,
      vulnerabilities: packages.map((name) => ({
        ...{ id: 'X', aliases: [], severity: 'high' as const, package: name, version: '1', fixedIn: [] },
      })),
    });
    const merged = mergeScans([scan(['a', 'b'], '2026-11-02'), scan(['b', 'c'], '2026-11-01')]);
    expect(merged.vulnerabilities.map((each) => each.package)).toEqual(['a', 'b', 'c']);
    expect(merged).toMatchObject({ packages: 4, databaseAt: '2026-11-01' });
  });
});
