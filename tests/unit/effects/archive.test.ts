import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pack } from 'tar-stream';
import { packPaths, putInside, unpack } from '../../../src/effects/archive.ts';
import { openInside } from '../../../src/effects/inside.ts';

const limits = { bytes: 1_000_000, files: 1_000 };
const { signal } = new AbortController();
let root: string;
let source: string;
let target: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-archive-'));
  [source, target] = ['source', 'target'].map((name) => join(root, name)) as [string, string];
  for (const folder of [source, target]) mkdirSync(folder);
  writeFileSync(join(root, 'worker'), 'a secret of the worker');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function packed(...paths: readonly string[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of packPaths(
    paths.map((path) => ({ root: source, path, as: 'source' })),
    limits,
  )) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

describe('an archive', () => {
  test('brings back files, their rights and times, empty folders, and links as links', async () => {
    mkdirSync(join(source, 'modules/bin/empty'), { recursive: true });
    writeFileSync(join(source, 'modules/a'), 'a');
    writeFileSync(join(source, 'modules/none'), '');
    writeFileSync(join(source, 'modules/bin/run'), '#!/bin/sh\n');
    chmodSync(join(source, 'modules/bin/run'), 0o755);
    symlinkSync('../a', join(source, 'modules/bin/link'));
    symlinkSync(join(root, 'worker'), join(source, 'modules/out'));
    await unpack(Readable.from([await packed('modules', 'not-there')]), target, limits, signal);
    const at = join(target, 'source/modules');
    expect(readFileSync(join(at, 'bin/link'), 'utf8')).toBe('a');
    expect(readFileSync(join(at, 'none'), 'utf8')).toBe('');
    expect(statSync(join(at, 'bin/run')).mode & 0o777).toBe(0o755);
    expect(Math.round(statSync(join(at, 'a')).mtimeMs / 1000)).toBe(
      Math.floor(statSync(join(source, 'modules/a')).mtimeMs / 1000),
    );
    expect(existsSync(join(at, 'bin/empty'))).toBe(true);
    expect(readlinkSync(join(at, 'out'))).toBe(join(root, 'worker'));
  });

  test('has nothing from behind a link that leads out', async () => {
    symlinkSync(root, join(source, 'way'));
    expect(await unpackedNames(await packed('way/worker', 'way'))).toEqual([]);
    expect(await openInside(source, 'way/worker')).toBeUndefined();
  });

  test('is refused when it is too large, packed or unpacked', async () => {
    mkdirSync(join(source, 'big'));
    writeFileSync(join(source, 'big/file'), Buffer.alloc(2_000_000));
    await expect(packed('big')).rejects.toMatchObject({ type: 'TooLarge' });
    const chunks: Buffer[] = [];
    const large = packPaths([{ root: source, path: 'big', as: 'source' }], { bytes: 1e9, files: 10 });
    for await (const chunk of large) chunks.push(chunk as Buffer);
    await expect(unpack(Readable.from(chunks), target, limits, signal)).rejects.toMatchObject({ type: 'TooLarge' });
  });

  test.each(['../out', '/etc/x', 'a//b', 'a/../../out'])('with an entry %s is refused', async (name) => {
    await expect(unpack(await forged({ name }), target, limits, signal)).rejects.toMatchObject({ type: 'Internal' });
    expect(existsSync(join(root, 'out'))).toBe(false);
  });

  test('does not write through a link that it has itself', async () => {
    const archive = await forged({ name: 'way', link: root }, { name: 'way/planted' });
    // The link comes last, and there is a folder where it would be.
    await expect(unpack(archive, target, limits, signal)).rejects.toThrow(/EEXIST/);
    expect(existsSync(join(root, 'planted'))).toBe(false);
  });
});

describe('putting a folder in place', () => {
  test('takes the place of what is there', async () => {
    mkdirSync(join(source, 'deep/modules'), { recursive: true });
    writeFileSync(join(source, 'deep/modules/old'), '');
    mkdirSync(join(target, 'modules'));
    writeFileSync(join(target, 'modules/new'), '');
    expect(await putInside(join(target, 'modules'), source, 'deep/modules', join(root, 'aside'))).toBe(true);
    expect([existsSync(join(source, 'deep/modules/new')), existsSync(join(source, 'deep/modules/old'))]).toEqual([
      true,
      false,
    ]);
    expect(existsSync(join(root, 'aside'))).toBe(false);
  });

  test('does not go through a link out of it', async () => {
    symlinkSync(root, join(source, 'way'));
    mkdirSync(join(target, 'modules'));
    expect(await putInside(join(target, 'modules'), source, 'way/modules', join(root, 'aside'))).toBe(false);
    expect(existsSync(join(root, 'modules'))).toBe(false);
  });
});

async function unpackedNames(archive: Buffer): Promise<readonly string[]> {
  await unpack(Readable.from([archive]), target, limits, signal);
  return existsSync(join(target, 'source')) ? ['source'] : [];
}

/** What nobody but an attacker would make. */
async function forged(...entries: readonly { readonly name: string; readonly link?: string }[]): Promise<Readable> {
  const tar = pack();
  for (const { name, link } of entries) {
    if (link === undefined) tar.entry({ name }, 'x');
    else tar.entry({ name, type: 'symlink', linkname: link }, Buffer.alloc(0));
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  await pipeline(tar, createZstdCompress(), async (bytes) => {
    for await (const chunk of bytes) chunks.push(chunk as Buffer);
  });
  return Readable.from(chunks);
}
