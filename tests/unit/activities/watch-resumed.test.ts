import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { Place } from '../../../src/activities/places.ts';
import { startWatch } from '../../../src/activities/watch-judge.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import type { WatchReport } from '../../../src/activities/contracts.ts';
import type { EnvironmentSpec } from '../../../src/definition/specs/environment.ts';
import type { ProbeSpec } from '../../../src/definition/specs/probe.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { WatchPolicy } from '../../../src/domain/policy.ts';
import type { RequestLog, RequestRecord } from '../../../src/providers/metrics/port.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { until } from '../../support/until.ts';

const policy: WatchPolicy = {
  durationMs: 60_000,
  intervalMs: 10_000,
  warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
  rollback: {
    errorRatio: 0.05,
    errorWindowMs: 300_000,
    p95Ms: 5_000,
    p95SustainedMs: 60_000,
    databaseFailures: 3,
    logMatches: 3,
  },
  logPatterns: [],
  minSamples: 20,
  onInconclusive: 'succeed',
};

let service: Server;
let port: number;
beforeEach(async () => {
  service = createServer((_request, response) => response.end('well'));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  ({ port } = service.address() as AddressInfo);
});
afterEach(async () => {
  service.closeAllConnections();
  await new Promise((resolve) => service.close(resolve));
});

/** Ends with the signal, as the logs of what still runs do. */
async function untilAborted(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function request(status: number): RequestRecord {
  return { atMs: Date.now() - 500, release: '1.4.0', status, totalMs: 5, broken: false };
}

/** Gives a first part, waits, and gives the rest; then everything there was has been given. */
function logOf(first: readonly RequestRecord[], rest: readonly RequestRecord[], pause: Promise<void>): RequestLog {
  return {
    async *follow(_route, _since, signal, onPresent) {
      yield* first;
      await pause;
      yield* rest;
      onPresent?.();
      await untilAborted(signal);
    },
  };
}

const nothing = logOf([], [], Promise.resolve());
const http: ProbeSpec = {
  kind: 'http',
  name: 'health',
  path: '/',
  method: 'GET',
  expectStatus: 200,
  through: 'router',
  retries: 0,
  intervalMs: 10,
  timeoutMs: 5_000,
};
const container: ProbeSpec = { kind: 'container', name: 'container', through: 'both', ...tries() };

function tries(): { retries: number; intervalMs: number; timeoutMs: number } {
  return { retries: 0, intervalMs: 10, timeoutMs: 5_000 };
}

interface Scene {
  readonly log: RequestLog;
  readonly probes?: readonly ProbeSpec[];
  readonly target?: Partial<Target>;
  readonly policy?: Partial<WatchPolicy>;
  /** Moments before now, ms; negative: after it. Default: began 5 s ago and ends now. */
  readonly beganMs?: number;
  readonly endedMs?: number;
  /** What the attempt before this one said last. */
  readonly lines?: number;
}

function watch(scene: Scene): { readonly report: Promise<WatchReport>; readonly beats: unknown[] } {
  const now = Date.now();
  const startedAt = new Date(now - (scene.beganMs ?? 5_000)).toISOString();
  const place = {
    spec: {
      project: 'hello',
      name: 'staging',
      probes: scene.probes ?? [http],
      router: { listen: { address: '127.0.0.1', port }, slots: { blue: 1, green: 2 } },
    } as unknown as EnvironmentSpec,
    release: { version: '1.4.0' },
    target: { ...createFakeTarget(), ...scene.target },
  } as unknown as Place;
  const activities = createWatchActivities({
    places: { open: () => Promise.resolve(place) },
    databases: { of: () => Promise.resolve(undefined) },
    sendNotice: () => Promise.resolve(),
    openRequestLog: () => Promise.resolve(scene.log),
    recordSample: () => undefined,
    logs: createFakeDeploymentLogs(),
  });
  const heartbeatDetails = { ...startWatch(startedAt), logMatches: scene.lines ?? 0 };
  const environment = new MockActivityEnvironment({ attempt: 2, heartbeatDetails });
  const beats: unknown[] = [];
  environment.on('heartbeat', (detail: unknown) => void beats.push(detail));
  const input = {
    project: 'hello',
    environment: 'staging',
    number: 7,
    slot: 'green' as const,
    version: '1.4.0',
    policy: { ...policy, ...scene.policy },
    startedAt,
    until: new Date(now - (scene.endedMs ?? 0)).toISOString(),
    production: false,
  };
  return { report: environment.run((given: typeof input) => activities.watchRelease(given), input), beats };
}

describe('a watch that another worker goes on with', () => {
  test('judges no part of the requests: two errors in the first twenty are not 10 % of a hundred', async () => {
    let goOn = (): void => undefined;
    const pause = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const first = [...Array.from({ length: 18 }, () => request(200)), request(500), request(500)];
    const { report, beats } = watch({
      log: logOf(
        first,
        Array.from({ length: 80 }, () => request(200)),
        pause,
      ),
    });
    // It has looked, and more than once.
    await until(() => beats.length > 3);
    goOn();
    await expect(report).resolves.toMatchObject({ verdict: 'passed', requests: 100, errorRatio: 0.02 });
  });

  test('after its end has passed still reads what users got meanwhile, and takes it back', async () => {
    const { report } = watch({
      log: logOf(
        [],
        Array.from({ length: 40 }, () => request(500)),
        Promise.resolve(),
      ),
    });
    await expect(report).resolves.toMatchObject({ verdict: 'failed', requests: 40 });
  });

  test('after its end has passed still asks the probes once', async () => {
    service.removeAllListeners('request');
    service.on('request', (_request, response) => response.writeHead(503).end('no'));
    const { report } = watch({ log: nothing });
    await expect(report).resolves.toMatchObject({ verdict: 'failed', reason: expect.stringContaining('503') });
  });

  test('counts a critical line once, however often it is read', async () => {
    const tailLogs: Target['tailLogs'] = async function* (_ref, _since, signal, onPresent) {
      for (const text of ['ok', 'FATAL one', 'FATAL two']) yield { at: '', stream: 'stdout', text };
      onPresent?.();
      await untilAborted(signal);
    };
    const lines = { logPatterns: ['FATAL'] };
    const twice = watch({ log: nothing, target: { tailLogs }, policy: lines, lines: 2 });
    await expect(twice.report).resolves.toMatchObject({ verdict: 'inconclusive' });
    const rollback = { ...policy.rollback, logMatches: 2 };
    const enough = watch({ log: nothing, target: { tailLogs }, policy: { ...lines, rollback } });
    await expect(enough.report).resolves.toMatchObject({
      verdict: 'failed',
      reason: expect.stringContaining('FATAL two'),
    });
  });
});

describe('what a watch cannot find out', () => {
  const never: RequestLog = {
    async *follow(_route, _since, signal) {
      await untilAborted(signal);
      yield* [];
    },
  };

  test('is no pass: without the log of the router it is errored, some time after its end', async () => {
    const { report } = watch({ log: never, beganMs: 120_000, endedMs: 61_000 });
    await expect(report).resolves.toMatchObject({ verdict: 'errored', reason: expect.stringContaining('log') });
  });

  test('is no pass: a probe that could not be asked has not passed', async () => {
    let asked = 0;
    const readSlots = (): Promise<never> => {
      asked += 1;
      return Promise.reject(new ProviderError('EngineUnavailable', 'away'));
    };
    const { report } = watch({ log: nothing, probes: [container], target: { readSlots } });
    const { verdict, reason } = await report;
    expect({ verdict, reason }).toEqual({
      verdict: 'inconclusive',
      reason: 'only 0 requests of users were seen, no probe could say',
    });
    expect(asked).toBeGreaterThan(0);
  });
});
