import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createBlobs } from '../../../src/providers/blobs/index.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';

let folder: string;
let blobs: BlobStore;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-blobs-'));
  blobs = createBlobs({ kind: 'folder', folder });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function files(): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

describe('a blob', () => {
  test('is the same when read, whole and in parts, from a Buffer and from a stream', async () => {
    const bytes = randomBytes(300_000);
    const pieces = function* () {
      for (let at = 0; at < bytes.length; at += 7_001) yield bytes.subarray(at, at + 7_001);
    };
    for (const content of [bytes, Readable.from(pieces())]) {
      const info = await blobs.put('backups/hello/1.dump', content);
      expect(info).toEqual({ key: 'backups/hello/1.dump', sizeBytes: bytes.length, sha256: sha256(bytes) });
      expect(sha256(await buffer(await blobs.read('backups/hello/1.dump')))).toBe(info.sha256);
      const part = await buffer(await blobs.read('backups/hello/1.dump', { start: 100, end: 200 }));
      expect(part.equals(bytes.subarray(100, 200))).toBe(true);
      expect(await buffer(await blobs.read('backups/hello/1.dump', { start: 5, end: 5 }))).toHaveLength(0);
    }
    expect(await blobs.size('backups/hello/1.dump')).toBe(bytes.length);
  });

  test('whose source breaks at once fails by it, and leaves nothing', async () => {
    const before = await files();
    const broken = Array.from({ length: 300 }, async (_, nth) => {
      const source = new PassThrough();
      const putting = blobs.put(`broken/${nth}`, source);
      if (nth % 2 === 0) source.destroy(new Error('the source broke'));
      else setImmediate(() => source.destroy(new Error('the source broke')));
      await expect(putting).rejects.toThrow('the source broke');
    });
    await Promise.all(broken);
    expect(await files()).toEqual(before);
  });

  test('whose writing fails or is aborted leaves what was there before, and nothing half', async () => {
    await blobs.put('kept', Buffer.from('before'));
    const failing = Readable.from(
      (function* () {
        yield Buffer.from('half');
        throw new Error('the source broke');
      })(),
    );
    await expect(blobs.put('kept', failing)).rejects.toThrow('the source broke');
    const aborted = new AbortController();
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(1_000));
        aborted.abort(new Error('no longer wanted'));
      },
    });
    await expect(blobs.put('kept', endless, { signal: aborted.signal })).rejects.toThrow('no longer wanted');
    expect((await buffer(await blobs.read('kept'))).toString()).toBe('before');
    expect(await files()).not.toContainEqual(expect.stringMatching(/^[0-9a-f-]{36}$/));
  });

  test('is one of several, in their order', async () => {
    await blobs.put('logs/a/0', Buffer.from('one '));
    await blobs.put('logs/a/1', Buffer.from('two '));
    const whole = await blobs.concatenate('logs/a/all', ['logs/a/0', 'logs/a/1', 'logs/a/0']);
    expect(whole.sizeBytes).toBe(12);
    expect((await buffer(await blobs.read('logs/a/all'))).toString()).toBe('one two one ');
    await expect(blobs.concatenate('logs/a/none', ['logs/a/9'])).rejects.toMatchObject({ type: 'NotFound' });
  });

  test('is in the list of what begins as it does, and only there', async () => {
    await blobs.put('listed/a/1', Buffer.from('one'));
    await blobs.put('listed/a/2', Buffer.from('three'));
    await blobs.put('listed/ab/1', Buffer.from('x'));
    const longAgo = new Date('2026-01-02T03:04:05Z');
    await utimes(join(folder, 'listed/a/1'), longAgo, longAgo);
    const listed = [...(await blobs.list('listed/a'))].sort((a, b) => a.key.localeCompare(b.key));
    expect(listed).toMatchObject([
      { key: 'listed/a/1', sizeBytes: 3 },
      { key: 'listed/a/2', sizeBytes: 5 },
    ]);
    const [old, young] = listed.map(({ writtenAt }) => writtenAt.toISOString());
    expect(old).toBe(longAgo.toISOString());
    expect(Date.parse(young ?? '')).toBeGreaterThan(Date.now() - 60_000);
    expect(await blobs.list('listed/none')).toEqual([]);
  });

  test('that never came to be is removed once nobody can be writing it', async () => {
    const unfinished = join(folder, '.writing');
    await mkdir(unfinished, { recursive: true });
    await writeFile(join(unfinished, 'old'), 'half a dump');
    await writeFile(join(unfinished, 'young'), 'under way');
    const longAgo = new Date(Date.now() - 86_400_000);
    await utimes(join(unfinished, 'old'), longAgo, longAgo);
    const before = new Date(Date.now() - 3_600_000);
    expect(await blobs.removeUnfinished(before)).toEqual({ count: 1, sizeBytes: 11 });
    expect(await readdir(unfinished)).toEqual(['young']);
    await rm(join(unfinished, 'young'));
  });

  test('that is not there is said to be missing, and may be removed', async () => {
    await expect(blobs.read('nothing/here')).rejects.toMatchObject({ type: 'NotFound' });
    expect(await blobs.size('nothing/here')).toBeUndefined();
    await blobs.remove('nothing/here');
    await blobs.put('many/1', Buffer.from('x'));
    await blobs.put('many/2', Buffer.from('x'));
    await blobs.removeAll('many');
    expect(await blobs.size('many/1')).toBeUndefined();
  });

  test.each(['', '../out', 'a/../../out', '/absolute', 'a//b', '.writing/x', 'a/.hidden', 'nul\0', 'a b'])(
    'cannot have the key %j',
    async (key) => {
      await expect(blobs.put(key, Buffer.from('x'))).rejects.toMatchObject({ type: 'InvalidInput' });
      await expect(blobs.read(key)).rejects.toMatchObject({ type: 'InvalidInput' });
    },
  );
});
