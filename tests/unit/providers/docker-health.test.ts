import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type Docker from 'dockerode';
import type { ProviderError } from '../../../src/domain/failures.ts';
import { toCreateOptions } from '../../../src/providers/targets/docker-container.ts';
import { awaitContainerHealthy } from '../../../src/providers/targets/docker-health.ts';

let service: Server;
let port: number;

beforeAll(async () => {
  service = createServer(({ url }, response) => {
    const status = Number(/^\/status\/(\d+)$/.exec(url ?? '')?.[1] ?? 200);
    response.writeHead(status, status === 302 ? { location: '/health' } : {}).end();
  });
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  ({ port } = service.address() as AddressInfo);
});
afterAll(async () => new Promise((resolve) => service.close(resolve)));

/** An engine with one container that serves, and whose published port leads nowhere. */
function engineWithoutForwarding(): Docker {
  const { Labels, HostConfig } = toCreateOptions(
    {
      project: 'hello',
      environment: 'production',
      slot: 'blue',
      release: { version: '1.0.0', commit: 'c0ffee', images: [] },
      image: { name: 'hello', repository: 'hello', digest: 'sha256:0' },
      deployment: 1,
      env: {},
      secretEnv: {},
      hostPort: 1,
      containerPort: port,
      resources: {},
    },
    { publishAddress: '127.0.0.1' },
  );
  const info = {
    Id: 'c1',
    Name: '/hello-production-blue-1.0.0',
    Config: { Labels, Image: 'hello' },
    HostConfig,
    NetworkSettings: { Networks: { bridge: { IPAddress: '127.0.0.1' } } },
    State: { Status: 'running', Running: true, StartedAt: '2026-01-01T00:00:00Z' },
    RestartCount: 0,
  };
  const container = { inspect: () => Promise.resolve(info), logs: () => Promise.reject(new Error('gone')) };
  return { getContainer: () => container } as unknown as Docker;
}

test('a service that answers behind a published port that does not is told apart from one that is not there', async () => {
  const error = (await awaitContainerHealthy(engineWithoutForwarding(), 'c1', '127.0.0.1:1', {
    timeoutMs: 100,
    path: '/health',
  }).catch((refusal: unknown) => refusal)) as ProviderError;
  expect(error.type).toBe('ContainerUnhealthy');
  expect(error.message).toMatch(/ECONNREFUSED/);
  expect(error.message).toContain(
    `at its own address 127.0.0.1:${port}: 200, so the engine does not forward its published port`,
  );
});

test.each([204, 302, 404, 503])('%i is not health: only 200 is', async (status) => {
  const waiting = awaitContainerHealthy(engineWithoutForwarding(), 'c1', `127.0.0.1:${port}`, {
    timeoutMs: 100,
    path: `/status/${status}`,
  });
  await expect(waiting).rejects.toMatchObject({
    type: 'ContainerUnhealthy',
    message: expect.stringContaining(`/status/${status}: ${status}`),
  });
});

test('200 is', async () => {
  const waiting = awaitContainerHealthy(engineWithoutForwarding(), 'c1', `127.0.0.1:${port}`, {
    timeoutMs: 5_000,
    path: '/status/200',
  });
  await expect(waiting).resolves.toBeGreaterThanOrEqual(0);
});
