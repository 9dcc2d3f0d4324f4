import { describe, expect, test } from '@jest/globals';
import type { ReleaseActivities } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createReleaseActivities } from '../../../src/activities/release.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { underLease } from '../../../src/effects/lease.ts';
import { mask } from '../../../src/effects/redact.ts';
import type { Route, Router } from '../../../src/providers/routers/port.ts';
import type { Target } from '../../../src/providers/targets/port.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeRouter } from '../../support/fakes/router.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';
import { until } from '../../support/until.ts';

const secret = 's3cret-of-the-service';
const encoded = Buffer.from(secret).toString('base64');
const image = { name: 'web', repository: 'registry:5000/web', digest: `sha256:${'a'.repeat(64)}` };

type Running = Parameters<ReleaseActivities['ensureReleaseRunning']>[0];

const input: Running = {
  project: 'hello',
  environment: 'production',
  number: 7,
  step: 1,
  slot: 'blue',
  version: '1.0.0',
  readyMs: 1_000,
};

/** Starts a release whose service has a secret, on a target that answers as told. */
async function start(
  over: Partial<Target>,
  beats: unknown[] = [],
  logs = createFakeDeploymentLogs({ DATABASE_PASSWORD: secret }),
  { given = {}, router = createFakeRouter() }: { readonly given?: Partial<Running>; readonly router?: Router } = {},
) {
  const place = {
    pair: {},
    spec: {
      project: 'hello',
      name: 'production',
      target: { name: 'hello-production' },
      router: { listen: { address: '127.0.0.1', port: 8_080 }, slots: { blue: 1, green: 2 } },
      service: { image: 'web', port: 80, health: { path: '/', timeoutMs: 100 }, resources: {}, stopGraceMs: 1 },
      secrets: {},
    },
    release: { version: '1.0.0', commit: 'c'.repeat(40), images: [image] },
    target: { ...createFakeTarget(), ...over },
    router,
  } as unknown as Place;
  const activities = createReleaseActivities({
    store: {} as never,
    places: { open: () => Promise.resolve(place) },
    materials: { of: () => Promise.resolve({ configuration: { env: {} }, migrations: [] } as never) },
    fence: {} as never,
    trust: { verify: () => Promise.resolve([]) } as never,
    readSecrets: () => Promise.resolve({ DATABASE_PASSWORD: secret }),
    logs,
  });
  const lease = { target: 'hello-production', signal: new AbortController().signal, check: () => undefined };
  const environment = activityEnvironment();
  environment.on('heartbeat', (detail: unknown) => beats.push(detail));
  const run = (what: Running): Promise<void> => underLease(lease as never, () => activities.ensureReleaseRunning(what));
  const error: unknown = await environment.run(run, { ...input, ...given }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error;
}

/** Everything an error would carry into a history, its causes included. */
function shown(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    parts.push(JSON.stringify(at, Object.getOwnPropertyNames(at)));
  }
  return parts.join('\n');
}

describe('a start', () => {
  /** Which routes the router was asked to check by the time the activity was over. */
  async function checkedBy(given: Partial<Running>): Promise<string[][]> {
    const checked: string[][] = [];
    const router = {
      ...createFakeRouter(),
      checkRoute: async ({ servers }: Route): Promise<void> => {
        await Promise.resolve();
        checked.push(servers.map(({ slot, role }) => `${slot} ${role}`));
      },
    };
    const slots = [
      { slot: 'blue', release: { version: '1.0.0' }, state: 'running' },
      { slot: 'green', release: { version: '0.9.0' }, state: 'running' },
    ] as never;
    expect(await start({ readSlots: () => Promise.resolve(slots) }, [], undefined, { given, router })).toBeUndefined();
    return checked;
  }

  test('has the router check the moves that follow, so that they need not wait for it', async () => {
    expect(await checkedBy({})).toEqual([['blue live', 'green backup'], ['blue live']]);
  });

  test('of a move back does not: nothing follows that is not known yet', async () => {
    expect(await checkedBy({ back: true })).toEqual([]);
  });
});

describe('a container that failed', () => {
  const cause = new Error(`the engine has said ${secret}`);

  test('shows its last lines without its secrets, in whatever form it printed them', async () => {
    const error = await start({
      awaitHealthy: () =>
        Promise.reject(
          new ProviderError('ContainerUnhealthy', `container web ended with 3: ${secret}`, {
            cause,
            details: {
              exitCode: 3,
              lastLines: ['connecting', `password=${secret}`, `authorization: ${encoded}`],
              tries: [`12 ms: 503 ${secret}`],
            },
          }),
        ),
    });
    expect(error).toMatchObject({
      type: 'ContainerUnhealthy',
      nonRetryable: true,
      message: `container web ended with 3: ${mask}`,
      details: [{ exitCode: 3, lastLines: ['connecting', `password=${mask}`, `authorization: ${mask}`] }],
    });
    expect(shown(error)).not.toContain(secret);
    expect(shown(error)).not.toContain(encoded);
  });

  test('that was never started has none in the words of its engine either', async () => {
    const error = await start({
      ensureSlot: () =>
        Promise.reject(new ProviderError('EngineUnavailable', `no such option: --env PASSWORD=${secret}`, { cause })),
    });
    expect(error).toMatchObject({ type: 'EngineUnavailable', nonRetryable: false });
    expect(shown(error)).not.toContain(secret);
  });

  test('leaves what it wrote in the log of its start, without them', async () => {
    const logs = createFakeDeploymentLogs({ DATABASE_PASSWORD: secret });
    let read: (() => void) | undefined;
    const said = new Promise<void>((resolve) => (read = resolve));
    await start(
      {
        async *tailLogs() {
          yield { at: '2026-01-01T00:00:00Z', stream: 'stderr', text: `cannot log in with ${secret}` } as const;
          read?.();
          await Promise.resolve();
        },
        awaitHealthy: async () => {
          await said;
          throw new ProviderError('ContainerUnhealthy', 'container web ended with 3', {
            details: { lastLines: ['its last word'] },
          });
        },
      },
      [],
      logs,
    );
    await until(() => logs.texts.size > 0);
    const [[name, text] = ['', '']] = logs.texts;
    expect(name).toMatch(/^start\/blue-/);
    expect(text).toContain(`1.0.0 in blue: registry:5000/web@sha256:aaa`);
    expect(text).toContain(`cannot log in with ${mask}`);
    expect(text).toContain('ContainerUnhealthy: container web ended with 3\nlastLines:\n  its last word');
    expect(text).not.toContain(secret);
  });

  test('tells the heartbeats of its tries without them', async () => {
    const beats: unknown[] = [];
    const over: Partial<Target> = {
      awaitHealthy: async (_ref, { onTry }) => {
        onTry?.(`200 expected, got 503: ${secret}`);
        await until(() => beats.some((beat) => beat !== undefined));
        return 1;
      },
    };
    expect(await start(over, beats)).toBeUndefined();
    expect(beats).toContain(`200 expected, got 503: ${mask}`);
    expect(JSON.stringify(beats)).not.toContain(secret);
  });
});
