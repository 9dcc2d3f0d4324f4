import { describe, expect, test } from '@jest/globals';
import { mostFindings } from '../../../src/domain/report.ts';
import { createFindings, oneLine, severityOf, severityOfScore } from '../../../src/providers/reports/findings.ts';

describe('a set of findings', () => {
  test('keeps the most severe, and counts all', () => {
    const set = createFindings('tool');
    for (let index = 0; index < mostFindings + 500; index += 1) {
      set.add({ rule: 'low', severity: 'low', message: `low ${'x'.repeat(index % 7)}` });
      if (index % 100 === 0) set.add({ rule: 'grave', severity: 'critical', message: 'grave' });
      if (index % 100 === 1) set.add({ rule: 'unrated', severity: 'unknown', message: 'unrated' });
    }
    const { findings, counts } = set.done();
    expect(counts).toMatchObject({ low: mostFindings + 500, critical: 25, unknown: 25 });
    expect(findings).toHaveLength(mostFindings);
    expect(findings.slice(0, 50).map(({ severity }) => severity)).toEqual([
      ...Array.from({ length: 25 }, () => 'critical'),
      ...Array.from({ length: 25 }, () => 'unknown'),
    ]);
    expect(new Set(findings.map(({ fingerprint }) => fingerprint)).size).toBe(mostFindings);
  });

  test('of two tools with one rule are two findings', () => {
    const of = (tool: string) => {
      const set = createFindings(tool);
      set.add({ rule: 'R1', severity: 'low', message: 'm' });
      return set.done().findings[0]?.fingerprint;
    };
    expect(of('a')).not.toBe(of('b'));
    expect(of('a')).toBe(of('a'));
  });

  test('a version of a component is part of what a finding is, its message is not where the tool has an identity', () => {
    const of = (version: string, message: string) => {
      const set = createFindings('t');
      set.add({ rule: 'CVE-1', severity: 'high', message, component: { name: 'x', version }, identity: 'CVE-1' });
      return set.done().findings[0]?.fingerprint;
    };
    expect(of('1', 'a')).toBe(of('1', 'b'));
    expect(of('1', 'a')).not.toBe(of('2', 'a'));
  });
});

test.each([
  ['a\nb\tc', 'a b c'],
  ['\u001b[31mred\u001b[0m', '[31mred [0m'],
  ['left\u202eright', 'left right'],
  ['x'.repeat(20), `${'x'.repeat(9)}…`],
])('%j becomes one safe line', (text, line) => {
  expect(oneLine(text, 10).replace(/…$/, '…')).toBe(line.length > 10 ? `${line.slice(0, 9)}…` : line);
});

test.each([
  [undefined, 'unknown'],
  [-1, 'unknown'],
  [10.1, 'unknown'],
  [NaN, 'unknown'],
  [0, 'info'],
  [0.1, 'low'],
  [3.9, 'low'],
  [4, 'medium'],
  [6.9, 'medium'],
  [7, 'high'],
  [8.9, 'high'],
  [9, 'critical'],
  [10, 'critical'],
] as const)('CVSS %p is %s', (score, severity) => {
  expect(severityOfScore(score)).toBe(severity);
});

test.each([
  ['CRITICAL', 'critical'],
  ['Important', 'high'],
  ['moderate', 'medium'],
  ['Negligible', 'info'],
  ['whatever', 'unknown'],
  ['', 'unknown'],
  [null, 'unknown'],
] as const)('%p is %s', (word, severity) => {
  expect(severityOf(word)).toBe(severity);
});
