import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './until.ts';

const execute = promisify(execFile);

/** A containerd of a test's own, what Docker engines keep their images in; there is nothing in it. */
export interface EmptyEngine {
  /** Fetches an image by its digest for one platform. @param reference - `host:port/path@sha256:…`, over plain HTTP. */
  pull(reference: string, platform: string): Promise<void>;
  /** Digests of everything that it has. */
  content(): Promise<readonly string[]>;
  /** Runs what was pulled for this machine, and gives back what it printed. */
  run(reference: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startEmptyEngine(): Promise<EmptyEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-containerd-'));
  const socket = join(folder, 'containerd.sock');
  const config = join(folder, 'config.toml');
  // The part for Kubernetes wants a network.
  writeFileSync(
    config,
    `version = 2\nroot = "${join(folder, 'root')}"\nstate = "${join(folder, 'state')}"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${socket}"\n`,
  );
  const child = spawn(
    'unshare',
    ['--mount', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL', '--', 'containerd', '--config', config],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ctr = async (...args: readonly string[]): Promise<string> =>
    (await execute('ctr', ['--address', socket, ...args], { timeout: 60_000 })).stdout;
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    await until(() => {
      rmSync(folder, { recursive: true, force: true });
      return true;
    });
  };
  try {
    await until(() => ctr('version'), { what: 'a containerd' });
  } catch (error) {
    await stop();
    throw new Error(`containerd did not start: ${said}`, { cause: error });
  }
  return {
    async pull(reference, platform) {
      const options = ['--plain-http', '--snapshotter', 'native', '--platform', platform];
      await ctr('images', 'pull', ...options, reference);
    },
    async content() {
      return (await ctr('content', 'ls', '--quiet')).split('\n').filter((line) => line !== '');
    },
    run: (reference) => ctr('run', '--rm', '--snapshotter', 'native', reference, `run-${process.pid}`),
    stop,
  };
}
