import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, type Ports, daemonHandle, findOrStart } from './daemons.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';

/** A registry that speaks the distribution API (v2). */
export interface RegistryHandle extends ComponentHandle {
  /** `host:port` as it stands before the name of an image. */
  readonly address: string;
  /** Where its API is, such as `http://127.0.0.1:5050`. */
  readonly url: string;
}

/**
 * Finds or starts the registry: Debian's `docker-registry`, which is the program of the `registry:2` image, on
 * loopback, with its data under the state folder and deletion allowed.
 *
 * @param options.url - one that runs already; then nothing is started.
 * @throws ProviderError `RegistryUnavailable` (retried) - the configured one does not answer.
 * @throws ProviderError `ToolMissing` (not retried) - its program is not there and cannot be installed.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureRegistry(
  context: LocalContext,
  options: { readonly url?: string | undefined } = {},
): Promise<RegistryHandle> {
  if (options.url !== undefined) return await useConfigured(options.url);
  const running = await findOrStart(context, {
    name: 'registry',
    ports: ['registry'],
    prepare: async () => {
      const program = await registryProgram(context);
      const { stdout } = await runHelper(context, program, ['--version']);
      return {
        version: /\s(\d+(\.\d+)*)/.exec(stdout)?.[1] ?? '2',
        launch: (ports) => ({ command: program, args: ['serve', writeConfig(context, ports)] }),
      };
    },
    answers: async (ports) => {
      await checkApi(`http://${listenAddress(ports)}`);
    },
  });
  const address = listenAddress(running.state.ports);
  return { ...daemonHandle(context, running, address), address, url: `http://${address}` };
}

function listenAddress(ports: Ports): string {
  return `127.0.0.1:${String(ports['registry'])}`;
}

async function useConfigured(url: string): Promise<RegistryHandle> {
  try {
    await checkApi(url);
  } catch (error) {
    throw new ProviderError('RegistryUnavailable', `the registry at ${url} does not answer: ${reasonOf(error)}`);
  }
  const address = new URL(url).host;
  return { name: 'registry', how: 'configured', version: '2', address, url, stop: () => Promise.resolve() };
}

/** 401 is an answer too: the credentials are the business of whoever pushes. */
async function checkApi(url: string): Promise<void> {
  const response = await fetch(new URL('/v2/', url), { signal: AbortSignal.timeout(5_000) });
  if (response.status !== 200 && response.status !== 401) throw new Error(`HTTP ${String(response.status)} at /v2/`);
}

async function registryProgram(context: LocalContext): Promise<string> {
  return await obtain(
    'A container registry',
    [
      { what: '`docker-registry` on PATH', take: () => findProgram(context, 'docker-registry') },
      {
        what: 'installing docker-registry by apt',
        take: async () => {
          await installDebianPackages(context, 'registry', ['docker-registry']);
          return findProgram(context, 'docker-registry');
        },
      },
    ],
    'Install the `docker-registry` program, or name a registry that runs by SLIPWAY_REGISTRY.',
  );
}

function writeConfig(context: LocalContext, ports: Ports): string {
  const folder = join(context.stateFolder, 'registry');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'config.yml');
  // JSON is YAML, and quotes whatever a path may hold.
  const config = {
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: { addr: listenAddress(ports) },
  };
  writeFileSync(file, JSON.stringify(config, undefined, 2));
  return file;
}
