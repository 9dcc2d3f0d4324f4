import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Place } from '../../../src/activities/places.ts';
import { checkAhead, trafficRoute } from '../../../src/activities/traffic-routes.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { Route, Router } from '../../../src/providers/routers/port.ts';
import { createFakeRouter } from '../../support/fakes/router.ts';

const states = [
  { slot: 'blue', release: { version: '1.0.0' }, state: 'running' },
  { slot: 'green', release: { version: '1.0.1' }, state: 'running' },
] as never;

const { signal } = new AbortController();
let asked: Route[];

beforeEach(() => {
  asked = [];
});

/** An environment whose router notes what it is asked to check. */
function placeWith(checkRoute: Router['checkRoute'] = () => Promise.resolve(), slots: unknown = states): Place {
  const router: Router = {
    ...createFakeRouter(),
    checkRoute: (route, until) => {
      asked.push(route);
      return checkRoute(route, until);
    },
  };
  return {
    spec: {
      project: 'hello',
      name: 'production',
      router: { listen: { address: '127.0.0.1', port: 8_080 }, slots: { blue: 18_081, green: 18_082 } },
      service: { health: { path: '/health' } },
    },
    target: { readSlots: () => Promise.resolve(slots) },
    router,
  } as unknown as Place;
}

describe('what the router will be told', () => {
  test('is checked beside the start: exactly the move, and what follows when the release is settled', async () => {
    const place = placeWith();
    await checkAhead(place, 'green', signal);
    expect(asked).toEqual([
      trafficRoute(place, states, { slot: 'green', backup: 'blue' }),
      trafficRoute(place, states, { slot: 'green', backup: null }),
    ]);
    expect(asked.map(({ servers }) => servers.map(({ slot, role }) => `${slot} ${role}`))).toEqual([
      ['green live', 'blue backup'],
      ['green live'],
    ]);
  });

  test('has no backup where nothing was there before', async () => {
    const [, green] = states as unknown[];
    await checkAhead(
      placeWith(() => Promise.resolve(), [green]),
      'green',
      signal,
    );
    expect(asked.map(({ servers }) => servers.length)).toEqual([1, 1]);
  });

  test.each(['RouterConfigInvalid', 'RouterUnavailable'] as const)(
    'stops no start with %s: the move says it in its own words',
    async (type) => {
      await checkAhead(
        placeWith(() => Promise.reject(new ProviderError(type, 'no'))),
        'green',
        signal,
      );
      expect(asked).toHaveLength(1);
    },
  );

  test('holds up no start for longer than a second where the router does not answer', async () => {
    const hangs: Router['checkRoute'] = (_route, until) =>
      new Promise((_resolve, reject) => until?.addEventListener('abort', () => reject(until.reason as Error)));
    const began = performance.now();
    await checkAhead(placeWith(hangs), 'green', signal);
    expect(asked).toHaveLength(1);
    // The timer may be a millisecond early; how late it is depends on the machine.
    expect(performance.now() - began).toBeGreaterThan(990);
  });
});
