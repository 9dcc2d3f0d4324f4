import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { until } from './until.ts';

/** A Docker engine with a network of its own, as in a namespace or without root; its socket is within everybody's reach. */
export interface AwayEngine {
  /** Holds `docker.sock`, as the folder XDG_RUNTIME_DIR does. */
  readonly folder: string;
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startAwayEngine(): Promise<AwayEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-away-'));
  const socket = join(folder, 'docker.sock');
  let said = '';
  const child = spawn(
    // unshare becomes the engine, which is so the process that we know.
    'unshare',
    [
      ...['--net', '--', 'dockerd', '--host', `unix://${socket}`, '--data-root', join(folder, 'data')],
      ...['--exec-root', join(folder, 'run'), '--pidfile', join(folder, 'docker.pid')],
      ...['--iptables=false', '--ip6tables=false', '--log-level', 'error'],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const docker = new Docker({ socketPath: socket });
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the engine ended: ${said}`);
      await docker.ping();
      return true;
    });
  } catch (error) {
    await stop();
    throw new Error(`the engine did not start: ${said}`, { cause: error });
  }
  return { folder, address: `unix://${socket}`, pid: child.pid!, stop };
}
