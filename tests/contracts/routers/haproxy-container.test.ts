import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';
import type { Route, Router } from '../../../src/providers/routers/port.ts';
import { components } from '../../support/components.ts';
import { freePort, startUpstream } from './host-haproxy.ts';

describe('haproxy in its container', () => {
  let router: Router;
  let upstream: Awaited<ReturnType<typeof startUpstream>>;
  let route: Route;

  beforeAll(async () => {
    const { docker, router: running } = await components('docker', 'router');
    router = await createHaproxyRouter(
      HaproxyRouter.parse({
        kind: 'haproxy',
        configFolder: running.configFolder,
        masterSocket: running.masterSocket,
        statsSocket: running.statsSocket,
        container: { name: running.container, docker: docker.address },
      }),
    );
    upstream = await startUpstream('here');
    const address = `127.0.0.1:${upstream.port}`;
    route = {
      project: `container-${process.pid}`,
      environment: 'staging',
      listen: [`127.0.0.1:${await freePort()}`],
      servers: [{ slot: 'blue', release: '1.0.0', address, weight: 1, role: 'live' }],
    };
  }, 120_000);
  afterAll(async () => {
    await router.removeRoute(route);
    await upstream.stop();
  });

  test('is checked inside, and serves', async () => {
    const { changed, tookMs } = await router.ensureTraffic(route);
    expect(changed).toBe(true);
    expect(tookMs).toBeLessThan(2_000);
    expect(await (await fetch(`http://${route.listen[0]!}/`)).text()).toBe('here');
  });

  test('is refused inside with the words of the program', async () => {
    await expect(router.ensureTraffic({ ...route, listen: ['127.0.0.1:99999'] })).rejects.toMatchObject({
      type: 'RouterConfigInvalid',
      details: { output: expect.arrayContaining([expect.stringContaining('99999')]) },
    });
    expect((await router.readTraffic(route)).inSync).toBe(true);
  });
});
