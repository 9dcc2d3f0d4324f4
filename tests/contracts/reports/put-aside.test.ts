import { describe, expect, test } from '@jest/globals';
import type { ReportContent, ReportKind } from '../../../src/domain/report.ts';
import { UnreadableReport } from '../../../src/providers/reports/port.ts';
import { attempt } from './suite.ts';

async function read(kind: ReportKind, value: unknown): Promise<ReportContent> {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const content = await attempt(kind, Buffer.from(text));
  if (content instanceof UnreadableReport) throw content;
  return content;
}

const match = (id: string): object => ({
  vulnerability: { id, severity: 'High' },
  artifact: { name: 'openssl', version: '3.0.1', locations: [{ path: '/lib' }] },
});
const grype = { source: { type: 'image', target: { userInput: 'app:1' } }, descriptor: { version: '0.104.0' } };
/** Its report on some files, with the totals of what it counts in them. */
const bandit = (files: Record<string, { readonly nosec: number; readonly skipped_tests: number }>): object => {
  const sum = (of: 'nosec' | 'skipped_tests'): number => Object.values(files).reduce((all, one) => all + one[of], 0);
  const metrics = Object.fromEntries(Object.entries(files).map(([name, counts]) => [name, { loc: 3, ...counts }]));
  const _totals = { loc: 3, nosec: sum('nosec'), skipped_tests: sum('skipped_tests') };
  return { results: [], errors: [], metrics: { _totals, ...metrics } };
};
const trivy = { SchemaVersion: 2, ArtifactName: 'app:1', ArtifactType: 'container_image' };

describe('what a tool was told to leave out is listed, and does not count', () => {
  test.each<[string, ReportKind, unknown, object]>([
    [
      'a comment for checkov',
      'checkov',
      {
        results: {
          failed_checks: [],
          skipped_checks: [
            {
              check_id: 'CKV_AWS_18',
              check_name: 'logging',
              file_path: '/main.tf',
              resource: 'aws_s3_bucket.a',
              check_result: { result: 'SKIPPED', suppress_comment: 'a log of logs' },
            },
          ],
        },
        summary: { passed: 1, failed: 0, parsing_errors: 0 },
      },
      { rule: 'CKV_AWS_18', file: 'main.tf', reason: 'skipped in the source: a log of logs' },
    ],
    [
      'a comment for checkov that `--quiet` leaves out',
      'checkov',
      { results: { failed_checks: [] }, summary: { passed: 1, failed: 0, skipped: 1, parsing_errors: 0 } },
      { rule: 'skipped', severity: 'unknown', reason: expect.stringContaining('does not say what and why') },
    ],
    [
      '`# nosec` for bandit',
      'bandit',
      bandit({ 'src/a.py': { nosec: 1, skipped_tests: 0 } }),
      { rule: 'nosec', severity: 'unknown', file: 'src/a.py', reason: '`# nosec` in the source, whatever the rule' },
    ],
    [
      '`# nosec B602` for bandit',
      'bandit',
      bandit({ 'src/a.py': { nosec: 0, skipped_tests: 1 } }),
      { rule: 'nosec', file: 'src/a.py', reason: '`# nosec` in the source, for the rules that it names' },
    ],
    [
      '`# nosec` for bandit that only the totals count',
      'bandit',
      { results: [], errors: [], metrics: { _totals: { loc: 3, nosec: 1 }, 'a.py': { loc: 3 } } },
      { rule: 'nosec', reason: '`# nosec` in the source, whatever the rule' },
    ],
    [
      "a rule of grype's",
      'grype',
      {
        ...grype,
        matches: [],
        ignoredMatches: [
          { ...match('CVE-1'), appliedIgnoreRules: [{ vulnerability: 'CVE-1', reason: 'not reached' }] },
        ],
      },
      { rule: 'CVE-1', severity: 'high', reason: "ignored by grype's rules: not reached" },
    ],
    [
      'a comment for ESLint',
      'eslint',
      [
        {
          filePath: '/checkout/a.js',
          messages: [],
          suppressedMessages: [
            {
              ruleId: 'no-eval',
              severity: 2,
              message: 'eval can be harmful',
              line: 3,
              suppressions: [{ kind: 'directive', justification: 'of our own text' }],
            },
          ],
        },
      ],
      { rule: 'no-eval', file: 'a.js', reason: 'in the source: of our own text' },
    ],
    [
      'a file for dependency-check',
      'dependency-check',
      {
        reportSchema: '1.1',
        scanInfo: {},
        dependencies: [
          { fileName: 'a.jar', suppressedVulnerabilities: [{ name: 'CVE-2', severity: 'LOW', notes: 'false alarm' }] },
        ],
      },
      { rule: 'CVE-2', severity: 'low', reason: 'by a suppression file: false alarm' },
    ],
    [
      'a VEX document for trivy',
      'trivy',
      {
        ...trivy,
        Results: [
          {
            Target: 'app:1',
            ExperimentalModifiedFindings: [
              {
                Type: 'vulnerability',
                Status: 'not_affected',
                Statement: 'code is not there',
                Source: 'vex.json',
                Finding: { VulnerabilityID: 'CVE-3', PkgName: 'zlib', Severity: 'CRITICAL' },
              },
            ],
          },
        ],
      },
      { rule: 'CVE-3', severity: 'critical', reason: 'not_affected by vex.json: code is not there' },
    ],
  ])('%s', async (_, kind, value, aside) => {
    const { findings, putAside } = await read(kind, value);
    expect(findings).toEqual([]);
    expect(putAside).toEqual([expect.objectContaining({ ...aside, found: 1 })]);
  });
});

describe('what a report says between its lines', () => {
  test('a system that nobody maintains is found by trivy: it has no advisories', async () => {
    const OS = { Family: 'debian', Name: '8.11', EOSL: true };
    const { findings } = await read('trivy', {
      ...trivy,
      Metadata: { OS },
      Results: [{ Target: 'app:1 (debian 8.11)' }],
    });
    expect(findings).toEqual([expect.objectContaining({ rule: 'end-of-life', severity: 'high' })]);
    const maintained = { ...trivy, Metadata: { OS: { ...OS, EOSL: false } }, Results: [{ Target: 'app:1' }] };
    expect((await read('trivy', maintained)).findings).toEqual([]);
  });

  test('licences of trivy are judged as those of a bill of materials are', async () => {
    const licences = [
      { PkgName: 'bash', Name: 'GPL-3.0', Severity: 'HIGH' },
      { PkgName: 'bash', Name: 'MIT', Severity: 'LOW' },
      { FilePath: 'vendor/LICENSE', Name: '', Severity: 'UNKNOWN' },
    ];
    const { packages } = await read('trivy', { ...trivy, Results: [{ Target: 'OS Packages', Licenses: licences }] });
    expect(packages).toEqual([
      { name: 'bash', version: '', licence: 'GPL-3.0; MIT' },
      { name: 'vendor/LICENSE', version: '', licence: 'UNKNOWN' },
    ]);
  });

  test.each<[string, ReportKind, unknown, RegExp]>([
    ['a gate without conditions', 'sonarqube', { projectStatus: { status: 'OK', conditions: [] } }, /has no condition/],
    ['an image of which nothing is known', 'grype', { ...grype, matches: [] }, /no match and no distribution/],
  ])('%s is no pass', async (_, kind, value, reason) => {
    await expect(read(kind, value)).rejects.toThrow(reason);
  });

  test('an image with a distribution and no match is clean for grype', async () => {
    const { lookedAt, findings } = await read('grype', { ...grype, matches: [], distro: { name: 'debian' } });
    expect({ lookedAt, findings }).toEqual({ lookedAt: 'app:1 (debian)', findings: [] });
  });

  test('a result that is no longer there is none', async () => {
    const result = (baselineState: string): object => ({
      ruleId: 'R',
      level: 'error',
      message: { text: 'x' },
      baselineState,
    });
    const runs = [{ tool: { driver: { name: 'T' } }, results: [result('absent'), result('unchanged'), result('new')] }];
    expect((await read('sarif', { version: '2.1.0', runs })).findings).toHaveLength(2);
  });

  test('a test of GoogleTest that was not run is skipped', async () => {
    const xml = `<testsuites><testsuite name="S" tests="2">
      <testcase name="a" status="run" time="0.1"/><testcase name="b" status="notrun" time="0"/></testsuite></testsuites>`;
    expect((await read('junit', xml)).tests).toMatchObject({ total: 2, skipped: 1, failed: 0 });
  });

  test('a clock that was set back makes no report unreadable', async () => {
    const xml =
      '<testsuite name="S" tests="2"><testcase name="a" time="-0.001"/><testcase name="b" time="0.5"/></testsuite>';
    expect((await read('junit', xml)).tests).toMatchObject({ total: 2, durationMs: 500 });
  });

  test('Latin-1 is read where the document names it', async () => {
    const xml =
      '<?xml version="1.0" encoding="ISO-8859-1"?><testsuite name="S"><testcase name="für"><failure/></testcase></testsuite>';
    const content = await attempt('junit', Buffer.from(xml, 'latin1'), 7);
    expect(content).toMatchObject({ tests: { failed: 1, failures: [{ name: 'für' }] } });
    expect(await attempt('junit', Buffer.from(xml.replace('ISO-8859-1', 'UTF-8'), 'latin1'))).toBeInstanceOf(
      UnreadableReport,
    );
  });
});

describe('a package against which very much is known', () => {
  const versions = Array.from({ length: 260 }, (_, index) => `4.${index}.0`);
  const details = 'd'.repeat(9_000);

  test('is read by osv-scanner', async () => {
    const vulnerabilities = Array.from({ length: 400 }, (_, index) => ({
      id: `PYSEC-${index}`,
      aliases: [`CVE-2026-${index}`],
      details,
      affected: [
        {
          package: { name: 'django' },
          versions,
          ranges: [{ events: [{ introduced: '0' }, { fixed: `4.${index}.1` }] }],
        },
      ],
      database_specific: { severity: 'HIGH' },
    }));
    const packages = [{ package: { name: 'django', version: '4.0' }, vulnerabilities }];
    const report = { results: [{ source: { path: '/checkout/requirements.txt' }, packages }] };
    const { findings, counts } = await read('osv-scanner', report);
    expect(counts.high).toBe(400);
    expect(findings[7]).toMatchObject({ rule: 'CVE-2026-7', component: { name: 'django', fixedIn: ['4.7.1'] } });
    // Whatever the order of its members.
    const [one] = packages;
    const turned = {
      results: [
        { packages: [{ vulnerabilities: one?.vulnerabilities, package: one?.package }], source: { path: 'r' } },
      ],
    };
    expect((await read('osv-scanner', turned)).counts.high).toBe(400);
  });

  test('is read by dependency-check', async () => {
    const many = Array.from({ length: 120 }, (_, index) => ({
      name: `CVE-2026-${index}`,
      severity: 'HIGH',
      description: details,
      references: Array.from({ length: 60 }, () => ({ source: 'MISC', url: 'https://example.org/a', name: 'a' })),
      vulnerableSoftware: versions.map((id) => ({ software: { id: `cpe:2.3:a:x:y:${id}`, versionEndExcluding: id } })),
    }));
    const report = {
      reportSchema: '1.1',
      scanInfo: {},
      dependencies: [
        {
          fileName: 'b.jar',
          packages: [{ id: 'pkg:maven/a/b@2.9' }, { id: 'pkg:maven/c/d@1' }],
          vulnerabilities: many,
        },
        { fileName: 'c.jar', vulnerabilities: [{ name: 'CVE-9', severity: 'LOW' }] },
      ],
    };
    const { counts, findings } = await read('dependency-check', report);
    expect(counts).toMatchObject({ high: 120, low: 1 });
    expect(findings[0]?.component).toMatchObject({ name: 'a/b', version: '2.9' });
    expect(findings.at(-1)?.component?.name).toBe('c.jar');
  });

  test('one entry that has no end is still refused', async () => {
    const affected = [
      { package: { name: 'p' }, ranges: [{ events: Array.from({ length: 30_000 }, () => ({ fixed: '1' })) }] },
    ];
    const packages = [{ package: { name: 'p' }, vulnerabilities: [{ id: 'A', affected }] }];
    await expect(read('osv-scanner', { results: [{ source: { path: 'r' }, packages }] })).rejects.toThrow(/too large/);
  });
});
