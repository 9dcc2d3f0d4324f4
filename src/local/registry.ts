import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import { containerHandle, findOrStartContainer } from './containers.ts';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, type Ports, daemonHandle, findOrStart } from './daemons.ts';
import type { DockerHandle } from './docker.ts';
import { ensureImagePulled } from './images.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';
import { readState } from './state.ts';

/** A registry that speaks the distribution API (v2). */
export interface RegistryHandle extends ComponentHandle {
  /** `host:port` as it stands before the name of an image. */
  readonly address: string;
  /** Where its API is, such as `http://127.0.0.1:5050`. */
  readonly url: string;
}

export interface RegistryOptions {
  /** One that runs already; then nothing is started. */
  readonly url?: string | undefined;
  /** The engine to run it on where this machine has no program for it. */
  readonly docker?: (() => Promise<DockerHandle>) | undefined;
}

const publicImage = 'registry:2';

/**
 * Finds or starts the registry: Debian's `docker-registry`, or the `registry:2` image which is the same program, on
 * loopback, with its data under the state folder and deletion allowed.
 *
 * @throws ProviderError `RegistryUnavailable` (retried) - the configured one does not answer.
 * @throws ProviderError `ToolMissing` (not retried) - its program is not there and cannot be installed.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureRegistry(context: LocalContext, options: RegistryOptions = {}): Promise<RegistryHandle> {
  if (options.url !== undefined) return await useConfigured(options.url);
  const way = await chooseWay(context, options.docker);
  if ('docker' in way) return await ensureRegistryContainer(context, way.docker);
  return withUrl(await asProcess(context, way.program));
}

function withUrl(handle: ComponentHandle): RegistryHandle {
  return { ...handle, url: `http://${handle.address}` };
}

type Way = { readonly program: string } | { readonly docker: DockerHandle };

async function chooseWay(context: LocalContext, docker: RegistryOptions['docker']): Promise<Way> {
  // Once it lives in a container, it is looked for there.
  if (docker !== undefined && readState(context, 'registry')?.container !== undefined)
    return { docker: await docker() };
  const onPath = (): Way | undefined => {
    const program = findProgram(context, 'docker-registry');
    return program === undefined ? undefined : { program };
  };
  return await obtain<Way>(
    'A container registry',
    [
      { what: '`docker-registry` on PATH', take: onPath },
      {
        what: `pulling ${publicImage}`,
        take: async () => {
          if (docker === undefined) return undefined;
          const engine = await docker();
          await ensureImagePulled(context, engine, publicImage);
          return { docker: engine };
        },
      },
      {
        what: 'installing docker-registry by apt',
        take: async () => {
          await installDebianPackages(context, 'registry', ['docker-registry']);
          return onPath();
        },
      },
    ],
    'Install the `docker-registry` program, or let the Docker engine pull public images.',
  );
}

async function asProcess(context: LocalContext, program: string): Promise<ComponentHandle> {
  const running = await findOrStart(context, {
    name: 'registry',
    ports: ['registry'],
    prepare: async () => {
      const { stdout } = await runHelper(context, program, ['--version']);
      return {
        version: /\s(\d+(\.\d+)*)/.exec(stdout)?.[1] ?? '2',
        launch: (ports) => ({ command: program, args: ['serve', writeConfig(context, ports)] }),
      };
    },
    answers: (ports) => checkApi(`http://${listenAddress(ports)}`),
  });
  return daemonHandle(context, running, listenAddress(running.state.ports));
}

/**
 * As {@link ensureRegistry} where the machine has no program for it.
 *
 * @param image - of the distribution registry; default `registry:2`. It must be on the engine.
 */
export async function ensureRegistryContainer(
  context: LocalContext,
  docker: DockerHandle,
  image = publicImage,
): Promise<RegistryHandle> {
  const folder = join(context.stateFolder, 'registry');
  const running = await findOrStartContainer(context, docker, {
    name: 'registry',
    owner: 'slipway',
    ports: ['registry'],
    create: (ports) =>
      Promise.resolve({
        Image: image,
        Entrypoint: ['registry'],
        Cmd: ['serve', writeConfig(context, ports)],
        User: `${String(process.getuid?.() ?? 0)}:${String(process.getgid?.() ?? 0)}`,
        HostConfig: { Binds: [`${folder}:${folder}`] },
      }),
    answers: async (ports) => {
      await checkApi(`http://${listenAddress(ports)}`);
      return '2';
    },
    failure: 'RegistryUnavailable',
  });
  return withUrl(containerHandle(context, running, listenAddress(running.state.ports)));
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
