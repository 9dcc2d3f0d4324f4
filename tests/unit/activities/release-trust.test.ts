import { expect, test } from '@jest/globals';
import type { ImageTrust } from '../../../src/activities/image-trust.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createReleaseActivities } from '../../../src/activities/release.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type Lease, underLease } from '../../../src/effects/lease.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';

const never = (): never => {
  throw new Error('a start asks for what is demanded, and for nothing else');
};

/** As the roll-out has it: the fence is held already. */
const lease: Lease = {
  target: 'shop-production',
  token: 't',
  fenced: true,
  signal: new AbortController().signal,
  check: () => undefined,
  expiresAtMs: () => Infinity,
  onRenewed: () => () => undefined,
};

function start(
  verify: ImageTrust['verify'],
  back: boolean,
): { readonly calls: readonly string[]; readonly end: Promise<unknown> } {
  const target = createFakeTarget();
  const place = {
    spec: {
      project: 'shop',
      name: 'production',
      target: { name: lease.target },
      router: { slots: { blue: 1, green: 2 } },
      service: {
        image: 'app',
        port: 80,
        health: { path: '/health', timeoutMs: 1_000, intervalMs: 1_000, retries: 1 },
        resources: {},
        stopGraceMs: 1_000,
      },
      secrets: {},
    },
    release: {
      version: '1.0.0',
      commit: 'c'.repeat(40),
      images: [
        { name: 'jobs', repository: 'reg/shop/jobs', digest: 'sha256:1' },
        { name: 'app', repository: 'reg/shop/app', digest: 'sha256:2' },
      ],
    },
    target,
  } as unknown as Place;
  const activities = createReleaseActivities({
    store: {} as never,
    places: { open: () => Promise.resolve(place) },
    materials: { of: () => Promise.resolve({ migrations: [], configuration: { env: {} } as never }) },
    fence: {} as never,
    trust: { verify, check: never, checkScans: never },
    readSecrets: () => Promise.resolve({}),
    logs: createFakeDeploymentLogs(),
  });
  const input = {
    project: 'shop',
    environment: 'production',
    number: 1,
    step: 1,
    slot: 'green',
    version: '1.0.0',
    readyMs: 1_000,
    back,
  } as const;
  const end = underLease(lease, () => activityEnvironment().run(() => activities.ensureReleaseRunning(input)));
  return { calls: target.calls, end };
}

test('a release whose image is not what it is said to be starts nothing', async () => {
  const { calls, end } = start(
    () => Promise.reject(new ProviderError('AttestationInvalid', 'it was tampered with')),
    false,
  );
  await expect(end).rejects.toMatchObject({ type: 'AttestationInvalid', nonRetryable: true });
  expect(calls).toEqual([]);
});

test('the image that runs is verified before it starts, on a move back it is not asked for again', async () => {
  const asked: string[] = [];
  const verify: ImageTrust['verify'] = (_, images) => {
    asked.push(...images.map(({ repository, digest }) => `${repository}@${digest}`));
    return Promise.resolve([]);
  };
  const forward = start(verify, false);
  await forward.end;
  expect(asked).toEqual(['reg/shop/app@sha256:2']);
  expect(forward.calls).toEqual(['start green 1.0.0']);
  const back = start(verify, true);
  await back.end;
  expect(asked).toHaveLength(1);
  expect(back.calls).toEqual(['start green 1.0.0']);
});
