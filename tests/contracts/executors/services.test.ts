import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import type { ContainerStep, StageServiceSpec, StepCommand } from '../../../src/definition/specs/stage.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import { createContainerExecutor } from '../../../src/providers/executors/container.ts';
import type { StageScope, StepExecutor } from '../../../src/providers/executors/port.ts';
import type { ServiceHost, StageServices } from '../../../src/providers/executors/services-port.ts';
import { createServiceHost } from '../../../src/providers/executors/services.ts';
import { activityEnvironment, createRunFixture } from '../../support/run-fixture.ts';
import { components } from '../../support/components.ts';
import { type CompanionImage, postgresImage, redisImage } from '../../support/companion-images.ts';
import { plainStep } from '../../support/plain-step.ts';
import { until } from '../../support/until.ts';
import { argv, shell } from './suite.ts';

let docker: Docker;
let address: string;
let tools: string;
let redis: CompanionImage;
let host: ServiceHost;
let executor: StepExecutor<ContainerStep>;
let root: string;
let scope: StageScope;
const logs = new Map<string, string>();
const opened: StageServices[] = [];
const { signal } = new AbortController();

beforeAll(async () => {
  const parts = await components('docker', 'toolsImage');
  address = parts.docker.address;
  tools = parts.toolsImage.image;
  docker = new Docker({ socketPath: address.replace('unix://', '') });
  redis = await redisImage();
  host = await createServiceHost({ address, owner: `test-${process.pid}` });
  executor = await createContainerExecutor({ address, owner: `test-${process.pid}` });
  root = mkdtempSync(join(tmpdir(), 'slipway-services-'));
  const [source, home, objects] = ['source', 'home', 'objects'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const folder of [source, home, objects]) mkdirSync(folder);
  scope = {
    project: 'hello',
    run: `services-${process.pid}`,
    number: 1,
    stage: 'test',
    attempt: 1,
    source,
    home,
    objects,
  };
}, 300_000);
afterEach(async () => {
  await Promise.all(opened.splice(0).map((services) => services.close()));
  logs.clear();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function service(more: Partial<StageServiceSpec> = {}): StageServiceSpec {
  return {
    name: 'redis',
    image: redis.image,
    port: 6379,
    command: redis.command,
    env: {},
    health: { command: redis.check, intervalMs: 200, timeoutMs: 3_000, startupMs: 20_000 },
    resources: {},
    ...more,
  };
}

async function open(
  services: readonly StageServiceSpec[] = [service()],
  more: {
    readonly attempt?: number;
    readonly publish?: boolean;
    readonly internal?: boolean;
    readonly until?: AbortSignal;
  } = {},
): Promise<StageServices> {
  const made = await host.open(
    {
      scope: { ...scope, attempt: more.attempt ?? 1 },
      services,
      internal: more.internal ?? false,
      publish: more.publish ?? false,
      openLog: (name) => ({
        write: (chunk) => void logs.set(name, (logs.get(name) ?? '') + chunk.toString()),
        say: (line) => void logs.set(name, `${logs.get(name) ?? ''}[slipway] ${line}\n`),
        close: () => Promise.resolve(),
      }),
    },
    more.until ?? signal,
  );
  opened.push(made);
  return made;
}

/** What a step of the stage says, and how it ended. */
async function say(services: StageServices, command: StepCommand, more: Partial<ContainerStep> = {}): Promise<string> {
  const session = await executor.open({ ...scope, network: services.network }, signal);
  let output = '';
  try {
    const { exitCode } = await session.run({
      step: {
        ...plainStep,
        executor: 'container',
        image: tools,
        network: 'stage',
        resources: {},
        command,
        ...more,
      },
      env: { ...services.environment('container') },
      timeoutMs: 20_000,
      redactor: createRedactor([]),
      sink: (chunk) => void (output += chunk.toString()),
      say: () => undefined,
      signal,
    });
    return `${output.replaceAll('\r', '')}=${exitCode}`;
  } finally {
    await session.close();
  }
}

async function left(): Promise<readonly string[]> {
  const filters = JSON.stringify({ label: [`slipway.run=${scope.run}`] });
  const [containers, networks] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listNetworks({ filters }),
  ]);
  return [...containers.map(({ Names }) => Names[0] ?? ''), ...networks.map(({ Name }) => Name)];
}

describe('services of a stage', () => {
  test('are ready before the first step, which finds them by name and by variable', async () => {
    const services = await open();
    expect(await say(services, shell('printf "PING\\r\\n" | nc redis 6379 -w 2'))).toBe('+PONG\n=0');
    expect(
      await say(services, shell('printf "PING\\r\\n" | nc "$SERVICE_REDIS_HOST" "$SERVICE_REDIS_PORT" -w 2')),
    ).toBe('+PONG\n=0');
    expect(logs.get('redis')).toMatch(/Ready to accept connections.*\[slipway\] ready after/s);
  });

  test('that begin as root and go on as another user work: PostgreSQL', async () => {
    const { image, command, check } = await postgresImage();
    const health = { command: check, intervalMs: 200, timeoutMs: 3_000, startupMs: 60_000 };
    const services = await open([service({ name: 'db', image, port: 5432, command, health })]);
    const psql = command.join(' ').replace(/^.*exec (\S+)\/postgres .*$/, '$1/psql');
    expect(await say(services, argv(psql, '-h', 'db', '-U', 'postgres', '-tAc', 'select 6 * 7'), { image })).toBe(
      '42\n=0',
    );
  }, 120_000);

  test('are on a network that nothing else is on, and a step without one is not on it either', async () => {
    const services = await open([service()], { internal: true });
    expect(await say(services, shell('nc redis 6379 -w 1 < /dev/null'), { network: 'none' })).not.toMatch(/=0$/);
    expect(await say(services, shell('nc 1.1.1.1 53 -w 1 < /dev/null'))).not.toMatch(/=0$/);
    const { Internal } = (await docker.getNetwork(services.network).inspect()) as { readonly Internal: boolean };
    expect(Internal).toBe(true);
  });

  test('have no socket of the engine, few rights and no file of the worker', async () => {
    await open();
    const [found] = await docker.listContainers({
      filters: JSON.stringify({ label: [`slipway.run=${scope.run}`, 'slipway.role=service'] }),
    });
    const { HostConfig, Mounts } = await docker.getContainer(found?.Id ?? '').inspect();
    expect(Mounts).toEqual([]);
    expect(HostConfig).toMatchObject({
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      PidsLimit: 4096,
    });
  });

  test('are reached by steps on the host at a port of the loopback address', async () => {
    const services = await open([service()], { publish: true });
    const { SERVICE_REDIS_HOST: name, SERVICE_REDIS_PORT: port } = services.environment('host');
    expect(name).toBe('127.0.0.1');
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('PING\r\n'));
      socket.once('data', (data) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.once('error', reject);
    });
    expect(answer).toBe('+PONG\r\n');
  });

  test('leave nothing when they are closed', async () => {
    const services = await open();
    expect(await left()).toHaveLength(2);
    await services.close();
    expect(await left()).toEqual([]);
  });

  test('that end at once are told of with what they said last, and leave nothing', async () => {
    const broken = service({ command: ['sh', '-c', 'echo cannot read its settings >&2; exit 4'] });
    await expect(open([service(), { ...broken, name: 'broken' }])).rejects.toMatchObject({
      type: 'ServiceNotReady',
      message: expect.stringMatching(/the service broken .* ended with status 4.*cannot read its settings/s),
    });
    expect(await left()).toEqual([]);
  });

  test('that are not ready in time are told of with what their check said', async () => {
    const health = {
      command: ['sh', '-c', 'echo not yet; exit 1'],
      intervalMs: 100,
      timeoutMs: 1_000,
      startupMs: 1_500,
    };
    await expect(open([service({ health })])).rejects.toMatchObject({
      type: 'ServiceNotReady',
      message: expect.stringMatching(/was not ready after 2 s: its check said not yet/),
    });
    expect(await left()).toEqual([]);
  });

  test('that a dead worker left are gone before the next attempt begins, with their network', async () => {
    const abandoned = await open();
    const next = await open([service()], { attempt: 2 });
    expect(next.network).not.toBe(abandoned.network);
    expect((await left()).filter((name) => name.includes(abandoned.network))).toEqual([]);
    expect(await left()).toHaveLength(2);
  });

  test('that nobody will begin again are gone when their worker starts again, and those of others stay', async () => {
    await open();
    const other = await createServiceHost({ address, owner: 'another' });
    await other.reapAbandoned();
    expect(await left()).toHaveLength(2);
    const again = await createServiceHost({ address, owner: `test-${process.pid}` });
    await again.reapAbandoned();
    expect(await left()).toEqual([]);
  });

  test('are gone within 3 s of an abort, also while they are being waited for', async () => {
    const stop = new AbortController();
    const health = { command: ['false'], intervalMs: 100, timeoutMs: 1_000, startupMs: 60_000 };
    const opening = open([service({ health })], { until: stop.signal }).catch((error: unknown) => error);
    await until(async () => (await left()).length === 2, { what: 'the service to be there' });
    const began = performance.now();
    stop.abort(new Error('told to'));
    expect(await opening).toMatchObject({ message: 'told to' });
    expect(await left()).toEqual([]);
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  test('are gone also where the abort comes after the container was made and before it was started', async () => {
    const stop = new AbortController();
    const made: StageServiceSpec = Object.defineProperty(service(), 'env', {
      // Read for the container that is made next.
      get() {
        stop.abort(new Error('told to'));
        return {};
      },
    });
    await expect(open([made], { until: stop.signal })).rejects.toThrow('told to');
    expect(await left()).toEqual([]);
  }, 30_000);

  test('that end later are told of when somebody asks', async () => {
    const services = await open([
      service({
        command: [
          'sh',
          '-c',
          `${redis.command.map((word) => `"${word}"`).join(' ')} & sleep 3; echo out of luck; exit 5`,
        ],
      }),
    ]);
    expect(await services.ended()).toEqual([]);
    const said = await until(
      async () => {
        const ended = await services.ended();
        return ended.length > 0 ? ended : undefined;
      },
      { what: 'it to end' },
    );
    expect(said).toEqual([
      expect.stringMatching(/^The service redis .* ended with status 5\. It said last:\n(?:.*\n)*out of luck$/),
    ]);
  });
});

describe('a stage with services', () => {
  const definition = (step: string): string => `version: 1
image: "${tools}"
stages:
  - name: test
    parallel: true
    services:
      redis:
        image: "${redis.image}"
        port: 6379
        command: [${redis.command.map((word) => `"${word}"`).join(', ')}]
        health: { command: [redis-cli, ping], interval: 200ms, startup: 20s }
    steps:
      - { name: ping, shell: '${step}' }
      - { name: write, shell: 'printf "SET a 1\\r\\n" | nc redis 6379 -w 2' }
`;
  async function lab(step: string) {
    const fixture = createRunFixture({ executors: { container: executor }, services: host });
    fixture.projectYaml = fixture.projectYaml.replace('executor: host', 'executor: container');
    const commit = fixture.origin.commit({ 'slipway.yaml': definition(step) });
    return { fixture, plan: await fixture.prepare(fixture.input(commit)) };
  }
  async function everything(run: string): Promise<number> {
    const filters = JSON.stringify({ label: [`slipway.run=${run}`] });
    const [containers, networks] = await Promise.all([
      docker.listContainers({ all: true, filters }),
      docker.listNetworks({ filters }),
    ]);
    return containers.length + networks.length;
  }

  test('runs its steps beside them, keeps what they said, and leaves nothing', async () => {
    const { fixture, plan } = await lab('printf "PING\\r\\n" | nc redis 6379 -w 2');
    try {
      const report = await fixture.runStage(plan, 'test');
      expect(report).toMatchObject({ verdict: 'passed', steps: [{ name: 'ping' }, { name: 'write' }] });
      expect(fixture.log('test/ping')).toBe('+PONG\r\n');
      expect(fixture.log('test/service.redis')).toContain('Ready to accept connections');
      expect(await everything(plan.run.key)).toBe(0);
    } finally {
      fixture.remove();
    }
  }, 60_000);

  test('is gone from the engine within 3 s of an abort: steps, services and network', async () => {
    const { fixture, plan } = await lab('touch waiting; sleep 300');
    try {
      const environment = activityEnvironment();
      const running = fixture.runStage(plan, 'test', environment).catch((error: unknown) => error);
      await until(() => fixture.facts.includes('step ping started'), { what: 'the step to start' });
      await until(async () => (await everything(plan.run.key)) >= 3, { what: 'its container to be there' });
      const began = performance.now();
      environment.cancel('CANCELLED');
      expect(await running).toMatchObject({ name: 'CancelledFailure' });
      expect(await everything(plan.run.key)).toBe(0);
      expect(performance.now() - began).toBeLessThan(3_000);
    } finally {
      fixture.remove();
    }
  }, 60_000);
});
