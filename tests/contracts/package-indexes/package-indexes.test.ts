import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { FoundVersion } from '../../../src/providers/package-indexes/port.ts';
import { packageIndexes } from '../../../src/providers/package-indexes/index.ts';
import { type PackageIndexStandIn, shaOf, startPackageIndexStandIn } from '../../support/package-index-stand-in.ts';

let index: PackageIndexStandIn;
beforeEach(async () => {
  index = await startPackageIndexStandIn();
});
afterEach(async () => {
  await index.close();
  expect(index.violations).toEqual([]);
});

const at = '2026-01-02T03:04:05Z';

/** What holds for every kind of index. */
describe.each([
  {
    kind: 'npm' as const,
    url: () => index.npmUrl,
    path: '/npm/left',
    put: () => (index.npm['left'] = { '1.0.0': { at }, '1.1.0': { at }, '1.2.0': { at, deprecated: 'broken' } }),
  },
  {
    kind: 'python' as const,
    url: () => index.pythonUrl,
    path: '/simple/left/',
    put: () => (index.python['left'] = { '1.0.0': { at }, '1.1.0': { at }, '1.2.0': { at, yanked: 'broken' } }),
  },
])('an index of $kind', ({ kind, url, path, put }) => {
  const read = (name: string, authorization?: string): Promise<readonly FoundVersion[] | undefined> =>
    packageIndexes[kind]
      .create({ url: url(), ...(authorization === undefined ? {} : { authorization }) })
      .readVersions(name);

  test('tells the versions that may be used, with their day', async () => {
    put();
    expect(await read('left')).toMatchObject([
      { version: '1.0.0', publishedAt: at },
      { version: '1.1.0', publishedAt: at },
    ]);
  });

  test('knows a package or not', async () => {
    expect(await read('right')).toBeUndefined();
  });

  test('is asked as whom the project says', async () => {
    put();
    index.authorization = 'Bearer hunter2';
    expect(await read('left', 'Bearer hunter2')).toHaveLength(2);
    await expect(read('left')).rejects.toMatchObject({ type: 'IndexRefused', retryable: false });
  });

  test.each([
    [{ status: 503 }, { type: 'IndexUnavailable', retryable: true }],
    [{ status: 429 }, { type: 'IndexUnavailable', retryable: true }],
    [{ status: 400 }, { type: 'IndexRefused', retryable: false }],
    [
      { status: 200, body: '<html>' },
      { type: 'IndexRefused', message: expect.stringContaining('not as its protocol says') },
    ],
    [{ status: 200, body: '{"versions":[],"files":{}}' }, { type: 'IndexRefused' }],
    [{ status: 302, headers: { location: 'http://169.254.169.254/latest' } }, { type: 'IndexRefused' }],
    [{ status: 302, headers: { location: 'https://10.0.0.1/left' } }, { type: 'IndexRefused' }],
  ])('that answers %j is an error of the table', async (answer, error) => {
    index.answers[path] = answer;
    await expect(read('left')).rejects.toMatchObject(error);
  });

  test('that is away is an error that is retried', async () => {
    const gone = url();
    await index.close();
    await expect(packageIndexes[kind].create({ url: gone }).readVersions('left')).rejects.toMatchObject({
      type: 'IndexUnavailable',
    });
  });
});

test('npm: a scope is one part of the path, and old forms of what a version asks for are none', async () => {
  index.npm['@s/f'] = { '1.0.0': { at, engines: ['node >= 4'] }, '1.1.0': { engines: { node: '>=20' } } };
  expect(await packageIndexes.npm.create({ url: index.npmUrl }).readVersions('@s/f')).toEqual([
    { version: '1.0.0', publishedAt: at },
    { version: '1.1.0', requires: '>=20' },
  ]);
  expect(index.requests).toEqual(['/npm/@s%2ff']);
});

test('python: a version is there with its first file, and its hashes are those of all of them', async () => {
  index.python['zope-interface'] = {
    '5.0': {
      at,
      requires: '>=3.8',
      files: ['zope.interface-5.0.tar.gz', 'zope_interface-5.0-cp312-cp312-linux_x86_64.whl'],
    },
    '6.0': { files: ['zope.interface-6.0.zip', 'notes.txt', 'other-6.0.tar.gz'] },
  };
  expect(await packageIndexes.python.create({ url: index.pythonUrl }).readVersions('Zope.Interface')).toEqual([
    {
      ...{ version: '5.0', publishedAt: at, requires: '>=3.8' },
      hashes: [shaOf('zope.interface-5.0.tar.gz'), shaOf('zope_interface-5.0-cp312-cp312-linux_x86_64.whl')].map(
        (each) => `sha256:${each}`,
      ),
    },
    { version: '6.0', hashes: [`sha256:${shaOf('zope.interface-6.0.zip')}`] },
  ]);
});
