import { existsSync, readFileSync, rmSync } from 'node:fs';
import { homedir, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Docker from 'dockerode';
import { ProviderError } from '../domain/failures.ts';
import { identityOf, isRunning } from '../effects/daemon.ts';
import { type LocalContext, installationId, socketFolder } from './context.ts';
import { type ComponentHandle, daemonHandle, findOrStart, stopState } from './daemons.ts';
import { listEngines } from './engines.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';
import { type ComponentState, type ContainerIdentity, readState, writeState } from './state.ts';

/** A Docker engine that Slipway may use. */
export interface DockerHandle extends ComponentHandle {
  /** As in DOCKER_HOST: `unix:///…` or `tcp://…`. */
  readonly address: string;
  /** The address of this machine as containers on the default bridge see it, such as 172.17.0.1. */
  readonly bridgeGateway: string;
}

/** On what Slipway makes; tells the containers of this installation from others on the same engine. */
export const installationLabel = 'slipway.installation';

/** A client for an address as in DOCKER_HOST. */
export function connectDocker(address: string, timeoutMs?: number): Docker {
  const timeout = timeoutMs === undefined ? {} : { timeout: timeoutMs };
  if (address.startsWith('unix://')) return new Docker({ socketPath: address.slice('unix://'.length), ...timeout });
  const { hostname, port, protocol } = new URL(address);
  return new Docker({
    host: hostname,
    port: port || 2375,
    protocol: protocol === 'https:' ? 'https' : 'http',
    ...timeout,
  });
}

/**
 * Finds a Docker engine or starts one, as root, with all its data under the state folder.
 *
 * There is one engine in a network: two would undo each other's packet filter rules, so one that runs already is used,
 * whoever started it. One of another network or out of reach is passed over (`engines.ts`). Which one was taken is
 * reported, and why another was not.
 *
 * @param options.address - as in DOCKER_HOST; then nothing is searched or started.
 * @throws ProviderError `EngineUnavailable` (retried) - the configured address does not answer.
 * @throws ProviderError `ToolMissing` (not retried) - there is none, and it cannot be installed or started by this user.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureDocker(
  context: LocalContext,
  options: { readonly address?: string | undefined } = {},
): Promise<DockerHandle> {
  const engine = await findEngine(context, options.address);
  const { address, version, how, pid } = engine;
  const whose = how === 'started' || pid !== undefined ? `our own, ${how}` : how;
  say(context, `uses the engine at ${address} (${version}, ${whose})`);
  return engine;
}

async function findEngine(context: LocalContext, address: string | undefined): Promise<DockerHandle> {
  if (address !== undefined) {
    try {
      return await borrowed(address, 'configured');
    } catch (error) {
      throw new ProviderError('EngineUnavailable', `Docker at ${address} does not answer: ${reasonOf(error)}`);
    }
  }
  const own = readState(context, 'docker')?.process;
  if (own !== undefined && isRunning(own)) return await startOwn(context, []);
  const { candidates, passedOver } = listEngines({ usual: usualSockets(context), own: ownSocket(context) });
  const refused: string[] = [];
  const passOver = (engine: string, why: string): void => {
    refused.push(`${engine} (${why})`);
    say(context, `passes over the engine at ${engine}: ${why}`);
  };
  for (const { engine, why } of passedOver) passOver(engine, why);
  for (const candidate of candidates) {
    try {
      return await borrowed(candidate, 'found');
    } catch (error) {
      passOver(candidate, `it does not answer: ${reasonOf(error)}`);
    }
  }
  return await startOwn(context, refused);
}

function say(context: LocalContext, message: string): void {
  context.report({ component: 'docker', message, elapsedMs: 0 });
}

async function borrowed(address: string, how: 'configured' | 'found'): Promise<DockerHandle> {
  const { version, bridgeGateway } = await inspectEngine(address);
  return { name: 'docker', how, version, address, bridgeGateway, stop: () => Promise.resolve() };
}

async function inspectEngine(address: string): Promise<{ version: string; bridgeGateway: string }> {
  const docker = connectDocker(address, 5_000);
  const [{ Version: version }, bridge] = await Promise.all([docker.version(), docker.getNetwork('bridge').inspect()]);
  const { IPAM, Options } = bridge as { IPAM?: { Config?: { Gateway?: string }[] }; Options?: Record<string, string> };
  const device = Options?.['com.docker.network.bridge.name'] ?? 'docker0';
  const gateway = IPAM?.Config?.find((config) => config.Gateway !== undefined)?.Gateway;
  const own = networkInterfaces()[device]?.find(({ family }) => family === 'IPv4')?.address;
  return { version, bridgeGateway: own ?? gateway ?? '172.17.0.1' };
}

/** Where engines usually listen: of the machine, of this user, of Docker Desktop. */
function usualSockets(context: LocalContext): string[] {
  return [
    '/var/run/docker.sock',
    join(context.env['XDG_RUNTIME_DIR'] ?? `/run/user/${String(process.getuid?.())}`, 'docker.sock'),
    join(context.env['HOME'] ?? homedir(), '.docker/run/docker.sock'),
  ];
}

function ownSocket(context: LocalContext): string {
  return join(execRoot(context), 'docker.sock');
}

function execRoot(context: LocalContext): string {
  return socketFolder(context, join(context.stateFolder, 'docker', 'run'), 'containerd/containerd-debug.sock');
}

async function startOwn(context: LocalContext, refused: readonly string[]): Promise<DockerHandle> {
  const address = `unix://${ownSocket(context)}`;
  const running = await findOrStart(context, {
    name: 'docker',
    owner: 'target',
    ports: [],
    prepare: async () => {
      const program = await dockerdProgram(context, refused);
      await forgetDead(context);
      return {
        version: await programVersion(context, program),
        launch: () => ({ command: program, args: dockerdArgs(context), env: daemonEnv(context) }),
      };
    },
    answers: async () => {
      await connectDocker(address, 5_000).ping();
    },
    readyTimeoutMs: 60_000,
    stopGraceMs: 30_000,
  });
  const { version, bridgeGateway } = await inspectEngine(address);
  return {
    ...daemonHandle(context, running, address),
    version,
    address,
    bridgeGateway,
    stop: async () => {
      await stopDocker(context);
    },
  };
}

/**
 * Ends the engine that this installation started, unless something runs on it.
 *
 * @param options.containers - `remove` ends all its containers first; those of another installation keep it alive.
 * @returns what keeps it running, or undefined where it does not run any more.
 */
export async function stopDocker(
  context: LocalContext,
  options: { readonly containers: 'keep' | 'remove' } = { containers: 'keep' },
): Promise<string | undefined> {
  const state = readState(context, 'docker');
  if (state?.process === undefined || !isRunning(state.process)) return undefined;
  const engine = connectDocker(`unix://${ownSocket(context)}`, 30_000);
  const containers = await engine.listContainers({ all: options.containers === 'remove' });
  const others = containers.filter(({ Labels }) => {
    const owner = Labels[installationLabel];
    return owner !== undefined && owner !== installationId(context);
  });
  const keeping = options.containers === 'remove' ? others : containers;
  if (keeping.length > 0) {
    const names = keeping.map(({ Names }) => Names[0]?.slice(1)).join(', ');
    return `it carries ${names}`;
  }
  await Promise.all(containers.map(({ Id }) => engine.getContainer(Id).remove({ force: true, v: true })));
  await stopState(context, state);
  await unmountLeftovers(context);
  return undefined;
}

/** Whether the container of a component runs; no where its engine does not answer. */
export async function isContainerRunning({ engine, name }: ContainerIdentity): Promise<boolean> {
  try {
    const { State } = await connectDocker(engine, 5_000).getContainer(name).inspect();
    return State.Running;
  } catch {
    return false;
  }
}

/**
 * Removes the container of a component and forgets it.
 *
 * @returns false where it was not there any more.
 */
export async function removeContainer(context: LocalContext, state: ComponentState): Promise<boolean> {
  if (state.container === undefined) return false;
  const { engine, name } = state.container;
  const there = await isContainerRunning(state.container);
  try {
    await connectDocker(engine, 30_000).getContainer(name).remove({ force: true });
  } catch (error) {
    // Without its engine it does not run, and goes with the engine's data.
    if (there) throw error;
  }
  writeState(context, { ...state, container: undefined });
  return there;
}

/** With live restore the engine leaves its data folder mounted on itself and a network namespace beside its socket. */
async function unmountLeftovers(context: LocalContext): Promise<void> {
  const folders = [join(context.stateFolder, 'docker'), execRoot(context)];
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)));
  for (const path of mounted.reverse()) await runHelper(context, 'umount', [path]);
}

async function dockerdProgram(context: LocalContext, refused: readonly string[]): Promise<string> {
  return await obtain(
    'A Docker engine',
    [
      {
        what: `a running one${refused.length === 0 ? '' : `: ${refused.join(', ')}`}`,
        take: () => {
          if (process.getuid?.() !== 0) throw new Error('starting one needs root');
          return undefined;
        },
      },
      { what: '`dockerd` on PATH', take: () => (isRoot() ? findProgram(context, 'dockerd') : undefined) },
      {
        what: 'installing docker.io by apt',
        take: async () => {
          if (!isRoot()) return undefined;
          await installDebianPackages(context, 'docker', ['docker.io', 'iptables']);
          return findProgram(context, 'dockerd');
        },
      },
    ],
    'Start Docker and let this user use its socket (group `docker`), set DOCKER_HOST, or run this as root.',
  );
}

async function programVersion(context: LocalContext, program: string): Promise<string> {
  const { stdout } = await runHelper(context, program, ['--version']);
  return /version ([^\s,]+)/.exec(stdout)?.[1] ?? 'of unknown version';
}

/**
 * A killed engine takes its containerd along a moment later, and both leave their pid files. An engine started now would
 * believe them: it ends at once, or waits 15 s for a containerd that is gone.
 */
async function forgetDead(context: LocalContext): Promise<void> {
  const deadline = performance.now() + 2_000;
  for (const name of ['docker.pid', 'containerd/containerd.pid']) {
    const file = join(execRoot(context), name);
    while (existsSync(file) && performance.now() < deadline) {
      if (identityOf(Number(readFileSync(file, 'utf8'))) === undefined) rmSync(file, { force: true });
      else await delay(50);
    }
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function dockerdArgs(context: LocalContext): string[] {
  const folder = join(context.stateFolder, 'docker');
  return [
    ...[
      '--host',
      `unix://${ownSocket(context)}`,
      '--data-root',
      join(folder, 'data'),
      '--exec-root',
      execRoot(context),
    ],
    ...['--pidfile', join(execRoot(context), 'docker.pid'), '--log-level', 'warn'],
    // What was deployed goes on when the engine is stopped or dies.
    '--live-restore',
    // And keeps its published ports: those of the proxy are closed while the engine is away, packet filter rules stay.
    '--userland-proxy=false',
    // Registries on loopback speak plain HTTP.
    ...['--insecure-registry', '127.0.0.0/8', '--label', `${installationLabel}=${installationId(context)}`],
  ];
}

/** The engine looks for containerd, runc and iptables on PATH. */
function daemonEnv(context: LocalContext): Record<string, string> {
  return { ...context.env, PATH: `${context.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin` };
}
