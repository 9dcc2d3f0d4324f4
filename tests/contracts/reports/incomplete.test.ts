import { describe, expect, test } from '@jest/globals';
import { defaultGate, gateOfKind } from '../../../src/domain/gate.ts';
import { type GateVerdict, judgeGate } from '../../../src/domain/gate-verdict.ts';
import type { Report, ReportContent, ReportKind } from '../../../src/domain/report.ts';
import { UnreadableReport } from '../../../src/providers/reports/port.ts';
import { attempt } from './suite.ts';

const at = '2026-11-25T12:00:00Z';

/** What a gate that blocks says of one report. */
async function judged(kind: ReportKind, text: string): Promise<GateVerdict> {
  const read: ReportContent | UnreadableReport = await attempt(kind, Buffer.from(text));
  const report: Report =
    read instanceof UnreadableReport
      ? { state: 'errored', kind, path: 'r', problem: { reason: read.message, place: read.place ?? 'r', remedy: '' } }
      : { ...read, state: 'read', kind, path: 'r' };
  const policy = { ...defaultGate(gateOfKind[kind]), mode: 'block' as const, demanded: true };
  return judgeGate({ policy, reports: [report], at })!;
}

const sarif = (run: object): string =>
  JSON.stringify({
    version: '2.1.0',
    runs: [{ tool: { driver: { name: 'T', rules: [{ id: 'R' }] } }, results: [], ...run }],
  });
const flaw = { ruleId: 'R', level: 'error', message: { text: 'bad' } };

describe('SARIF that does not show that anything was looked at is errored', () => {
  test.each<[string, object, RegExp]>([
    ['no results', { results: undefined }, /nothing was scanned/],
    ['results that are null', { results: null }, /nothing was scanned/],
    ['results in another file', { externalPropertyFileReferences: { results: [{}] } }, /keeps its results in another/],
    ['rules in another file', { externalPropertyFileReferences: { driver: {} } }, /keeps its driver in another/],
    ['nothing at all', { tool: { driver: { name: 'T' } } }, /has no result, and neither/],
    [
      'a count of nothing',
      { tool: { driver: { name: 'Snyk', properties: { artifactsScanned: 0 }, rules: [{ id: 'R' }] } } },
      /looked at nothing/,
    ],
    [
      'an error on the way',
      {
        invocations: [
          {
            executionSuccessful: true,
            toolExecutionNotifications: [{ level: 'error', message: { text: 'cannot parse a.py' } }],
          },
        ],
      },
      /an error of the tool: cannot parse a\.py/,
    ],
    [
      'a configuration that is not understood',
      { invocations: [{ executionSuccessful: true, toolConfigurationNotifications: [{ level: 'error' }] }] },
      /an error of the tool/,
    ],
    ['a run that is none', { tool: { driver: {} } }, /`tool\.driver\.name`/],
  ])('%s', async (_, run, reason) => {
    expect(await judged('sarif', sarif(run))).toMatchObject({
      verdict: 'errored',
      blocks: true,
      reason: expect.stringMatching(reason),
    });
  });

  test('also of the second of two runs', async () => {
    const run = { tool: { driver: { name: 'T', rules: [{ id: 'R' }] } }, results: [] };
    const text = JSON.stringify({ version: '2.1.0', runs: [run, { tool: { driver: { name: 'U' } } }] });
    expect(await judged('sarif', text)).toMatchObject({ verdict: 'errored' });
    expect(await judged('sarif', JSON.stringify({ version: '2.1.0', runs: [null, run] }))).toMatchObject({
      verdict: 'errored',
    });
  });

  test.each<[string, object]>([
    ['rules', {}],
    ['a file', { tool: { driver: { name: 'T' } }, artifacts: [{}] }],
    ['an invocation', { tool: { driver: { name: 'T' } }, invocations: [{ executionSuccessful: true }] }],
    ['packages', { tool: { driver: { name: 'T', properties: { artifactsScanned: 3 } } } }],
    ['a warning on the way', { invocations: [{ toolExecutionNotifications: [{ level: 'warning' }, {}] }] }],
    ['what is in order', { tool: { driver: { name: 'T' } }, results: [{ ...flaw, kind: 'pass' }] }],
  ])('a clean one with %s is passed', async (_, run) => {
    expect(await judged('sarif', sarif(run))).toMatchObject({ verdict: 'passed' });
  });
});

describe('SARIF', () => {
  test('a severity is that of the rule of an extension, where the rule is one', async () => {
    const scored = (id: string, score: string) => ({ id, properties: { 'security-severity': score } });
    const tool = {
      extensions: [
        { name: 'a', rules: [scored('x', '1.0')] },
        { name: 'b', rules: [scored('q', '9.8')] },
      ],
      driver: { name: 'CodeQL', rules: [scored('y', '2.0')] },
    };
    const place = { rule: { index: 0, toolComponent: { index: 1 } }, message: { text: 'm' } };
    for (const result of [{ ruleId: 'q', message: { text: 'm' } }, place, { ...place, ruleId: 'q' }]) {
      expect(await judged('sarif', sarif({ tool, results: [result] }))).toMatchObject({
        verdict: 'failed',
        counted: { critical: 1 },
      });
    }
  });

  test('what its tool put aside does not count, and is listed with the reason', async () => {
    const aside = (suppression: object) => ({ ...flaw, suppressions: [{ status: 'accepted', ...suppression }] });
    const results = [
      aside({ kind: 'external', justification: 'a test' }),
      aside({ kind: 'external', justification: 'a test' }),
      aside({ kind: 'inSource' }),
    ];
    expect(await judged('sarif', sarif({ results }))).toMatchObject({
      verdict: 'passed',
      suppressed: 3,
      putAside: [
        { rule: 'R', severity: 'high', reason: 'outside of the source: a test', found: 2 },
        { rule: 'R', severity: 'high', reason: 'in the source, without a reason', found: 1 },
      ],
    });
    for (const status of ['underReview', 'rejected']) {
      const open = { ...flaw, suppressions: [{ kind: 'external' }, { kind: 'external', status }] };
      expect(await judged('sarif', sarif({ results: [open] }))).toMatchObject({ verdict: 'failed', suppressed: 0 });
    }
    // What would not have counted is not worth a line.
    const note = { ...aside({}), level: 'note' };
    expect(await judged('sarif', sarif({ results: [note] }))).not.toHaveProperty('putAside');
  });
});

describe('safety lists what it was told to ignore', () => {
  const one = { vulnerability_id: '1', package_name: 'jinja2', CVE: 'CVE-2026-1', ignored: true };
  const check = (more: object): string =>
    JSON.stringify({ report_meta: { packages_found: 2, vulnerabilities_found: 0 }, vulnerabilities: [], ...more });

  test.each([
    ['a policy', { vulnerabilities: [{ ...one, ignored_reason: 'not reached', ignored_expires: '2026-12-31' }] }],
    [
      '`safety check`',
      { ignored_vulnerabilities: [{ ...one, ignored_reason: 'not reached', ignored_expires: '2026-12-31' }] },
    ],
  ])('by %s', async (_, more) => {
    expect(await judged('safety', check(more))).toMatchObject({
      verdict: 'passed',
      suppressed: 1,
      putAside: [
        {
          rule: 'CVE-2026-1',
          component: { name: 'jinja2' },
          reason: 'ignored until 2026-12-31: not reached',
          found: 1,
        },
      ],
    });
  });

  test('by `safety scan`', async () => {
    const known = [{ id: '7', ignored: { code: 'manual', reason: 'not reached', expires: null } }];
    const dependencies = [
      { name: 'a', specifications: [{ raw: 'a==1', vulnerabilities: { known_vulnerabilities: known } }] },
    ];
    const text = JSON.stringify({
      meta: { scan_type: 'scan' },
      scan_results: { projects: [{ files: [{ results: { dependencies } }] }] },
    });
    expect(await judged('safety', text)).toMatchObject({
      verdict: 'passed',
      putAside: [{ rule: '7', reason: 'ignored: not reached' }],
    });
  });

  test('a database of no time is errored', async () => {
    const meta = { packages_found: 2, vulnerabilities_found: 0, database_timestamp: 'not a date' };
    expect(await judged('safety', check({ report_meta: meta }))).toMatchObject({ verdict: 'errored' });
  });
});

const suite = (attributes: string, inner = '<testcase name="a"/>', name = 's'): string =>
  `<testsuites><testsuite name="${name}" ${attributes}>${inner}</testsuite></testsuites>`;
const cobertura = (totals: string): string =>
  `<coverage ${totals}><packages><package><classes><class filename="a.py"><lines><line number="1" hits="1"/></lines></class></classes></package></packages></coverage>`;
/** A file of two lines, one of them covered. */
const tracefile = (summary: string, listed = 'DA:1,1\nDA:2,0'): string =>
  `SF:a\n${listed}\n${summary}\nend_of_record\n`;
/** A file with lines of which simplecov-lcov counts all and lists none that it was told to skip. */
const skipped = (file: string, summary: string, listed = 'DA:1,1\nDA:2,0'): string =>
  `SF:${file}\n${listed}\n${summary}\nend_of_record\n`;
const coveragePy = (totals: object): string =>
  JSON.stringify({
    meta: { version: '7.17.4' },
    files: { 'a.py': { summary: { covered_lines: 4, num_statements: 4 } } },
    totals,
  });
const checkov = (summary: object): string =>
  JSON.stringify({ results: { failed_checks: [] }, summary: { passed: 1, failed: 0, parsing_errors: 0, ...summary } });
const expectation = { success: true, expectation_config: { type: 'not_null' } };
const validation = (more: object): string =>
  JSON.stringify({ success: true, results: [expectation], statistics: { evaluated_expectations: 1 }, ...more });

describe('a report that contradicts itself is no pass', () => {
  test.each<[string, ReportKind, string, string]>([
    [
      'failures of the document around',
      'junit',
      '<testsuites failures="2"><testsuite><testcase name="a"/></testsuite></testsuites>',
      'failed',
    ],
    ['tests that are not there', 'junit', suite('tests="5"'), 'errored'],
    [
      'tests of the document that are not there',
      'junit',
      '<testsuites tests="5"><testsuite><testcase name="a"/></testsuite></testsuites>',
      'errored',
    ],
    [
      'tests of a suite in a suite',
      'junit',
      suite('tests="2"', '<testsuite tests="2"><testcase name="a"/></testsuite>'),
      'errored',
    ],
    [
      'an error after a test, which pytest counts twice',
      'junit',
      suite('tests="2" errors="1"', '<testcase name="a"><error/></testcase>'),
      'failed',
    ],
    ['lines that are not there', 'cobertura', cobertura('lines-valid="1000" lines-covered="1"'), 'errored'],
    [
      'lines that are not there and covered',
      'cobertura',
      cobertura('lines-valid="1000" lines-covered="1000"'),
      'errored',
    ],
    ['a lesser share at the top', 'cobertura', cobertura('lines-valid="1" lines-covered="0"'), 'failed'],
    ['lines that lcov counts and does not list', 'lcov', tracefile('LF:100', 'DA:1,1'), 'errored'],
    ['lines that are covered and not listed', 'lcov', tracefile('LF:100\nLH:100', 'DA:1,1'), 'errored'],
    ['uncovered lines taken out', 'lcov', tracefile('FNF:1\nFNH:1\nLF:9\nLH:1', 'FN:1,f\nFNDA:1,f\nDA:1,1'), 'errored'],
    [
      'uncovered lines taken out, of Istanbul',
      'lcov',
      tracefile('LF:3\nLH:2\nBRF:0\nBRH:0', 'FN:1,f\nFN:2,g\nFNF:2\nFNH:2\nDA:1,1\nDA:2,1'),
      'errored',
    ],
    ['branches that are not listed', 'lcov', tracefile('BRF:4\nBRH:1', 'DA:1,1\nBRDA:1,0,0,1'), 'errored'],
    ['lines without any of them', 'lcov', tracefile('FNF:1\nFNH:1\nLF:9\nLH:8', ''), 'errored'],
    [
      'uncovered branches that are not listed, of coverage.py',
      'lcov',
      tracefile('LF:2\nLH:2\nFNF:1\nBRF:4\nBRH:1', 'FN:1,2,f\nDA:1,1\nDA:2,1\nBRDA:1,0,0,1'),
      'errored',
    ],
    [
      'covered lines that are not listed, of coverage.py',
      'lcov',
      tracefile('LF:3\nLH:3\nBRF:2\nBRH:2', 'DA:1,1\nDA:2,1\nBRDA:1,0,0,1'),
      'errored',
    ],
    [
      'lines of one that is not of simplecov-lcov beside one that is',
      'lcov',
      skipped('./a.rb', 'LF:4\nLH:1') + skipped('b.rb', 'LF:4\nLH:1'),
      'errored',
    ],
    ['covered lines that are not listed, of simplecov-lcov', 'lcov', skipped('./a.rb', 'LF:4\nLH:3'), 'errored'],
    [
      'branches that are not listed, of simplecov-lcov',
      'lcov',
      skipped('./a.rb', 'LF:2\nLH:1\nBRF:2\nBRH:0'),
      'errored',
    ],
    ['functions beside skipped lines', 'lcov', skipped('./a.rb', 'LF:4\nLH:1', 'FN:1,f\nDA:1,1'), 'errored'],
    ['a count that is no number', 'lcov', tracefile('LF:many', 'DA:1,1'), 'errored'],
    ['a lesser share at the end', 'lcov', tracefile('LF:1\nLH:0', 'DA:1,1'), 'failed'],
    [
      'a lesser share of functions on one line, of llvm-cov',
      'lcov',
      tracefile('FNF:9\nFNH:1\nDA:1,1\nBRF:0\nBRH:0\nLF:9\nLH:1', 'FN:1,f\nFN:1,g'),
      'failed',
    ],
    ['lines that no file has', 'coverage-py', coveragePy({ covered_lines: 1000, num_statements: 1000 }), 'errored'],
    [
      'branches that no file has',
      'coverage-py',
      coveragePy({ covered_lines: 4, num_statements: 4, num_branches: 2, covered_branches: 2 }),
      'errored',
    ],
    ['a lesser share in its totals', 'coverage-py', coveragePy({ covered_lines: 1, num_statements: 4 }), 'failed'],
    ['failed checks that are not listed', 'checkov', checkov({ failed: 2 }), 'errored'],
    ['files that could not be read, in a number', 'checkov', checkov({ parsing_errors: 2 }), 'errored'],
    ['failed checks of a framework', 'checkov', `[${checkov({})},${checkov({ failed: 1 })}]`, 'errored'],
    ['a validation that failed', 'great-expectations', validation({ success: false }), 'failed'],
    [
      'a validation of a checkpoint that failed',
      'great-expectations',
      JSON.stringify({ success: true, validation_results: [JSON.parse(validation({ success: false }))] }),
      'failed',
    ],
    [
      'packages that were not looked up',
      'pip-audit',
      JSON.stringify({
        dependencies: [
          { name: 'a', version: '1', vulns: [] },
          { name: 'b', skip_reason: 'Dependency not found on PyPI and could not be audited: b (1)' },
        ],
      }),
      'failed',
    ],
    [
      'a package a whole version behind',
      'pip-outdated',
      '[{"name":"a","version":"1.9","latest_version":"2.0"}]',
      'failed',
    ],
    [
      'an image whose layers have no time',
      'trivy',
      JSON.stringify({
        SchemaVersion: 2,
        ArtifactName: 'app',
        ArtifactType: 'container_image',
        // A base of no time under a layer of today.
        Metadata: {
          ImageConfig: { config: { User: 'app' }, history: [{ created: '1970-01-01T00:00:00Z' }, { created: at }] },
        },
        Results: [{ Target: 'app' }],
      }),
      'failed',
    ],
  ])('%s: %s', async (_, kind, text, verdict) => {
    expect(await judged(kind, text)).toMatchObject({ verdict, blocks: true });
  });

  test.each<[string, ReportKind, string]>([
    ['the subtests of pytest', 'junit', suite('tests="8"', '<testcase name="a"/>', 'pytest')],
    ['a count of a suite that is less', 'junit', suite('tests="0"')],
    ['suites in a suite', 'junit', suite('tests="1"', '<testsuite tests="1"><testcase name="a"/></testsuite>')],
    ['totals that agree', 'cobertura', cobertura('lines-valid="1" lines-covered="1"')],
    ['counts that agree', 'lcov', tracefile('LF:2\nLH:2', 'DA:1,1\nDA:2,1')],
    ['lines that are listed twice', 'lcov', tracefile('LF:1\nLH:1', 'DA:1,1\nDA:1,1')],
    ['more covered than there are, of an old coverage.py', 'lcov', tracefile('LF:1\nLH:2', 'DA:1,1\nDA:2,1')],
    [
      'functions on one line, of llvm-cov',
      'lcov',
      tracefile('FNF:2\nFNH:2\nDA:1,1\nDA:2,1\nBRF:0\nBRH:0\nLF:3\nLH:3', 'FN:1,f\nFN:2,g'),
    ],
    [
      'ignored lines, of Node',
      'lcov',
      tracefile('LH:10\nLF:10', 'FNF:0\nFNH:0\nBRDA:1,0,0,1\nBRF:1\nBRH:1\nDA:1,1\nDA:2,1'),
    ],
    ['skipped lines, of simplecov-lcov', 'lcov', skipped('./a.rb', 'LF:40\nLH:2', 'DA:1,1\nDA:2,1')],
    [
      'skipped lines, of simplecov-lcov with branches',
      'lcov',
      skipped('./a.rb', 'BRDA:1,0,1,2\nBRDA:1,0,2,4\nBRF:2\nBRH:2', 'DA:1,1\nLF:40\nLH:1'),
    ],
    [
      'branches that never go another way, of coverage.py without functions',
      'lcov',
      tracefile('LF:2\nLH:2\nBRDA:1,0,0,1\nBRF:2\nBRH:2', 'DA:1,1\nDA:2,1'),
    ],
    ['blank lines, of Bun', 'lcov', tracefile('LF:10\nLH:2', 'FNF:1\nFNH:1\nDA:6,45\nDA:7,51')],
    ['totals that agree', 'coverage-py', coveragePy({ covered_lines: 4, num_statements: 4 })],
    ['counts that agree', 'checkov', checkov({ skipped: 3 })],
    [
      'its own package, left out by name',
      'pip-audit',
      JSON.stringify({
        dependencies: [
          { name: 'a', version: '1', vulns: [] },
          { name: 'b', skip_reason: 'distribution marked as editable' },
        ],
      }),
    ],
    ['a package a little behind', 'pip-outdated', '[{"name":"a","version":"1.9","latest_version":"1.10"}]'],
  ])('%s is none', async (_, kind, text) => {
    expect(await judged(kind, text)).toMatchObject({ verdict: 'passed' });
  });

  test('a scanner whose report does not say how old its database is passes with that said', async () => {
    const text = '{"SchemaVersion":2,"ArtifactName":"a","ArtifactType":"filesystem","Results":[{"Target":"a"}]}';
    expect(await judged('trivy', text)).toMatchObject({
      verdict: 'passed',
      reason: expect.stringContaining('its report does not say'),
    });
  });
});

describe('what a tool could not look at is no pass', () => {
  const semgrep = (...errors: readonly object[]): string =>
    JSON.stringify({ version: '1.185.0', results: [], errors, paths: { scanned: ['a.py', 'b.py'] } });
  const warning = { level: 'warn', message: 'it was so', path: 'a.py' };

  test.each([
    'Lexical error',
    'Syntax error',
    'Other syntax error',
    'Timeout',
    'Out of memory',
    'Internal matching error',
    'Too many matches',
    'Stack overflow',
    'Something new',
  ])('a file that semgrep warns of: %s', async (type) => {
    expect(await judged('semgrep', semgrep({ ...warning, type }))).toMatchObject({
      verdict: 'errored',
      reason: expect.stringContaining('did not look at all of a.py: it was so'),
    });
  });

  test('a file that semgrep does not name', async () => {
    expect(await judged('semgrep', semgrep({ level: 'warn', type: 'Timeout' }))).toMatchObject({ verdict: 'errored' });
  });

  test('a part of a file is a finding, which a suppression can put aside', async () => {
    const type = ['PartialParsing', [{ path: 'a.py', start: { line: 3, col: 1 }, end: { line: 3, col: 4 } }]];
    const spans = [{ file: 'a.py', start: { line: 3, col: 1 }, end: { line: 3, col: 4 } }];
    expect(await judged('semgrep', semgrep({ ...warning, type, spans }))).toMatchObject({
      verdict: 'failed',
      findings: [{ rule: 'partly-parsed', severity: 'unknown', file: 'a.py', line: 3, message: 'it was so' }],
    });
  });

  test.each<[string, object]>([
    ['a word of semgrep', { level: 'warn', type: 'SemgrepWarning', message: 'this is old', path: 'rules.yml' }],
    ['a warning that names no file', { level: 'warn', message: 'this is old' }],
    ['a rule of another version', { level: 'info', type: ['IncompatibleRule', { rule_id: 'r' }], path: 'rules.yml' }],
    ['a rule that wants a plugin', { level: 'info', type: 'Missing plugin', path: 'rules.yml' }],
  ])('%s does no harm', async (_, one) => {
    expect(await judged('semgrep', semgrep(one))).toMatchObject({ verdict: 'passed' });
  });

  test('files that checkov could not read have their names, or a number', async () => {
    const named = { results: { failed_checks: [], parsing_errors: ['/a.tf', '/b.tf', '/c.tf', '/d.tf'] } };
    const summary = { passed: 1, failed: 0, parsing_errors: 4 };
    const reason = expect.stringContaining('could not read /a.tf, /b.tf, /c.tf and 1 more');
    expect(await judged('checkov', JSON.stringify({ ...named, summary }))).toMatchObject({ reason });
    expect(await judged('checkov', checkov({ parsing_errors: 2 }))).toMatchObject({
      reason: expect.stringContaining('could not read 2 files'),
    });
  });

  test('what checkov and bandit were told to leave out is said where it is only counted', async () => {
    expect(await judged('checkov', checkov({ skipped: 3 }))).toMatchObject({
      verdict: 'passed',
      suppressed: 3,
      putAside: [{ rule: 'skipped', found: 3 }],
    });
    const metrics = { _totals: { loc: 9, nosec: 5, skipped_tests: 2 }, 'a.py': { loc: 9, nosec: 4, skipped_tests: 2 } };
    expect(await judged('bandit', JSON.stringify({ results: [], errors: [], metrics }))).toMatchObject({
      verdict: 'passed',
      suppressed: 7,
      putAside: [
        { rule: 'nosec', file: 'a.py', found: 4 },
        { rule: 'nosec', file: 'a.py', found: 2 },
        { rule: 'nosec', found: 1 },
      ],
    });
  });
});

describe('pip says which packages it looked up by three lists', () => {
  const one = (name: string, version = '1.0'): object => ({ name, version });
  const behind = (name: string): object => ({ ...one(name), latest_version: '1.1' });
  const lists = (...all: readonly (readonly object[])[]): string => all.map((list) => JSON.stringify(list)).join('\n');

  test.each<[string, string, RegExp]>([
    ['an empty list of those behind', '[]\n', /reaches no index/],
    ['an index that does not answer', lists([one('a'), one('b')], [], []), /none of 2 packages could be looked up/],
    ['an environment without packages', lists([], [], []), /looked at no package/],
    ['a list of all, and nothing else', lists([one('a')]), /not made of three lists/],
    ['a list that was cut off', lists([one('a')], [one('a')]), /not made of three lists/],
    ['one list too many', lists([one('a')], [one('a')], [], []), /not made of three lists/],
    ['lists in another order', lists([behind('a')], [], [one('a')]), /not made of three lists/],
    ['something else in the place of one', `${lists([one('a')], [one('a')])}\n{"a":1}`, /no array/],
  ])('%s is errored', async (_, text, reason) => {
    expect(await judged('pip-outdated', text)).toMatchObject({
      verdict: 'errored',
      blocks: true,
      reason: expect.stringMatching(reason),
    });
  });

  test('all of them looked up is a pass, with their number', async () => {
    expect(await judged('pip-outdated', lists([one('a'), one('b')], [one('a')], [behind('b')]))).toMatchObject({
      verdict: 'passed',
      reports: [{ lookedAt: '2 packages' }],
    });
  });

  test('one that was not looked up is a finding, as it is of pip-audit', async () => {
    expect(await judged('pip-outdated', lists([one('a'), one('own')], [one('a')], []))).toMatchObject({
      verdict: 'failed',
      findings: [{ rule: 'not-looked-up', severity: 'unknown', component: { name: 'own', version: '1.0' } }],
      reports: [{ lookedAt: '1 package, 1 more could not be looked up' }],
    });
  });

  test('a list of those behind alone claims nothing of the others', async () => {
    expect(await judged('pip-outdated', lists([behind('a')]))).toMatchObject({
      verdict: 'passed',
      reports: [{ lookedAt: '1 package is behind; which others pip looked up its report does not say' }],
    });
  });
});
