import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ProbeReport, WatchReport } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { type WatchState, startWatch } from '../../../src/activities/watch-judge.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import type { ProbeSpec } from '../../../src/definition/specs/probe.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { until } from '../../support/until.ts';

const password = 'p4ssword-of-the-database';
const secrets = { TOKEN: 'a-token-of-the-service', DATABASE_URL: `postgres://app:${password}@db:5432/hello` };
/** What a service says when it looks for its mistake; the password of the cache is no secret that Slipway knows. */
const indiscreet = `cannot connect to ${secrets.DATABASE_URL} with ${secrets.TOKEN}, nor redis://:of-the-cache@cache:6379`;
const leaks = new RegExp(`${password}|${secrets.TOKEN}|of-the-cache`);

let service: Server;
let port: number;
beforeEach(async () => {
  service = createServer((_request, response) => response.writeHead(503).end(`${' '.repeat(20)}sorry: ${indiscreet}`));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  ({ port } = service.address() as AddressInfo);
});
afterEach(async () => {
  service.closeAllConnections();
  await new Promise((resolve) => service.close(resolve));
});

const tries = { retries: 1, intervalMs: 10, timeoutMs: 5_000, through: 'both' } as const;
const http: ProbeSpec = { kind: 'http', name: 'page', path: '/', method: 'GET', expectStatus: 200, ...tries };
const container: ProbeSpec = { kind: 'container', name: 'container', ...tries };

async function untilAborted(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Everything that the activities let out: what they return, what they heartbeat, and what they write into their log. */
interface Seen<T> {
  readonly result: T;
  readonly beats: readonly unknown[];
  readonly text: string;
}

interface Scene {
  readonly secrets?: 'missing';
  readonly probes?: readonly ProbeSpec[];
  readonly target?: Partial<Target>;
  readonly ping?: () => Promise<void>;
  readonly earlier?: Partial<WatchState>;
}

function scene(given: Scene) {
  const logs = createFakeDeploymentLogs(given.secrets ?? secrets);
  const place = {
    spec: {
      project: 'hello',
      name: 'staging',
      probes: given.probes ?? [],
      secrets: {},
      database: { url: {} },
      router: { listen: { address: '127.0.0.1', port }, slots: { blue: port, green: port } },
    },
    release: { version: '1.4.0' },
    target: { ...createFakeTarget(), ...given.target },
  } as unknown as Place;
  const activities = createWatchActivities({
    places: { open: () => Promise.resolve(place) },
    databases: { of: () => Promise.resolve({ ping: given.ping ?? (() => Promise.resolve()) } as never) },
    sendNotice: () => Promise.resolve(),
    openRequestLog: () =>
      Promise.resolve({
        async *follow(_route, _since, signal, onPresent) {
          onPresent?.();
          await untilAborted(signal);
          yield* [];
        },
      }),
    recordSample: () => undefined,
    logs,
  });
  const of = { project: 'hello', environment: 'staging', number: 7, slot: 'green', version: '1.4.0' } as const;

  async function run<T>(work: () => Promise<T>): Promise<Seen<T>> {
    const startedAt = new Date().toISOString();
    const environment = new MockActivityEnvironment(
      given.earlier === undefined ? {} : { heartbeatDetails: { ...startWatch(startedAt), ...given.earlier } },
    );
    const beats: unknown[] = [];
    environment.on('heartbeat', (detail: unknown) => void beats.push(detail));
    const result = await environment.run<[], T, () => Promise<T>>(work);
    await until(() => logs.texts.size > 0, { what: 'the log to be written' });
    return { result, beats, text: [...logs.texts.values()].join('') };
  }

  return {
    probe: () => run<ProbeReport>(() => activities.runProbes({ ...of, through: 'slot' })),
    /** @param seconds - how long it watches, unless something ends it before. */
    watch: (seconds = 30) =>
      run<WatchReport>(() =>
        activities.watchRelease({
          ...of,
          policy: {
            durationMs: 60_000,
            intervalMs: 20,
            warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
            rollback: {
              ...{ errorRatio: 0.05, errorWindowMs: 300_000, p95Ms: 5_000, p95SustainedMs: 60_000 },
              ...{ databaseFailures: 1, logMatches: 1 },
            },
            logPatterns: ['FATAL'],
            minSamples: 20,
            onInconclusive: 'succeed',
          },
          startedAt: new Date().toISOString(),
          until: new Date(Date.now() + seconds * 1_000).toISOString(),
          production: false,
        }),
      ),
  };
}

function says(text: string): Partial<Target> {
  return {
    tailLogs: async function* (_ref, _since, signal, onPresent) {
      yield { at: new Date().toISOString(), stream: 'stderr', text };
      onPresent?.();
      await untilAborted(signal);
    },
  };
}

const refusal = (): Promise<never> =>
  Promise.reject(new ProviderError('DatabaseRefused', `the database refuses: ${indiscreet}`));

const withheld = 'what was said is not repeated, for the secrets of this environment could not be read';

describe('what the service says of itself', () => {
  test('in the body of a probe: goes without secrets to the workflow and into the log, cut after they were taken out', async () => {
    service.removeAllListeners('request');
    service.on('request', (_request, response) => response.end(`${'x'.repeat(190)} ${indiscreet}`));
    const seen = await scene({ probes: [{ ...http, expectStatus: 204 }] }).probe();
    expect(JSON.stringify(seen)).not.toMatch(leaks);
    // The first half of a secret that 200 characters end in is one too.
    expect(JSON.stringify(seen)).not.toContain('postgres://app:p');
    expect(seen.result.verdict).toBe('failed');
    expect(seen.result.probes[0]?.detail).toMatch(/: 200 in \d+ ms, expected 204 \(try 2\): x{190} cannot co$/);
    expect(seen.text).toContain('page failed: GET http://127.0.0.1:');
  });

  test('as its version: is cut, too', async () => {
    service.removeAllListeners('request');
    service.on('request', (_request, response) =>
      response.end(JSON.stringify({ version: `${secrets.TOKEN} ${'v'.repeat(10_000)}` })),
    );
    const seen = await scene({ probes: [{ ...http, versionField: 'version' }] }).probe();
    expect(JSON.stringify(seen)).not.toMatch(leaks);
    expect(seen.result.probes[0]?.detail).toMatch(
      /version is another than the expected 1\.4\.0 \(try 2\): "\*\*\* v+$/,
    );
    expect(seen.result.probes[0]?.detail.length).toBeLessThan(400);
  });

  test('in a critical line of the watch: is the reason without secrets', async () => {
    const seen = await scene({ target: says(`FATAL ${indiscreet}`) }).watch();
    expect(seen.result).toMatchObject({
      verdict: 'failed',
      reason: 'the log has a critical line: FATAL cannot connect to *** with ***, nor redis://:***@cache:6379 (FATAL)',
    });
    expect(JSON.stringify(seen)).not.toMatch(leaks);
    expect(seen.text).toContain('matches FATAL: FATAL cannot connect to ***');
  });

  test('to a probe of the watch: is the reason without secrets', async () => {
    const seen = await scene({ probes: [http] }).watch();
    expect(seen.result).toMatchObject({
      verdict: 'failed',
      reason: expect.stringMatching(/503 in \d+ ms, expected 200 \(try 2\): sorry: cannot connect to \*\*\* with/),
      badProbe: expect.stringContaining('sorry: cannot connect to ***'),
    });
    expect(JSON.stringify(seen)).not.toMatch(leaks);
  });

  test('or its database or engine, about which it is asked: goes without secrets', async () => {
    const database = await scene({ ping: refusal }).watch();
    expect(database.result.reason).toContain('the database refuses: cannot connect to ***');
    const engine = await scene({
      probes: [container],
      target: { readSlots: () => Promise.reject(new Error(`no such thing: ${indiscreet}`)) },
    }).probe();
    expect(engine.result.probes[0]?.detail).toMatch(
      /^the target could not be asked \(try 2\): no such thing: .*\*\*\*/,
    );
    for (const seen of [database, engine]) expect(JSON.stringify(seen)).not.toMatch(leaks);
  });

  test('in a state that an older worker left: is cleaned before it goes on', async () => {
    const said = { lastMatch: `FATAL ${indiscreet}`, badProbe: indiscreet, databaseProblem: indiscreet };
    const seen = await scene({ earlier: said }).watch(1.2);
    const states = seen.beats.filter((beat) => beat !== undefined);
    expect(states.at(-1)).toMatchObject({ badProbe: expect.stringContaining('cannot connect to ***') });
    expect(JSON.stringify(seen)).not.toMatch(leaks);
  });

  test('is not repeated at all where the secrets cannot be read; the kind of it is', async () => {
    const missing = { secrets: 'missing' } as const;
    const probed = await scene({ ...missing, probes: [http] }).probe();
    expect(probed.result.probes[0]?.detail).toMatch(/503 in \d+ ms, expected 200 \(try 2\): \(what was said is not/);
    const line = await scene({ ...missing, target: says(`FATAL ${indiscreet}`) }).watch();
    expect(line.result.reason).toBe(`the log has a critical line: (${withheld}) (FATAL)`);
    const database = await scene({ ...missing, ping: refusal }).watch();
    expect(database.result.reason).toMatch(new RegExp(`: DatabaseRefused: ${withheld}$`));
    for (const seen of [probed, line, database]) expect(JSON.stringify(seen)).not.toMatch(leaks);
  });
});
