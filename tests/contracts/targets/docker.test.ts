import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import type { ProviderError } from '../../../src/domain/failures.ts';
import type { ReleaseImage } from '../../../src/domain/release.ts';
import { createDockerTarget, DockerTarget } from '../../../src/providers/targets/docker.ts';
import type { SlotSpec, Target } from '../../../src/providers/targets/port.ts';
import { components } from '../../support/components.ts';
import { createCutProxy } from '../../support/cut-proxy.ts';
import { buildServiceImage } from '../../support/service-image.ts';
import { until } from '../../support/until.ts';
import { freePort } from '../routers/host-haproxy.ts';
import { describeTarget } from './suite.ts';

/** Lines of each stream in one burst. */
const burstLines = 3_000;

const service = `
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
if (process.env.FAIL === 'start') { console.error('cannot read its settings'); process.exit(3); }
console.log('serving ' + process.env.SLIPWAY_VERSION);
const server = createServer((request, response) => {
  console.log('asked for ' + request.url);
  if (request.url === '/crash') process.exit(9);
  // Two programs at once, each on a stream of its own: the engine takes and stamps them side by side.
  const burst = /^\\/burst\\/(\\w+)$/.exec(request.url)?.[1];
  for (const stream of burst === undefined ? [] : ['stdout', 'stderr']) {
    const lines = "for (let n = 0; n < ${burstLines}; n += 1) process." + stream + ".write('" + burst + ' ' + stream + " ' + n + '\\\\n')";
    spawn(process.execPath, ['-e', lines], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
  response.statusCode = process.env.FAIL === 'health' ? 503 : 200;
  response.end(process.env.SLIPWAY_VERSION);
});
server.listen(8080);
if (process.env.FAIL !== 'stop') process.on('SIGTERM', () => { console.log('ending'); process.exit(0); });
else process.on('SIGTERM', () => undefined);
`;

interface Lab {
  readonly socket: string;
  readonly registry: string;
  readonly image: ReleaseImage;
  readonly target: Target;
}

let lab: Promise<Lab> | undefined;

function startLab(): Promise<Lab> {
  lab ??= (async () => {
    const { docker, registry, nodeImage } = await components('docker', 'registry', 'nodeImage');
    const socket = docker.address.replace('unix://', '');
    const image = await buildServiceImage({
      dockerSocket: socket,
      registry: registry.address,
      base: nodeImage.image,
      repository: 'slipway-test/contract',
      tag: '1',
      files: { 'service.mjs': service },
    });
    const target = await createDockerTarget(DockerTarget.parse({ kind: 'docker', address: docker.address }));
    return { socket, registry: registry.address, image, target };
  })();
  return lab;
}

describeTarget('docker', async () => {
  const { target, image } = await startLab();
  return {
    target,
    image,
    ports: { blue: await freePort(), green: await freePort() },
    breakVersion: () => Promise.resolve({ FAIL: 'start' }),
    stop: () => Promise.resolve(),
  };
});

describe('docker in particular', () => {
  let target: Target;
  let image: ReleaseImage;
  let docker: Docker;
  let port: number;
  const ref = { project: `docker-${process.pid}`, environment: 'staging', slot: 'blue' } as const;

  function spec(version: string, more: Partial<SlotSpec> = {}): SlotSpec {
    return {
      ...ref,
      release: { version, commit: 'c0ffee', images: [image] },
      image,
      deployment: 1,
      env: {},
      secretEnv: {},
      hostPort: port,
      containerPort: 8080,
      resources: { cpus: 1, memoryBytes: 128 * 1024 * 1024 },
      stopGraceMs: 1_000,
      ...more,
    };
  }
  async function caught(promise: Promise<unknown>): Promise<ProviderError> {
    return promise.then(
      () => {
        throw new Error('it should have failed');
      },
      (error: unknown) => error as ProviderError,
    );
  }

  beforeAll(async () => {
    const started = await startLab();
    ({ target, image } = started);
    docker = new Docker({ socketPath: started.socket });
    port = await freePort();
  }, 180_000);
  afterAll(async () => {
    await target.ensureSlotRemoved(ref, { graceMs: 0 });
  });

  test('is made as a person and the platform need it', async () => {
    const { id, name } = await target.ensureSlot(
      spec('1.4.0', { secretEnv: { PASSWORD: 'hunter2' }, extraHosts: ['database:10.0.0.9'] }),
    );
    const info = await docker.getContainer(id).inspect();
    expect(name).toBe(`${ref.project}-staging-blue-1.4.0`);
    expect(info.Config.Image).toBe(`${image.repository}@${image.digest}`);
    expect(info.HostConfig.RestartPolicy).toMatchObject({ Name: 'unless-stopped' });
    expect(info.HostConfig.Memory).toBe(128 * 1024 * 1024);
    expect(info.HostConfig.NanoCpus).toBe(1e9);
    expect(info.HostConfig.PortBindings).toEqual({ '8080/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] });
    expect(info.HostConfig.ExtraHosts).toEqual(['database:10.0.0.9']);
    expect(info.Config.Labels).toMatchObject({
      'slipway.project': ref.project,
      'slipway.environment': 'staging',
      'slipway.slot': 'blue',
      'slipway.version': '1.4.0',
      'slipway.deployment': '1',
    });
    expect(JSON.stringify([info.Config.Labels, info.Name])).not.toContain('hunter2');
  });

  test('its end tells exit code, last lines and what the tries saw', async () => {
    await target.ensureSlot(spec('1.4.1', { env: { FAIL: 'start' } }));
    const error = await caught(target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/health' }));
    expect(error.type).toBe('ContainerUnhealthy');
    expect(error.message).toContain('exit code 3');
    expect(error.message).toContain('its last line: cannot read its settings');
    expect(error.details).toMatchObject({
      exitCode: 3,
      lastLines: expect.arrayContaining(['cannot read its settings']),
    });
  });

  test('never healthy: fails after the time with the answers it saw', async () => {
    await target.ensureSlot(spec('1.4.2', { env: { FAIL: 'health' } }));
    const seen: string[] = [];
    const error = await caught(
      target.awaitHealthy(ref, { timeoutMs: 800, path: '/health', onTry: (line) => void seen.push(line) }),
    );
    expect(error.type).toBe('ContainerUnhealthy');
    expect(error.message).toMatch(
      /not healthy within 800 ms, .*, at its own address [\d.]+:8080: 503; its last line: /,
    );
    expect(error.details['tries']).toContainEqual(expect.stringContaining('503'));
    expect(seen.length).toBeGreaterThan(1);
  });

  test("the platform's own check decides where no path is given", async () => {
    const health = { command: ['node', '-e', '0'], intervalMs: 200, timeoutMs: 2_000, retries: 2 } as const;
    await target.ensureSlot(spec('1.4.3', { health }));
    await target.awaitHealthy(ref, { timeoutMs: 60_000 });
    expect(await target.readSlots(ref)).toMatchObject([{ health: 'healthy' }]);
    await target.ensureSlot(spec('1.4.4', { health: { ...health, command: ['node', '-e', 'process.exit(1)'] } }));
    const error = await caught(target.awaitHealthy(ref, { timeoutMs: 60_000 }));
    expect(error.details['checks']).toContainEqual(expect.stringContaining('exit code 1'));
  });

  test('comes back by itself after a crash, and says how often', async () => {
    await target.ensureSlot(spec('1.4.5'));
    await target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/health' });
    await fetch(`http://127.0.0.1:${port}/crash`).catch(() => undefined);
    await until(async () => {
      const [slot] = await target.readSlots(ref);
      return slot?.state === 'running' && slot.restarts === 1;
    });
  });

  test('what does not end on SIGTERM is killed after its grace', async () => {
    await target.ensureSlot(spec('1.4.6', { env: { FAIL: 'stop' } }));
    await target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/' });
    const startedAt = performance.now();
    await target.ensureSlotStopped(ref, { graceMs: 1_000 });
    expect(performance.now() - startedAt).toBeGreaterThan(900);
    expect(await target.readSlots(ref)).toMatchObject([{ state: 'exited', exitCode: 137 }]);
  });

  test('an image that is not in the registry: what runs goes on running', async () => {
    await target.ensureSlot(spec('1.4.7'));
    const missing = { ...image, digest: `sha256:${'0'.repeat(64)}` };
    const error = await caught(target.ensureSlot(spec('1.4.8', { image: missing })));
    expect(error).toMatchObject({ type: 'ImageNotFound', retryable: false });
    expect(await target.readSlots(ref)).toMatchObject([{ state: 'running', release: { version: '1.4.7' } }]);
  });

  test('a port of another process is told by its name', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port: taken } = holder.address() as { port: number };
    try {
      const error = await caught(target.ensureSlot(spec('1.4.9', { hostPort: taken })));
      expect(error.type).toBe('PortTaken');
      expect(error.message).toContain(`pid ${process.pid}`);
    } finally {
      holder.close();
    }
  });

  test('its lines come once each, through a restart', async () => {
    const since = new Date().toISOString();
    await target.ensureSlot(spec('1.5.0'));
    await target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/health' });
    const stop = new AbortController();
    const lines: string[] = [];
    let present: string[] | undefined;
    const reading = (async () => {
      const onPresent = (): void => void (present = [...lines]);
      for await (const line of target.tailLogs(ref, since, stop.signal, onPresent)) lines.push(line.text);
    })();
    await until(() => present !== undefined);
    expect(present).toContain('serving 1.5.0');
    await fetch(`http://127.0.0.1:${port}/one`);
    await until(() => lines.includes('asked for /one'));
    await target.ensureSlotStopped(ref, { graceMs: 1_000 });
    await target.ensureSlot(spec('1.5.0'));
    await target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/health' });
    await fetch(`http://127.0.0.1:${port}/two`);
    await until(() => lines.includes('asked for /two'));
    stop.abort();
    await reading;
    expect(lines.filter((line) => line === 'asked for /one')).toHaveLength(1);
    expect(lines.filter((line) => line === 'asked for /two')).toHaveLength(1);
    expect(lines.filter((line) => line === 'serving 1.5.0')).toHaveLength(2);
  });

  test('what two programs write side by side comes once each, through a connection that breaks', async () => {
    // Three programs at once.
    await target.ensureSlot(spec('1.5.1', { resources: { cpus: 1, memoryBytes: 512 * 1024 * 1024 } }));
    await target.awaitHealthy(ref, { timeoutMs: 60_000, path: '/health' });
    const folder = mkdtempSync(join(tmpdir(), 'slipway-engine-'));
    const proxy = await createCutProxy({ path: (await startLab()).socket }, join(folder, 'docker.sock'));
    const stop = new AbortController();
    try {
      const through = await createDockerTarget(
        DockerTarget.parse({ kind: 'docker', address: `unix://${proxy.address}` }),
      );
      const texts: string[] = [];
      const reading = (async () => {
        for await (const line of through.tailLogs(ref, new Date().toISOString(), stop.signal)) {
          texts.push(line.text);
        }
      })();
      const came = (burst: string): string[] => texts.filter((text) => text.startsWith(`${burst} `));
      const all = (burst: string): string[] =>
        ['stdout', 'stderr'].flatMap((stream) =>
          Array.from({ length: burstLines }, (_, n) => `${burst} ${stream} ${String(n)}`),
        );
      for (const burst of ['one', 'two', 'three']) {
        await fetch(`http://127.0.0.1:${port}/burst/${burst}`);
        await until(() => came(burst).length > burstLines / 2, { timeoutMs: 60_000, what: `half of burst ${burst}` });
        proxy.cut();
        proxy.mend();
        const last = (stream: string): string => `${burst} ${stream} ${String(burstLines - 1)}`;
        await until(() => texts.includes(last('stdout')) && texts.includes(last('stderr')), {
          timeoutMs: 60_000,
          what: `the last of burst ${burst}`,
        });
        expect(came(burst).sort()).toEqual(all(burst).sort());
      }
      stop.abort();
      await reading;
    } finally {
      stop.abort();
      await proxy.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);

  test('runs a command inside', async () => {
    await target.ensureSlot(spec('1.5.0'));
    expect(
      await target.exec(ref, ['node', '-e', 'console.log(process.env.X); console.error("e"); process.exit(4)'], {
        timeoutMs: 60_000,
        env: { X: 'given' },
      }),
    ).toEqual({ exitCode: 4, stdout: 'given\n', stderr: 'e\n' });
    const error = await caught(target.exec(ref, ['node', '-e', 'setTimeout(() => 0, 60000)'], { timeoutMs: 300 }));
    expect(error.type).toBe('TimedOut');
  });

  test('an engine that is away is told as such', async () => {
    const away = await createDockerTarget(
      DockerTarget.parse({ kind: 'docker', address: 'unix:///nowhere/docker.sock' }),
    );
    expect(await caught(away.readSlots(ref))).toMatchObject({ type: 'EngineUnavailable', retryable: true });
  });
});
