import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { ReleaseActivities } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createReleaseActivities } from '../../../src/activities/release.ts';
import { underLease } from '../../../src/effects/lease.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
});

afterEach(() => {
  jest.useRealTimers();
});

const minuteMs = 60_000;
const change = { project: 'hello', environment: 'production', number: 7, step: 1, slot: 'blue' } as const;

/** The activities over a target, of a service that is given so long to end. */
function activitiesOver(over: Partial<Target>, stopGraceMs: number): ReleaseActivities {
  const place = {
    pair: {},
    spec: {
      project: 'hello',
      name: 'production',
      target: { name: 'hello-production' },
      router: { slots: { blue: 1, green: 2 } },
      service: { image: 'web', port: 80, health: { path: '/', timeoutMs: 100 }, resources: {}, stopGraceMs },
      secrets: {},
    },
    release: {
      version: '1.0.0',
      commit: 'c'.repeat(40),
      images: [{ name: 'web', repository: 'registry:5000/web', digest: `sha256:${'a'.repeat(64)}` }],
    },
    target: { ...createFakeTarget(), ...over },
    router: { readSessions: () => Promise.resolve({ current: 0, lingering: 0 }) },
  } as unknown as Place;
  return createReleaseActivities({
    store: {} as never,
    places: { open: () => Promise.resolve(place) },
    materials: { of: () => Promise.resolve({ configuration: { env: {} }, migrations: [] } as never) },
    fence: {} as never,
    trust: { verify: () => Promise.resolve([]) } as never,
    readSecrets: () => Promise.resolve({}),
    logs: createFakeDeploymentLogs(),
  });
}

/** Lets the clock run until it has ended, or for so long. @returns `done`, the type of its failure, or `goes on`. */
async function outcomeWithin(ms: number, work: () => Promise<void>): Promise<string> {
  const lease = { target: 'hello-production', signal: new AbortController().signal, check: () => undefined };
  let outcome = 'goes on';
  void activityEnvironment()
    .run(() => underLease(lease as never, work))
    .then(
      () => (outcome = 'done'),
      (error: unknown) => (outcome = (error as { readonly type?: string }).type ?? String(error)),
    );
  for (let at = 0; at < ms && outcome === 'goes on'; at += 1_000) await jest.advanceTimersByTimeAsync(1_000);
  return outcome;
}

/** Ends after so long, without a word before. */
function silentFor(ms: number): () => Promise<void> {
  return () => new Promise((resolve) => setTimeout(resolve, ms));
}

describe('a service that is given long to end', () => {
  const graceMs = 12 * minuteMs;
  const named = { ...change, version: '1.0.0' };

  test.each([true, false])('is not taken for hung while it is stopped (removed: %s)', async (remove) => {
    const ends = silentFor(11 * minuteMs);
    const activities = activitiesOver({ ensureSlotStopped: ends, ensureSlotRemoved: ends }, graceMs);
    const stop = { ...named, drainMs: 0, graceMs, remove };
    expect(await outcomeWithin(15 * minuteMs, () => activities.ensureReleaseStopped(stop))).toBe('done');
  });

  test('nor while it makes room for the next one in its slot', async () => {
    const placed = { changed: true, name: 'web', id: '1' };
    const over: Partial<Target> = {
      ensureSlot: async () => {
        await silentFor(11 * minuteMs)();
        return placed;
      },
      awaitHealthy: () => Promise.resolve(1),
      tailLogs: async function* () {
        // It says nothing.
      },
    };
    const activities = activitiesOver(over, graceMs);
    const start = { ...named, readyMs: 1_000 };
    expect(await outcomeWithin(15 * minuteMs, () => activities.ensureReleaseRunning(start))).toBe('done');
  });

  test('is taken for hung when it has not ended long after', async () => {
    const activities = activitiesOver({ ensureSlotStopped: silentFor(60 * minuteMs) }, graceMs);
    const stop = { ...named, drainMs: 0, graceMs, remove: false };
    expect(await outcomeWithin(15 * minuteMs, () => activities.ensureReleaseStopped(stop))).toBe('StepStalled');
  });
});

test('a platform that hangs is noticed after five minutes where a service ends quickly', async () => {
  const activities = activitiesOver({ ensureSlotStopped: silentFor(60 * minuteMs) }, 30_000);
  const stop = { ...change, version: '1.0.0', drainMs: 0, graceMs: 30_000, remove: false };
  expect(await outcomeWithin(6 * minuteMs, () => activities.ensureReleaseStopped(stop))).toBe('StepStalled');
});
