import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ContainerProbeSpec, HttpProbeSpec, TcpProbeSpec } from '../../../src/definition/specs/probe.ts';
import { createContainerProbe } from '../../../src/providers/probes/container.ts';
import { createHttpProbe } from '../../../src/providers/probes/http.ts';
import type { ProbeSubject, ProbeTry } from '../../../src/providers/probes/port.ts';
import { runProbe } from '../../../src/providers/probes/run.ts';
import { createTcpProbe } from '../../../src/providers/probes/tcp.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { freePort } from '../routers/host-haproxy.ts';

const shared = { retries: 0, intervalMs: 20, timeoutMs: 30_000, through: 'slot' } as const;
const never = new AbortController().signal;
let server: Server;
let subject: ProbeSubject;
let failures = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/slow') return;
    if (request.url === '/flaky' && failures > 0) {
      failures -= 1;
      response.statusCode = 503;
    }
    if (request.url === '/redirect') response.writeHead(302, { location: '/ok' });
    response.end(request.url === '/big' ? 'x'.repeat(1_000_000) : JSON.stringify({ version: '1.4.0' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  subject = {
    project: 'hello',
    environment: 'production',
    slot: 'green',
    version: '1.4.0',
    address: `127.0.0.1:${port}`,
    through: 'slot',
  };
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function http(more: Partial<HttpProbeSpec> = {}): HttpProbeSpec {
  return {
    kind: 'http',
    name: 'page',
    method: 'GET',
    path: '/ok',
    expectStatus: 200,
    ...shared,
    ...more,
  };
}
/** One try, with the time that the runner would give it. */
async function once(spec: HttpProbeSpec, of = subject): Promise<ProbeTry> {
  return createHttpProbe(spec).check(of, AbortSignal.timeout(spec.timeoutMs));
}

describe('http', () => {
  test('passes with the status, and says address, status and time', async () => {
    const { verdict, detail } = await once(http());
    expect(verdict).toBe('passed');
    expect(detail).toMatch(new RegExp(`^GET http://${subject.address}/ok: 200 in \\d+ ms$`));
  });

  test.each([
    ['another status', http({ expectStatus: 204 }), 'expected 204'],
    ['a redirect', http({ path: '/redirect' }), '302'],
    ['a body without the text', http({ expectBody: 'welcome' }), 'lacks "welcome"'],
    ['no answer in time', http({ path: '/slow', timeoutMs: 300 }), 'no answer in time'],
  ])('fails for %s', async (_what, spec, words) => {
    const { verdict, detail } = await once(spec);
    expect(verdict).toBe('failed');
    expect(detail).toContain(words);
  });

  test('fails when another release answers in its place', async () => {
    expect((await once(http({ versionField: 'version' }))).verdict).toBe('passed');
    const other = await once(http({ versionField: 'version' }), { ...subject, version: '1.5.0' });
    expect(other).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('expected 1.5.0'),
      said: '"1.4.0"',
    });
  });

  test('keeps what the service said apart from what the probe says, for it may hold secrets', async () => {
    const { detail, said } = await once(http({ expectStatus: 204 }));
    expect(detail).not.toContain('1.4.0');
    expect(said).toBe('{"version":"1.4.0"}');
    expect(await once(http({ expectBody: 'welcome' }))).not.toHaveProperty('said');
    expect(await once(http())).not.toHaveProperty('said');
  });

  test('reads no more of a body than it needs', async () => {
    expect((await once(http({ path: '/big', expectBody: 'xxx' }))).verdict).toBe('passed');
  });

  test('fails where nobody listens', async () => {
    const nobody = { ...subject, address: `127.0.0.1:${await freePort()}` };
    expect(await once(http(), nobody)).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('tcp', () => {
  const spec: TcpProbeSpec = { kind: 'tcp', name: 'port', ...shared };

  test('passes where a connection is taken, fails where not', async () => {
    expect(await createTcpProbe(spec).check(subject, never)).toMatchObject({ verdict: 'passed' });
    const nobody = { ...subject, address: `127.0.0.1:${await freePort()}` };
    expect(await createTcpProbe(spec).check(nobody, never)).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('container', () => {
  const spec: ContainerProbeSpec = { kind: 'container', name: 'container', ...shared };
  const image = { name: 'hello', repository: 'registry.example/hello', digest: `sha256:${'0'.repeat(64)}` };

  async function inGreen(version: string): Promise<ReturnType<typeof createFakeTarget>> {
    const target = createFakeTarget();
    await target.ensureSlot({
      project: 'hello',
      environment: 'production',
      slot: 'green',
      release: { version, commit: 'c0ffee', images: [image] },
      image,
      deployment: 1,
      env: {},
      secretEnv: {},
      hostPort: 1,
      containerPort: 8080,
      resources: {},
    });
    return target;
  }

  test('passes for the right release, running', async () => {
    const target = await inGreen('1.4.0');
    expect(await createContainerProbe(spec, target).check(subject, never)).toMatchObject({ verdict: 'passed' });
  });

  test('fails for another release, for one that ended, and for none', async () => {
    const other = await inGreen('1.3.0');
    expect(await createContainerProbe(spec, other).check(subject, never)).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('1.3.0'),
    });
    const ended = await inGreen('1.4.0');
    await ended.ensureSlotStopped(subject, { graceMs: 0 });
    expect(await createContainerProbe(spec, ended).check(subject, never)).toMatchObject({ verdict: 'failed' });
    expect(await createContainerProbe(spec, createFakeTarget()).check(subject, never)).toMatchObject({
      verdict: 'failed',
    });
  });

  test('is errored, never passed, when the target cannot be asked', async () => {
    const away = { readSlots: () => Promise.reject(new Error('gone')) };
    expect(await createContainerProbe(spec, away).check(subject, never)).toMatchObject({
      verdict: 'errored',
      detail: 'the target could not be asked',
      said: 'gone',
    });
  });
});

describe('the tries of a probe', () => {
  test('go on until one passes', async () => {
    failures = 2;
    const spec = http({ path: '/flaky', retries: 5 });
    const seen: string[] = [];
    const result = await runProbe(createHttpProbe(spec), spec, subject, never, {
      onTry: ({ verdict }) => void seen.push(verdict),
    });
    expect(result).toMatchObject({ verdict: 'passed', tries: 3, detail: expect.stringContaining('(try 3)') });
    expect(seen).toEqual(['failed', 'failed', 'passed']);
  });

  test('end with the last of them', async () => {
    failures = 99;
    const spec = http({ path: '/flaky', retries: 2 });
    const result = await runProbe(createHttpProbe(spec), spec, subject, never);
    failures = 0;
    expect(result).toMatchObject({ verdict: 'failed', tries: 3 });
  });

  test('are not used up by what fails while the release settles, which ends with the first pass', async () => {
    failures = 4;
    const spec = http({ path: '/flaky', retries: 0, intervalMs: 0 });
    const counted: boolean[] = [];
    const onTry = (_last: ProbeTry, counts: boolean): void => void counted.push(counts);
    const result = await runProbe(createHttpProbe(spec), spec, subject, never, { settleMs: 60_000, onTry });
    expect(result).toMatchObject({ verdict: 'passed', tries: 5 });
    expect(counted).toEqual([false, false, false, false, false]);
    expect(result.durationMs).toBeLessThan(30_000);
    const well = await runProbe(createHttpProbe(http()), http(), subject, never, { settleMs: 60_000 });
    expect(well).toMatchObject({ verdict: 'passed', tries: 1 });
  });

  test('are all there when the release has settled, however long a pause is', async () => {
    failures = Infinity;
    const spec = http({ path: '/flaky', retries: 1, intervalMs: 600 });
    const counted: boolean[] = [];
    const onTry = (_last: ProbeTry, counts: boolean): void => void counted.push(counts);
    const result = await runProbe(createHttpProbe(spec), spec, subject, never, { settleMs: 300, onTry });
    failures = 0;
    expect(result.verdict).toBe('failed');
    expect(counted[0]).toBe(false);
    expect(counted.filter(Boolean)).toHaveLength(2);
    expect(counted.slice(-2)).toEqual([true, true]);
    // What is left of settling, not a whole pause; and one pause between the two that count.
    expect(result.durationMs).toBeGreaterThanOrEqual(850);
    expect(counted.length).toBeLessThanOrEqual(4);
  });

  test('of a port that refuses are spaced while the release settles, also where no pause is asked for', async () => {
    const nobody = { ...subject, address: `127.0.0.1:${await freePort()}` };
    const spec: TcpProbeSpec = { kind: 'tcp', name: 'port', ...shared, intervalMs: 0 };
    const result = await runProbe(createTcpProbe(spec), spec, nobody, never, { settleMs: 500 });
    expect(result.verdict).toBe('failed');
    expect(result.tries).toBeGreaterThan(2);
    expect(result.tries).toBeLessThanOrEqual(9);
  });

  test('of a container count at once: what has ended does not settle', async () => {
    const spec: ContainerProbeSpec = { kind: 'container', name: 'container', ...shared };
    const result = await runProbe(createContainerProbe(spec, createFakeTarget()), spec, subject, never, {
      settleMs: 60_000,
    });
    expect(result).toMatchObject({ verdict: 'failed', tries: 1 });
  });

  test('end at once with the signal', async () => {
    const stop = new AbortController();
    const spec = http({ path: '/slow', timeoutMs: 10_000, retries: 5 });
    const running = runProbe(createHttpProbe(spec), spec, subject, stop.signal);
    stop.abort(new Error('stopped by the test'));
    await expect(running).rejects.toThrow('stopped by the test');
    const leave = new AbortController();
    const refused = http({ path: '/redirect', intervalMs: 60_000 });
    await expect(
      runProbe(createHttpProbe(refused), refused, subject, leave.signal, {
        settleMs: 60_000,
        onTry: () => leave.abort(new Error('stopped while it settles')),
      }),
    ).rejects.toMatchObject({ name: 'AbortError' });
  });
});
