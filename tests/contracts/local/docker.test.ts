import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createLocalContext } from '../../../src/local/context.ts';
import { type DockerHandle, connectDocker, ensureDocker, stopDocker } from '../../../src/local/docker.ts';
import { ensureNodeBaseImage } from '../../../src/local/images.ts';
import { components, testStateFolder } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';
import { startAwayEngine } from '../../support/away-engine.ts';
import { until } from '../../support/until.ts';

let installation: ScratchInstallation;
let docker: DockerHandle;
let container: string | undefined;

beforeAll(async () => {
  docker = (await components('docker')).docker as DockerHandle;
  installation = scratchInstallation();
}, 120_000);

afterEach(async () => {
  if (container !== undefined) await connectDocker(docker.address).getContainer(container).remove({ force: true });
  container = undefined;
});

afterAll(async () => {
  await installation.remove();
});

async function runSleeper(): Promise<{ id: string; pid: number }> {
  const { image } = await ensureNodeBaseImage(installation.context, docker);
  const engine = connectDocker(docker.address);
  const created = await engine.createContainer({ Image: image, Cmd: ['sleep', '600'] });
  container = created.id;
  await created.start();
  return { id: created.id, pid: (await created.inspect()).State.Pid };
}

describe('the Docker engine', () => {
  test('of another installation is used and not ended', async () => {
    const found = await ensureDocker(installation.context);
    expect(found).toMatchObject({ how: 'found', address: docker.address, version: docker.version });
    expect(installation.said).toEqual([`uses the engine at ${docker.address} (${docker.version}, found)`]);
    await found.stop();
    await expect(connectDocker(docker.address).ping()).resolves.toBeDefined();
  });

  test('of another network is passed over although it answers at a usual place, and it is said why', async () => {
    const away = await startAwayEngine();
    const said: string[] = [];
    try {
      const found = await ensureDocker({
        ...installation.context,
        env: { ...installation.context.env, XDG_RUNTIME_DIR: away.folder },
        report: ({ message }) => said.push(message),
      });
      expect(found).toMatchObject({ how: 'found', address: docker.address });
      expect(said).toEqual([
        `passes over the engine at ${away.address}: its network is another one than ours (process ${away.pid})`,
        `uses the engine at ${docker.address} (${docker.version}, found)`,
      ]);
    } finally {
      await away.stop();
    }
  }, 120_000);

  test('that is configured is used', async () => {
    const configured = await ensureDocker(installation.context, { address: docker.address });
    expect(configured).toMatchObject({ how: 'configured', bridgeGateway: docker.bridgeGateway });
  });

  test('that is configured and does not answer is named', async () => {
    const asking = ensureDocker(installation.context, { address: 'unix:///nowhere/docker.sock' });
    await expect(asking).rejects.toMatchObject({ type: 'EngineUnavailable' });
    await expect(asking).rejects.toThrow('Docker at unix:///nowhere/docker.sock does not answer');
  });

  test('goes on as long as something runs on it', async () => {
    const context = createLocalContext({ stateFolder: testStateFolder });
    await runSleeper();
    await stopDocker(context);
    await expect(connectDocker(docker.address).ping()).resolves.toBeDefined();
  }, 180_000);

  test('of our own comes back after a kill, and what it carried never stopped', async () => {
    const context = createLocalContext({ stateFolder: testStateFolder });
    const { id, pid } = await runSleeper();
    const before = await ensureDocker(context);
    // An engine of the machine has no process that we know of, and is not ours to kill.
    if (before.pid !== undefined) process.kill(before.pid, 'SIGKILL');
    const after = await ensureDocker(context);
    expect(after.address).toBe(docker.address);
    expect(after.how).toBe(before.pid === undefined ? 'found' : 'started');
    const engine = connectDocker(after.address);
    const { State } = await until(() => engine.getContainer(id).inspect());
    expect(State).toMatchObject({ Running: true, Pid: pid });
  }, 180_000);
});
