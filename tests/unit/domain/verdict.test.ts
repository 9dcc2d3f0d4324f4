import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { holdingOutcomes, outcomes } from '../../../src/domain/outcome.ts';
import { noticeEvents } from '../../../src/domain/notice.ts';
import { worst } from '../../../src/domain/verdict.ts';
import type { Verdict } from '../../../src/domain/verdict.ts';

const ordered: readonly Verdict[] = ['passed', 'inconclusive', 'errored', 'failed'];

describe('the worst of several verdicts', () => {
  test('of none is inconclusive: no data is never a pass', () => {
    expect(worst([])).toBe('inconclusive');
  });

  test('follows the one order of severity, whatever the order they come in', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ordered), { minLength: 1 }), (verdicts) => {
        const expected = ordered[Math.max(...verdicts.map((verdict) => ordered.indexOf(verdict)))];
        expect(worst(verdicts)).toBe(expected);
        expect(worst(verdicts.toReversed())).toBe(expected);
      }),
    );
  });

  test('is passed only when all passed', () => {
    expect(worst(['passed', 'passed'])).toBe('passed');
    expect(worst(['passed', 'inconclusive'])).toBe('inconclusive');
    expect(worst(['errored', 'inconclusive'])).toBe('errored');
    expect(worst(['errored', 'failed'])).toBe('failed');
  });
});

describe('names that others depend on', () => {
  test('outcomes are those of the specification', () => {
    expect([...outcomes].sort()).toEqual(
      [
        'succeeded',
        'failed',
        'errored',
        'rejected',
        'expired',
        'superseded',
        'aborted',
        'rolled-back',
        'rollback-failed',
        'rollback-unavailable',
        'held',
      ].sort(),
    );
    expect(holdingOutcomes).toEqual(['rollback-failed', 'rollback-unavailable', 'held']);
  });

  test('notices have the fourteen events and one for every outcome that needs a word', () => {
    expect(new Set(noticeEvents).size).toBe(noticeEvents.length);
    for (const outcome of outcomes.filter((one) => !['succeeded', 'failed', 'errored'].includes(one))) {
      expect(noticeEvents).toContain(outcome);
    }
    expect(noticeEvents).toEqual(
      expect.arrayContaining([
        'started',
        'tests-passed',
        'tests-failed',
        'build-succeeded',
        'build-failed',
        'run-succeeded',
        'run-failed',
        'staging-deployed',
        'approval-requested',
        'production-deployed',
        'health-check-failed',
        'rollback-triggered',
        'code-quality-warning',
        'security-alert',
      ]),
    );
  });
});
