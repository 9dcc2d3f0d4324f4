import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { createHaproxyRequestLog, parseRequest } from '../../../src/providers/metrics/haproxy-log.ts';
import type { RequestRecord } from '../../../src/providers/metrics/port.ts';
import { createHttpProbe } from '../../../src/providers/probes/http.ts';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';
import type { Route, Router } from '../../../src/providers/routers/port.ts';
import { components } from '../../support/components.ts';
import { until } from '../../support/until.ts';
import { freePort, startUpstream } from '../routers/host-haproxy.ts';

describe('requests from the log of haproxy', () => {
  let router: Router;
  let docker: Docker;
  let container: string;
  let blue: Awaited<ReturnType<typeof startUpstream>>;
  let green: Awaited<ReturnType<typeof startUpstream>>;
  let port: number;
  const ref = { project: `log-${process.pid}`, environment: 'production' };

  function route(live: 'blue' | 'green'): Route {
    const server = (slot: 'blue' | 'green', release: string): Route['servers'][number] => ({
      slot,
      release,
      address: `127.0.0.1:${slot === 'blue' ? blue.port : green.port}`,
      weight: 100,
      role: slot === live ? 'live' : 'off',
    });
    return { ...ref, listen: [`127.0.0.1:${port}`], servers: [server('blue', '1.3.0'), server('green', '1.4.0+b.1')] };
  }
  async function get(path = '/'): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } });
    await response.text();
    return response.status;
  }

  beforeAll(async () => {
    const parts = await components('docker', 'router');
    container = parts.router.container;
    docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
    router = await createHaproxyRouter(
      HaproxyRouter.parse({
        kind: 'haproxy',
        configFolder: parts.router.configFolder,
        masterSocket: parts.router.masterSocket,
        statsSocket: parts.router.statsSocket,
        container: { name: container, docker: parts.docker.address },
      }),
    );
    [blue, green, port] = await Promise.all([startUpstream('blue'), startUpstream('green'), freePort()]);
  }, 120_000);
  afterAll(async () => {
    await router.removeRoute(ref);
    await Promise.all([blue.stop(), green.stop()]);
  });

  test('each comes once with its release, time and status, through a reload', async () => {
    const stop = new AbortController();
    const seen: RequestRecord[] = [];
    const since = new Date();
    const reading = (async () => {
      const log = createHaproxyRequestLog({ docker, container });
      for await (const record of log.follow(ref, since.toISOString(), stop.signal)) seen.push(record);
    })();
    await router.ensureTraffic(route('blue'));
    await get();
    await get('/?wait=120');
    await until(() => seen.length === 2, { timeoutMs: 30_000 });
    await router.ensureTraffic(route('green'));
    for (let count = 0; count < 5; count += 1) await get();
    await until(() => seen.length === 7, { timeoutMs: 30_000 });
    stop.abort();
    await reading;
    expect(seen.map(({ release }) => release)).toEqual(['1.3.0', '1.3.0', ...Array<string>(5).fill('1.4.0_b.1')]);
    expect(seen.map(({ slot }) => slot)).toEqual(['blue', 'blue', ...Array<string>(5).fill('green')]);
    expect(seen.every(({ status, broken }) => status === 200 && !broken)).toBe(true);
    expect(seen[1]!.totalMs).toBeGreaterThanOrEqual(120);
    for (const { atMs } of seen) {
      expect(atMs).toBeGreaterThanOrEqual(since.getTime() - 1);
      expect(atMs).toBeLessThanOrEqual(Date.now());
    }
  }, 90_000);

  test('those of probes are none of users', async () => {
    const stop = new AbortController();
    const seen: RequestRecord[] = [];
    await router.ensureTraffic(route('blue'));
    const reading = (async () => {
      const log = createHaproxyRequestLog({ docker, container });
      for await (const record of log.follow(ref, new Date().toISOString(), stop.signal)) seen.push(record);
    })();
    const spec = { kind: 'http', name: 'health', path: '/', method: 'GET', expectStatus: 200 };
    const probe = createHttpProbe(spec as Parameters<typeof createHttpProbe>[0]);
    const subject = {
      ...ref,
      slot: 'blue',
      version: '1.3.0',
      address: `127.0.0.1:${port}`,
      through: 'router',
    } as const;
    for (let count = 0; count < 3; count += 1) {
      expect(await probe.check(subject, new AbortController().signal)).toMatchObject({ verdict: 'passed' });
    }
    await get('/?of=a-user');
    await until(() => seen.length > 0, { timeoutMs: 30_000 });
    stop.abort();
    await reading;
    expect(seen).toMatchObject([{ release: '1.3.0', status: 200 }]);
  }, 90_000);

  test('says when everything that was finished before has been given, and not before, and goes on', async () => {
    await router.ensureTraffic(route('blue'));
    const since = new Date();
    for (let count = 0; count < 30; count += 1) await get();
    const stop = new AbortController();
    const seen: RequestRecord[] = [];
    let seenWhenPresent: number | undefined;
    const reading = (async () => {
      const log = createHaproxyRequestLog({ docker, container });
      const present = (): void => void (seenWhenPresent ??= seen.length);
      for await (const record of log.follow(ref, since.toISOString(), stop.signal, present)) seen.push(record);
    })();
    await until(() => seenWhenPresent !== undefined, { timeoutMs: 30_000 });
    expect(seenWhenPresent).toBe(30);
    await get();
    await until(() => seen.length > 30, { timeoutMs: 30_000 });
    stop.abort();
    await reading;
    expect(seen).toHaveLength(31);
  }, 90_000);

  test('one that nobody could answer has no release and is broken', async () => {
    const stop = new AbortController();
    const seen: RequestRecord[] = [];
    const reading = (async () => {
      const log = createHaproxyRequestLog({ docker, container });
      for await (const record of log.follow(ref, new Date().toISOString(), stop.signal)) seen.push(record);
    })();
    await router.ensureTraffic({ ...route('blue'), servers: [] });
    expect(await get()).toBe(503);
    await until(() => seen.length > 0, { timeoutMs: 30_000 });
    stop.abort();
    await reading;
    expect(seen[0]).toMatchObject({ release: '', status: 503, broken: true });
    expect(seen[0]).not.toHaveProperty('slot');
  }, 90_000);

  test('what is no request of the route is left out', () => {
    const line = '{"at":1,"route":"hello:production","server":"green:1.4.0","status":200,"ta":3,"ts":"--"}';
    expect(parseRequest(line, 'hello:production')).toMatchObject({ release: '1.4.0', totalMs: 3 });
    expect(parseRequest(line.replace('}', ',"by":"-"}'), 'hello:production')).toMatchObject({ release: '1.4.0' });
    expect(parseRequest(line.replace('}', ',"by":"probe"}'), 'hello:production')).toBeUndefined();
    expect(parseRequest(line, 'hello:staging')).toBeUndefined();
    expect(parseRequest('Server hello:production/green:1.4.0 is DOWN', 'hello:production')).toBeUndefined();
    expect(parseRequest('{"at":1,"route":"hello:production"', 'hello:production')).toBeUndefined();
  });
});
