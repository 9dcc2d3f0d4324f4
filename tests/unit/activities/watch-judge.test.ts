import { describe, expect, test } from '@jest/globals';
import { judge, startWatch } from '../../../src/activities/watch-judge.ts';
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
