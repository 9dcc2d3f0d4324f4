import { expect, test } from '@jest/globals';
import { type BuildReport, buildReport } from '../../../src/domain/build-report.ts';
import { renderBuildReport } from '../../../src/domain/build-report-text.ts';
import { type RunFigures, trendOf } from '../../../src/domain/run-trend.ts';

const figures = (run: number, rest: Partial<RunFigures> = {}): RunFigures => ({
  ...{ run, version: null, outcome: 'succeeded', settledAt: null, coverage: null, tests: null, testsFailed: null },
  ...{ findings: 0, durationMs: null },
  ...rest,
});

test('each run is compared with the nearest before it that has the figure', () => {
  const { steps } = trendOf('refs/heads/main', [
    figures(9, { coverage: 0.75, tests: 12, findings: 1, durationMs: 61_000 }),
    figures(8, { outcome: 'failed', tests: 10, findings: 3 }),
    figures(7, { coverage: 0.8, durationMs: 60_000 }),
  ]);
  expect(steps.map(({ change }) => Object.values(change))).toEqual([
    [expect.closeTo(-0.05, 10), 2, -2, 1_000],
    [null, null, 3, null],
    [null, null, null, null],
  ]);
});

function page(earlier: readonly RunFigures[]): string {
  const report: BuildReport = buildReport({
    run: {
      ...{ project: 'shop', run: 9, version: '9-abc', ref: 'refs/heads/main', commit: 'a'.repeat(40), author: 'ada' },
      ...{ outcome: 'succeeded', reason: null, acceptedAt: '2026-11-25T00:00:00Z', images: [], packages: [] },
      ...{ startedAt: '2026-11-25T00:00:10Z', settledAt: '2026-11-25T00:01:10Z', documentation: [], evidence: [] },
    },
    ...{ stages: [], planned: [], gates: [], pages: [], coverageBefore: null },
    reports: [
      {
        ...{
          state: 'read',
          kind: 'lcov',
          gate: 'coverage',
          path: 'a',
          stage: 'test',
          tool: { name: 'x' },
          lookedAt: 'y',
        },
        ...{ findings: [], counts: { critical: 0, high: 0, medium: 0, low: 0, unknown: 0 } },
        coverage: { lines: { covered: 825, total: 1_000 }, files: 2 },
        tests: { total: 12, failed: 1, errored: 1, skipped: 0, durationMs: 5, failures: [] },
      } as never,
    ],
    earlier: { ref: 'refs/heads/main', runs: earlier },
  });
  return renderBuildReport(report);
}

test('the page has a table of the runs with what is different', () => {
  const earlier = [
    figures(8, { outcome: 'failed', coverage: 0.81, tests: 12, testsFailed: 0, findings: 4, durationMs: 90_000 }),
    figures(5),
  ];
  expect(page(earlier)).toContain(
    [
      '| run | outcome | coverage | tests | failed | findings | took |',
      '| --- | --- | --- | --- | --- | --- | --- |',
      '| #9, this one | succeeded | 82.50 % (+1.50) | 12 (=) | 2 | 0 (−4) | 1 min 0 s (−30.0 s) |',
      '| #8 | failed | 81.00 % | 12 | 0 | 4 (+4) | 1 min 30 s |',
      '| #5 | succeeded |  |  |  | 0 |  |',
    ].join('\n'),
  );
});

test('the first run has no trend', () => {
  expect(page([])).not.toContain('## Trend');
});
