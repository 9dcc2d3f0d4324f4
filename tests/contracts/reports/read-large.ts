/**
 * Reads a made-up report of many megabytes in a process whose heap is smaller than it, so that whatever is held ends the process. Prints what
 * was read. `node --max-old-space-size=48 read-large.ts <kind> <megabytes>`
 */
import type { ReportKind } from '../../../src/domain/report.ts';
import { reportReaders } from '../../../src/providers/reports/index.ts';
import type { ReportReader } from '../../../src/providers/reports/port.ts';

interface Form {
  readonly start: string;
  readonly entry: (index: number) => string;
  readonly end: string;
}

const words = 'what a tool has to say about this place in the code, at some length; '.repeat(3);

const forms: Partial<Record<ReportKind, Form>> = {
  junit: {
    start: '<testsuites><testsuite name="unit">',
    entry: (index) =>
      `<testcase classname="suite" name="test ${index}" time="0.001"><failure message="no">${words}</failure></testcase>\n`,
    end: '</testsuite></testsuites>',
  },
  cobertura: {
    start: '<coverage version="7"><packages><package><classes>',
    entry: (index) =>
      `<class filename="src/${index}.py"><lines>${'<line number="1" hits="1"/>'.repeat(20)}</lines></class>\n`,
    end: '</classes></package></packages></coverage>',
  },
  lcov: { start: '', entry: (index) => `SF:src/${index}.ts\n${'DA:1,1\n'.repeat(40)}end_of_record\n`, end: '' },
  sarif: {
    start: '{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"T","rules":[]}},"results":[',
    entry: (index) =>
      `${index === 0 ? '' : ','}{"ruleId":"r${index}","level":"error","message":{"text":"${words}"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.py"},"region":{"startLine":${index + 1}}}}]}`,
    end: ']}]}',
  },
  flake8: { start: '', entry: (index) => `src/${index}.py:1:1: E501 ${words}\n`, end: 'COUNT\n' },
};

/** One text that goes on and on: a test that printed everything, a source file in a message. */
const endless: Partial<Record<ReportKind, Form>> = {
  junit: { start: '<testsuite><testcase name="a"/><system-out>', entry: () => words, end: '</system-out></testsuite>' },
  sarif: {
    start: '{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"T","rules":[{"id":"r1"}]}},"properties":{"log":"',
    entry: () => words,
    end: '"},"results":[]}]}',
  },
};

const [, , kind, megabytes, long] = process.argv;
const form = (long === 'endless' ? endless : forms)[kind as ReportKind];
if (form === undefined) throw new Error(`no form of ${kind}`);
const { start, entry, end } = form;

async function* bytes(): AsyncGenerator<Buffer> {
  yield Buffer.from(start);
  const wanted = Number(megabytes) * 2 ** 20;
  let index = 0;
  for (let made = 0; made < wanted;) {
    let piece = '';
    while (piece.length < 65_536) piece += entry(index++);
    made += piece.length;
    yield Buffer.from(piece);
    // As a file would: the loop of events turns between two pieces.
    await new Promise((resolve) => setImmediate(resolve));
  }
  yield Buffer.from(end.replace('COUNT', String(index)));
}

const reader: ReportReader = reportReaders[kind as ReportKind];
const began = performance.now();
const content = await reader.read({ bytes: bytes(), path: 'report', roots: [], base: '.' });
const { lookedAt, findings, counts, tests, coverage } = content;
process.stdout.write(
  JSON.stringify({
    ...{ lookedAt, kept: findings.length, counts, tests: tests?.total, failures: tests?.failures.length, coverage },
    seconds: (performance.now() - began) / 1_000,
  }),
);
