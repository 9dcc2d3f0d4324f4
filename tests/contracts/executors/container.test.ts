import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import type { ContainerStep, StepCommand } from '../../../src/definition/specs/stage.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import { type ContainerExecutor, createContainerExecutor } from '../../../src/providers/executors/container.ts';
import type { StageScope, StageSession } from '../../../src/providers/executors/port.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { components } from '../../support/components.ts';
import { createGitOrigin } from '../../support/git-origin.ts';
import { plainStep } from '../../support/plain-step.ts';
import { until } from '../../support/until.ts';
import { argv, describeExecutor, shell } from './suite.ts';

let image: string;
let docker: Docker;
let executor: ContainerExecutor;

async function openLab(): Promise<void> {
  const parts = await components('docker', 'toolsImage');
  image = parts.toolsImage.image;
  docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
  executor = await createContainerExecutor({ address: parts.docker.address, owner: `test-${process.pid}` });
}

function step(command: StepCommand, more: Partial<ContainerStep> = {}): ContainerStep {
  return { ...plainStep, executor: 'container', image, network: 'none', resources: {}, command, ...more };
}

describeExecutor('container', async () => {
  await openLab();
  return { executor, step: (command, more) => step(command, more as Partial<ContainerStep>) };
});

/** Wants every core there is. */
const burn = 'for i in $(seq "$(nproc)"); do (while :; do :; done) & done; wait';

describe('the container of a stage', () => {
  let root: string;
  let scope: StageScope;
  const signal = new AbortController().signal;

  beforeAll(async () => {
    await openLab();
    root = mkdtempSync(join(tmpdir(), 'slipway-container-'));
    const [source, home, objects] = ['source', 'home', 'objects'].map((folder) => join(root, folder)) as [
      string,
      string,
      string,
    ];
    for (const folder of [source, home, objects]) mkdirSync(folder);
    writeFileSync(join(objects, 'object'), 'x');
    scope = {
      project: 'hello',
      run: `jail-${process.pid}`,
      number: 1,
      stage: 'test',
      attempt: 1,
      source,
      home,
      objects,
    };
  }, 120_000);
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  async function run(
    session: StageSession<ContainerStep>,
    command: StepCommand,
    more: Partial<ContainerStep> = {},
    ends: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    let output = '';
    const { exitCode } = await session.run({
      step: step(command, more),
      env: {},
      timeoutMs: 30_000,
      redactor: createRedactor([]),
      sink: (chunk) => void (output += chunk.toString()),
      say: () => undefined,
      signal,
      ...ends,
    });
    return `${output}=${exitCode}`;
  }

  async function containers(): Promise<Docker.ContainerInfo[]> {
    return docker.listContainers({ all: true, filters: JSON.stringify({ label: [`slipway.run=${scope.run}`] }) });
  }

  test('is one for all its steps, and gone when the stage is', async () => {
    const session = await executor.open(scope, signal);
    expect(await run(session, shell('echo kept > /tmp/kept'))).toBe('=0');
    expect(await run(session, argv('cat', '/tmp/kept'))).toBe('kept\n=0');
    expect(await containers()).toHaveLength(1);
    await session.close();
    expect(await containers()).toHaveLength(0);
  });

  test('that a dead worker left is ended before the next attempt begins', async () => {
    const abandoned = await executor.open(scope, signal);
    await run(abandoned, argv('true'));
    const next = await executor.open({ ...scope, attempt: 2 }, signal);
    expect(await containers()).toHaveLength(0);
    expect(await run(next, argv('true'))).toBe('=0');
    await next.close();
  });

  test('that nobody will begin again is gone when its worker starts again, and those of others stay', async () => {
    await run(await executor.open(scope, signal), argv('true'));
    const { address } = (await components('docker')).docker;
    await (await createContainerExecutor({ address, owner: 'another' })).reapAbandoned();
    expect(await containers()).toHaveLength(1);
    await (await createContainerExecutor({ address, owner: `test-${process.pid}` })).reapAbandoned();
    expect(await containers()).toHaveLength(0);
  });

  test('has nothing of the engine, no rights, and cannot write outside of its checkout', async () => {
    const session = await executor.open(scope, signal);
    try {
      expect(await run(session, shell('ls /var/run/docker.sock /run/docker.sock 2>&1 | grep -c "No such"'))).toBe(
        '2\n=0',
      );
      expect(await run(session, shell('touch /etc/x'))).toMatch(/Read-only file system.*=1/s);
      expect(await run(session, shell(`touch ${scope.objects}/x`))).toMatch(/Read-only file system.*=1/s);
      expect(await run(session, shell(`cat ${scope.objects}/object; ls ${root}`))).toBe('xhome\nobjects\nsource\n=0');
      expect(await run(session, shell('grep -E "^Cap(Eff|Bnd)|NoNewPrivs" /proc/self/status'))).toMatch(
        /CapEff:\s0+\nCapBnd:\s0+\nNoNewPrivs:\s1\n=0/,
      );
      expect(await run(session, shell('ls /sys/class/net'))).toBe('lo\n=0');
    } finally {
      await session.close();
    }
  });

  test('has the limits that the project gives', async () => {
    const session = await executor.open(scope, signal);
    try {
      const resources = { memoryBytes: 64 * 1024 * 1024, temporaryBytes: 8 * 1024 * 1024 };
      await run(session, argv('true'), { resources });
      // The tools image says no more than that it could not write.
      const written = (bytes: number, file: string) => shell(`head -c ${bytes} /dev/zero > ${file}; echo whole`);
      for (const folder of ['/tmp', '/var/tmp']) {
        expect(await run(session, written(7_000_000, `${folder}/a`), { resources })).toBe('whole\n=0');
        expect(await run(session, written(2_000_000, `${folder}/b`), { resources })).toMatch(/=1$/);
      }
      const [{ Id } = { Id: '' }] = await containers();
      const { HostConfig } = await docker.getContainer(Id).inspect();
      expect(HostConfig).toMatchObject({ Memory: 64 * 1024 * 1024, PidsLimit: 4096, NetworkMode: 'none' });
    } finally {
      await session.close();
    }
  });

  test('that takes all it can get leaves the processor to other containers, and has all cores all the same', async () => {
    const session = await executor.open(scope, signal);
    const other = await docker.createContainer({
      Image: image,
      Cmd: ['sh', '-c', burn],
      HostConfig: { NetworkMode: 'none', Init: true },
    });
    const called = new AbortController();
    try {
      const runaway = run(session, shell(burn), {}, { signal: called.signal, timeoutMs: 90_000 }).catch(
        () => 'called off',
      );
      const own = await until(async () => (await containers()).find(({ State }) => State === 'running'));
      expect((await docker.getContainer(own.Id).inspect()).HostConfig).toMatchObject({ NanoCpus: 0, CpuShares: 256 });
      await other.start();
      const before = { step: await usedBy(own.Id), beside: await usedBy(other.id) };
      // Both together have had five seconds of the processor, whatever else the machine does.
      const used = await until(
        async () => {
          const now = { step: await usedBy(own.Id), beside: await usedBy(other.id) };
          const had = { step: now.step - before.step, beside: now.beside - before.beside };
          return had.step + had.beside > 5e9 ? had : undefined;
        },
        { timeoutMs: 60_000 },
      );
      // A quarter is what it should be.
      expect(used.step).toBeLessThan(used.beside / 2);
      called.abort(new Error('seen enough'));
      expect(await runaway).toBe('called off');
    } finally {
      await other.remove({ force: true });
      await session.close();
    }
  }, 120_000);

  /** Of the processor, ns. */
  async function usedBy(id: string): Promise<number> {
    const stats = await docker.getContainer(id).stats({ stream: false, 'one-shot': true });
    return stats.cpu_stats.cpu_usage.total_usage;
  }

  test('is a place where Git works on the checkout', async () => {
    const origin = createGitOrigin();
    const commit = origin.commit({ file: 'x' }, 'the subject');
    const source = createGitRepository({ folder: join(root, 'mirrors') });
    const repository = { project: 'hello', url: origin.path };
    await source.checkOut({ repository, commit, path: scope.source });
    const session = await executor.open({ ...scope, objects: source.objectsFolder('hello') }, signal);
    try {
      expect(await run(session, argv('git', 'log', '--format=%s'))).toBe('the subject\n=0');
    } finally {
      await session.close();
      origin.remove();
    }
  });

  test('of an image that is not to be had says so', async () => {
    const session = await executor.open(scope, signal);
    const asked = run(session, argv('true'), { image: '127.0.0.1:1/nothing:1' });
    await expect(asked).rejects.toMatchObject({ type: expect.stringMatching(/ImageNotFound|RegistryUnavailable/) });
    await session.close();
  });
});
