import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Route, Router } from '../../../src/providers/routers/port.ts';
import { until } from '../../support/until.ts';

/** A router under test and what the suite must be able to do to it. */
export interface RouterLab {
  readonly router: Router;
  /** Free ports: two to listen on, two of upstreams that answer. */
  readonly listenPorts: readonly [number, number];
  readonly upstreamPorts: readonly [number, number];
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

/** What every router keeps, the fake included. */
export function describeRouter(name: string, start: () => Promise<RouterLab>): void {
  describe(`router ${name}`, () => {
    let lab: RouterLab;
    const ref = { project: 'hello', environment: 'production' };

    function route(live: 'blue' | 'green', other: 'backup' | 'off' = 'backup'): Route {
      const [blue, green] = lab.upstreamPorts;
      return {
        ...ref,
        listen: [`127.0.0.1:${lab.listenPorts[0]}`],
        servers: [
          {
            slot: 'blue',
            release: '1.3.0',
            address: `127.0.0.1:${blue}`,
            weight: 100,
            role: live === 'blue' ? 'live' : other,
          },
          {
            slot: 'green',
            release: '1.4.0+build.7',
            address: `127.0.0.1:${green}`,
            weight: 100,
            role: live === 'green' ? 'live' : other,
          },
        ],
      };
    }

    beforeAll(async () => {
      lab = await start();
    });
    afterAll(async () => {
      await lab.stop();
    });

    test('knows nothing of a route that was never set', async () => {
      expect(await lab.router.readTraffic(ref)).toMatchObject({
        rendered: null,
        generation: null,
        running: null,
        inSync: true,
      });
    });

    test('runs what it was told, and says so of file and process alike', async () => {
      const move = await lab.router.ensureTraffic(route('blue', 'off'));
      expect(move.changed).toBe(true);
      const state = await lab.router.readTraffic(ref);
      expect(state.rendered).toEqual(route('blue', 'off'));
      expect(state.inSync).toBe(true);
      expect(state.running).toMatchObject({
        generation: state.generation,
        servers: [
          { slot: 'blue', release: '1.3.0', role: 'live', weight: 100 },
          { slot: 'green', release: '1.4.0+build.7', role: 'off', weight: 0 },
        ],
      });
    });

    test('changes nothing when told the same again', async () => {
      expect((await lab.router.ensureTraffic(route('blue', 'off'))).changed).toBe(false);
    });

    test('moves, with the former release as backup', async () => {
      expect((await lab.router.ensureTraffic(route('green'))).changed).toBe(true);
      expect((await lab.router.readTraffic(ref)).running).toMatchObject({
        servers: [
          { slot: 'blue', role: 'backup' },
          { slot: 'green', role: 'live' },
        ],
      });
    });

    test('refuses what cannot be a configuration, and everything stays', async () => {
      const before = await lab.router.readTraffic(ref);
      const wrong = {
        ...route('blue'),
        servers: [{ ...route('blue').servers[0]!, address: '127.0.0.1:1\n  bind :22' }],
      };
      await expect(lab.router.ensureTraffic(wrong)).rejects.toMatchObject({
        type: 'RouterConfigInvalid',
        retryable: false,
      });
      expect(await lab.router.readTraffic(ref)).toEqual(before);
    });

    test('checks a route without touching anything', async () => {
      const before = await lab.router.readTraffic(ref);
      await lab.router.checkRoute(route('blue'));
      const wrong = {
        ...route('blue'),
        servers: [{ ...route('blue').servers[0]!, address: '127.0.0.1:1\n  bind :22' }],
      };
      await expect(lab.router.checkRoute(wrong)).rejects.toMatchObject({ type: 'RouterConfigInvalid' });
      expect(await lab.router.readTraffic(ref)).toEqual(before);
    });

    test('counts no sessions where there are none', async () => {
      await until(async () => (await lab.router.readSessions(ref, 'blue')).current === 0);
    });

    test('keeps routes apart', async () => {
      const other: Route = { ...route('blue'), environment: 'staging', listen: [`127.0.0.1:${lab.listenPorts[1]}`] };
      await lab.router.ensureTraffic(other);
      expect((await lab.router.readTraffic(ref)).running).toMatchObject({
        servers: [{ role: 'backup' }, { role: 'live' }],
      });
      await lab.router.removeRoute(other);
      expect(await lab.router.readTraffic(other)).toMatchObject({ rendered: null, running: null, inSync: true });
      expect((await lab.router.readTraffic(ref)).inSync).toBe(true);
    });

    test('away: the file says the new state, the error says what to retry, and the next start applies it', async () => {
      await lab.goAway();
      expect((await lab.router.readTraffic(ref)).running).toBe('unreachable');
      await expect(lab.router.ensureTraffic(route('blue'))).rejects.toMatchObject({
        type: 'RouterUnavailable',
        retryable: true,
      });
      await expect(lab.router.readSessions(ref, 'blue')).rejects.toMatchObject({ type: 'RouterUnavailable' });
      expect(await lab.router.readTraffic(ref)).toMatchObject({ rendered: route('blue'), inSync: false });
      await lab.comeBack();
      const state = await until(async () => {
        const now = await lab.router.readTraffic(ref);
        return now.inSync ? now : undefined;
      });
      expect(state.running).toMatchObject({
        servers: [
          { slot: 'blue', role: 'live' },
          { slot: 'green', role: 'backup' },
        ],
      });
      expect((await lab.router.ensureTraffic(route('blue'))).changed).toBe(false);
    });

    test('removing is idempotent', async () => {
      await lab.router.removeRoute(ref);
      await lab.router.removeRoute(ref);
      expect(await lab.router.readTraffic(ref)).toMatchObject({ rendered: null, running: null, inSync: true });
    });
  });
}
