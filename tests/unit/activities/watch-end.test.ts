import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { WatchActivities, WatchReport } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import type { ProbeSpec } from '../../../src/definition/specs/probe.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { WatchPolicy } from '../../../src/domain/policy.ts';
import type { RequestRecord } from '../../../src/providers/metrics/port.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';

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
    logMatches: 1,
  },
  logPatterns: [],
  minSamples: 20,
  onInconclusive: 'succeed',
};

const tries = { retries: 0, intervalMs: 10, timeoutMs: 5_000 };
const http: ProbeSpec = {
  kind: 'http',
  name: 'health',
  path: '/',
  method: 'GET',
  expectStatus: 200,
  through: 'router',
  ...tries,
};
const container: ProbeSpec = { kind: 'container', name: 'container', through: 'both', ...tries };

let service: Server;
let port: number;
/** How the service answers: the nth question, from 0. */
let answer: (nth: number) => Promise<number> | number;
let asked: number;

beforeEach(async () => {
  answer = () => 200;
  asked = 0;
  service = createServer((_request, response) => {
    void (async () => {
      const status = await answer(asked++);
      response.writeHead(status).end();
    })();
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  ({ port } = service.address() as AddressInfo);
});
afterEach(async () => {
  service.closeAllConnections();
  await new Promise((resolve) => service.close(resolve));
});

interface Scene {
  readonly requests?: readonly RequestRecord[];
  readonly probes?: readonly ProbeSpec[];
  readonly target?: Partial<Target>;
  /** Moments from now, ms. Default: began a minute ago, ends in 300 ms. */
  readonly beganMs?: number;
  readonly endsMs?: number;
}

/** A watch of 1.4.0 in green, before which 1.3.0 in blue served. */
async function watch({ requests = good(20), probes = [http], target = {}, beganMs = -60_000, endsMs = 300 }: Scene) {
  const place = {
    spec: {
      project: 'hello',
      name: 'staging',
      probes,
      router: { listen: { address: '127.0.0.1', port }, slots: { blue: 1, green: 2 } },
    },
    release: { version: '1.4.0' },
    target: { ...createFakeTarget(), ...target },
  } as unknown as Place;
  const activities = createWatchActivities({
    places: { open: () => Promise.resolve(place) },
    databases: { of: () => Promise.resolve(undefined) },
    sendNotice: () => Promise.resolve(),
    openRequestLog: () =>
      Promise.resolve({
        async *follow(_route, _since, signal, onPresent) {
          yield* requests;
          onPresent?.();
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        },
      }),
    recordSample: () => undefined,
    logs: createFakeDeploymentLogs(),
  });
  const now = Date.now();
  const input: Parameters<WatchActivities['watchRelease']>[0] = {
    project: 'hello',
    environment: 'staging',
    number: 7,
    slot: 'green',
    version: '1.4.0',
    policy,
    startedAt: new Date(now + beganMs).toISOString(),
    until: new Date(now + endsMs).toISOString(),
    production: false,
  };
  const environment = new MockActivityEnvironment();
  const report = await environment.run<[], WatchReport, () => Promise<WatchReport>>(() =>
    activities.watchRelease(input),
  );
  return { verdict: report.verdict, reason: report.reason };
}

function good(count: number, more: Partial<RequestRecord> = {}): RequestRecord[] {
  const record: RequestRecord = {
    atMs: Date.now(),
    release: '1.4.0',
    slot: 'green',
    status: 200,
    totalMs: 5,
    broken: false,
    ...more,
  };
  return Array.from({ length: count }, () => record);
}

describe('a release that dies shortly before its watch ends', () => {
  test('does not pass by what its probes said before', async () => {
    answer = (nth) => (nth === 0 ? 200 : 503);
    expect(await watch({})).toEqual({
      verdict: 'failed',
      reason: expect.stringMatching(/^a probe failed with all its retries: health: .* 503/),
    });
  });

  test('is waited for while a probe is tried again', async () => {
    answer = (nth) => (nth === 0 ? 200 : 503);
    const patient = { ...http, retries: 3, intervalMs: 150 };
    expect(await watch({ probes: [patient] })).toMatchObject({
      verdict: 'failed',
      reason: expect.stringContaining('(try 4)'),
    });
  });

  test('does not pass by an answer that was asked for before the end and came after it', async () => {
    const until = Date.now() + 300;
    answer = (nth) =>
      nth === 0 ? new Promise((resolve) => setTimeout(() => resolve(200), until + 50 - Date.now())) : 503;
    expect(await watch({})).toMatchObject({ verdict: 'failed' });
  });

  test('passes when it is well again before its probes are used up', async () => {
    answer = (nth) => (nth === 1 ? 503 : 200);
    expect(await watch({ probes: [{ ...http, retries: 1 }] })).toEqual({
      verdict: 'passed',
      reason: '20 requests, within every band',
    });
    expect(asked).toBe(3);
  });
});

describe('answers of the backup', () => {
  const backup = (count: number, more: Partial<RequestRecord> = {}): RequestRecord[] =>
    good(count, { release: '1.3.0', slot: 'blue', ...more });

  test('are errors of the release that is watched, and the reason says so', async () => {
    expect(await watch({ requests: [...good(18), ...backup(2)], endsMs: 60_000 })).toEqual({
      verdict: 'failed',
      reason:
        '10 % of 20 requests failed, above 5.0 % (2 errors); 2 requests had to be answered by the backup 1.3.0, for the router did not reach 1.4.0',
    });
  });

  test('are told also where they are too few to take it back', async () => {
    expect(await watch({ requests: [...good(99), ...backup(1)] })).toEqual({
      verdict: 'passed',
      reason:
        '100 requests, within every band; 1 request had to be answered by the backup 1.3.0, for the router did not reach 1.4.0',
    });
  });

  test('are known by their slot where both hold the same version', async () => {
    const { verdict } = await watch({ requests: [...good(18), ...backup(2, { release: '1.4.0' })], endsMs: 60_000 });
    expect(verdict).toBe('failed');
  });

  test('are none where the request had begun before, or on a connection from before, however late it ends', async () => {
    const nobody = 'only 0 requests of users were seen, its probes passed';
    expect(await watch({ requests: backup(30), beganMs: -3_000 })).toMatchObject({ reason: nobody });
    expect(await watch({ requests: backup(30, { totalMs: 58_000 }) })).toMatchObject({ reason: nobody });
  });
});

describe('a probe that could not say', () => {
  const away = new ProviderError('EngineUnavailable', 'away');

  test('is no pass, whatever users got', async () => {
    const readSlots = (): Promise<never> => Promise.reject(away);
    expect(await watch({ probes: [container], target: { readSlots } })).toEqual({
      verdict: 'inconclusive',
      reason: '20 requests, within every band, but no probe could say: container: the target could not be asked: away',
    });
  });

  test('nor is one that could not even be made', async () => {
    const strange = { ...http, kind: 'strange' } as unknown as ProbeSpec;
    expect(await watch({ probes: [strange] })).toEqual({
      verdict: 'inconclusive',
      reason: expect.stringMatching(/^20 requests, within every band, but no probe could say: ./),
    });
  });

  test('is none where no probe is asked through the router', async () => {
    expect(await watch({ probes: [{ ...http, through: 'slot' }] })).toMatchObject({ verdict: 'passed' });
  });
});
