import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { packageUploads } from '../../../src/providers/package-uploads/index.ts';
import type { ReadPackage } from '../../../src/providers/package-uploads/port.ts';
import {
  type TarEntry,
  type ZipEntry,
  metadataOf,
  npmPackage,
  sdistPackage,
  tarGz,
  wheelPackage,
  zip,
} from '../../support/packages.ts';

const never = new AbortController().signal;
const npm = (content: Buffer, file = 'shop-1.0.0.tgz'): Promise<ReadPackage> =>
  packageUploads.npm.read(file, content, never);
const python = (content: Buffer, file: string): Promise<ReadPackage> =>
  packageUploads.python.read(file, content, never);
const wheel = (content: Buffer): Promise<ReadPackage> => python(content, 'shop-1.0.0-py3-none-any.whl');
const sdist = (content: Buffer): Promise<ReadPackage> => python(content, 'shop-1.0.0.tar.gz');
const refused = (message: RegExp) => ({
  type: 'PackageRefused',
  retryable: false,
  message: expect.stringMatching(message),
});

const manifest = (more: object = {}): TarEntry => ({
  name: 'package/package.json',
  text: JSON.stringify({ name: 'shop', version: '1.0.0', ...more }),
});
const info: TarEntry = { name: 'shop-1.0.0/PKG-INFO', text: metadataOf('shop', '1.0.0') };
const metadata: ZipEntry = { name: 'shop-1.0.0.dist-info/METADATA', text: metadataOf('shop', '1.0.0') };

/** Zeros that are nearly nothing while they are packed: a stream of many, one after the other. */
function zeros(bytes: number): Buffer {
  const once = 16 * 2 ** 20;
  const packed = gzipSync(Buffer.alloc(once));
  return Buffer.concat(Array.from({ length: Math.ceil(bytes / once) }, () => packed));
}

/** A tar of one file of this size, its header true. */
async function bomb(name: string, bytes: number): Promise<Buffer> {
  const block = gunzipSync(await tarGz([{ name, size: 0 }])).subarray(0, 512);
  block.write(`${bytes.toString(8).padStart(11, '0')} `, 124, 'latin1');
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([gzipSync(block), zeros(bytes)]);
}

describe('what a package says it is', () => {
  test('is read from what its tool made', async () => {
    const { file, content } = await npmPackage({ name: '@shop/client', version: '1.0.0-rc.1' });
    expect(await npm(content, file)).toMatchObject({
      ...{ name: '@shop/client', version: '1.0.0-rc.1', file: 'shop-client-1.0.0-rc.1.tgz' },
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      digest: expect.stringMatching(/^sha512-[A-Za-z0-9+/]{86}==$/),
    });
    const made = wheelPackage({ name: 'Shop.Client', version: '1.0.0' });
    expect(await python(made.content, made.file)).toMatchObject({
      name: 'Shop.Client',
      filetype: 'bdist_wheel',
      pyversion: 'py3',
    });
    const source = await sdistPackage({ name: 'shop', version: '1.0.0' });
    expect(await sdist(source.content)).toMatchObject({ name: 'shop', filetype: 'sdist', pyversion: 'source' });
  });

  test.each([
    ['its name is none', { name: '../../evil' }, /no name that npm takes/],
    ['its name is of capitals', { name: 'Shop' }, /no name that npm takes/],
    ['its name is endless', { name: 'a'.repeat(215) }, /no name that npm takes/],
    ['its version is none', { version: 'latest' }, /no version that npm takes/],
    ['its version is written otherwise', { version: 'v1.0.0' }, /no version that npm takes/],
    ['it has no version', { version: undefined }, /no version that npm takes/],
    ['it is private', { private: true }, /is `private`/],
  ])('of npm is refused where %s', async (_, more, message) => {
    await expect(npm(await tarGz([manifest(more)]))).rejects.toMatchObject(refused(message));
  });

  test.each([
    ['another name', metadataOf('other', '1.0.0'), /is other 1\.0\.0 by its metadata, which is not what its name says/],
    ['another version', metadataOf('shop', '2.0.0'), /is shop 2\.0\.0 by its metadata/],
    ['no name', 'Metadata-Version: 2.1\nVersion: 1.0.0\n\n', /says no name/],
    [
      'two versions',
      metadataOf('shop', '1.0.0').replace('\n', '\nVersion: 2.0.0\n'),
      /says its version more than once/,
    ],
    ['a name that is none', metadataOf('shop/../x', '1.0.0'), /which is none/],
    ['what is no letter', 'no header at all\n', /has metadata that are none/],
    ['nothing', '', /says no name/],
  ])('of Python is refused where its metadata have %s', async (_, text, message) => {
    await expect(wheel(zip([{ ...metadata, text }]))).rejects.toMatchObject(refused(message));
    await expect(sdist(await tarGz([{ ...info, text }]))).rejects.toMatchObject(refused(message));
  });

  test.each([
    'shop.zip',
    'shop-1.0.0.tar.bz2',
    'shop-1.0.0-py3-none-any.whl.asc',
    '-1.0.0.tar.gz',
    'shop 1.0.0.tar.gz',
  ])('of Python is not in a file %s', async (file) => {
    await expect(python(zip([metadata]), file)).rejects.toMatchObject(
      refused(/is no `.whl` and no `.tar.gz`|cannot be read/),
    );
  });

  test('of npm is not in a file of another name', async () => {
    const { content } = await npmPackage({ name: 'shop', version: '1.0.0' });
    await expect(npm(content, 'shop-1.0.0.zip')).rejects.toMatchObject(refused(/is no `.tgz`/));
  });
});

describe('a hostile archive', () => {
  test.each([
    ['a way out', { name: 'package/../../../etc/passwd', text: 'x' }, /leads out of it/],
    ['a path from the root', { name: '/etc/passwd', text: 'x' }, /leads out of it/],
    ['a path of Windows', { name: 'package\\..\\x', text: 'x' }, /leads out of it/],
    ['a link', { name: 'package/x', type: 'symlink', linkname: '/etc/passwd' }, /a symlink/],
    ['a hard link', { name: 'package/x', type: 'link', linkname: 'package/package.json' }, /a link/],
    ['a device', { name: 'package/x', type: 'character-device' }, /a character-device/],
    ['a pipe', { name: 'package/x', type: 'fifo' }, /a fifo/],
  ] as const)('with %s is refused whole', async (_, entry, message) => {
    await expect(npm(await tarGz([manifest(), entry]))).rejects.toMatchObject(refused(message));
    await expect(sdist(await tarGz([info, entry]))).rejects.toMatchObject(refused(message));
  });

  test.each([
    ['a way out', { name: '../../etc/passwd', text: 'x' }, /\.\.|leads out/],
    ['a path from the root', { name: '/etc/passwd', text: 'x' }, /absolute|leads out/],
    ['a path of Windows', { name: 'a\\..\\x', text: 'x' }, /invalid characters|leads out/],
    ['a link', { name: 'shop/x', text: '/etc/passwd', mode: 0o120777 }, /a link/],
    ['metadata twice', metadata, /twice/],
    ['metadata of two', { ...metadata, name: 'other-1.0.0.dist-info/METADATA' }, /of more than one package/],
    [
      'a size that is a lie',
      { name: 'other-1.0.0.dist-info/METADATA', text: 'x'.repeat(2_000), saidBytes: 10 },
      /cannot be read/,
    ],
  ] as const)('of a zip with %s is refused whole', async (_, entry, message) => {
    await expect(wheel(zip([metadata, entry]))).rejects.toMatchObject(refused(message));
  });

  test('with two descriptions of itself is refused, whichever a registry would take', async () => {
    await expect(npm(await tarGz([manifest(), manifest({ name: 'other' })]))).rejects.toMatchObject(refused(/twice/));
  });

  test.each([
    ['a tar', () => tarGz([{ name: 'package/index.js', text: '' }]), npm, /has no `package\/package.json`/],
    ['a tar of Python', () => tarGz([{ name: 'shop-1.0.0/setup.py', text: '' }]), sdist, /has no metadata/],
    ['a zip', () => Promise.resolve(zip([{ name: 'shop/x.py', text: '' }])), wheel, /has no metadata/],
    [
      'a package.json that is none',
      () => tarGz([{ name: 'package/package.json', text: '[]' }]),
      npm,
      /that is no object/,
    ],
    [
      'a package.json of bytes',
      () => tarGz([{ name: 'package/package.json', text: '{"name":' }]),
      npm,
      /cannot be read/,
    ],
    ['nothing at all', () => Promise.resolve(Buffer.alloc(0)), npm, /./],
    ['a zip that is none', () => Promise.resolve(Buffer.from('PK no zip')), wheel, /cannot be read/],
    ['a tar that is none', () => Promise.resolve(gzipSync('no tar')), sdist, /./],
  ] as const)('%s says so', async (_, make, read, message) => {
    await expect(read(await make())).rejects.toMatchObject(refused(message));
  });

  test('that is cut off anywhere is refused', async () => {
    const { content } = await npmPackage({ name: 'shop', version: '1.0.0', body: 'x'.repeat(5_000) });
    for (const bytes of [1, 20, content.length - 9, content.length - 1]) {
      await expect(npm(content.subarray(0, bytes))).rejects.toMatchObject(refused(/cannot be read|has no/));
    }
    const made = wheelPackage({ name: 'shop', version: '1.0.0' });
    for (const bytes of [1, 40, made.content.length - 1]) {
      await expect(wheel(made.content.subarray(0, bytes))).rejects.toMatchObject(refused(/cannot be read/));
    }
  });

  test('of a gigabyte in a megabyte is refused with little memory, and so are metadata without end', async () => {
    const before = process.memoryUsage.rss();
    const packed = await bomb('package/big', 2 ** 30 + 2 ** 25);
    expect(packed.length).toBeLessThan(2 * 2 ** 20);
    await expect(npm(packed)).rejects.toMatchObject(refused(/has more than 1073741824 bytes unpacked/));
    await expect(npm(await bomb('package/package.json', 2 ** 21))).rejects.toMatchObject(
      refused(/of more than 1048576 bytes/),
    );
    await expect(sdist(await bomb('shop-1.0.0/PKG-INFO', 2 ** 21))).rejects.toMatchObject(
      refused(/of more than 1048576/),
    );
    await expect(wheel(zip([{ ...metadata, text: Buffer.alloc(2 ** 21, 0x20) }]))).rejects.toMatchObject(
      refused(/of more than 1048576/),
    );
    await expect(wheel(zip([{ name: 'big', text: 'x', saidBytes: 2 ** 31 }, metadata]))).rejects.toMatchObject(
      refused(/has more than 1073741824 bytes unpacked/),
    );
    expect(process.memoryUsage.rss() - before).toBeLessThan(400 * 2 ** 20);
  }, 60_000);

  test('of a hundred thousand files is refused', async () => {
    const header = gunzipSync(await tarGz([{ name: 'package/x', size: 0 }])).subarray(0, 512);
    const tar = Buffer.concat(Array.from({ length: 100_001 }, () => header));
    await expect(npm(gzipSync(tar))).rejects.toMatchObject(refused(/has more than 100000 entries/));
  }, 60_000);

  test('is left at once when the run ends', async () => {
    const ended = new AbortController();
    const packed = await bomb('package/big', 2 ** 29);
    const reading = packageUploads.npm.read('shop-1.0.0.tgz', packed, ended.signal);
    ended.abort(new Error('the run was aborted'));
    await expect(reading).rejects.toThrow('the run was aborted');
  });
});
