import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import Docker from 'dockerode';
import type { WatchActivities } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createTrafficActivities } from '../../../src/activities/traffic.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import type { WatchPolicy } from '../../../src/domain/policy.ts';
import type { ReleaseImage, Slot } from '../../../src/domain/release.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import { createHaproxyRequestLog } from '../../../src/providers/metrics/haproxy-log.ts';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';
import type { Router } from '../../../src/providers/routers/port.ts';
import { DockerTarget, createDockerTarget } from '../../../src/providers/targets/docker.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { projectYaml } from '../../support/api.ts';
import { components } from '../../support/components.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { buildServiceImage } from '../../support/service-image.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';
import { freePort } from '../routers/host-haproxy.ts';

const service = `
import { createServer } from 'node:http';
createServer((_request, response) => response.end(process.env.SLIPWAY_VERSION)).listen(8080);
process.on('SIGTERM', () => process.exit(0));
`;

const project = `settling-${process.pid}`;
const ref = { project, environment: 'production' };
const versions = { blue: '1.0.0', green: '1.0.1' } as const;

let store: TestStore;
let fence: Fence;
let docker: Docker;
let target: Target;
let router: Router;
let image: ReleaseImage;
let number: number;
let listenPort: number;
let slots: Readonly<Record<Slot, number>>;
let routerContainer: string;
let step = 0;

beforeAll(async () => {
  const parts = await components('docker', 'registry', 'nodeImage', 'router');
  docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
  routerContainer = parts.router.container;
  image = await buildServiceImage({
    dockerSocket: parts.docker.address.replace('unix://', ''),
    registry: parts.registry.address,
    base: parts.nodeImage.image,
    repository: 'slipway-test/settling',
    tag: '1',
    files: { 'service.mjs': service },
  });
  target = await createDockerTarget(DockerTarget.parse({ kind: 'docker', address: parts.docker.address }));
  const { configFolder, masterSocket, statsSocket, container } = parts.router;
  router = await createHaproxyRouter(
    HaproxyRouter.parse({
      kind: 'haproxy',
      configFolder,
      masterSocket,
      statsSocket,
      container: { name: container, docker: parts.docker.address },
    }),
  );
  listenPort = await freePort();
  slots = { blue: await freePort(), green: await freePort() };
  store = await temporaryStore();
  fence = createFence({ connectionString: store.url });
  await putProject(store.db, { name: project, text: projectYaml(project), hash: 'h', diff: '', by: 'ada' });
  const opened = await openDeployment(store.db, {
    ...ref,
    version: versions.green,
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  number = opened.input.number;
}, 240_000);

afterAll(async () => {
  await router.removeRoute(ref);
  for (const slot of ['blue', 'green'] as const) await target.ensureSlotRemoved({ ...ref, slot }, { graceMs: 0 });
  await fence.close();
  await store.drop();
}, 60_000);

function place(): Place {
  const tries = { retries: 3, intervalMs: 200, timeoutMs: 5_000 };
  return {
    spec: {
      project,
      name: ref.environment,
      target: { name: project },
      router: { kind: 'haproxy', listen: { address: '127.0.0.1', port: listenPort }, slots },
      service: { health: { path: '/' } },
      probes: [
        { kind: 'container', name: 'container', through: 'both', ...tries },
        { kind: 'http', name: 'health', method: 'GET', path: '/', expectStatus: 200, through: 'both', ...tries },
      ],
    },
    release: { version: versions.green },
    target,
    router,
  } as unknown as Place;
}

async function traffic(to: { readonly backup: Slot | null; readonly settles?: boolean }): Promise<void> {
  const places = { open: () => Promise.resolve(place()) };
  const activities = createTrafficActivities({ store, places, fence, logs: createFakeDeploymentLogs() });
  step += 1;
  const input = { ...ref, number, step, slot: 'green' as const, ...to };
  await new MockActivityEnvironment().run(() => activities.ensureTraffic(input));
}

async function start(slot: Slot): Promise<void> {
  await target.ensureSlot({
    ...ref,
    slot,
    release: { version: versions[slot], commit: 'c0ffee', images: [image] },
    image,
    deployment: number,
    env: {},
    secretEnv: {},
    hostPort: slots[slot],
    containerPort: 8080,
    resources: {},
    stopGraceMs: 1_000,
  });
  await target.awaitHealthy({ ...ref, slot }, { timeoutMs: 60_000, path: '/' });
}

async function ask(): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${listenPort}/`, { headers: { connection: 'close' } });
  return `${response.status} ${await response.text()}`;
}

/** As the kernel does for want of memory; the engine does not start it again. */
async function kill(slot: Slot): Promise<void> {
  const found = (await target.readSlots(ref)).find((each) => each.slot === slot);
  await docker.getContainer(found?.id ?? '').kill();
}

describe('a release that dies at the end of its watch', () => {
  beforeEach(async () => {
    await start('blue');
    await start('green');
    await traffic({ backup: 'blue' });
    await until(async () => (await ask()) === '200 1.0.1', { what: 'the new release to answer' });
  }, 120_000);

  test('keeps its backup: it is not settled, and users are answered by the release before', async () => {
    await kill('green');
    await expect(traffic({ backup: null, settles: true })).rejects.toMatchObject({
      type: 'ReleaseDegraded',
      nonRetryable: true,
      message: expect.stringContaining(`1.0.1 in green of ${project}/production does not run: it is exited`) as unknown,
    });
    expect((await router.readTraffic(ref)).rendered?.servers).toMatchObject([
      { slot: 'green', role: 'live' },
      { slot: 'blue', role: 'backup' },
    ]);
    for (let count = 0; count < 20; count += 1) expect(await ask()).toBe('200 1.0.0');
  }, 60_000);

  test('keeps it too where its container runs, but the router does not reach it', async () => {
    const found = (await target.readSlots(ref)).find((each) => each.slot === 'green');
    const container = docker.getContainer(found?.id ?? '');
    // Its process stops, and the engine knows nothing of it.
    const { State } = await container.inspect();
    process.kill(State.Pid, 'SIGSTOP');
    try {
      await until(
        async () => {
          const { running } = await router.readTraffic(ref);
          if (running === null || running === 'unreachable') return false;
          return running.servers.some(({ slot, up }) => slot === 'green' && !up);
        },
        { timeoutMs: 40_000, what: 'the router to find it down' },
      );
      await expect(traffic({ backup: null, settles: true })).rejects.toMatchObject({
        type: 'ReleaseDegraded',
        message: expect.stringContaining('The router does not reach 1.0.1') as unknown,
      });
      expect(await ask()).toBe('200 1.0.0');
    } finally {
      process.kill(State.Pid, 'SIGCONT');
    }
  }, 90_000);

  test('does not pass its watch, whatever users got before', async () => {
    const policy: WatchPolicy = {
      durationMs: 4_000,
      intervalMs: 1_000,
      warn: { cpuRatio: 2, memoryRatio: 2, p95Ms: 60_000, errorRatio: 0.01 },
      rollback: {
        errorRatio: 0.5,
        errorWindowMs: 60_000,
        p95Ms: 60_000,
        p95SustainedMs: 60_000,
        databaseFailures: 3,
        logMatches: 0,
      },
      logPatterns: [],
      minSamples: 20,
      onInconclusive: 'succeed',
    };
    const activities = createWatchActivities({
      places: { open: () => Promise.resolve(place()) },
      databases: { of: () => Promise.resolve(undefined) },
      sendNotice: () => Promise.resolve(),
      openRequestLog: () => Promise.resolve(createHaproxyRequestLog({ docker, container: routerContainer })),
      recordSample: () => undefined,
      logs: createFakeDeploymentLogs(),
    });
    const endMs = Date.now() + policy.durationMs;
    const input: Parameters<WatchActivities['watchRelease']>[0] = {
      ...ref,
      number,
      slot: 'green',
      version: versions.green,
      policy,
      startedAt: new Date().toISOString(),
      until: new Date(endMs).toISOString(),
      production: true,
    };
    const watching = new MockActivityEnvironment().run(() => activities.watchRelease(input));
    for (let count = 0; count < 25; count += 1) expect(await ask()).toBe('200 1.0.1');
    await until(() => Date.now() > endMs - 1_000, { everyMs: 10, what: 'the last second of the watch' });
    await kill('green');
    expect(await watching).toMatchObject({
      verdict: 'failed',
      reason: expect.stringMatching(/^a probe failed with all its retries: container: .* is exited/) as unknown,
    });
    expect(await ask()).toBe('200 1.0.0');
  }, 60_000);
});

test('one that serves is settled: it loses its backup', async () => {
  await start('blue');
  await start('green');
  await traffic({ backup: 'blue' });
  await traffic({ backup: null, settles: true });
  expect((await router.readTraffic(ref)).rendered?.servers).toMatchObject([{ slot: 'green', role: 'live' }]);
  expect(await ask()).toBe('200 1.0.1');
}, 60_000);
