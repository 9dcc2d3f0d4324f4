import { describe, expect, test } from '@jest/globals';
import {
  type NamedManifest,
  type RecordedImage,
  leftAttachments,
  pushedToRemove,
} from '../../../src/domain/registry-retention.ts';

const hex = (name: string): string => Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
const digest = (name: string): string => `sha256:${hex(name)}`;
const manifest = (name: string, tags: readonly string[], parts: readonly string[] = []): NamedManifest => {
  return { digest: digest(name), tags, parts: parts.map(digest) };
};
const signatureOf = (name: string, end = '.sig'): NamedManifest =>
  manifest(`${name}${end === '' ? '.referrers' : end}`, [`sha256-${hex(name)}${end}`]);
const pushed = (run: number, name = `i${run}`, tags = [`${run}-abcdef0`]): RecordedImage => {
  return { name: 'web', run, digest: digest(name), tags, sizeBytes: 10 };
};
const newest = pushed(99);

/** Tags of what would go. */
function gone(
  manifests: readonly NamedManifest[],
  recorded: readonly RecordedImage[],
  kept: readonly string[] = [],
): readonly string[] {
  return pushedToRemove(manifests, [...recorded, newest], new Set(kept.map(digest))).flatMap(({ tags }) => tags);
}

describe('what goes from a registry', () => {
  test('is what runs have pushed and nothing needs, with everything that hangs on it', () => {
    const manifests = [
      manifest('i1', ['1-abcdef0']),
      manifest('i2', ['2-abcdef0']),
      ...['.sig', '.att', '.sbom', ''].map((end) => signatureOf('i1', end)),
      signatureOf('i2'),
    ];
    const [only, ...others] = pushedToRemove(manifests, [pushed(1), pushed(2), newest], new Set([digest('i2')]));
    expect(others).toEqual([]);
    expect(only).toEqual({
      name: 'web',
      digest: digest('i1'),
      tags: ['1-abcdef0'],
      sizeBytes: 10,
      manifests: ['i1', 'i1.sig', 'i1.att', 'i1.sbom', 'i1.referrers'].map(digest),
    });
  });

  test.each([
    ['a kept digest', [manifest('i1', ['1-abcdef0'])], [pushed(1)], ['i1']],
    ['what nobody has pushed by Slipway', [manifest('other', ['1-abcdef0'])], [pushed(1)], []],
    ['what a person has given a name', [manifest('i1', ['1-abcdef0', 'stable'])], [pushed(1)], []],
    ['latest', [manifest('i1', ['1-abcdef0', 'latest'])], [pushed(1, 'i1', ['1-abcdef0', 'latest'])], []],
    ['the newest of a line of versions', [manifest('i1', ['1.4'])], [pushed(1, 'i1', ['1.4'])], []],
    [
      'a part of a kept list',
      [manifest('list', ['2-abcdef0'], ['i1']), manifest('i1', ['1-abcdef0'])],
      [pushed(1), pushed(2, 'list')],
      ['list'],
    ],
    ['a signature whose image stays', [signatureOf('i1')], [pushed(1)], ['i1']],
    [
      'a signature that a run has pushed as an image',
      [signatureOf('i2'), manifest('i2', ['2-abcdef0'])],
      [pushed(2)],
      ['i2'],
    ],
    ['the newest of its name, for its layers', [manifest('i99', ['99-abcdef0'])], [], []],
  ] as const)('is never %s', (_, manifests, recorded, kept) => {
    expect(gone(manifests, recorded, kept)).toEqual([]);
  });

  test('takes the platforms of a list along, but for those that another list has too', () => {
    const manifests = [
      manifest('one', ['1-abcdef0'], ['amd64', 'arm64']),
      manifest('two', ['2-abcdef0'], ['amd64', 'other']),
    ];
    const [only] = pushedToRemove(manifests, [pushed(1, 'one'), pushed(2, 'two'), newest], new Set([digest('two')]));
    expect(only?.manifests).toEqual([digest('one'), digest('arm64')]);
  });

  test('is left with a signature only where the image is gone', () => {
    const manifests = [signatureOf('i1'), signatureOf('i2'), manifest('i2', ['2-abcdef0'])];
    expect(leftAttachments(manifests, new Set([digest('i1')]))).toEqual([signatureOf('i1')]);
  });
});
