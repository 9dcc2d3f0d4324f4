import { describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { Notice, WatchActivities, WatchReport } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import { type WatchState, startWatch } from '../../../src/activities/watch-judge.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { WatchPolicy } from '../../../src/domain/policy.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { until } from '../../support/until.ts';

type WatchInput = Parameters<WatchActivities['watchRelease']>[0];

const policy: WatchPolicy = {
  durationMs: 60_000,
  intervalMs: 20,
  warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
  rollback: {
    errorRatio: 0.05,
    errorWindowMs: 60_000,
    p95Ms: 5_000,
    p95SustainedMs: 60_000,
    databaseFailures: 3,
    logMatches: 1,
  },
  logPatterns: [],
  minSamples: 20,
  onInconclusive: 'succeed',
};

/** A watch of the blue slot with everything around it in memory. */
function scene(options: {
  readonly database?: () => Promise<void>;
  readonly notice?: (notice: Notice) => Promise<void>;
}) {
  const notices: Notice[] = [];
  const logs = createFakeDeploymentLogs();
  const target = createFakeTarget();
  const requests: { failed: number; served: number } = { failed: 0, served: 0 };
  const place = {
    spec: {
      project: 'hello',
      name: 'production',
      probes: [],
      router: { kind: 'haproxy', listen: { address: '127.0.0.1', port: 1 }, slots: { blue: 2, green: 3 } },
      ...(options.database === undefined ? {} : { database: { kind: 'postgres' } }),
    },
    release: { version: '1.0.0' },
    target,
  } as unknown as Place;
  const activities = createWatchActivities({
    places: { open: () => Promise.resolve(place) },
    databases: {
      of: () => Promise.resolve(options.database === undefined ? undefined : ({ ping: options.database } as never)),
    },
    sendNotice: async (notice) => {
      notices.push(notice);
      await options.notice?.(notice);
    },
    openRequestLog: () =>
      Promise.resolve({
        async *follow(_route, _since, signal, onPresent) {
          onPresent?.();
          const seen = { failed: 0, served: 0 };
          const record = { atMs: Date.now(), release: '1.0.0', totalMs: 5, broken: false };
          for (;;) {
            for (; seen.served < requests.served; seen.served += 1) yield { ...record, atMs: Date.now(), status: 200 };
            for (; seen.failed < requests.failed; seen.failed += 1) yield { ...record, atMs: Date.now(), status: 500 };
            await delay(5, undefined, { signal });
          }
        },
      }),
    recordSample: () => undefined,
    logs,
  });

  /** @param seconds - how long it watches. */
  function watch(seconds: number, earlier?: WatchState) {
    const environment = new MockActivityEnvironment(earlier === undefined ? {} : { heartbeatDetails: earlier });
    const beats: WatchState[] = [];
    environment.on('heartbeat', (detail: unknown) => {
      if (detail !== undefined) beats.push(detail as WatchState);
    });
    const input: WatchInput = {
      project: 'hello',
      environment: 'production',
      number: 7,
      slot: 'blue',
      version: '1.0.0',
      policy,
      startedAt: new Date().toISOString(),
      until: new Date(Date.now() + seconds * 1_000).toISOString(),
      production: true,
    };
    const report = environment.run<[], WatchReport, () => Promise<WatchReport>>(() => activities.watchRelease(input));
    return { report, beats };
  }

  return { notices, requests, target, watch, logs };
}

const unreachable = () =>
  Promise.reject(
    new ProviderError('DatabaseUnreachable', 'database of hello/production does not answer: ECONNREFUSED'),
  );

test('a release whose few users all got errors is no pass', async () => {
  const { watch, requests } = scene({});
  const { report } = watch(0.5);
  requests.failed = 4;
  expect(await report).toMatchObject({
    verdict: 'failed',
    reason: '4 of the only 4 requests failed, above 5.0 % of 20',
  });
});

describe('a figure in its warn band', () => {
  test('is told at once and once, at level warning, and the watch goes on', async () => {
    const { watch, requests, notices, logs } = scene({});
    const { report } = watch(3);
    requests.served = 98;
    requests.failed = 2;
    await until(() => notices.length > 0, { timeoutMs: 2_500 });
    expect(notices[0]).toMatchObject({
      event: 'watch-warning',
      level: 'warning',
      project: 'hello',
      environment: 'production',
      key: 'hello/production/7/watch/errors',
      title: 'hello 1.0.0 in production: errors 2.0 %, above 1.0 %',
      lines: [
        expect.stringMatching(/^It is watched until \S+; nothing is rolled back for this\.$/),
        'Above 5.0 % it is rolled back.',
        'slipway status hello/production/7',
      ],
    });
    requests.failed = 3;
    expect(await report).toMatchObject({ verdict: 'passed', warnings: ['errors 2.0 %, above 1.0 %'] });
    expect(notices).toHaveLength(1);
    await until(() => logs.texts.size > 0);
    const [text = ''] = logs.texts.values();
    expect(text).toMatch(/^1\.0\.0 in blue is watched until \S+\n20\S+Z warns: errors 2\.0 %, above 1\.0 %\n/);
    expect(text).toContain('101 requests, 3 of them errors');
  });

  test('is told again by no later attempt, unless the earlier one died in the middle of telling', async () => {
    const { watch, notices } = scene({});
    const begun = startWatch(new Date().toISOString());
    const warnings = ['CPU 99 %, above 80 %', 'memory 90 %, above 85 %'];
    await watch(0.3, { ...begun, warnings, told: ['CPU 99 %, above 80 %'] }).report;
    expect(notices.map(({ key }) => key)).toEqual(['hello/production/7/watch/memory']);
  });

  test('is known to be told by the heartbeats as soon as the notice has ended', async () => {
    const { watch } = scene({});
    const begun = startWatch(new Date().toISOString());
    const { report, beats } = watch(5, { ...begun, warnings: ['CPU 99 %, above 80 %'] });
    await until(() => beats.at(-1)?.told?.length === 1, { timeoutMs: 4_000 });
    await report;
  });

  test('holds nothing up, whatever becomes of its notice', async () => {
    for (const notice of [() => new Promise<void>(() => undefined), () => Promise.reject(new Error('no way'))]) {
      const { watch, notices } = scene({ notice });
      const begun = startWatch(new Date().toISOString());
      const report = await watch(0.3, { ...begun, warnings: ['CPU 99 %, above 80 %'] }).report;
      expect(report).toMatchObject({ verdict: 'inconclusive', warnings: ['CPU 99 %, above 80 %'] });
      expect(notices).toHaveLength(1);
    }
  });

  test('that is over its rollback band in the same moment is told by the rollback only', async () => {
    const { watch, requests, notices } = scene({});
    requests.served = 20;
    requests.failed = 20;
    expect(await watch(30).report).toMatchObject({ verdict: 'failed' });
    expect(notices).toEqual([]);
  });
});

describe('the database under a watch', () => {
  test('that does not answer three times in a row is the verdict, in its own words', async () => {
    const { watch } = scene({ database: unreachable });
    expect(await watch(30).report).toMatchObject({
      verdict: 'failed',
      // It is asked every 20 ms here, and judged every 250.
      reason: expect.stringMatching(
        /^the database did not answer \d+ times in a row: database of hello\/production does not answer: ECONNREFUSED$/,
      ),
    });
  });

  test('that answers in between begins a new count', async () => {
    let asked = 0;
    const { watch } = scene({
      database: () => {
        asked += 1;
        return asked % 3 === 0 ? Promise.resolve() : unreachable();
      },
    });
    expect((await watch(1).report).verdict).not.toBe('failed');
    expect(asked).toBeGreaterThan(6);
  });

  test('goes on from the count of the attempt before', async () => {
    let asked = 0;
    const { watch } = scene({
      database: () => {
        asked += 1;
        return unreachable();
      },
    });
    const begun = startWatch(new Date().toISOString());
    const { verdict } = await watch(30, { ...begun, databaseFailures: 2, databaseProblem: 'away' }).report;
    expect(verdict).toBe('failed');
    // The judgement looks every 250 ms, the database is asked every 20 ms.
    expect(asked).toBeGreaterThanOrEqual(1);
  });

  test('that has begun to fail is seen to its end, though the time of the watch is over', async () => {
    const { watch } = scene({
      database: async () => {
        await delay(150);
        await unreachable();
      },
    });
    // Over after the first question.
    expect(await watch(0.2).report).toMatchObject({ verdict: 'failed', reason: expect.stringMatching(/[34] times/) });
  });

  test('that could not even be asked is no failure of it, and no pass', async () => {
    const { watch } = scene({
      database: () => Promise.reject(new ProviderError('SecretMissing', 'There is no secret DATABASE_URL.')),
    });
    expect(await watch(0.5).report).toMatchObject({
      verdict: 'inconclusive',
      reason: 'whether the database answers could not be found out: There is no secret DATABASE_URL.',
    });
  });

  test('is not asked where the environment has none', async () => {
    const { watch } = scene({});
    expect(await watch(0.3).report).toMatchObject({
      verdict: 'inconclusive',
      reason: expect.not.stringContaining('database'),
    });
  });
});
