import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { type ReportContent, type ReportKind, severities } from '../../../src/domain/report.ts';
import { attempt, fixtures, readBytes } from './suite.ts';

/** What a person reads out of each sample: tool, what was looked at, findings as `severity rule place`, and figures. */
function told({ tool, lookedAt, findings, tests, coverage, score, image, packages }: ReportContent): readonly string[] {
  return [
    `${tool.name}${tool.version === undefined ? '' : ` ${tool.version}`}${tool.databaseAt === undefined ? '' : `, ${tool.databaseAt}`}: ${lookedAt}`,
    ...findings.map(({ severity, rule, file, line, component }) =>
      [
        severity,
        rule,
        ...(file === undefined ? [] : [line === undefined ? file : `${file}:${line}`]),
        ...(component === undefined
          ? []
          : [`${component.name} ${component.version ?? '?'} → ${(component.fixedIn ?? []).join(' ')}`]),
      ].join(' '),
    ),
    ...(tests === undefined
      ? []
      : [`${tests.total} tests, ${tests.failed} failed, ${tests.errored} errored, ${tests.skipped} skipped`]),
    ...(coverage === undefined
      ? []
      : [
          `${coverage.lines.covered} of ${coverage.lines.total} lines, ${coverage.branches?.covered ?? 0} of ${coverage.branches?.total ?? 0} branches`,
        ]),
    ...(score === undefined ? [] : [`${score.value.toFixed(2)} of ${score.best}`]),
    ...(image === undefined
      ? []
      : [
          `${image.name}: ${image.layers} layers, by ${image.user === '' ? 'root' : String(image.user)}, base of ${image.baseCreatedAt ?? '?'}`,
        ]),
    ...(packages === undefined
      ? []
      : [
          packages
            .slice(0, 3)
            .map(({ name, licence }) => `${name} ${licence}`)
            .join(', '),
        ]),
  ];
}

const samples: readonly (readonly [kind: ReportKind, name: string, told: readonly string[]])[] = [
  ['junit', 'pytest.xml', ['pytest: 4 tests in 1 suite', '4 tests, 2 failed, 0 errored, 1 skipped']],
  ['cobertura', 'coverage.xml', ['Cobertura 7.17.4: 14 lines in 3 files', '10 of 14 lines, 1 of 2 branches']],
  ['coverage-py', 'coverage.json', ['coverage.py 7.17.4: 14 lines in 3 files', '10 of 14 lines, 1 of 2 branches']],
  ['lcov', 'lcov.info', ['lcov: 14 lines in 3 files', '10 of 14 lines, 1 of 2 branches']],
  ['lcov', 'no-branch.info', ['lcov: 15 lines in 2 files', '14 of 15 lines, 5 of 6 branches']],
  ['lcov', 'simplecov.info', ['lcov: 7 lines in 2 files', '6 of 7 lines, 3 of 4 branches']],
  [
    'flake8',
    'flake8.txt',
    [
      'flake8: 1 file with findings',
      'high F821 shop/prices.py:19',
      'medium F401 shop/prices.py:2',
      'medium F401 shop/prices.py:3',
      'low E251 shop/prices.py:8',
      'low E251 shop/prices.py:8',
    ],
  ],
  ['black', 'black.txt', ['black: 3 files', 'low format shop/prices.py:8']],
  ['isort', 'isort.txt', ['isort 9.0.2: 3 files', 'low imports shop/prices.py:1']],
  [
    'mypy',
    'mypy.txt',
    ['mypy: 3 files', 'medium return-value shop/prices.py:18', 'medium name-defined shop/prices.py:19'],
  ],
  ['eslint', 'eslint.json', ['ESLint: 3 files', 'medium no-undef a.js:2', 'low eqeqeq a.js:2']],
  [
    'bandit',
    'bandit.json',
    ['bandit 1.9.4: 3 files', 'high B602 shop/prices.py:13', 'low B404 shop/prices.py:1', 'low B105 shop/prices.py:5'],
  ],
  [
    'semgrep',
    'semgrep.json',
    ['semgrep 1.185.0: 3 files', 'high shell-true shop/prices.py:13', 'info bare-import shop/prices.py:2'],
  ],
  [
    'gitleaks',
    'gitleaks.json',
    ['gitleaks: what it was given; its report does not say what', 'critical aws-access-token shop/keys.py:1'],
  ],
  [
    'sarif',
    'codeql.sarif',
    [
      'CodeQL 2.19.3: 2 files, 1 run of it, 3 results',
      'high py/sql-injection shop/db.py:31',
      'low py/unused-import shop/prices.py:2',
    ],
  ],
  [
    'safety',
    'check.json',
    ['safety 3.2.14: 2 packages', 'high CVE-2024-56326 jinja2 2.4.1 → 3.1.5', 'unknown 25866 jinja2 2.4.1 → 2.7.2'],
  ],
  ['sarif', 'clean.sarif', ['SnykCode 1.1300.0: 8 files or packages by its own count, 1 run of it, 0 results']],
  ['safety', 'scan.json', ['safety: 2 packages', 'unknown 70612 jinja2 2.4.1 → ']],
  [
    'pip-audit',
    'pip-audit.json',
    [
      'pip-audit: 2 packages, 1 more could not be looked up',
      'unknown CVE-2019-1010083 flask 0.5 → 1.0',
      'unknown CVE-2018-1000656 flask 0.5 → 0.12.3',
      'unknown not-looked-up private-package ? → ',
    ],
  ],
  [
    'pip-outdated',
    'outdated.json',
    [
      'pip: 5 packages are behind; which others pip looked up its report does not say',
      'high outdated filelock 3.32.7 → 4.3.1',
      'high outdated pip 23.2.1 → 26.3',
      'high outdated setuptools 65.5.0 → 84.2.1',
      'low outdated typer 0.25.1 → 0.29.2',
      'info outdated safety-schemas 0.0.16 → 0.0.21',
    ],
  ],
  ['pip-outdated', 'three-lists.json', ['pip: 2 packages', 'info outdated Jinja2 3.1.5 → 3.1.6']],
  [
    'osv-scanner',
    'osv.json',
    ['osv-scanner: 1 package of 1 file', 'critical CVE-2026-0001 requirements.txt jinja2 2.4.1 → 2.4.2'],
  ],
  [
    'dependency-check',
    'report.json',
    [
      'dependency-check 11.1.0, 2026-11-20T06:00:00.000Z: 2 dependencies',
      'critical CVE-2021-44228 org.apache.logging.log4j/log4j-core 2.14.1 → ',
      'medium CVE-2021-44832 org.apache.logging.log4j/log4j-core 2.14.1 → ',
    ],
  ],
  [
    'trivy',
    'image.json',
    [
      'trivy 0.67.2: registry.example:5000/shop/app:12-abcdef: 3 targets',
      'critical CVE-2024-3094 registry.example:5000/shop/app:12-abcdef (debian 12.8) liblzma5 5.6.0-1 → 5.6.1+really5.4.5-1',
      'critical aws-access-key-id /app/.env:1',
      'low CVE-2011-3374 registry.example:5000/shop/app:12-abcdef (debian 12.8) apt 2.6.1 → ',
      'registry.example:5000/shop/app:12-abcdef: 2 layers, by node, base of 2026-09-01T00:00:00.000Z',
    ],
  ],
  [
    'grype',
    'grype.json',
    [
      'grype 0.104.0, 2026-11-20T06:10:00.000Z: registry.example:5000/shop/app:12-abcdef (debian)',
      'critical CVE-2024-3094 /var/lib/dpkg/status liblzma5 5.6.0-1 → 5.6.1+really5.4.5-1',
      'info CVE-2011-3374 apt 2.6.1 → ',
    ],
  ],
  ['grype', 'clean.json', ['grype 0.80.0, 2026-11-20T06:10:00.000Z: /checkout']],
  ['clair', 'clair.json', ['Clair: 2 packages of sha256:0f1e', 'high CVE-2023-4911 libc6 2.36-9 → 2.36-9+deb12u3']],
  ['cyclonedx', 'npm.json', ['npm/cli 11.19.1: 2 packages', 'argparse Python-2.0, ms MIT']],
  ['spdx', 'npm.json', ['npm/cli-11.19.1: 2 packages', 'argparse Python-2.0, ms MIT']],
  ['sonarqube', 'failed.json', ['SonarQube: 3 conditions', 'high new_coverage', 'high new_blocker_violations']],
  [
    'great-expectations',
    'validation.json',
    ['Great Expectations 1.24.1: 3 expectations in 1 validation', '3 tests, 1 failed, 1 errored, 0 skipped'],
  ],
  [
    'great-expectations',
    'described.json',
    ['Great Expectations: 3 expectations in 1 validation', '3 tests, 2 failed, 0 errored, 0 skipped'],
  ],
  [
    'great-expectations',
    'checkpoint.json',
    ['Great Expectations 0.18.19: 1 expectation in 1 validation', '1 tests, 0 failed, 0 errored, 0 skipped'],
  ],
];

test.each(samples)('%s: %s', async (kind, name, expected) => {
  expect(told(await readBytes(kind, readFileSync(join(fixtures, kind, name))))).toEqual(expected);
});

test('pylint has the same findings in each form, and its score in two', async () => {
  const read = async (name: string) => await readBytes('pylint', readFileSync(join(fixtures, 'pylint', name)));
  const [plain, json, json2] = [await read('pylint.txt'), await read('pylint.json'), await read('pylint2.json')];
  expect(told(json2)).toEqual([
    'pylint: 5 modules',
    'high undefined-variable shop/prices.py:19',
    'medium unused-import shop/prices.py:2',
    'medium unused-import shop/prices.py:3',
    'low missing-module-docstring shop/prices.py:1',
    'low missing-function-docstring shop/prices.py:8',
    'low missing-function-docstring shop/prices.py:12',
    'low missing-function-docstring shop/prices.py:16',
    '2.14 of 10',
  ]);
  expect(plain.findings).toEqual(json2.findings);
  expect(json.findings).toEqual(json2.findings);
  expect([plain.score?.value, json.score]).toEqual([2.14, undefined]);
});

test.each<[ReportKind, string]>([
  ['pip-audit', 'none of 3 packages could be looked up'],
  ['pip-outdated', 'none of 2 packages could be looked up'],
])('%s ends well with nothing looked up, and is errored', async (kind, why) => {
  const bytes = readFileSync(join(fixtures, kind, 'nothing-looked-up.json'));
  expect(await attempt(kind, bytes)).toMatchObject({ message: expect.stringContaining(why) });
});

test('no sample says a password that a tool has found', async () => {
  const { findings } = await readBytes('bandit', readFileSync(join(fixtures, 'bandit', 'bandit.json')));
  expect(JSON.stringify(findings)).not.toContain('hunter2');
  expect(severities).toContain(findings[0]?.severity);
});
