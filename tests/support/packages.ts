/** Packages as their tools would make them, and as nobody should: in memory, for indexes and for what reads them. */
import { buffer } from 'node:stream/consumers';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import type { PackageKind } from '../../src/domain/packages.ts';

export interface MadePackage {
  /** Name of the file. */
  readonly file: string;
  readonly content: Buffer;
}

export interface Identity {
  readonly name: string;
  readonly version: string;
  /** What makes two builds of one version different. */
  readonly body?: string;
}

/** One file, or whatever else a header can say. */
export type TarEntry = Partial<Header> & { readonly name: string; readonly text?: string };

export async function tarGz(entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const { text = '', ...header } of entries) tar.entry({ mtime: new Date(0), ...header }, text);
  tar.finalize();
  return gzipSync(await buffer(tar));
}

/** What `npm pack` makes. */
export async function npmPackage(
  { name, version, body = 'module.exports = 1;\n' }: Identity,
  manifest: Readonly<Record<string, unknown>> = {},
): Promise<MadePackage> {
  const text = JSON.stringify({ name, version, main: 'index.js', description: 'A package of a test.', ...manifest });
  return {
    file: `${name.replace('@', '').replace('/', '-')}-${version}.tgz`,
    content: await tarGz([
      { name: 'package/package.json', text },
      { name: 'package/index.js', text: body },
    ]),
  };
}

/** A source distribution. */
export async function sdistPackage({ name, version, body = 'x = 1\n' }: Identity): Promise<MadePackage> {
  const stem = `${fileName(name)}-${version}`;
  return {
    file: `${stem}.tar.gz`,
    content: await tarGz([
      { name: `${stem}/PKG-INFO`, text: metadataOf(name, version) },
      { name: `${stem}/setup.py`, text: body },
    ]),
  };
}

export function wheelPackage({ name, version, body = 'x = 1\n' }: Identity): MadePackage {
  const stem = `${fileName(name)}-${version}`;
  return {
    file: `${stem}-py3-none-any.whl`,
    content: zip([
      { name: `${fileName(name)}/__init__.py`, text: body },
      { name: `${stem}.dist-info/METADATA`, text: metadataOf(name, version) },
      { name: `${stem}.dist-info/WHEEL`, text: 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n' },
      { name: `${stem}.dist-info/RECORD`, text: '' },
    ]),
  };
}

/** The usual one of a kind. */
export async function packageOf(kind: PackageKind, identity: Identity): Promise<MadePackage> {
  return kind === 'npm' ? await npmPackage(identity) : wheelPackage(identity);
}

export function metadataOf(name: string, version: string): string {
  return [
    'Metadata-Version: 2.1',
    `Name: ${name}`,
    `Version: ${version}`,
    'Summary: A package of a test.',
    'Classifier: Programming Language :: Python :: 3',
    'Classifier: Operating System :: OS Independent',
    'Project-URL: Home, https://packages.example/',
    'Requires-Python: >=3.8',
    'Requires-Dist: attrs',
    '',
    'What it is for.',
    '',
  ].join('\n');
}

function fileName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, '_');
}

export interface ZipEntry {
  readonly name: string;
  readonly text: string | Buffer;
  /** Of Unix: `0o120777` is a link. */
  readonly mode?: number;
  /** What the list of the zip says of its size, where that is a lie. */
  readonly saidBytes?: number;
}

export function zip(entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const list: Buffer[] = [];
  let at = 0;
  for (const { name, text, mode = 0o100644, saidBytes } of entries) {
    const plain = Buffer.from(text);
    const packed = deflateRawSync(plain);
    const said = saidBytes ?? plain.length;
    const path = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(plain), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(said, 18);
    common.writeUInt16LE(path.length, 22);
    parts.push(Buffer.from('PK\x03\x04'), common, path, packed);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(mode * 2 ** 16, 6);
    rest.writeUInt32LE(at, 10);
    list.push(Buffer.from('PK\x01\x02\x14\x03', 'latin1'), common, rest, path);
    at += 4 + common.length + path.length + packed.length;
  }
  const directory = Buffer.concat(list);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, directory, end]);
}
