import { describe, expect, test } from '@jest/globals';
import { type BuildReportInput, buildReport } from '../../../src/domain/build-report.ts';
import { renderBuildReportPage } from '../../../src/domain/build-report-page.ts';
import { renderBuildReport } from '../../../src/domain/build-report-text.ts';
import type { GatedReport } from '../../../src/domain/evidence.ts';
import { defaultGate } from '../../../src/domain/gate.ts';
import { judgeGate } from '../../../src/domain/gate-verdict.ts';
import { erroredScan } from '../../../src/domain/image-scan.ts';
import type { ImageEvidence } from '../../../src/domain/run.ts';
import { noCounts } from '../../../src/domain/report.ts';

const base = {
  state: 'read',
  tool: { name: 'tool', version: '1' },
  lookedAt: 'all of it',
  findings: [],
  counts: noCounts,
} as const;
const hostile =
  '<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![x](http://evil/x) `code` _emphasis_ @everyone #1\n## heading | cell';

const reports: readonly (GatedReport & { stage: string })[] = [
  {
    ...base,
    kind: 'junit',
    gate: 'tests',
    path: 'junit.xml',
    stage: 'test',
    tests: {
      total: 10,
      failed: 1,
      errored: 0,
      skipped: 2,
      durationMs: 1_500,
      failures: [{ name: hostile, kind: 'failed', message: hostile }],
    },
  },
  {
    ...base,
    kind: 'cobertura',
    gate: 'coverage',
    path: 'a.xml',
    stage: 'test',
    coverage: { lines: { covered: 80, total: 100 }, files: 2 },
  },
  {
    ...base,
    kind: 'lcov',
    gate: 'coverage',
    path: 'b.info',
    stage: 'test',
    coverage: { lines: { covered: 75, total: 100 }, files: 2 },
  },
  {
    ...base,
    kind: 'bandit',
    gate: 'code-security',
    path: 'bandit.json',
    stage: 'security',
    counts: { ...noCounts, high: 1 },
    findings: [{ rule: 'B602', severity: 'high', message: hostile, file: 'a|b.py', line: 3, fingerprint: 'f' }],
  },
  {
    state: 'errored',
    kind: 'safety',
    gate: 'dependencies',
    path: 'safety.json',
    stage: 'security',
    problem: { reason: 'is empty', place: 'safety.json', remedy: 'Run it again.' },
  },
];

const gate = judgeGate({
  policy: {
    ...defaultGate('code-security'),
    suppressions: [{ rule: 'B1*', reason: 'not in use', expires: '2026-01-01' }],
  },
  reports: reports.filter((one) => one.gate === 'code-security'),
  at: '2026-11-25T00:00:00Z',
})!;

const input: BuildReportInput = {
  run: {
    project: 'shop',
    run: 12,
    version: '12-abcdef',
    ref: 'refs/heads/main',
    commit: 'a'.repeat(40),
    author: 'ada',
    outcome: 'succeeded',
    reason: hostile,
    acceptedAt: '2026-11-25T00:00:00Z',
    startedAt: '2026-11-25T00:00:10Z',
    settledAt: null,
    images: [
      {
        name: 'app',
        repository: 'registry:5000/shop/app',
        digest: 'sha256:1',
        tags: [],
        sizeBytes: 12_000_000,
        reused: true,
        durationMs: 5,
      },
    ],
    packages: [
      {
        ...{
          package: 'wheel',
          file: 'shop-1.0-py3-none-any.whl',
          kind: 'python',
          index: 'internal',
          name: 'shop',
          version: '1.0',
        },
        ...{ sha256: 'f'.repeat(64), sizeBytes: 9, address: 'https://pypi.example/simple/shop/', alreadyThere: true },
        at: '2026-11-25T00:00:00Z',
      },
    ],
    documentation: [
      { stage: 'docs', name: 'api', address: '/v1/projects/shop/runs/12/documentation/docs/api/index.html' },
    ],
    evidence: [
      { image: 'app', file: 'scan.json', sizeBytes: 9, address: '/v1/projects/shop/runs/12/evidence/app/scan.json' },
    ],
  },
  stages: [
    { name: 'quality', verdict: 'passed', durationMs: 8 * 60_000 },
    { name: 'own', verdict: 'passed', durationMs: 1_000 },
  ],
  planned: [{ name: 'quality' }, { name: 'own' }],
  reports,
  gates: [
    { ...gate, stage: 'security', putAside: [{ rule: 'B9', severity: 'high', reason: 'in the source', found: 2 }] },
  ],
  pages: [{ path: 'htmlcov', prefix: 'p', entry: 'index.html', files: 2, sizeBytes: 3, stage: 'test', position: 0 }],
  coverageBefore: 0.8,
  earlier: { ref: 'refs/heads/main', runs: [] },
};

describe('the report of a run', () => {
  test('has everything as data', () => {
    const report = buildReport(input);
    expect(report.tests).toMatchObject({ total: 10, failed: 1, skipped: 2 });
    expect(report.coverage).toEqual({ lines: 0.75, before: 0.8 });
    expect(report.errored).toEqual([
      { stage: 'security', path: 'safety.json', reason: 'is empty', remedy: 'Run it again.' },
    ]);
    expect(report.suppressions).toMatchObject([{ rule: 'B1*', expired: true, matched: 0 }]);
    expect(report.putAside).toMatchObject([{ gate: 'code-security', rule: 'B9', found: 2 }]);
    expect(renderBuildReport(report)).toContain('- `B9` (high) by its own tool, 2 found: in the source');
    expect(report.stages.map(({ nominalMs }) => nominalMs)).toEqual([[300_000, 420_000], null]);
    expect(report.pages).toEqual([
      { stage: 'test', path: 'htmlcov', address: '/v1/projects/shop/runs/12/pages/test/0/index.html' },
    ]);
    expect(renderBuildReport(report)).toContain(
      `## Packages\n\n- \`shop 1.0\` at internal: \`shop-1.0-py3-none-any.whl\`, \`sha256:${'f'.repeat(64)}\`, there before`,
    );
    expect(renderBuildReport(report)).toContain(
      '## Documentation\n\n- docs: `api` at `/v1/projects/shop/runs/12/documentation/docs/api/index.html`',
    );
    expect(buildReport({ ...input, reports: [] })).toMatchObject({ tests: null, coverage: null });
  });

  test('compares each stage of a matrix with the nominal time of the matrix', () => {
    const group = { name: 'unit', limit: 2 };
    const report = buildReport({
      ...input,
      stages: [
        { name: 'unit-3-12-sqlite', verdict: 'passed', durationMs: 11 * 60_000 },
        { name: 'unit-3-13-sqlite', verdict: 'passed', durationMs: 9 * 60_000 },
        { name: 'unit-of-work', verdict: 'passed', durationMs: 11 * 60_000 },
      ],
      planned: [{ name: 'unit-3-12-sqlite', group }, { name: 'unit-3-13-sqlite', group }, { name: 'unit-of-work' }],
    });
    expect(report.stages.map(({ nominalMs }) => nominalMs)).toEqual([[300_000, 600_000], [300_000, 600_000], null]);
    const page = renderBuildReport(report);
    expect(page).toContain('| unit\\-3\\-12\\-sqlite | passed | 11 min 0 s | 5–10 min, exceeded |');
    expect(page).toContain('| unit\\-3\\-13\\-sqlite | passed | 9 min 0 s | 5–10 min |');
    expect(buildReport({ ...input, planned: [] }).stages).toEqual(buildReport(input).stages);
  });

  test('says it in words', () => {
    const page = renderBuildReport(buildReport(input));
    expect(page).toContain('10 tests in 1.5 s: 1 failed, 2 skipped.');
    expect(page).toContain('75.00 % of the lines, −5.00 points against the last release (80.00 %).');
    expect(page).toContain('| code\\-security (1) | security | failed | warn |');
    expect(page).toContain('`B1*` until 2026\\-01\\-01, 0 found: not in use **Expired: it counts again.**');
    expect(page).toContain('| quality | passed | 8 min 0 s | 5–7 min, exceeded |');
    expect(page).toContain('- security: `safety.json` is empty. Run it again.');
  });

  test('takes nothing of what others wrote for Markdown or HTML', () => {
    const page = renderBuildReport(buildReport(input));
    const outsideOfCode = page.replace(/(`+)(?:(?!\1)[^\n])*\1/g, '');
    expect(outsideOfCode).not.toMatch(/(?<!\\)<|(?<!\\)\]\(|(?<!\\)!\\?\[|(?<!\\)[@_]/);
    expect(page.split('\n').filter((line) => line.includes('heading') && line.startsWith('#'))).toEqual([]);
    for (const row of page.split('\n').filter((line) => line.startsWith('| code'))) {
      expect(row.replaceAll('\\|', '').split('|')).toHaveLength(8);
    }
  });

  test('says it as a page too, with links where a browser finds what they name', () => {
    const { html } = renderBuildReportPage(buildReport(input), (address) => `/signed/x${address}`);
    expect(html).toContain('<p>10 tests in 1.5 s: 1 failed, 2 skipped.</p>');
    expect(html).toContain('75.00 % of the lines, −5.00 points against the last release (80.00 %).');
    expect(html).toContain('<span class="state failed">failed</span>');
    expect(html).toContain('<td>5–7 min, exceeded</td>');
    expect(html).toContain('<li>security: <code>safety.json</code> is empty. Run it again.</li>');
    expect(html).toContain('<strong>Expired: it counts again.</strong>');
    const at = '/signed/x/v1/projects/shop/runs/12';
    expect([...html.matchAll(/href="([^"]*)"/g)].map(([, href]) => href)).toEqual([
      `${at}/evidence/app/scan.json`,
      `${at}/pages/test/0/index.html`,
      `${at}/documentation/docs/api/index.html`,
    ]);
  });

  test('has no tag on its page that is not ours, whatever others wrote', () => {
    const { html } = renderBuildReportPage(buildReport(input), (address) => address);
    expect(html).toContain('&lt;img src=x onerror=alert(1)&gt;');
    const tags = new Set([...html.matchAll(/<\/?([^\s>]*)/g)].map(([, name]) => name));
    for (const tag of tags) {
      expect([
        'a',
        'h1',
        'h2',
        'h3',
        'p',
        'ul',
        'li',
        'code',
        'strong',
        'span',
        'div',
        'table',
        'thead',
        'tbody',
        'tr',
        'th',
        'td',
      ]).toContain(tag);
    }
    for (const [, attributes = ''] of html.matchAll(/<[a-z0-9]+\s([^>]*)>/g)) {
      expect(attributes).toMatch(/^(class|href|scope)="[^"<>]*"$/);
    }
  });
});

test('an image of which nothing is known is not passed over, and what is known of one is said', () => {
  const image = { ...input.run.images[0]!, reused: false };
  const lineOf = (evidence?: ImageEvidence): string | undefined =>
    renderBuildReport(
      buildReport({
        ...input,
        run: { ...input.run, images: [evidence === undefined ? image : { ...image, evidence }] },
      }),
    )
      .split('\n')
      .find((line) => line.includes('shop/app@sha256:1'));
  expect(lineOf()).toMatch(/; no bill of materials, never scanned$/);
  const unlisted = { buildKey: '', bases: {}, warnings: [], unlisted: 'syft is not on the worker that built it' };
  expect(lineOf(unlisted)).toMatch(
    /; no bill of materials \(syft is not on the worker that built it\), never scanned$/,
  );
  const known = { buildKey: '', bases: {}, warnings: [], packages: 12 };
  expect(lineOf(known)).toMatch(/; 12 packages listed, never scanned$/);
  const scan = { ...erroredScan('the database is old', '2026-11-26T00:00:00Z') };
  expect(lineOf({ ...known, scan })).toMatch(/; 12 packages listed, scan errored: the database is old$/);
});
