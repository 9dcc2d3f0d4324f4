import { expect, test } from '@jest/globals';
import type { AuditReport } from '../../../src/domain/audit-report.ts';
import { renderAuditReport } from '../../../src/domain/audit-report-text.ts';

const nothing: AuditReport = {
  since: '2026-10-01T00:00:00.000Z',
  until: '2026-11-01T00:00:00.000Z',
  deployments: [],
  rollbacks: [],
  operatorWords: [],
  incidents: [],
  suppressions: [],
  exceptions: [],
  gatesPassedOver: [],
  scans: [],
  runs: [],
  documents: [],
  actions: [],
  cut: [],
};

test('a period in which nothing happened says so of each part', () => {
  const page = renderAuditReport(nothing);
  expect(page).toContain('# Audit of all projects\n2026-10-01 to 2026-11-01, UTC.');
  expect(page.match(/^None\.$/gm)).toHaveLength(8);
});

test('decisions stand under what they decided, and one that nothing proves stands out', () => {
  const decision = { verdict: 'approve' as const, why: null, comment: null, at: '2026-10-02T10:05:00.000Z' };
  const page = renderAuditReport({
    ...nothing,
    project: 'hello',
    cut: ['deployments'],
    deployments: [
      {
        name: 'hello/production/3',
        kind: 'rollout',
        version: '1.2.3',
        requestedBy: 'ci',
        author: 'ada',
        requestedAt: '2026-10-02T10:00:00.000Z',
        outcome: 'succeeded',
        decisions: [
          { ...decision, by: 'bob', counted: true, proven: true, comment: 'fine' },
          { ...decision, by: 'ada', counted: false, why: 'the author', proven: false },
        ],
      },
    ],
  });
  expect(page).toContain('- 2026-10-02 10:00 `hello/production/3`: `1.2.3` by ada, asked for by ci: succeeded');
  expect(page).toContain('  - 2026-10-02 10:05 approve by bob, “fine”');
  expect(page).toContain('  - 2026-10-02 10:05 approve by ada, **no token proves it**, did not count: the author');
  expect(page).toContain('- **1 decisions that no token proves**');
  expect(page).toContain('- **not all deployments are shown**');
});

test('what people wrote makes no links and no HTML', () => {
  const word = {
    name: 'hello/production',
    at: '2026-10-02T10:00:00.000Z',
    how: 'unlock' as const,
    by: '<script>',
    reason: '[x](https://evil.example)\n# title',
    version: null,
  };
  const page = renderAuditReport({ ...nothing, operatorWords: [word] });
  expect(page).not.toContain('<script>');
  expect(page).not.toMatch(/\]\(https:/);
  expect(page).not.toMatch(/^# title/m);
});
