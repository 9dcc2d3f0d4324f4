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
const pushed = (
  run: number,
  name = `i${run}`,
  tags = [`${run}-abcdef0`],
  platforms: readonly string[] = [],
): RecordedImage => {
  return { name: 'web', run, digest: digest(name), tags, sizeBytes: 10, platforms: platforms.map(digest) };
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
      claims: [digest('i1')],
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

  test('takes along what is said about platforms that go, and nothing about one that stays', () => {
    const manifests = [
      manifest('one', ['1-abcdef0'], ['amd64', 'arm64']),
      manifest('two', ['2-abcdef0'], ['amd64', 'other']),
      ...['one', 'amd64', 'arm64', 'two', 'other'].map((name) => signatureOf(name)),
      signatureOf('arm64', '.att'),
      manifest('of-both', [`sha256-${hex('arm64')}.sbom`, `sha256-${hex('amd64')}.sbom`]),
    ];
    const [only, ...others] = pushedToRemove(
      manifests,
      [pushed(1, 'one'), pushed(2, 'two'), newest],
      new Set([digest('two')]),
    );
    expect(others).toEqual([]);
    expect(only?.manifests).toEqual(['one', 'arm64', 'one.sig', 'arm64.sig', 'arm64.att'].map(digest));
    expect(only?.claims).toEqual(['one', 'arm64'].map(digest));
  });

  test('gives a platform of several lists, and what is said about it, to the last of them; each is claimed with the others', () => {
    const manifests = [
      manifest('two', ['2-abcdef0'], ['amd64', 'other']),
      manifest('one', ['1-abcdef0'], ['amd64', 'arm64']),
      signatureOf('amd64'),
      signatureOf('one'),
    ];
    const going = pushedToRemove(manifests, [pushed(1, 'one'), pushed(2, 'two'), newest], new Set());
    expect(going.map((image) => image.manifests)).toEqual([
      ['one', 'arm64', 'one.sig'].map(digest),
      ['two', 'amd64', 'other', 'amd64.sig'].map(digest),
    ]);
    expect(going.map((image) => image.claims)).toEqual([
      ['one', 'amd64', 'arm64', 'two'].map(digest),
      ['two', 'amd64', 'other', 'one'].map(digest),
    ]);
  });

  test('has a platform that was pushed as an image, too, with its list and not before it', () => {
    const manifests = [manifest('i1', ['1-abcdef0']), manifest('list', ['2-abcdef0'], ['i1'])];
    const going = pushedToRemove(manifests, [pushed(1), pushed(2, 'list'), newest], new Set());
    expect(going.map((image) => image.manifests)).toEqual([['list', 'i1'].map(digest)]);
  });

  test('is nothing of a list that is itself in one that stays', () => {
    const manifests = [
      manifest('outer', ['2-abcdef0'], ['inner']),
      manifest('inner', ['1-abcdef0'], ['amd64']),
      manifest('one', ['3-abcdef0'], ['amd64', 'arm64']),
    ];
    const recorded = [pushed(1, 'inner'), pushed(2, 'outer'), pushed(3, 'one'), newest];
    const going = pushedToRemove(manifests, recorded, new Set([digest('outer')]));
    expect(going.map((image) => image.manifests)).toEqual([['one', 'arm64'].map(digest)]);
  });
});

describe('what is left of images that are no more', () => {
  const recorded = [
    pushed(1, 'one', ['1-abcdef0'], ['amd64', 'arm64']),
    pushed(2, 'two', ['2-abcdef0'], ['amd64']),
    pushed(3),
  ];
  const signatures = ['one', 'amd64', 'arm64', 'i3', 'foreign'].map((name) => signatureOf(name));
  const subjects = ['one', 'amd64', 'arm64', 'i3', 'foreign'];
  const left = (gone: readonly string[]): readonly unknown[] =>
    leftAttachments(signatures, recorded, subjects.map(digest), new Set(gone.map(digest)));

  test('is what is said about them and their platforms, but for those that an image has that is there', () => {
    expect(left(['one'])).toEqual([
      { subject: digest('one'), owners: [digest('one')], manifests: [signatureOf('one')] },
      { subject: digest('arm64'), owners: [digest('one')], manifests: [signatureOf('arm64')] },
    ]);
    expect(left(['one', 'two'])).toContainEqual({
      subject: digest('amd64'),
      owners: ['one', 'two'].map(digest),
      manifests: [signatureOf('amd64')],
    });
  });

  test('is nothing of what is there, nor of what no run of the project has pushed', () => {
    expect(left([])).toEqual([]);
    expect(left(['foreign'])).toEqual([]);
  });

  test('is looked for without a name for it, too, where a removal was stopped', () => {
    expect(leftAttachments([], recorded, [digest('arm64')], new Set([digest('one')]))).toEqual([
      { subject: digest('arm64'), owners: [digest('one')], manifests: [] },
    ]);
  });
});
