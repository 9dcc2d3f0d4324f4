import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { type SmallDisk, mountSmallDisk } from './small-disk.ts';
import { until } from './until.ts';

/** A Docker engine with all its images on a disk of a few megabytes. It has no network and starts no containers. */
export interface SmallEngine {
  readonly address: string;
  readonly docker: Docker;
  readonly disk: SmallDisk;
  stop(): Promise<void>;
}

/** @param size - of its disk, as tmpfs takes it. */
export async function startSmallEngine(size: string): Promise<SmallEngine> {
  const disk = mountSmallDisk(size);
  const folder = mkdtempSync(join(tmpdir(), 'slipway-engine-'));
  const socket = join(folder, 'docker.sock');
  let said = '';
  const child = spawn(
    // With a network of its own: an engine without a bridge removes that of the other engine on this machine.
    'unshare',
    [
      ...['--net', '--', 'dockerd'],
      ...['--host', `unix://${socket}`, '--data-root', join(disk.folder, 'data'), '--exec-root', join(folder, 'run')],
      ...['--pidfile', join(folder, 'docker.pid'), '--bridge', 'none', '--iptables=false', '--log-level', 'error'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const docker = new Docker({ socketPath: socket });
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    const mounts = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '');
    if (mounts.includes(disk.folder)) disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the engine ended: ${said}`);
      await docker.ping();
      return true;
    });
  } catch (error) {
    await stop();
    throw new Error(`the engine did not start: ${said}`, { cause: error });
  }
  return { address: `unix://${socket}`, docker, disk, stop };
}
