import { describe, expect, test } from '@jest/globals';
import { assessRisk } from '../../../src/domain/risk.ts';
import { summarise } from '../../../src/domain/infrastructure.ts';
import type { RiskInput } from '../../../src/domain/risk.ts';

/** A small change on a Tuesday morning. */
const calm: RiskInput = {
  filesChanged: 2,
  linesChanged: 20,
  migrations: [],
  warnedChecks: [],
  erroredChecks: [],
  definitionChanged: false,
  configurationKeys: [],
  at: '2026-11-17T10:00:00Z',
  timeZone: 'Europe/Berlin',
  workingHours: { from: '09:00', to: '18:00' },
  firstRelease: false,
  freeDiskUnknown: false,
};

test('a small change in working hours is a low risk without a reason', () => {
  expect(assessRisk(calm)).toEqual({ level: 'low', score: 0, reasons: [] });
});

describe('each factor is named', () => {
  test.each<[string, Partial<RiskInput>, RegExp]>([
    ['size', { linesChanged: 1_001 }, /^Large change: 2 files, 1001 lines changed\.$/],
    ['medium size', { filesChanged: 16 }, /^Medium change: 16 files/],
    ['a disk that nobody sees', { freeDiskUnknown: true }, /^How much disk is free for the backup .* is not known/],
    [
      'infrastructure that is lost',
      {
        infrastructure: summarise([
          { address: 'db.main', action: 'replace' },
          { address: 'q.a', action: 'create' },
        ]),
      },
      /^1 resource of the infrastructure would be destroyed or replaced, which nothing takes back: db\.main\.$/,
    ],
    [
      'infrastructure that changes',
      { infrastructure: summarise([{ address: 'q.a', action: 'create' }]) },
      /^The infrastructure changes, and is not taken back by a rollback: 1 to create\.$/,
    ],
    ['first release', { firstRelease: true }, /^First release/],
    [
      'migration',
      { migrations: [{ name: '001_a.sql', kind: 'expand' }] },
      /^1 migration of the database: 001_a\.sql\.$/,
    ],
    [
      'contracting migration',
      { migrations: [{ name: '002_b.sql', kind: 'contract' }] },
      /^002_b\.sql breaks the previous release/,
    ],
    ['warned checks', { warnedChecks: ['pylint'] }, /^1 check failed and only warned: pylint\.$/],
    ['errored checks', { erroredChecks: ['trivy', 'bandit'] }, /^2 checks could not be judged: trivy, bandit\.$/],
    ['definition', { definitionChanged: true }, /^The definition changed/],
    ['configuration', { configurationKeys: ['LOG_LEVEL'] }, /^1 setting changed: LOG_LEVEL\.$/],
    ['failure today', { lastFailureAt: '2026-11-17T02:00:00Z' }, /^The last failure here was less than a day ago\.$/],
    ['failure this week', { lastFailureAt: '2026-11-14T10:00:00Z' }, /^The last failure here was 3 days ago\.$/],
  ])('%s', (_name, change, reason) => {
    const risk = assessRisk({ ...calm, ...change });
    expect(risk.reasons).toEqual([expect.stringMatching(reason)]);
    expect(risk.score).toBeGreaterThan(0);
  });

  test('a failure that is long ago, or in the future, is none', () => {
    expect(assessRisk({ ...calm, lastFailureAt: '2026-11-01T10:00:00Z' }).score).toBe(0);
    expect(assessRisk({ ...calm, lastFailureAt: '2026-12-01T10:00:00Z' }).score).toBe(0);
  });
});

describe('the hour is that of the people', () => {
  test.each([
    // 16:30 UTC on a Friday: half past five in Berlin, morning in Los Angeles.
    ['2026-11-20T16:30:00Z', 'Europe/Berlin', /^Friday afternoon/],
    ['2026-11-20T16:30:00Z', 'America/New_York', undefined],
    ['2026-11-20T11:59:00Z', 'Europe/Berlin', undefined],
    ['2026-11-20T12:00:00Z', 'Europe/Berlin', /^Friday afternoon/],
    ['2026-11-20T17:00:00Z', 'Europe/Berlin', /^Outside of working hours/],
    ['2026-11-17T07:59:00Z', 'Europe/Berlin', /^Outside of working hours/],
    ['2026-11-17T08:00:00Z', 'Europe/Berlin', undefined],
    ['2026-11-20T23:30:00Z', 'Europe/Berlin', /^Weekend/],
    ['2026-11-22T10:00:00Z', 'Europe/Berlin', /^Weekend/],
    ['2026-11-16T00:15:00Z', 'UTC', /^Outside of working hours/],
  ])('%s in %s', (at, timeZone, reason) => {
    const { reasons } = assessRisk({ ...calm, at, timeZone });
    expect(reasons).toEqual(reason === undefined ? [] : [expect.stringMatching(reason)]);
  });
});

test('together they are high, never above 100, the strongest first', () => {
  const risk = assessRisk({
    ...calm,
    filesChanged: 300,
    linesChanged: 9_000,
    migrations: [{ name: '003_drop.sql', kind: 'contract' }],
    warnedChecks: ['a', 'b', 'c', 'd'],
    erroredChecks: ['e'],
    definitionChanged: true,
    at: '2026-11-21T10:00:00Z',
  });
  expect(risk).toMatchObject({ level: 'high', score: 100 });
  expect(risk.reasons[0]).toMatch(/^003_drop\.sql breaks/);
  expect(assessRisk({ ...calm, definitionChanged: true, configurationKeys: ['A'] }).level).toBe('medium');
});
