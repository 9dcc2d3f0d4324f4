import { describe, expect, test } from '@jest/globals';
import { sarifOf } from '../../../src/domain/code-scanning.ts';
import { type CountedFinding, type CountedFindings, countFindings } from '../../../src/domain/counted-findings.ts';
import type { GatedReport } from '../../../src/domain/evidence.ts';
import { type IssueChange, type MarkedIssue, changesOf, readMark } from '../../../src/domain/finding-issues.ts';
import { defaultGate } from '../../../src/domain/gate.ts';
import { type Finding, noCounts } from '../../../src/domain/report.ts';

const at = '2026-11-25T12:00:00Z';
const print = (id: number): string => String(id).padStart(32, '0');
const finding = (id: number, more: Partial<Finding> = {}): Finding => ({
  ...{ rule: `CVE-2026-${id}`, severity: 'critical', message: `bad ${id}`, fingerprint: print(id) },
  component: { name: 'zlib', version: '1.2', fixedIn: ['1.3'] },
  ...more,
});
const counted = (...findings: readonly Finding[]): CountedFindings => ({
  findings: findings.map((one): CountedFinding => {
    return { finding: one, gate: 'container', kind: 'trivy', tool: { name: 'trivy', version: '0.60' } };
  }),
  lookedAt: new Set(['container/trivy']),
});

/** A forge that does what is asked of it. */
function forge(): { readonly issues: MarkedIssue[]; apply: (changes: readonly IssueChange[]) => void } {
  const issues: MarkedIssue[] = [];
  return {
    issues,
    apply: (changes) => {
      for (const change of changes) {
        const { title, body } = change;
        if (change.kind === 'create') issues.push({ number: issues.length + 1, open: true, title, body });
        else issues[change.number - 1] = { number: change.number, title, body, open: change.kind !== 'close' };
      }
    },
  };
}

describe('issues of critical findings', () => {
  test('are one a finding, and nothing is done where nothing has changed', () => {
    const { issues, apply } = forge();
    const found = counted(finding(1), finding(2), finding(1));
    apply(changesOf('shop', found, issues, 10));
    expect(issues.map(({ title }) => title)).toEqual([
      'Critical: CVE-2026-1 in zlib 1.2',
      'Critical: CVE-2026-2 in zlib 1.2',
    ]);
    expect(issues[0]!.body).toContain('trivy 0.60');
    expect(changesOf('shop', found, issues, 10)).toEqual([]);
    // Forges turn line ends.
    const turned = issues.map((issue) => ({ ...issue, body: `${issue.body.replaceAll('\n', '\r\n')}\r\n` }));
    expect(changesOf('shop', found, turned, 10)).toEqual([]);
  });

  test('are written anew where the finding has moved, closed where it is gone, and opened again where it is back', () => {
    const { issues, apply } = forge();
    apply(changesOf('shop', counted(finding(1), finding(2)), issues, 10));
    const moved = finding(1, { message: 'bad, and moved' });
    apply(changesOf('shop', counted(moved), issues, 10));
    expect(issues.map(({ open }) => open)).toEqual([true, false]);
    expect(issues[0]!.body).toContain('bad, and moved');
    expect(readMark(issues[1]!.body)).toMatchObject({ about: print(2), state: 'gone' });
    expect(changesOf('shop', counted(moved), issues, 10)).toEqual([]);
    apply(changesOf('shop', counted(moved, finding(2)), issues, 10));
    expect(issues.map(({ open }) => open)).toEqual([true, true]);
  });

  test('stay where nobody looked: a run that ended early shows nothing', () => {
    const { issues, apply } = forge();
    apply(changesOf('shop', counted(finding(1)), issues, 10));
    expect(changesOf('shop', { findings: [], lookedAt: new Set(['tests/junit']) }, issues, 10)).toEqual([]);
  });

  test('that a person has closed stay closed', () => {
    const { issues, apply } = forge();
    apply(changesOf('shop', counted(finding(1)), issues, 10));
    const byPerson = [{ ...issues[0]!, open: false }];
    expect(changesOf('shop', counted(finding(1)), byPerson, 10)).toEqual([]);
  });

  test('are so many at most; the others stand in one more, which goes when there is room', () => {
    const { issues, apply } = forge();
    const five = [1, 2, 3, 4, 5].map((id) => finding(id));
    apply(changesOf('shop', counted(...five), issues, 2));
    expect(issues.map(({ title }) => title)).toEqual([
      'Critical: CVE-2026-1 in zlib 1.2',
      'Critical: CVE-2026-2 in zlib 1.2',
      '3 more critical findings in shop',
    ]);
    expect(issues[2]!.body.match(/^- /gm)).toHaveLength(3);
    expect(changesOf('shop', counted(...five), issues, 2)).toEqual([]);
    apply(changesOf('shop', counted(...five.slice(2, 4)), issues, 2));
    expect(issues.filter(({ open }) => open).map(({ title }) => title)).toEqual([
      'Critical: CVE-2026-3 in zlib 1.2',
      'Critical: CVE-2026-4 in zlib 1.2',
    ]);
  });

  test('of others are left alone, and one that was made twice is closed', () => {
    const { issues, apply } = forge();
    apply(changesOf('shop', counted(finding(1)), issues, 10));
    const others = [
      { number: 7, open: true, title: 'by a person', body: 'about <!-- slipway:finding shop -->' },
      { number: 8, open: true, title: 'of another project', body: issues[0]!.body.replace('shop', 'blog') },
    ];
    const double = { ...issues[0]!, number: 9 };
    expect(changesOf('shop', counted(finding(1)), [double, ...others, ...issues], 10)).toMatchObject([
      { kind: 'close', number: 9, comment: 'It says the same as #1.' },
    ]);
  });

  test('have nothing of a tool as markup', () => {
    const { issues, apply } = forge();
    const hostile = finding(1, { message: '`@everybody`\n# x <!-- a -->', rule: 'R-1', file: 'a`b.py' });
    apply(changesOf('shop', counted(hostile), issues, 10));
    expect(issues[0]!.body).toContain("`'@everybody' # x <!-- a -->`");
    expect(issues[0]!.body).toContain("- file: `a'b.py`");
  });
});

describe('findings that count', () => {
  const report = (findings: readonly Finding[], more: Partial<GatedReport> = {}): GatedReport =>
    ({
      ...{ state: 'read', kind: 'trivy', gate: 'container', path: 't', lookedAt: 'x', tool: { name: 'trivy' } },
      ...{ findings, counts: { ...noCounts, critical: findings.length } },
      ...more,
    }) as GatedReport;
  const errored: GatedReport = {
    state: 'errored',
    kind: 'trivy',
    gate: 'container',
    path: 'u',
    problem: { reason: '', place: '', remedy: '' },
  };
  const policy = {
    ...defaultGate('container'),
    suppressions: [{ rule: 'CVE-2026-2', reason: 'not reached', expires: '2026-12-31' }],
  };

  test('are those that are not suppressed; those of the last release are still there', () => {
    const { findings, lookedAt } = countFindings([report([finding(1), finding(2)])], [policy], 'critical', at);
    expect(findings.map(({ finding: { rule } }) => rule)).toEqual(['CVE-2026-1']);
    expect([...lookedAt]).toEqual(['container/trivy']);
  });

  test.each([
    ['a report says nothing', [report([]), errored], [policy]],
    ['the gate is off', [report([])], [{ ...policy, mode: 'off' as const }]],
    ['even the gravest were too many', [report([finding(1)], { counts: { ...noCounts, critical: 9 } })], [policy]],
  ])('are not all where %s', (_, reports, policies) => {
    expect([...countFindings(reports, policies, 'critical', at).lookedAt]).toEqual([]);
  });
});

test('code scanning has each tool that looked, its findings with a place, and nothing that lies elsewhere', () => {
  const inCode = (...all: readonly Finding[]) =>
    counted(...all).findings.map((one) => ({ ...one, gate: 'code-security' as const }));
  const findings = inCode(
    finding(1, { file: 'a b.py', line: 7 }),
    finding(2, { file: '/usr/lib/x.py' }),
    finding(3, { severity: 'low', file: 'c.py', message: '' }),
    finding(4),
  );
  const tools = [{ name: 'trivy', version: '0.60' }, { name: 'bandit' }, { name: 'trivy' }];
  const sarif = sarifOf(
    'shop',
    findings,
    tools.map((tool) => ({ ...tool, gate: 'code-security' as const })),
  );
  expect(sarif).toMatchObject({
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'trivy' } },
        automationDetails: { id: 'slipway/shop/trivy/' },
        results: [
          {
            ruleId: 'CVE-2026-1',
            level: 'error',
            locations: [{ physicalLocation: { artifactLocation: { uri: 'a%20b.py' }, region: { startLine: 7 } } }],
            partialFingerprints: { primaryLocationLineHash: `${print(1)}:1` },
          },
          { ruleId: 'CVE-2026-3', level: 'note', message: { text: 'CVE-2026-3' } },
        ],
      },
      { tool: { driver: { name: 'bandit' } }, results: [] },
    ],
  });
});
