import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ProbeReport, WatchActivities } from '../../../src/activities/contracts.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createWatchActivities } from '../../../src/activities/watch.ts';
import type { HttpProbeSpec } from '../../../src/definition/specs/probe.ts';
import { createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { createFakeTarget } from '../../support/fakes/target.ts';

/** A service that answers 503 so many times, and 200 then. */
let server: Server;
let unwell = 0;

beforeEach(async () => {
  server = createServer((_request, response) => {
    response.statusCode = unwell > 0 ? 503 : 200;
    unwell -= 1;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

const probe: HttpProbeSpec = {
  ...{ kind: 'http', name: 'health', through: 'both', method: 'GET', path: '/', expectStatus: 200 },
  ...{ retries: 1, intervalMs: 1, timeoutMs: 30_000 },
};

async function ask(
  how: Pick<Parameters<WatchActivities['runProbes']>[0], 'through' | 'settleMs'>,
): Promise<ProbeReport & { readonly text: string }> {
  const { port } = server.address() as AddressInfo;
  const router = { listen: { address: '127.0.0.1', port }, slots: { blue: port, green: port } };
  const logs = createFakeDeploymentLogs();
  const place = {
    spec: { project: 'hello', name: 'production', probes: [probe], router },
    release: { version: '1.0.0' },
    target: createFakeTarget(),
  } as unknown as Place;
  const activities = createWatchActivities({
    places: { open: () => Promise.resolve(place) },
    logs,
  } as Partial<Parameters<typeof createWatchActivities>[0]> as never);
  const asked = {
    project: 'hello',
    environment: 'production',
    number: 7,
    slot: 'green',
    version: '1.0.0',
    ...how,
  } as const;
  const report = await new MockActivityEnvironment().run<[], ProbeReport, () => Promise<ProbeReport>>(() =>
    activities.runProbes(asked),
  );
  return { ...report, text: [...logs.texts.values()].join('') };
}

test('a release that is not well at once passes while it settles, and the log says what did not count', async () => {
  unwell = 4;
  const { verdict, probes, text } = await ask({ through: 'slot', settleMs: 60_000 });
  expect(verdict).toBe('passed');
  expect(probes[0]?.durationMs).toBeLessThan(30_000);
  expect(text.match(/health failed, which does not count yet: /g)).toHaveLength(4);
  expect(text).toMatch(/health passed: /);
});

test('without a time to settle every try counts, as of the workflows of before', async () => {
  unwell = 4;
  const { verdict, text } = await ask({ through: 'router' });
  expect(verdict).toBe('failed');
  expect(text).not.toContain('does not count');
});
