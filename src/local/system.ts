import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FailureType, failures } from '../domain/failure-kinds.ts';
import { ProviderError } from '../domain/failures.ts';
import { type LastWords, readLastWords } from '../domain/last-words.ts';
import { type Daemon, type ProcessIdentity, endProcess, startDaemon } from '../effects/daemon.ts';
import { generateToken, storeToken } from '../store/tokens.ts';
import { migrate, openStore } from '../store/store.ts';
import { type LocalContext, logFile } from './context.ts';
import { readFrom, stopState } from './daemons.ts';
import { type End, type Started, keepRunning } from './keeper.ts';
import { choosePort } from './ports.ts';
import { programState } from './program-files.ts';
import { findProgram, lastLines } from './programs.ts';
import { noticeRefusal } from './refusal.ts';
import { readState, writeState } from './state.ts';
import { readOpenWorkflows } from './temporal.ts';
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
  /** `refused`: it ended and is not started again before something has changed; the detail says why, what goes on without it and what to do. */
  readonly what: 'started' | 'ended' | 'ready' | 'refused';
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
const graceMs = 15_000;
/** While Slipway is being started: a port that is still taken after this many ends belongs to somebody else. */
const portTries = 4;

/**
 * Starts API and worker over components that run, waits until both answer, and starts again whichever ends (see `keeper.ts`).
 *
 * They end with the caller: a supervisor that is killed takes them along, and the next one begins clean.
 *
 * @throws ProviderError `BuildRefused`, `ConfigurationInvalid`, `PortTaken` (not retried): one of them cannot start like this; its own words are the message.
 * @throws ProviderError `StoreUnavailable`, `Internal`: one of them does not start in time; its last lines are in the message.
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

  /** Of the first end that makes waiting for an answer useless. */
  let unable: LastWords | undefined;
  const isStopped = (): boolean => stopping.signal.aborted;

  async function startOne(name: SystemProcess): Promise<Started> {
    const [command, args] = dyingWithUs(context, process.execPath, [...thrift, mains[name]]);
    const file = logFile(context, name);
    const logStart = sizeOf(file);
    const daemon = await startDaemon({ command, args, env, cwd: context.stateFolder, logFile: file });
    running.set(name, daemon);
    writeState(context, {
      name,
      process: { pid: daemon.pid, started: daemon.started },
      ports: name === 'api' ? { api: port } : {},
      version: process.version,
      command: mains[name],
      logFile: file,
      owner: 'slipway',
      stopSignal: 'SIGTERM',
      stopGraceMs: graceMs,
      startedAt: new Date().toISOString(),
    });
    onEvent({ process: name, what: 'started', pid: daemon.pid });
    // Told to stop while it was being started: `stop` did not know of it yet.
    if (isStopped()) await endProcess(daemon, { graceMs });
    const exited = daemon.exited.then((exit) => {
      running.delete(name);
      return exit;
    });
    return { pid: daemon.pid, exited, lastWords: () => readLastWords(readFrom(file, logStart)) };
  }

  function onEnd(name: SystemProcess, end: End): void {
    const { pid, words, kind, failures: times } = end;
    const who = { process: name, ...(pid === undefined ? {} : { pid }) };
    onEvent({ ...who, what: 'ended', detail: describeEnd(end) });
    if (kind === 'refused' && words !== undefined) {
      onEvent({ ...who, what: 'refused', detail: describeRefusal(name, words, logFile(context, name)) });
    }
    if (kind === 'refused' || (words?.type === 'PortTaken' && times >= portTries)) unable ??= words;
  }

  const grounds = { program: () => programState(), open: () => readOpenWorkflows(components.temporal) };

  const logStart = sizeOf(logFile(context, 'worker'));
  const firsts = await Promise.all(
    (['api', 'worker'] as const).map(async (name) => [name, await startOne(name)] as const),
  );
  const keeping = firsts.map(([name, first]) =>
    keepRunning({
      first,
      start: () => startOne(name),
      stop: stopping.signal,
      notice: ({ type }) => noticeRefusal(type, grounds),
      onEnd: (end) => onEnd(name, end),
    }),
  );

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
    await awaitReady(context, url, logStart, { processOf: (name) => running.get(name), unable: () => unable });
  } catch (error) {
    await stop();
    throw error;
  }
  onEvent({ process: 'api', what: 'ready', detail: url });
  return { url, token, temporalUi: components.temporal.uiUrl, process: (name) => running.get(name), stop };
}

/** One line: how it ended, how often by now, and when it is started again. */
function describeEnd({ detail, failures: times, pauseMs }: End): string {
  const often = times < 2 ? '' : ` (${String(times)} times in a row)`;
  const next = pauseMs === undefined || pauseMs === 0 ? '' : `; started again in ${String(pauseMs / 1_000)} s`;
  return `${detail}${often}${next}`;
}

/** What goes on without it. */
const without: Readonly<Record<SystemProcess, string>> = {
  api: 'The worker goes on with what was begun; nothing new is taken in.',
  worker: 'The API answers and takes in what is delivered; nothing of it is run until there is a worker.',
};
const rests: Partial<Readonly<Record<FailureType, string>>> = {
  BuildRefused:
    'It is started again when the files of the program change or one of the workflows that are open is over.',
};

/** For whoever is woken by it: what is refused and why, what goes on, what to do. */
function describeRefusal(name: SystemProcess, { type, message }: LastWords, file: string): string {
  return [
    `${type}: ${message}`,
    failures[type].sentence,
    without[name],
    rests[type] ??
      'It is started again when the files of the program change; a setting needs `slipway up` to be started again.',
    `Its log is ${file}.`,
  ].join('\n');
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
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
    // Of this machine alone; where the API stands behind a proxy, people and forges need its address.
    SLIPWAY_PUBLIC_URL: publicUrlOf(context, port),
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

function publicUrlOf({ env }: LocalContext, port: number): string {
  const named = env['SLIPWAY_PUBLIC_URL'] ?? '';
  return named === '' ? `http://127.0.0.1:${port}` : named;
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
  system: {
    readonly processOf: (name: SystemProcess) => Daemon | undefined;
    readonly unable: () => LastWords | undefined;
  },
): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs;
  let last = 'no answer yet';
  while (performance.now() < deadline) {
    const words = system.unable();
    if (words !== undefined) throw new ProviderError(words.type, words.message);
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
  const name = system.processOf('api') === undefined ? 'api' : 'worker';
  throw new ProviderError(
    'Internal',
    `Slipway did not get ready within ${readyTimeoutMs / 1_000} s (${last}). The end of ${logFile(context, name)}:\n${lastLines(readFileSync(logFile(context, name), 'utf8').slice(-8_000), 15)}`,
  );
}

/** The worker says so in its log; nothing else can tell without a detour through Temporal. */
function workerPolls(context: LocalContext, logStart: number): boolean {
  return readFileSync(logFile(context, 'worker')).subarray(logStart).includes('worker polls');
}
