import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  type GateName,
  type GateWish,
  defaultGate,
  gateNames,
  gateOfKind,
  madeStricter,
  withWish,
} from '../../../src/domain/gate.ts';
import { type GateVerdict, judgeGate } from '../../../src/domain/gate-verdict.ts';
import {
  type Finding,
  type Report,
  type ReportKind,
  type Severity,
  noCounts,
  reportKinds,
  severities,
} from '../../../src/domain/report.ts';

const at = '2026-11-25T12:00:00Z';

function finding(rule: string, severity: Severity, more: Partial<Finding> = {}): Finding {
  return { rule, severity, message: `${rule} is wrong`, file: 'shop/a.py', fingerprint: `print-${rule}`, ...more };
}

function report(
  kind: ReportKind,
  findings: readonly Finding[] = [],
  more: Partial<Extract<Report, { state: 'read' }>> = {},
): Report {
  const counts = { ...noCounts };
  for (const { severity } of findings) counts[severity] += 1;
  return {
    state: 'read',
    kind,
    path: `${kind}.json`,
    tool: { name: kind, version: '1.2' },
    lookedAt: '3 files',
    findings,
    counts,
    ...more,
  };
}

const lost: Report = {
  state: 'errored',
  kind: 'bandit',
  path: 'bandit.json',
  problem: { reason: 'is empty', place: 'bandit.json', remedy: 'Run it again.' },
};

function judge(
  gate: GateName,
  reports: readonly Report[],
  wish: GateWish = {},
  more: Partial<Parameters<typeof judgeGate>[0]> = {},
): GateVerdict {
  const verdict = judgeGate({ policy: withWish(defaultGate(gate), wish), reports, at, ...more });
  expect(verdict).toBeDefined();
  return verdict!;
}

const coverage = (covered: number): Report =>
  report('cobertura', [], { coverage: { lines: { covered, total: 10_000 }, files: 3 } });
const tests = (figures: Partial<{ total: number; failed: number; errored: number; skipped: number }>): Report =>
  report('junit', [], {
    tests: { total: 10, failed: 0, errored: 0, skipped: 0, durationMs: 5, failures: [], ...figures },
  });

describe('coverage', () => {
  test.each([
    [10_000, 'passed', false],
    [7_000, 'passed', false],
    [6_999, 'failed', false],
    [5_000, 'failed', false],
    [4_999, 'failed', true],
    [0, 'failed', true],
  ] as const)('of %i in 10,000 lines is %s, blocks by itself: %s', (covered, verdict, blocks) => {
    expect(judge('coverage', [coverage(covered)])).toMatchObject({ mode: 'warn', verdict, blocks });
  });

  test('under the minimum stops where the gate blocks', () => {
    expect(judge('coverage', [coverage(7_999)], { mode: 'block', coverage: { min: 0.8 } })).toMatchObject({
      verdict: 'failed',
      blocks: true,
      reason: 'cobertura: 79.99 % of the lines are covered, 80 % are asked for.',
    });
  });

  test('under the critical floor blocks also where the gate is off, which else says nothing', () => {
    expect(judge('coverage', [coverage(4_999)], { mode: 'off' })).toMatchObject({
      mode: 'off',
      verdict: 'failed',
      blocks: true,
      reason: 'cobertura: 49.99 % of the lines are covered, under the critical floor of 50 %.',
    });
    const policy = withWish(defaultGate('coverage'), { mode: 'off' });
    const empty = report('lcov', [], { coverage: { lines: { covered: 0, total: 0 }, files: 0 } });
    for (const reports of [[coverage(5_000)], [empty], []]) {
      expect(judgeGate({ policy, reports, at })).toBeUndefined();
    }
  });

  test('of nothing is errored', () => {
    const empty = report('lcov', [], { coverage: { lines: { covered: 0, total: 0 }, files: 0 } });
    expect(judge('coverage', [empty])).toMatchObject({ verdict: 'errored', blocks: false });
  });
});

describe('tests and scores', () => {
  test.each([
    [tests({}), 'passed'],
    [tests({ skipped: 9 }), 'passed'],
    [tests({ failed: 1 }), 'failed'],
    [tests({ errored: 1 }), 'failed'],
    [tests({ skipped: 10 }), 'errored'],
    [tests({ total: 0 }), 'errored'],
  ] as const)('%#', (one, verdict) => {
    expect(judge('tests', [one])).toMatchObject({ verdict, mode: 'block', blocks: verdict !== 'passed' });
  });

  test.each([
    [7, 'passed'],
    [6.99, 'failed'],
  ] as const)('pylint with %d is %s, whatever its messages are', (value, verdict) => {
    const one = report('pylint', [finding('line-too-long', 'low')], { score: { value, best: 10 } });
    expect(judge('quality', [one]).verdict).toBe(verdict);
  });

  test('pylint without a score is errored', () => {
    expect(judge('quality', [report('pylint')]).verdict).toBe('errored');
  });
});

describe('findings', () => {
  test('only those of high and critical severity count, and those of which it is not known', () => {
    const all = severities.map((severity) => finding(severity, severity));
    const verdict = judge('code-security', [report('bandit', all)]);
    expect(verdict).toMatchObject({ verdict: 'failed', blocks: false });
    expect(verdict.counted).toEqual({ ...noCounts, critical: 1, high: 1, unknown: 1 });
    expect(verdict.reason).toBe('bandit: 3 findings count: 1 critical, 1 high, 1 unknown.');
    expect(verdict.reports).toMatchObject([{ tool: 'bandit 1.2', lookedAt: '3 files', path: 'bandit.json' }]);
  });

  test('those that were not kept count too', () => {
    const one = report('bandit', [finding('B1', 'high')], { counts: { ...noCounts, high: 7 } });
    expect(judge('code-security', [one]).counted.high).toBe(7);
  });

  test('those of the last release do not count where the project says so', () => {
    const reports = [report('bandit', [finding('B1', 'high'), finding('B2', 'high')])];
    const wish: GateWish = { baseline: 'last-release' };
    const baseline = new Set(['print-B1']);
    expect(judge('code-security', reports, wish, { baseline })).toMatchObject({
      verdict: 'failed',
      known: 1,
      counted: { high: 1 },
    });
    expect(judge('code-security', reports, {}, { baseline })).toMatchObject({ known: 0, counted: { high: 2 } });
    expect(judge('code-security', reports, wish)).toMatchObject({ known: 0, counted: { high: 2 } });
    expect(judge('code-security', [report('bandit', [finding('B1', 'high')])], wish, { baseline }).verdict).toBe(
      'passed',
    );
    expect(judge('code-security', reports, wish, { baseline: 'unreadable' }).verdict).toBe('errored');
  });

  test('a suppression holds to the end of its day, and is shown before and after', () => {
    const suppression = { rule: 'B*', file: 'shop/**', reason: 'only in the tool of the shop', expires: '2026-11-25' };
    const reports = [report('bandit', [finding('B1', 'high')])];
    const held = judge('code-security', reports, { suppressions: [suppression] });
    expect(held).toMatchObject({
      verdict: 'passed',
      suppressed: 1,
      suppressions: [{ ...suppression, matched: 1, expired: false }],
    });
    const later = judge('code-security', reports, { suppressions: [suppression] }, { at: '2026-11-26T00:00:00Z' });
    expect(later).toMatchObject({ verdict: 'failed', suppressed: 0, suppressions: [{ matched: 1, expired: true }] });
  });

  test.each([
    [{ rule: 'B2' }],
    [{ rule: 'B1', file: 'other/**' }],
    [{ rule: 'B1', file: 'shop/b.py' }],
    [{ rule: 'B1', component: 'left-pad' }],
    [{ rule: 'B1', expires: 'never' }],
  ])('a suppression of something else does nothing: %j', (other) => {
    const suppression = { reason: 'a reason', expires: '2027-01-01', ...other };
    expect(
      judge('code-security', [report('bandit', [finding('B1', 'high')])], { suppressions: [suppression] }).verdict,
    ).toBe('failed');
  });

  test('ratings of the project hold; those of the repository only where they are higher', () => {
    const reports = [report('bandit', [finding('B1', 'high'), finding('B2', 'low')])];
    const project: GateWish = { ratings: [{ rule: 'B1', severity: 'info', raiseOnly: false }] };
    expect(judge('code-security', reports, project).counted).toEqual(noCounts);
    const policy = madeStricter(defaultGate('code-security'), {
      ratings: [
        { rule: 'B1', severity: 'info', raiseOnly: false },
        { rule: 'B2', severity: 'critical', raiseOnly: false },
      ],
    });
    expect(judgeGate({ policy, reports, at })!.counted).toEqual({ ...noCounts, high: 1, critical: 1 });
  });

  test('a database of a scanner that is out of date makes its silence worth nothing', () => {
    const aged = (databaseAt: string): Report => report('grype', [], { tool: { name: 'grype', databaseAt } });
    expect(judge('container', [aged('2026-11-19T00:00:00Z')]).verdict).toBe('passed');
    expect(judge('container', [aged('2026-11-10T00:00:00Z')])).toMatchObject({ verdict: 'errored' });
  });

  test('an image with an old base fails; one that runs as root is told', () => {
    const image = { name: 'registry/shop/app:12', layers: 3, user: '' };
    const old = report('trivy', [], { image: { ...image, baseCreatedAt: '2026-01-01T00:00:00Z' } });
    expect(judge('container', [old])).toMatchObject({
      verdict: 'failed',
      findings: [{ rule: 'base-image-age', severity: 'high' }],
    });
    expect(judge('container', [report('trivy', [], { image })]).verdict).toBe('passed');
    expect(judge('container', [report('trivy', [], { image })], { least: 'medium' }).findings).toMatchObject([
      { rule: 'runs-as-root' },
    ]);
  });

  test.each([
    ['0:0', true],
    ['root:root', true],
    ['0', true],
    ['00:5', true],
    ['1000:0', false],
    ['rooty', false],
    ['app', false],
  ])('a user %j is root: %s', (user, root) => {
    const image = { name: 'app', layers: 3, user };
    const { findings } = judge('container', [report('trivy', [], { image })], { least: 'medium' });
    expect(findings.map(({ rule }) => rule)).toEqual(root ? ['runs-as-root'] : []);
  });

  test('an image with a secret in its layers fails, and one whose base has no date is not taken for a young one', () => {
    const image = { name: 'app', layers: 3, user: 'app' };
    expect(judge('container', [report('trivy', [], { image: { ...image, exposed: ['NPM_TOKEN'] } })])).toMatchObject({
      verdict: 'failed',
      findings: [{ rule: 'secret-in-image', severity: 'high', message: expect.stringContaining('NPM_TOKEN') }],
    });
    const undated = report('trivy', [], { image: { ...image, baseCreatedAt: null } });
    expect(judge('container', [undated])).toMatchObject({
      verdict: 'failed',
      findings: [{ rule: 'base-image-age-unknown', severity: 'unknown' }],
    });
    const known = { rule: 'base-image-age-unknown', reason: 'distroless has no dates', expires: '2026-12-31' };
    expect(judge('container', [undated], { suppressions: [known] }).verdict).toBe('passed');
  });

  test('a suppression may name a finding by any of its names', () => {
    const named = report('osv-scanner', [finding('GHSA-1', 'high', { aliases: ['CVE-2026-0001'] })]);
    const suppression = { rule: 'CVE-2026-0001', reason: 'is not reached', expires: '2026-12-31' };
    expect(judge('dependencies', [named]).verdict).toBe('failed');
    expect(judge('dependencies', [named], { suppressions: [suppression] })).toMatchObject({
      verdict: 'passed',
      suppressed: 1,
    });
  });

  test('licences: denied, not allowed, unknown', () => {
    const of = (licence: string): Report =>
      report('pip-licenses', [], { packages: [{ name: 'x', version: '1', licence }] });
    const rules = (licence: string, licences: { allow: string[] | null; deny: string[] }): readonly string[] =>
      judge('dependencies', [of(licence)], { licences }).findings.map(({ rule }) => rule);
    const allow = { allow: ['MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause'], deny: [] };
    expect(rules('MIT', allow)).toEqual([]);
    expect(rules('MIT License', allow)).toEqual([]);
    expect(rules('BSD License', allow)).toEqual([]);
    expect(rules('MIT OR GPL-3.0-only', allow)).toEqual([]);
    expect(rules('MIT AND GPL-3.0-only', allow)).toEqual(['licence-not-allowed']);
    expect(rules('MIT License; GNU General Public License v3 (GPLv3)', allow)).toEqual(['licence-not-allowed']);
    expect(rules('UNKNOWN', allow)).toEqual(['licence-unknown']);
    expect(rules('NOASSERTION', allow)).toEqual(['licence-unknown']);
    const deny = { allow: null, deny: ['GPL-3.0-only'] };
    expect(rules('GPL-3.0-or-later', deny)).toEqual(['licence-denied']);
    expect(rules('GPL-3.0-or-later OR MIT', deny)).toEqual([]);
    expect(rules('LGPL-3.0-only', deny)).toEqual([]);
    expect(rules(`(${Array.from({ length: 14 }, () => '(MIT OR ISC)').join(' AND ')})`, deny)).toEqual([
      'licence-unknown',
    ]);
    expect(rules('anything', { allow: null, deny: [] })).toEqual([]);
  });

  test.each([
    { allow: ['MIT'], deny: [] },
    { allow: null, deny: ['GPL-3.0-only'] },
  ])('a policy of licences without a report that names any is errored: %j', (licences) => {
    expect(judge('dependencies', [report('pip-audit')], { licences, mode: 'block' })).toMatchObject({
      verdict: 'errored',
      blocks: true,
    });
    expect(judge('dependencies', [report('pip-audit')], { mode: 'block' }).verdict).toBe('passed');
    for (const kind of ['pip-licenses', 'cyclonedx', 'spdx'] as const) {
      const named = report(kind, [], { packages: [{ name: 'x', version: '1', licence: 'MIT' }] });
      expect(judge('dependencies', [report('pip-audit'), named], { licences }).verdict).toBe('passed');
    }
  });
});

describe('what could not be found out', () => {
  test('an errored report is told as errored where the gate warns, and stops where it blocks', () => {
    const warned = judge('code-security', [lost]);
    expect(warned).toMatchObject({ verdict: 'errored', blocks: false, reason: 'bandit.json is empty. Run it again.' });
    expect(judge('code-security', [lost], { mode: 'block' })).toMatchObject({ verdict: 'errored', blocks: true });
  });

  test('a gate that a document names is errored without a report; one that nobody names is not there', () => {
    expect(judge('container', [], { mode: 'block' })).toMatchObject({ verdict: 'errored', blocks: true });
    expect(judgeGate({ policy: defaultGate('container'), reports: [], at })).toBeUndefined();
    expect(
      judgeGate({ policy: { ...defaultGate('container'), mode: 'off' }, reports: [report('trivy')], at }),
    ).toBeUndefined();
  });

  test('a form of report that is demanded and missing is errored, whatever the others say', () => {
    const verdict = judge('code-security', [report('bandit')], { reports: ['bandit', 'gitleaks'] });
    expect(verdict).toMatchObject({ verdict: 'errored', reason: 'There is no report of the kind gitleaks.' });
  });

  test('failed is worse than errored', () => {
    expect(judge('code-security', [lost, report('semgrep', [finding('S', 'high')])]).verdict).toBe('failed');
  });

  test('every form of report has its gate', () => {
    for (const kind of reportKinds) expect(gateNames).toContain(gateOfKind[kind]);
  });
});

describe('floors', () => {
  const severity = fc.constantFrom(...severities);
  const ratio = fc.double({ min: 0, max: 1, noNaN: true });
  const wish: fc.Arbitrary<GateWish> = fc.record(
    {
      mode: fc.constantFrom('block', 'warn', 'off'),
      least: severity,
      allowed: fc.nat(5),
      coverage: fc.record({ min: ratio, critical: ratio }, { requiredKeys: [] }),
      score: fc.double({ min: 0, max: 10, noNaN: true }),
      reports: fc.array(fc.constantFrom(...reportKinds), { maxLength: 2 }),
      baseline: fc.constantFrom('none', 'last-release'),
      ratings: fc.array(fc.record({ rule: fc.constantFrom('B1', 'B*'), severity, raiseOnly: fc.constant(false) }), {
        maxLength: 2,
      }),
      imageAgeDays: fc.nat(400),
      databaseAgeDays: fc.nat(30),
      licences: fc.record({
        allow: fc.option(fc.subarray(['MIT', 'ISC'])),
        deny: fc.subarray(['ISC', 'GPL-3.0-only']),
      }),
    },
    { requiredKeys: [] },
  );
  const reports = fc.array(
    fc.oneof(
      fc.nat(10_000).map(coverage),
      fc.constantFrom(lost, tests({ failed: 1 }), tests({})),
      fc
        .constantFrom('MIT', 'ISC', 'MIT OR GPL-3.0-only')
        .map((licence) => report('pip-licenses', [], { packages: [{ name: 'x', version: '1', licence }] })),
      fc.array(severity, { maxLength: 3 }).map((all) =>
        report(
          'bandit',
          all.map((one, index) => finding(`B${index}`, one)),
        ),
      ),
    ),
    { maxLength: 3 },
  );
  const rank = { passed: 0, errored: 1, failed: 2 };

  test('nothing that a repository writes lets pass what the project stops', () => {
    fc.assert(
      fc.property(fc.constantFrom(...gateNames), wish, wish, reports, (gate, project, repository, all) => {
        const floor = withWish(defaultGate(gate), project);
        const baseline = new Set(['print-B0']);
        const alone = judgeGate({ policy: floor, reports: all, at, baseline });
        const together = judgeGate({ policy: madeStricter(floor, repository), reports: all, at, baseline });
        if (alone === undefined) return;
        expect(together).toBeDefined();
        expect(rank[together!.verdict]).toBeGreaterThanOrEqual(rank[alone.verdict]);
        expect(Number(together!.blocks)).toBeGreaterThanOrEqual(Number(alone.blocks));
      }),
      { numRuns: 3_000 },
    );
  });
});
