import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ProviderError } from '../domain/failures.ts';
import { type Daemon, type ProcessIdentity, endProcess, startDaemon } from '../effects/daemon.ts';
import { generateToken, storeToken } from '../store/tokens.ts';
import { migrate, openStore } from '../store/store.ts';
import { type LocalContext, logFile } from './context.ts';
import { stopState } from './daemons.ts';
import { choosePort } from './ports.ts';
import { findProgram, lastLines } from './programs.ts';
import { readState, writeState } from './state.ts';
import type { LocalComponents } from './up.ts';

/** What Slipway itself needs; the rest belongs to what it deploys. */
export type SystemComponents = Pick<LocalComponents, 'temporal' | 'store' | 'docker' | 'router'>;

export interface SystemOptions {
  /** Settings on top of those that the components give, such as secrets of projects. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default 8420, or the next free one; remembered. */
  readonly apiPort?: number;
  /** Told of every start and end of a process. */
  readonly onEvent?: (event: SystemEvent) => void;
}

export interface SystemEvent {
  readonly process: SystemProcess;
  readonly what: 'started' | 'ended' | 'ready';
  readonly pid?: number;
  readonly detail?: string;
}

export type SystemProcess = 'api' | 'worker';

/** API and worker of one machine, kept running. */
export interface System {
  /** Of the API, without a slash at the end. */
  readonly url: string;
  /** Of an administrator; also in `secrets/admin-token` of the state folder. */
  readonly token: string;
  readonly temporalUi: string | undefined;
  /** The process that runs now; undefined between an end and the next start. */
  process(name: SystemProcess): ProcessIdentity | undefined;
  /** Ends both. What was deployed goes on, and so do the components. */
  stop(): Promise<void>;
}

const sourceFolder = fileURLToPath(new URL('..', import.meta.url));
const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
const mains: Readonly<Record<SystemProcess, string>> = {
  api: join(sourceFolder, `api/main${extension}`),
  worker: join(sourceFolder, `workers/main${extension}`),
};

/** A small young generation: 25 MB less for each process, measured; most of what a request makes is gone before the next one anyway. */
const thrift = ['--max-semi-space-size=1'] as const;

const readyTimeoutMs = 60_000;
/** Between an end and the next start: at once at first, then longer, so that one that cannot start does not spin. */
const restartMs = [0, 250, 1_000, 2_000, 5_000] as const;
/** A process that lived this long began well; the next pause is the first one again. */
const soundMs = 30_000;
const graceMs = 15_000;

/**
 * Starts API and worker over components that run, waits until both answer, and starts again whichever ends.
 *
 * They end with the caller: a supervisor that is killed takes them along, and the next one begins clean.
 *
 * @throws ProviderError `ConfigurationInvalid`, `StoreUnavailable`, `Internal`: one of them does not start; its last lines are in the message.
 */
export async function startSystem(
  context: LocalContext,
  components: SystemComponents,
  options: SystemOptions = {},
): Promise<System> {
  const onEvent = options.onEvent ?? (() => undefined);
  await endLeftovers(context);
  const token = await ensureAdminToken(context, components.store.url);
  const port = options.apiPort ?? (await choosePort(context, 'api', 'api'));
  const url = `http://127.0.0.1:${port}`;
  const env = environmentOf(context, components, port, options.env ?? {});
  const stopping = new AbortController();
  const running = new Map<SystemProcess, Daemon>();

  async function startOne(name: SystemProcess): Promise<Daemon> {
    const [command, args] = dyingWithUs(context, process.execPath, [...thrift, mains[name]]);
    const daemon = await startDaemon({
      command,
      args,
      env,
      cwd: context.stateFolder,
      logFile: logFile(context, name),
    });
    running.set(name, daemon);
    writeState(context, {
      name,
      process: { pid: daemon.pid, started: daemon.started },
      ports: name === 'api' ? { api: port } : {},
      version: process.version,
      command: mains[name],
      logFile: logFile(context, name),
      owner: 'slipway',
      stopSignal: 'SIGTERM',
      stopGraceMs: graceMs,
      startedAt: new Date().toISOString(),
    });
    onEvent({ process: name, what: 'started', pid: daemon.pid });
    return daemon;
  }

  async function keep(name: SystemProcess, first: Daemon): Promise<void> {
    let daemon = first;
    for (let failures = 0; ;) {
      const startedMs = performance.now();
      const { exitCode, signal } = await daemon.exited;
      running.delete(name);
      if (stopping.signal.aborted) return;
      onEvent({ process: name, what: 'ended', pid: daemon.pid, detail: signal ?? `exit code ${exitCode ?? '?'}` });
      failures = performance.now() - startedMs > soundMs ? 0 : failures + 1;
      const pauseMs = restartMs[Math.min(failures, restartMs.length) - 1] ?? 0;
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (isStopped()) return;
      daemon = await startOne(name);
      // Told to stop while it was being started: `stop` did not know of it yet.
      if (isStopped()) await endProcess(daemon, { graceMs });
    }
  }
  const isStopped = (): boolean => stopping.signal.aborted;

  const logStart = statSync(logFile(context, 'worker'), { throwIfNoEntry: false })?.size ?? 0;
  const firsts = await Promise.all(
    (['api', 'worker'] as const).map(async (name) => [name, await startOne(name)] as const),
  );
  const keeping = firsts.map(([name, daemon]) => keep(name, daemon));

  async function stop(): Promise<void> {
    stopping.abort();
    await Promise.all([...running.values()].map((daemon) => endProcess(daemon, { graceMs })));
    // Their ends are told by an event that keeps no process alive: without a timer this one would be over before it comes.
    const awake = setInterval(() => undefined, 1_000);
    await Promise.all(keeping);
    clearInterval(awake);
    await endLeftovers(context);
  }

  try {
    await awaitReady(context, url, logStart, (name) => running.get(name));
  } catch (error) {
    await stop();
    throw error;
  }
  onEvent({ process: 'api', what: 'ready', detail: url });
  return { url, token, temporalUi: components.temporal.uiUrl, process: (name) => running.get(name), stop };
}

/** What both processes are told. PATH and the like are the person's own, for the tools that steps and activities call. */
function environmentOf(
  context: LocalContext,
  { temporal, store, docker, router }: SystemComponents,
  port: number,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const inherited = Object.fromEntries(Object.entries(context.env).filter(([name]) => name !== 'NODE_OPTIONS'));
  return {
    ...inherited,
    // One heap for all threads of the Temporal core and of libuv: 20 MB less, measured.
    MALLOC_ARENA_MAX: '1',
    SLIPWAY_STATE: context.stateFolder,
    SLIPWAY_API_PORT: String(port),
    SLIPWAY_PUBLIC_URL: `http://127.0.0.1:${port}`,
    ...(temporal.uiUrl === undefined ? {} : { SLIPWAY_TEMPORAL_UI: temporal.uiUrl }),
    SLIPWAY_ROUTER_FOLDER: router.configFolder,
    SLIPWAY_ROUTER_MASTER: router.masterSocket,
    SLIPWAY_ROUTER_STATS: router.statsSocket,
    SLIPWAY_ROUTER_CONTAINER: router.container,
    DATABASE_URL: store.url,
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    DOCKER_HOST: docker.address,
    ...more,
  };
}

/** A command that ends when its starter does, where the machine can do that. */
function dyingWithUs(context: LocalContext, command: string, args: readonly string[]): [string, readonly string[]] {
  const setpriv = process.platform === 'linux' ? findProgram(context, 'setpriv') : undefined;
  return setpriv === undefined ? [command, args] : [setpriv, ['--pdeathsig', 'TERM', command, ...args]];
}

/** A supervisor that was killed may have left one of them for a moment. */
async function endLeftovers(context: LocalContext): Promise<void> {
  for (const name of ['api', 'worker']) {
    const state = readState(context, name);
    if (state !== undefined) await stopState(context, state);
  }
}

async function ensureAdminToken(context: LocalContext, databaseUrl: string): Promise<string> {
  const file = join(context.stateFolder, 'secrets/admin-token');
  mkdirSync(join(context.stateFolder, 'secrets'), { recursive: true, mode: 0o700 });
  const token = existsSync(file) ? readFileSync(file, 'utf8').trim() : generateToken();
  const store = openStore({ url: databaseUrl, poolSize: 2, applicationName: 'slipway up' });
  try {
    await migrate(store.db);
    await storeToken(store.db, token, { name: 'admin', role: 'admin', groups: [], createdBy: 'slipway up' });
  } finally {
    await store.close();
  }
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}

async function awaitReady(
  context: LocalContext,
  url: string,
  logStart: number,
  processOf: (name: SystemProcess) => Daemon | undefined,
): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs;
  let last = 'no answer yet';
  while (performance.now() < deadline) {
    try {
      const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(2_000) });
      if (response.ok && workerPolls(context, logStart)) return;
      last = response.ok
        ? 'the worker does not poll yet'
        : `${response.status} ${(await response.text()).slice(0, 300)}`;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await delay(50);
  }
  const name = processOf('api') === undefined ? 'api' : 'worker';
  throw new ProviderError(
    'Internal',
    `Slipway did not get ready within ${readyTimeoutMs / 1_000} s (${last}). The end of ${logFile(context, name)}:\n${lastLines(readFileSync(logFile(context, name), 'utf8').slice(-8_000), 15)}`,
  );
}

/** The worker says so in its log; nothing else can tell without a detour through Temporal. */
function workerPolls(context: LocalContext, logStart: number): boolean {
  return readFileSync(logFile(context, 'worker')).subarray(logStart).includes('worker polls');
}
