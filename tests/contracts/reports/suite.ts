import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  type ReportContent,
  type ReportKind,
  countOf,
  longestMessage,
  mostFailures,
  mostFindings,
  severities,
} from '../../../src/domain/report.ts';
import { reportReaders } from '../../../src/providers/reports/index.ts';
import { type ReportReader, UnreadableReport } from '../../../src/providers/reports/port.ts';

export const fixtures = join(import.meta.dirname, 'fixtures');

/** Forms without a mark at their end: cut between two entries they are a whole report of fewer entries, and nobody can tell. */
const endless: Partial<Record<ReportKind, RegExp>> = {
  lcov: /end_of_record\n?$/,
  isort: /\n$/,
};

/** Samples that say themselves that nothing was looked at, and so are errored as they are. */
const errored = new Set(['pip-audit/nothing-looked-up.json', 'pip-outdated/nothing-looked-up.json']);

export function samplesOf(kind: ReportKind): readonly { readonly name: string; readonly bytes: Buffer }[] {
  return readdirSync(join(fixtures, kind))
    .filter((name) => !errored.has(`${kind}/${name}`))
    .map((name) => ({ name: `${kind}/${name}`, bytes: readFileSync(join(fixtures, kind, name)) }));
}

export async function readBytes(kind: ReportKind, bytes: Uint8Array, chunk = bytes.length): Promise<ReportContent> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < bytes.length; start += Math.max(1, chunk)) {
      await Promise.resolve();
      yield bytes.subarray(start, start + Math.max(1, chunk));
    }
  }
  const reader: ReportReader = reportReaders[kind];
  return await reader.read({ bytes: pieces(), path: 'report', roots: ['/checkout'], base: '.' });
}

/** What was read, or why not; anything else that is thrown fails the test. */
export async function attempt(
  kind: ReportKind,
  bytes: Uint8Array,
  chunk?: number,
): Promise<ReportContent | UnreadableReport> {
  try {
    return await readBytes(kind, bytes, chunk);
  } catch (error) {
    if (error instanceof UnreadableReport) return error;
    throw error;
  }
}

/** What must hold of everything that is read, whatever it was. */
export function expectSound(content: ReportContent): void {
  expect(content.tool.name).not.toBe('');
  expect(content.lookedAt).not.toBe('');
  expect(content.findings.length).toBeLessThanOrEqual(mostFindings);
  expect(countOf(content.counts)).toBeGreaterThanOrEqual(content.findings.length);
  for (const severity of severities) expect(Number.isSafeInteger(content.counts[severity])).toBe(true);
  for (const { fingerprint, message, file, line } of content.findings) {
    expect(fingerprint).toMatch(/^[0-9a-f]{32}$/);
    expect(message.length).toBeLessThanOrEqual(longestMessage);
    expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(file ?? '').not.toMatch(/(?:^|\/)\.\.(?:\/|$)/);
    expect(line ?? 1).toBeGreaterThan(0);
  }
  expect(new Set(content.findings.map(({ fingerprint }) => fingerprint)).size).toBe(content.findings.length);
  const { tests, coverage, score } = content;
  if (tests !== undefined) {
    expect(tests.failed + tests.errored + tests.skipped).toBeLessThanOrEqual(tests.total);
    expect(tests.failures.length).toBeLessThanOrEqual(Math.min(mostFailures, tests.failed + tests.errored));
    expect(Number.isFinite(tests.durationMs)).toBe(true);
  }
  for (const share of [coverage?.lines, coverage?.branches]) {
    if (share !== undefined) expect(share.covered).toBeLessThanOrEqual(share.total);
  }
  if (score !== undefined) expect(Number.isFinite(score.value)).toBe(true);
}

/** What every reader must do, run over its samples. */
export function readerSuite(kind: ReportKind): void {
  const samples = samplesOf(kind);

  test.each(samples)('$name is read, however it is cut into pieces', async ({ bytes }) => {
    const content = await readBytes(kind, bytes);
    expectSound(content);
    for (const chunk of [1, 7, 61]) expect(await readBytes(kind, bytes, chunk)).toEqual(content);
  });

  test.each(samples)('$name cut off anywhere is errored', async ({ bytes }) => {
    const text = bytes.toString();
    const step = Math.max(1, Math.floor(bytes.length / 150));
    const cuts = [
      ...new Set([...range(0, bytes.length, step), ...range(Math.max(0, bytes.length - 40), bytes.length, 1)]),
    ];
    const passed: string[] = [];
    for (const cut of cuts) {
      const left = bytes.subarray(0, cut);
      // Only white space is missing.
      if (left.toString().trimEnd() === text.trimEnd()) continue;
      const result = await attempt(kind, left);
      if (!(result instanceof UnreadableReport) && endless[kind]?.test(left.toString()) !== true) {
        passed.push(`byte ${cut}: …${left.toString().slice(-60)}`);
      }
    }
    expect(passed).toEqual([]);
  });

  test('whatever is done to its bytes, it is read soundly or errored', async () => {
    const sample = fc.constantFrom(...samples.map((one) => one.bytes));
    const change = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      remove: fc.integer({ min: 0, max: 30 }),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc
          .constantFrom('<', '>', '"', '{', '}', '[', ']', ',', '&', '-1', '1e999', 'null', '../', '\n', '\u202e')
          .map((text) => Buffer.from(text)),
      ),
    });
    await fc.assert(
      fc.asyncProperty(sample, fc.array(change, { minLength: 1, maxLength: 4 }), async (bytes, changes) => {
        let changed: Uint8Array = bytes;
        for (const { at, remove, insert } of changes) {
          const start = Math.floor(at * changed.length);
          changed = Buffer.concat([changed.subarray(0, start), insert, changed.subarray(start + remove)]);
        }
        const result = await attempt(kind, changed, 97);
        if (!(result instanceof UnreadableReport)) expectSound(result);
      }),
      { numRuns: 150 },
    );
  });

  test('bytes of anything are read soundly or errored', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const result = await attempt(kind, bytes);
        if (!(result instanceof UnreadableReport)) expectSound(result);
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a line break', Buffer.from('\n')],
    ['a NUL byte', Buffer.concat([samples[0]!.bytes, Buffer.from([0])])],
    ['UTF-16', Buffer.from(`\ufeff${samples[0]!.bytes.toString()}`, 'utf16le')],
    ['bytes that are no text', Buffer.concat([Buffer.from([0xc3, 0x28]), samples[0]!.bytes])],
    ['a character cut in two', Buffer.concat([samples[0]!.bytes, Buffer.from([0xe2, 0x82])])],
    ['nesting without end in JSON', Buffer.from('[{"a":'.repeat(200_000))],
    ['nesting without end in XML', Buffer.from('<testsuites>'.repeat(100_000))],
    ['a line without end', Buffer.alloc(2 ** 21, 'x')],
    ['a page of HTML', Buffer.from('<!doctype html><html><body>502 Bad Gateway</body></html>\n')],
    ['the JSON of something else', Buffer.from('{"message": "API rate limit exceeded"}\n')],
  ])('%s is errored', async (_, bytes) => {
    expect(await attempt(kind, bytes)).toBeInstanceOf(UnreadableReport);
  });
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, index) => from + index * step);
}
