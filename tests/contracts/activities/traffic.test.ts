import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { Place } from '../../../src/activities/places.ts';
import { createReleaseActivities } from '../../../src/activities/release.ts';
import { createTrafficActivities } from '../../../src/activities/traffic.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { Slot } from '../../../src/domain/release.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import type { SlotState } from '../../../src/providers/targets/port.ts';
import type { Router } from '../../../src/providers/routers/port.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { projectYaml } from '../../support/api.ts';
import { type FakeDeploymentLogs, createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { type FakeRouter, createFakeRouter } from '../../support/fakes/router.ts';
import { until } from '../../support/until.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const ref = { project: 'hello', environment: 'production' };
/** No router takes a server at this port. */
const noPort = 1_234_567;

let store: TestStore;
let fence: Fence;
let number: number;
let step = 0;

beforeAll(async () => {
  store = await temporaryStore();
  fence = createFence({ connectionString: store.url });
  await putProject(store.db, { name: 'hello', text: projectYaml('hello'), hash: 'h', diff: '', by: 'ada' });
  const opened = await openDeployment(store.db, {
    ...ref,
    version: '1.0.1',
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  number = opened.input.number;
}, 120_000);

afterAll(async () => {
  await fence.close();
  await store.drop();
}, 60_000);

describe('traffic that moves', () => {
  let router: FakeRouter;
  let logs: FakeDeploymentLogs;

  beforeEach(() => {
    router = createFakeRouter();
    logs = createFakeDeploymentLogs();
  });

  /** Blue serves 1.0.0, green runs 1.0.1. */
  async function move(
    to: Slot,
    backup: Slot | null,
    ports: Readonly<Record<Slot, number>> = { blue: 18_081, green: 18_082 },
    through: Router = router,
    { state = 'running', back = false }: { readonly state?: SlotState['state']; readonly back?: boolean } = {},
  ): Promise<{ readonly movedAt: string }> {
    const slots = [
      { slot: 'blue', release: { version: '1.0.0' }, state },
      { slot: 'green', release: { version: '1.0.1' }, state: 'running' },
    ];
    const place = {
      spec: {
        project: ref.project,
        name: ref.environment,
        target: { name: 'traffic-target' },
        router: { listen: { address: '127.0.0.1', port: 8_080 }, slots: ports },
        service: { health: { path: '/health' } },
      },
      target: { readSlots: () => Promise.resolve(slots) },
      router: through,
    } as unknown as Place;
    const activities = createTrafficActivities({ store, places: { open: () => Promise.resolve(place) }, fence, logs });
    step += 1;
    const input = { ...ref, number, step, slot: to, backup, ...(back ? { back } : {}) };
    return await new MockActivityEnvironment().run(() => activities.ensureTraffic(input));
  }

  test('goes to the new release, with the one before behind it', async () => {
    await move('green', 'blue');
    expect(router.applied.map(({ servers }) => servers)).toEqual([
      [
        expect.objectContaining({ slot: 'green', release: '1.0.1', role: 'live' }),
        expect.objectContaining({ slot: 'blue', release: '1.0.0', role: 'backup' }),
      ],
    ]);
    await until(() => logs.texts.size === 1, { what: 'the log of the move to be written' });
    const [text] = logs.texts.values();
    expect(text).toMatch(/^to 1\.0\.1 in green \(live\), 1\.0\.0 in blue \(backup\)\nthe router serves so since 20/);
  });

  test('does not leave a release that it could not come back to', async () => {
    const moving = move('green', 'blue', { blue: noPort, green: 18_082 });
    await expect(moving).rejects.toMatchObject({ type: 'RouterConfigInvalid', nonRetryable: true });
    expect(router.applied).toEqual([]);
  });

  test.each(['created', 'exited'] as const)('does not go back to a release that is %s', async (state) => {
    const moving = move('blue', null, undefined, router, { state, back: true });
    await expect(moving).rejects.toMatchObject({
      type: 'ReleaseMissing',
      message: expect.stringContaining('1.0.0 is in blue of hello/production, but it does not run') as unknown,
    });
    expect(router.applied).toEqual([]);
  });

  test('goes back to a release that its engine is starting again', async () => {
    await move('blue', null, undefined, router, { state: 'restarting', back: true });
    expect(router.applied).toHaveLength(1);
  });

  test.each([
    ['a request is under way', { current: 1, finishing: 1, lingering: 0 }],
    ['a connection may still bring it one', { current: 0, finishing: 0, lingering: 1 }],
  ])('a release is not stopped while %s', async (_what, sessions) => {
    const stopped: Slot[] = [];
    let asked = 0;
    const readSessions: Router['readSessions'] = async (of, slot) => {
      asked += 1;
      // Until then it was seen to wait.
      if (asked === 2) throw new ProviderError('RouterUnavailable', 'slow to answer');
      if (asked === 3) router.setSessions('green', { current: 0, finishing: 0, lingering: 0 });
      expect(stopped).toEqual([]);
      return router.readSessions(of, slot);
    };
    router.setSessions('green', sessions);
    const place = {
      spec: { project: ref.project, name: ref.environment, target: { name: 'traffic-target' } },
      target: { ensureSlotStopped: ({ slot }: { slot: Slot }) => Promise.resolve(stopped.push(slot)) },
      router: { ...router, readSessions },
    } as unknown as Place;
    const activities = createReleaseActivities({
      store,
      places: { open: () => Promise.resolve(place) },
      fence,
      logs,
    } as unknown as Parameters<typeof createReleaseActivities>[0]);
    step += 1;
    const input = {
      ...ref,
      number,
      step,
      version: '1.0.1',
      slot: 'green',
      drainMs: 60_000,
      graceMs: 1,
      remove: false,
    } as const;
    await new MockActivityEnvironment().run(() => activities.ensureReleaseStopped(input));
    expect(asked).toBe(3);
    expect(stopped).toEqual(['green']);
  });

  test('asks for no way back where there is none', async () => {
    await move('green', null, { blue: noPort, green: 18_082 });
    expect(router.applied).toHaveLength(1);
  });

  test('does not stay for a router that cannot check the way back, but takes the way forward', async () => {
    const checkRoute = (): Promise<void> => Promise.reject(new ProviderError('RouterUnavailable', 'no answer'));
    await move('green', 'blue', undefined, { ...router, checkRoute });
    expect(router.applied).toHaveLength(1);
  });
});
