import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { createLogFolder, type LogFiles } from '../../../src/effects/log-files.ts';
import { createLogWriter, type LogWriter, type WrittenSegment } from '../../../src/effects/log-writer.ts';
import { createRedactor, mask } from '../../../src/effects/redact.ts';
import { until } from '../../support/until.ts';

let folder: string;
let files: LogFiles;
let segments: WrittenSegment[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-log-'));
  files = createLogFolder(folder);
  segments = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function openWriter(options: Partial<Parameters<typeof createLogWriter>[0]> = {}): LogWriter {
  return createLogWriter({
    log: 'run/shop/7/check/unit tests: ../x/1',
    files,
    onSegment: (segment) => void segments.push(segment),
    ...options,
  });
}

async function readAll(blob: string): Promise<string> {
  return (await files.read(blob, 0, 10_000_000)).toString();
}

test('everything written can be read, in segments without gaps', async () => {
  const writer = openWriter({ maxSegmentBytes: 100 });
  const lines = Array.from({ length: 200 }, (_, n) => `\u001b[32mline ${n}\u001b[0m\n`);
  for (const line of lines) await writer.write(Buffer.from(line));
  const end = await writer.close();
  expect(await readAll(end.blob!)).toBe(lines.join(''));
  expect(end).toMatchObject({ lines: 200, lostBytes: 0, sizeBytes: Buffer.byteLength(lines.join('')) });
  let offset = 0;
  for (const [index, segment] of segments.entries()) {
    expect(segment).toMatchObject({ sequence: index, offsetBytes: offset, blob: end.blob });
    expect(segment.sizeBytes).toBeLessThanOrEqual(100);
    offset += segment.sizeBytes;
  }
  expect(offset).toBe(end.sizeBytes);
});

test('whatever the pieces and the size of a segment, the log is what was written', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 50 }),
      async (parts, maxSegmentBytes) => {
        const writer = openWriter({ maxSegmentBytes });
        for (const part of parts) await writer.write(part);
        const { blob, sizeBytes } = await writer.close();
        const expected = Buffer.concat(parts);
        expect(sizeBytes).toBe(expected.length);
        if (blob !== undefined) expect((await files.read(blob, 0, 10_000)).equals(expected)).toBe(true);
      },
    ),
    { numRuns: 50 },
  );
});

test('what was written can be read soon though the step goes on', async () => {
  const writer = openWriter({ maxSegmentAgeMs: 20 });
  await writer.write(Buffer.from('waiting for the database\n'));
  await until(() => segments.length === 1);
  expect(await readAll(segments[0]!.blob)).toBe('waiting for the database\n');
  await writer.close();
});

test('hides secrets across chunks and segments, and in what Slipway says', async () => {
  const writer = openWriter({ redactor: createRedactor(['s3cr3t-value']), maxSegmentBytes: 8 });
  await writer.write(Buffer.from('token s3cr3'));
  await writer.write(Buffer.from('t-value used'));
  writer.say('tried with s3cr3t-value');
  const { blob } = await writer.close();
  expect(await readAll(blob!)).toBe(`token ${mask} used\ntried with ${mask}\n`);
});

test('says on a line of its own', async () => {
  const writer = openWriter();
  writer.say('pulling the image');
  await writer.write(Buffer.from('half a line'));
  writer.say('stopped');
  expect(await readAll((await writer.close()).blob!)).toBe('pulling the image\nhalf a line\nstopped\n');
});

test('makes the writer wait while the disk is slow, and keeps the order', async () => {
  let release: (() => void) | undefined;
  const slow: LogFiles = {
    ...files,
    append: async (...given) => {
      const copy = Buffer.from(given[2]);
      await new Promise<void>((resolve) => (release = resolve));
      return files.append(given[0], given[1], copy);
    },
  };
  const writer = openWriter({ files: slow, maxSegmentBytes: 10 });
  expect(writer.write(Buffer.from('0123456789'))).toBeUndefined();
  expect(writer.write(Buffer.from('abcdefghij'))).toBeUndefined();
  const waiting = writer.write(Buffer.from('ABCDEFGHIJ'));
  expect(waiting).toBeInstanceOf(Promise);
  const letting = setInterval(() => release?.(), 2);
  await waiting;
  const { blob } = await writer.close();
  clearInterval(letting);
  expect(await readAll(blob!)).toBe('0123456789abcdefghijABCDEFGHIJ');
});

test('a full disk loses the log and not the step, and the log says so', async () => {
  let full = false;
  const losses: unknown[] = [];
  const breaking: LogFiles = {
    ...files,
    append: (...given) => {
      if (!full) return files.append(...given);
      full = false;
      return Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
    },
  };
  const writer = openWriter({ files: breaking, maxSegmentBytes: 10, onLoss: (error) => void losses.push(error) });
  await writer.write(Buffer.from('0123456789'));
  await until(() => segments.length === 1);
  full = true;
  await writer.write(Buffer.from('abcdefghijklm'));
  const end = await writer.close();
  expect(end.lostBytes).toBe(13);
  expect(losses).toHaveLength(1);
  expect(await readAll(end.blob!)).toBe('0123456789\n*** 13 bytes of this log could not be written ***\n');
});

test('tells when lines were written, to the segment', async () => {
  const writer = openWriter({ maxSegmentBytes: 12 });
  await writer.write(Buffer.from('one\ntwo\nthree\nfour\n'));
  const { blob } = await writer.close();
  const times = await files.readTimes(blob!);
  expect(times.map(({ line, offsetBytes }) => [line, offsetBytes])).toEqual([
    [1, 0],
    [3, 12],
  ]);
  expect(Date.parse(times[0]!.at)).toBeGreaterThan(Date.now() - 60_000);
});

test('a name cannot lead out of the folder', async () => {
  const writer = openWriter({ log: 'run/../../etc/passwd' });
  await writer.write(Buffer.from('x'));
  const { blob } = await writer.close();
  expect(blob).toBe('logs/run/%2E%2E/%2E%2E/etc/passwd.log');
  await expect(files.read('logs/../../secret', 0, 10)).rejects.toThrow('not the name of a blob');
});

test('the same attempt begins its log anew', async () => {
  for (const text of ['a longer first try', 'second']) {
    const writer = openWriter();
    await writer.write(Buffer.from(text));
    const { blob } = await writer.close();
    expect(await readAll(blob!)).toBe(text);
  }
});
