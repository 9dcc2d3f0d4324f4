import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createSpool, type Keyed, type Spool, type SpoolOptions } from '../../../src/effects/spool.ts';
import { until } from '../../support/until.ts';

interface Fact {
  readonly n: number;
  readonly text?: string;
}

let folder: string;
let arrived: Keyed<Fact>[];
let open: Spool<Fact>[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-spool-'));
  arrived = [];
  open = [];
});

afterEach(async () => {
  await Promise.all(open.map((spool) => spool.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function openSpool(options: Partial<SpoolOptions<Fact>> = {}): Promise<Spool<Fact>> {
  const spool = await createSpool<Fact>({
    folder,
    retryMs: [5, 20],
    forward: (facts) => {
      arrived.push(...facts);
      return Promise.resolve([]);
    },
    ...options,
  });
  open.push(spool);
  return spool;
}

const away = (): Promise<never> => Promise.reject(new Error('the store is away'));
const files = (): readonly string[] => readdirSync(folder).filter((name) => name.endsWith('.spool'));

/** As if the process that wrote them had been killed: another one, with a pid that nobody has, was the writer. */
function orphanFiles(content: (bytes: Buffer) => Buffer): void {
  for (const name of files()) {
    const bytes = content(readFileSync(join(folder, name)));
    rmSync(join(folder, name));
    writeFileSync(join(folder, name.replace(/^(\d+)-\d+-\d+-/, '$1-4194305-1-')), bytes);
  }
}

test('facts arrive in their order and leave nothing behind', async () => {
  const spool = await openSpool();
  await Promise.all(Array.from({ length: 500 }, (_, n) => spool.append(`k${n}`, { n })));
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived.map(({ fact }) => fact.n)).toEqual(Array.from({ length: 500 }, (_, n) => n));
  await spool.close();
  expect(files()).toEqual([]);
});

test('a store that is away fails nobody, and gets everything when it is back', async () => {
  let up = false;
  const errors: unknown[] = [];
  const spool = await openSpool({
    onError: (error) => void errors.push(error),
    forward: (facts) => {
      if (!up) return away();
      arrived.push(...facts);
      return Promise.resolve([]);
    },
  });
  await spool.append('a', { n: 1 });
  await until(() => errors.length > 2);
  expect(await spool.flush(50)).toBe(false);
  expect(spool.pendingBytes()).toBeGreaterThan(0);
  up = true;
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived).toEqual([{ key: 'a', fact: { n: 1 } }]);
});

test('what was appended before the end is there after it', async () => {
  const first = await openSpool({ forward: away });
  await first.append('a', { n: 1 });
  await first.append('b', { n: 2 });
  await first.close();
  orphanFiles((bytes) => bytes);
  const second = await openSpool();
  await second.flush(5_000);
  expect(arrived.map(({ key }) => key)).toEqual(['a', 'b']);
});

test('killed at any byte: whole records arrive, the torn one is dropped, and the spool goes on', async () => {
  const first = await openSpool({ forward: away });
  await first.append('a', { n: 1 });
  const afterFirst = statSync(join(folder, files()[0]!)).size;
  await first.append('b', { n: 2, text: 'ü'.repeat(10) });
  await first.close();
  const whole = readFileSync(join(folder, files()[0]!));
  rmSync(join(folder, files()[0]!));
  for (let size = 0; size <= whole.length; size += 1) {
    arrived = [];
    const name = '000000000000001-4194305-1-1.spool';
    writeFileSync(join(folder, name), whole.subarray(0, size));
    const spool = await openSpool();
    await spool.append('c', { n: 3 });
    expect(await spool.flush(5_000)).toBe(true);
    await spool.close();
    const expected = [...(size >= afterFirst ? ['a'] : []), ...(size === whole.length ? ['b'] : []), 'c'];
    expect(arrived.map(({ key }) => key)).toEqual(expected);
  }
});

test('bytes that are not what was written are not taken for a record', async () => {
  const first = await openSpool({ forward: away });
  await first.append('a', { n: 1 });
  await first.append('b', { n: 2 });
  await first.close();
  orphanFiles((bytes) => {
    bytes[bytes.length - 2] = (bytes[bytes.length - 2] ?? 0) ^ 0xff;
    return bytes;
  });
  const second = await openSpool();
  await until(() => arrived.length > 0);
  await second.flush(5_000);
  expect(arrived.map(({ key }) => key)).toEqual(['a']);
});

test('leaves the files of a living process alone', async () => {
  const living = await openSpool({ forward: away });
  await living.append('a', { n: 1 });
  const second = await openSpool();
  await second.append('b', { n: 2 });
  await second.flush(5_000);
  expect(arrived.map(({ key }) => key)).toEqual(['b']);
});

test('full is a clear error, and there is room again once the store took something', async () => {
  let up = false;
  const spool = await openSpool({
    maxBytes: 2_000,
    forward: (facts) => {
      if (!up) return away();
      arrived.push(...facts);
      return Promise.resolve([]);
    },
  });
  const text = 'x'.repeat(500);
  let n = 0;
  const fill = async (): Promise<void> => {
    for (; ; n += 1) await spool.append(`k${n}`, { n, text });
  };
  await expect(fill()).rejects.toMatchObject({ type: 'SpoolFull', retryable: false });
  expect(n).toBe(3);
  up = true;
  await spool.flush(5_000);
  expect(arrived).toHaveLength(3);
});

test('record never throws', async () => {
  const errors: unknown[] = [];
  const spool = await openSpool({ maxBytes: 10, onError: (error) => void errors.push(error) });
  spool.record('a', { n: 1 });
  await until(() => errors.length === 1);
  expect(errors[0]).toMatchObject({ type: 'SpoolFull' });
});

describe('a fact that is refused', () => {
  test('is put aside, and those behind it arrive', async () => {
    const errors: unknown[] = [];
    const spool = await openSpool({
      batchFacts: 1,
      onError: (error) => void errors.push(error),
      forward: (facts) => {
        if (facts[0]?.key === 'bad') return Promise.resolve([{ key: 'bad', reason: 'no such run' }]);
        arrived.push(...facts);
        return Promise.resolve([]);
      },
    });
    await spool.append('bad', { n: 1 });
    await spool.append('good', { n: 2 });
    await spool.flush(5_000);
    expect(arrived.map(({ key }) => key)).toEqual(['good']);
    expect(JSON.parse(readFileSync(join(folder, 'refused.jsonl'), 'utf8'))).toEqual({
      key: 'bad',
      reason: 'no such run',
      fact: { n: 1 },
    });
    expect(errors).toHaveLength(1);
  });
});

test('a fault of the forwarder does not end the forwarding', async () => {
  let calls = 0;
  const spool = await openSpool({
    forward: (facts) => {
      calls += 1;
      if (calls === 1) return Promise.reject(new TypeError('undefined is not a function'));
      arrived.push(...facts);
      return Promise.resolve([]);
    },
  });
  await spool.append('a', { n: 1 });
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived).toHaveLength(1);
});

test('many segments are forwarded in order and removed', async () => {
  let up = false;
  const spool = await openSpool({
    maxSegmentBytes: 400,
    forward: (facts) => {
      if (!up) return away();
      arrived.push(...facts);
      return Promise.resolve([]);
    },
  });
  for (let n = 0; n < 40; n += 1) await spool.append(`k${n}`, { n, text: 'x'.repeat(50) });
  expect(files().length).toBeGreaterThan(5);
  up = true;
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived.map(({ fact }) => fact.n)).toEqual(Array.from({ length: 40 }, (_, n) => n));
  await until(() => files().length <= 1);
});

test('takes over what another process leaves when it dies', async () => {
  const spool = await openSpool({ adoptEveryMs: 10 });
  const other = await openSpool({ forward: away });
  await other.append('left', { n: 1 });
  orphanFiles((bytes) => bytes);
  await until(() => arrived.length > 0);
  expect(arrived.map(({ key }) => key)).toEqual(['left']);
  await spool.append('own', { n: 2 });
  expect(await spool.flush(5_000)).toBe(true);
});

/** As if a process of another container had written them: there it has a pid that nobody has here, or that of somebody else. */
function moveFiles(): string[] {
  return files().map((name) => {
    const moved = name.replace(/^(\d+)-\d+-\d+-(\d+)-[0-9a-f]{8}/, '$1-1-1-$2-00000000');
    renameSync(join(folder, name), join(folder, moved));
    return moved;
  });
}

test('leaves alone what a process of another container touches, and takes it over when that has gone silent', async () => {
  const writer = await openSpool({ forward: away });
  await writer.append('k1', { n: 1 });
  await writer.close();
  const [moved] = moveFiles();
  const spool = await openSpool({ adoptEveryMs: 10 });
  // Each look comes after one at the other's file.
  for (let n = 0; n < 20; n += 1) {
    await spool.append(`own${String(n)}`, { n: 100 });
    expect(await spool.flush(5_000)).toBe(true);
  }
  await until(() => arrived.length >= 20);
  expect(files()).toContain(moved);
  expect(arrived.map(({ key }) => key)).not.toContain('k1');
  utimesSync(join(folder, moved!), new Date(0), new Date(0));
  await until(() => arrived.some(({ key }) => key === 'k1'));
});

test('touches its own files, so that nobody in another container takes it for dead', async () => {
  const spool = await openSpool({ forward: away, adoptEveryMs: 10 });
  await spool.append('k1', { n: 1 });
  const [name] = files();
  utimesSync(join(folder, name!), new Date(0), new Date(0));
  await until(() => Date.now() - statSync(join(folder, name!)).mtimeMs < 60_000);
});

test('loses nothing when it was taken for dead while it was stopped', async () => {
  let there = false;
  const spool = await openSpool({
    forward: (facts) => {
      if (!there) return away();
      arrived.push(...facts);
      return Promise.resolve([]);
    },
  });
  await spool.append('k1', { n: 1 });
  // Taken over and forwarded by another process, and so gone.
  for (const name of files()) rmSync(join(folder, name));
  await spool.append('k2', { n: 2 });
  there = true;
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived.map(({ key }) => key)).toContain('k2');
  await spool.append('k3', { n: 3 });
  expect(await spool.flush(5_000)).toBe(true);
  expect(arrived.map(({ key }) => key)).toContain('k3');
});

test('closes at whatever moment of the forwarding', async () => {
  for (let round = 0; round < 60; round += 1) {
    const spool = await openSpool({ maxSegmentBytes: 1 });
    await spool.append(`a${round}`, { n: round });
    void spool.append(`b${round}`, { n: round });
    for (let turn = 0; turn < round; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await spool.close();
  }
});
