import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Daemon, endProcess, identityOf, startDaemon } from '../../src/effects/daemon.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { components } from '../support/components.ts';
import { type InstallationStory, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

/**
 * An engine of the test's own. It only has to build, but it needs a bridge of its own: one that is told to have none removes `docker0`
 * from under every other engine of the machine.
 */
const bridge = `br-slw${String(process.pid)}`;
const folder = mkdtempSync(join(tmpdir(), 'slipway-engine-'));
const address = `unix://${join(folder, 'docker.sock')}`;
let dockerd: Daemon;
let story: InstallationStory | undefined;

const minutes = 60_000;

beforeAll(async () => {
  execFileSync('ip', ['link', 'add', bridge, 'type', 'bridge']);
  execFileSync('ip', ['addr', 'add', '10.213.77.1/24', 'dev', bridge]);
  execFileSync('ip', ['link', 'set', bridge, 'up']);
  dockerd = await startEngine();
  const { docker, nodeImage } = await components('docker', 'nodeImage');
  const image = await connectDocker(docker.address).getImage(nodeImage.image).get();
  const loading = await connectDocker(address).loadImage(image);
  await new Promise((resolve, reject) => {
    loading.on('end', resolve);
    loading.on('error', reject);
    loading.resume();
  });
  story = await startInstallationStory({ name: 'engine', engine: address });
}, 300_000);

afterAll(async () => {
  await story?.close();
  await endProcess(dockerd, { graceMs: 20_000 });
  execFileSync('ip', ['link', 'delete', bridge]);
  unmountBelow(folder);
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

describe('Docker is killed and started again', () => {
  test(
    'in the middle of a build: it is built again, the registry has what the run says, and the run is as if nothing had been',
    async () => {
      if (story === undefined) throw new Error('the installation did not start');
      const { operator } = story;
      // Pushed, and rolled out nowhere: the test's own engine has no network that a service could be reached by.
      await story.setProject((document) => {
        const routes = document.toJS() as { routes: { ref?: string }[] };
        const index = routes.routes.findIndex(({ ref }) => ref === 'feature/**');
        expect(index).toBeGreaterThanOrEqual(0);
        document.setIn(['routes', index, 'buildImages'], 'push');
      });
      const dockerfile = `${await story.repository.read('Dockerfile')}
USER root
RUN ["node", "-e", "console.log('half way'); setTimeout(() => {}, 6000)"]
USER 10001:10001
`;
      const run = await story.push({
        branch: 'feature/engine',
        subject: 'feat: slow image',
        files: { Dockerfile: dockerfile },
      });
      const log = await until(
        async () => {
          const logs = await operator.listLogs(run);
          const building = logs.find(({ stage }) => stage === 'build');
          if (building === undefined) return undefined;
          return (await operator.readLog(building.log)).includes('half way') ? building : undefined;
        },
        { timeoutMs: 2 * minutes, everyMs: 100, what: 'the build to be half way' },
      );
      expect(log.stage).toBe('build');
      await endProcess(dockerd, { signal: 'SIGKILL' });
      dockerd = await startEngine();

      const record = await story.endOfRun(run);
      expect(record).toMatchObject({ outcome: 'succeeded' });
      expect(record.stages.map(({ name, verdict }) => [name, verdict])).toEqual([
        ['quality', 'passed'],
        ['test', 'passed'],
        ['build', 'passed'],
        ['push', 'passed'],
      ]);
      const [image, ...others] = record.images;
      if (image === undefined) throw new Error('the run has no image');
      expect(others).toEqual([]);
      expect(image).toMatchObject({ reused: false, tags: [expect.anything()] });
      // One build, one tag: under it the registry has the digest that the run goes by, and no other.
      await expect(digestOf(image.repository, image.tags[0] ?? '')).resolves.toBe(image.digest);
    },
    5 * minutes,
  );
});

/** What the registry itself has under a tag. */
async function digestOf(repository: string, tag: string): Promise<string | null> {
  const slash = repository.indexOf('/');
  const [host, path] = [repository.slice(0, slash), repository.slice(slash + 1)];
  const kinds = ['oci.image.index.v1', 'oci.image.manifest.v1', 'docker.distribution.manifest.v2'];
  const response = await fetch(`http://${host}/v2/${path}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { accept: kinds.map((kind) => `application/vnd.${kind}+json`).join(', ') },
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`the registry answers ${String(response.status)} for ${repository}:${tag}`);
  return response.headers.get('docker-content-digest');
}

async function startEngine(): Promise<Daemon> {
  const exec = join(folder, 'exec');
  mkdirSync(exec, { recursive: true });
  await forgetDead(exec);
  const started = await startDaemon({
    command: 'dockerd',
    args: [
      ...['--host', address, '--data-root', join(folder, 'data'), '--exec-root', exec],
      ...['--pidfile', join(exec, 'docker.pid'), '--log-level', 'warn'],
      ...['--bridge', bridge, '--iptables=false', '--ip-forward=false', '--insecure-registry', '127.0.0.0/8'],
    ],
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin` },
    logFile: join(folder, 'dockerd.log'),
  });
  await until(async () => (await connectDocker(address, 5_000).ping()).length > 0, {
    timeoutMs: minutes,
    everyMs: 100,
    what: `the test's own engine to answer; its log is ${join(folder, 'dockerd.log')}`,
  });
  return started;
}

/** What a killed engine leaves: it would wait for a containerd that is gone. */
async function forgetDead(exec: string): Promise<void> {
  for (const name of ['docker.pid', 'containerd/containerd.pid']) {
    await until(() => {
      try {
        if (identityOf(Number(readFileSync(join(exec, name), 'utf8'))) !== undefined) return false;
        rmSync(join(exec, name), { force: true });
        return true;
      } catch {
        return true;
      }
    });
  }
}

function unmountBelow(path: string): void {
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((place) => place.startsWith(`${path}/`));
  for (const place of mounted.reverse()) execFileSync('umount', ['--lazy', place]);
}
