import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Daemon, endProcess, startDaemon } from '../../src/effects/daemon.ts';
import { createCutProxy } from './cut-proxy.ts';
import type { InstallationStory } from './installation-story.ts';
import { until } from './until.ts';

/**
 * A machine that builds, beside an installation that does not: a worker in a process, a name and folders of its own. What machines share is what the
 * documentation says that they share: Temporal, the store, logs, blobs and the installation's key. The engine is one, as there is one here.
 */
export interface BuildMachine {
  readonly name: string;
  /** Where the checkouts of runs lie. */
  readonly runsFolder: string;
  /** Takes work from when it settles on. */
  start(): Promise<void>;
  /** SIGKILL, and nobody starts it again. */
  lose(): Promise<void>;
  /** From now on its facts stay on its disk; Temporal is still within its reach. */
  cutStore(): void;
  mendStore(): void;
  /** Files of facts that have not all been forwarded. */
  spooled(): readonly string[];
  /** Processes of this machine's runs, by what their environment says. */
  steps(): readonly number[];
  close(): Promise<void>;
}

const main = resolve(import.meta.dirname, '../../src/workers/main.ts');

/** @param env - settings on top, such as its patience. */
export async function createBuildMachine(
  story: Pick<InstallationStory, 'context' | 'own' | 'dockerAddress'>,
  name: string,
  env: Readonly<Record<string, string>>,
): Promise<BuildMachine> {
  const shared = story.context.stateFolder;
  const stateFolder = join(shared, name);
  const runsFolder = join(stateFolder, 'work/runs');
  const spoolFolder = join(stateFolder, 'spool');
  mkdirSync(stateFolder);
  const storeUrl = new URL(story.own.store.url);
  const store = await createCutProxy({ host: storeUrl.hostname, port: Number(storeUrl.port) });
  storeUrl.host = store.address;
  const logFile = join(stateFolder, 'worker.log');
  let daemon: Daemon | undefined;
  let starts = 0;

  async function end(graceMs: number): Promise<void> {
    if (daemon !== undefined) await endProcess(daemon, { graceMs });
    daemon = undefined;
  }
  return {
    name,
    runsFolder,
    async start() {
      daemon = await startDaemon({
        command: process.execPath,
        args: [main],
        cwd: stateFolder,
        logFile,
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: stateFolder,
          SLIPWAY_STATE: stateFolder,
          SLIPWAY_LOGS: join(shared, 'logs'),
          SLIPWAY_BLOBS: join(shared, 'blobs'),
          SLIPWAY_INSTALLATION_KEY: readFileSync(join(shared, 'secrets/installation-key'), 'utf8').trim(),
          SLIPWAY_WORKER_NAME: name,
          SLIPWAY_CAPABILITIES: 'build',
          TEMPORAL_ADDRESS: story.own.temporal.address,
          TEMPORAL_NAMESPACE: story.own.temporal.namespace,
          DATABASE_URL: storeUrl.href,
          DOCKER_HOST: story.dockerAddress,
          ...env,
        },
      });
      starts += 1;
      await until(() => countOf('worker polls', logFile) === starts, {
        timeoutMs: 90_000,
        what: `${name} to take work`,
      });
    },
    async lose() {
      if (daemon === undefined) throw new Error(`${name} does not run`);
      process.kill(daemon.pid, 'SIGKILL');
      await daemon.exited;
      daemon = undefined;
    },
    cutStore: () => store.cut(),
    mendStore: () => store.mend(),
    spooled: () => readdirSync(spoolFolder).filter((file) => file.endsWith('.spool')),
    steps: () =>
      readdirSync('/proc')
        .filter((pid) => /^\d+$/.test(pid))
        .map(Number)
        .filter((pid) => {
          try {
            return readFileSync(`/proc/${String(pid)}/environ`, 'utf8').includes(`SLIPWAY_WORKSPACE=${runsFolder}/`);
          } catch {
            return false;
          }
        }),
    async close() {
      await end(0);
      await store.close();
    },
  };
}

function countOf(text: string, file: string): number {
  return existsSync(file) ? readFileSync(file, 'utf8').split(text).length - 1 : 0;
}
