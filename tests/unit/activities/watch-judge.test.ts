import { describe, expect, test } from '@jest/globals';
import { failedOfFew, judge, startWatch } from '../../../src/activities/watch-judge.ts';
import type { WatchPolicy } from '../../../src/domain/policy.ts';
import { createRequestWindow } from '../../../src/providers/metrics/window.ts';

const minute = 60_000;
const policy: WatchPolicy = {
  durationMs: 30 * minute,
  intervalMs: 10_000,
  warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
  rollback: {
    errorRatio: 0.05,
    errorWindowMs: 5 * minute,
    p95Ms: 5_000,
    p95SustainedMs: minute,
    databaseFailures: 3,
    logMatches: 1,
  },
  logPatterns: [],
  minSamples: 20,
  onInconclusive: 'succeed',
};
const beganMs = Date.parse('2026-11-21T10:00:00.000Z');
const start = startWatch('2026-11-21T10:00:00.000Z');

/** One request every `everyMs` over the whole watch, judged as often as a watch judges. */
function thin(everyMs: number, request: (index: number) => { status?: number; totalMs?: number }, forMs = 30 * minute) {
  const window = createRequestWindow(5 * minute);
  let state = start;
  for (let atMs = 0, next = 0, index = 0; atMs <= forMs; atMs += 250) {
    for (; next <= atMs; next += everyMs, index += 1) {
      window.add({ atMs: beganMs + next, release: 'v', status: 200, totalMs: 10, broken: false, ...request(index) });
    }
    const judged = judge(state, policy, window, beganMs + atMs);
    if (judged.verdict === 'failed') return { atMs, reason: judged.reason };
    state = judged.state;
  }
  return { state, window };
}

function traffic(requests: number, errors: number, atMs: number, totalMs = 10) {
  const window = createRequestWindow(5 * minute);
  for (let index = 0; index < requests; index += 1) {
    window.add({ atMs, release: 'v', status: index < errors ? 500 : 200, totalMs, broken: false });
  }
  return window;
}

describe('a watch', () => {
  test('fails as soon as more than 5 % of the window failed, not after the window is full', () => {
    const nowMs = beganMs + 4_000;
    const judged = judge(start, policy, traffic(100, 6, nowMs - 500), nowMs);
    expect(judged.verdict).toBe('failed');
    expect(judged.reason).toContain('6.0 % of 100 requests failed, above 5.0 %');
  });

  test('does not fail at exactly 5 %, but warns above 1 %', () => {
    const nowMs = beganMs + 4_000;
    const judged = judge(start, policy, traffic(100, 5, nowMs - 500), nowMs);
    expect(judged.verdict).toBe('passed');
    expect(judged.state.warnings).toEqual(['errors 5.0 %, above 1.0 %']);
    expect(judge(judged.state, policy, traffic(100, 5, nowMs), nowMs).state.warnings).toHaveLength(1);
  });

  test('does not judge the errors of fewer requests than minSamples', () => {
    const nowMs = beganMs + 4_000;
    expect(judge(start, policy, traffic(19, 19, nowMs - 500), nowMs).verdict).toBe('passed');
    expect(judge(start, policy, traffic(20, 20, nowMs - 500), nowMs).verdict).toBe('failed');
  });

  test('fails for a slow P95 only when it stays slow for the time it is given', () => {
    const first = beganMs + 10_000;
    const slow = judge(start, policy, traffic(50, 0, first - 100, 6_000), first);
    expect(slow.verdict).toBe('passed');
    const later = first + minute - 1;
    expect(judge(slow.state, policy, traffic(50, 0, later - 100, 6_000), later).verdict).toBe('passed');
    const over = first + minute;
    const judged = judge(slow.state, policy, traffic(50, 0, over - 100, 6_000), over);
    expect(judged.verdict).toBe('failed');
    expect(judged.reason).toContain('P95 is 6000 ms');
  });

  test('of three requests a minute that all fail is failed by the last of them', () => {
    const judged = thin(20_000, () => ({ status: 500 }));
    expect(judged.reason).toBe('100 % of the last 20 requests failed, above 5.0 % (20 errors)');
    expect(judged.atMs).toBe(19 * 20_000);
  });

  test('of three requests a minute takes one error of twenty, and warns', () => {
    const judged = thin(20_000, (index) => ({ status: index % 20 === 5 ? 500 : 200 }));
    expect(judged.reason).toBeUndefined();
    expect(judged.state?.warnings).toEqual(['errors 5.0 %, above 1.0 %']);
  });

  test.each([
    ['one request a second', 1_000, minute],
    ['three a minute', 20_000, 19 * 20_000],
  ])('of %s that are all slow is failed when they were slow for a minute', (_what, everyMs, atMs) => {
    const judged = thin(everyMs, () => ({ totalMs: 10_000 }));
    expect(judged.reason).toBe('P95 is 10000 ms, above 5000 ms for 60000 ms');
    expect(judged.atMs).toBe(atMs);
  });

  test('of thin traffic is not failed for a slow start, nor for slow requests that silence followed', () => {
    expect(thin(20_000, (index) => ({ totalMs: index < 2 ? 10_000 : 10 })).reason).toBeUndefined();
    const burst = thin(700, () => ({ totalMs: 10_000 }), 30_000);
    if (burst.state === undefined) throw new Error('30 s are not a minute');
    expect(judge(burst.state, policy, burst.window, beganMs + 20 * minute).verdict).toBe('passed');
  });

  test('that ends with few requests fails where enough of them failed for twenty', () => {
    expect(failedOfFew(policy, { requests: 15, errors: 2 })).toBe(true);
    expect(failedOfFew(policy, { requests: 15, errors: 1 })).toBe(false);
    expect(failedOfFew(policy, { requests: 0, errors: 0 })).toBe(false);
    expect(failedOfFew(policy, { requests: 20, errors: 2 })).toBe(false);
  });

  test('forgets a slow P95 that has recovered in between', () => {
    const first = beganMs + 10_000;
    const slow = judge(start, policy, traffic(50, 0, first - 100, 6_000), first);
    const quick = judge(slow.state, policy, traffic(50, 0, first + 900, 10), first + 1_000);
    expect(quick.state.slowSinceMs).toBeNull();
  });

  test('fails for one critical line and for a probe that failed with all its retries', () => {
    const nowMs = beganMs + 1_000;
    const line = judge(
      { ...start, logMatches: 1, lastMatch: 'FATAL out of memory' },
      policy,
      traffic(0, 0, nowMs),
      nowMs,
    );
    expect(line).toMatchObject({ verdict: 'failed', reason: 'the log has a critical line: FATAL out of memory' });
    const probe = judge({ ...start, probes: 'failed', badProbe: 'health: 500' }, policy, traffic(0, 0, nowMs), nowMs);
    expect(probe).toMatchObject({ verdict: 'failed', badProbe: 'health: 500' });
    expect(line.badProbe).toBeUndefined();
  });

  test('never rolls back for CPU or memory, but warns', () => {
    const nowMs = beganMs + 1_000;
    const judged = judge({ ...start, cpuRatio: 0.99, memoryRatio: 0.9 }, policy, traffic(0, 0, nowMs), nowMs);
    expect(judged.verdict).toBe('passed');
    expect(judged.state.warnings).toEqual(['CPU 99 %, above 80 %', 'memory 90 %, above 85 %']);
  });
});
