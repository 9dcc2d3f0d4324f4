import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../domain/failures.ts';
import {
  type Daemon,
  type DaemonExit,
  type ProcessIdentity,
  type UserIds,
  endProcess,
  isRunning,
  startDaemon,
} from '../effects/daemon.ts';
import { type LocalContext, announce, logFile } from './context.ts';
import { choosePort, isFree } from './ports.ts';
import { type ComponentState, readState, withLock, writeState } from './state.ts';
import { lastLines } from './programs.ts';
import { reasonOf } from './reason.ts';

/** Where a component came from: named by the person, running already, or started now. */
export type Provenance = 'configured' | 'found' | 'started';

/** What every `ensure…` of `local` returns, each with its addresses beside it. */
export interface ComponentHandle {
  readonly name: string;
  readonly how: Provenance;
  readonly version: string;
  /** Where it listens, as a person would type it. */
  readonly address: string;
  readonly pid?: number | undefined;
  readonly logFile?: string | undefined;
  /** Ends exactly what this installation started; does nothing to what was configured or belongs to somebody else. */
  readonly stop: () => Promise<void>;
}

/** One long-living process of the installation. */
export interface DaemonSpec {
  readonly name: string;
  /** Default `slipway`. */
  readonly owner?: 'slipway' | 'target';
  /** The ports it needs, by purpose as in `ports.ts`. */
  readonly ports: readonly string[];
  /** Called only where it must be started: finds the program, prepares its data. */
  readonly prepare: () => Promise<{
    readonly version: string;
    readonly launch: (ports: Ports) => Promise<Launch> | Launch;
  }>;
  /** Resolves once it answers; rejects as long as it does not. */
  readonly answers: (ports: Ports) => Promise<void>;
  /** How long it may take from its start to its first answer, ms. Default 30,000. */
  readonly readyTimeoutMs?: number;
  /** Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** How long it may take to end by itself, ms. Default 15,000. */
  readonly stopGraceMs?: number;
}

export type Ports = Readonly<Record<string, number>>;

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: UserIds | undefined;
}

/** What {@link findOrStart} found or started. */
export interface RunningDaemon {
  readonly how: 'found' | 'started';
  readonly state: ComponentState & { readonly process: { readonly pid: number; readonly started: string } };
}

/** A living process that has not answered for so long is taken for hung and replaced. */
const hungAfterMs = 15_000;
const startTries = 3;

/**
 * Finds the daemon that an earlier start left running, or starts it, detached, and waits for its first answer.
 *
 * Safe to call from several processes at once: one starts it, the others find it.
 *
 * @throws ProviderError `ToolMissing` (not retried) - its program cannot be had, see {@link DaemonSpec.prepare}.
 * @throws ProviderError `ProcessFailed` (retried) - it ended or never answered; the last lines of its log are in the message.
 */
export async function findOrStart(context: LocalContext, spec: DaemonSpec): Promise<RunningDaemon> {
  return await withLock(join(context.stateFolder, 'run', `${spec.name}.lock`), async () => {
    const known = readState(context, spec.name);
    if (known?.process !== undefined && isRunning(known.process)) {
      const problem = await answersWithin(spec, known.ports, known.process, hungAfterMs);
      if (problem === undefined) return { how: 'found', state: { ...known, process: known.process } };
      const pid = String(known.process.pid);
      await announce(context, spec.name, `process ${pid} ${problem}, replacing it`, () =>
        stopState(context, { ...known, stopGraceMs: 2_000 }),
      );
    }
    return { how: 'started', state: await start(context, spec) };
  });
}

async function start(context: LocalContext, spec: DaemonSpec): Promise<RunningDaemon['state']> {
  const { version, launch } = await spec.prepare();
  const taken = new Set<number>();
  for (let attempt = 1; ; attempt += 1) {
    const ports: Record<string, number> = {};
    for (const purpose of spec.ports) ports[purpose] = await choosePort(context, spec.name, purpose, taken);
    const { command, args, env, user } = await launch(ports);
    const file = logFile(context, spec.name);
    const logStart = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    const daemon = await startDaemon({ command, args, env: env ?? context.env, logFile: file, user });
    const state = {
      name: spec.name,
      process: { pid: daemon.pid, started: daemon.started },
      ports,
      version,
      command: [command, ...args].join(' '),
      logFile: file,
      owner: spec.owner ?? 'slipway',
      stopSignal: spec.stopSignal ?? 'SIGTERM',
      stopGraceMs: spec.stopGraceMs ?? 15_000,
      startedAt: new Date().toISOString(),
    };
    // Before it answers: if we die while waiting, the next start finds it instead of leaving it an orphan.
    writeState(context, state);
    const problem = await announce(context, spec.name, `starting ${version}`, () => waitUntilUp(spec, ports, daemon));
    if (problem === undefined) return state;
    const endedByItself = !isRunning(daemon);
    await stopState(context, state);
    for (const port of await portsLost(ports)) taken.add(port);
    // Somebody took a port between our look and the daemon's own, or what a killed predecessor left is still ending.
    if (endedByItself && attempt < startTries) {
      await delay(300 * attempt);
      continue;
    }
    throw new ProviderError(
      'ProcessFailed',
      `${spec.name} ${problem}. Its log is ${file} and ends with: ${lastLines(readFrom(file, logStart), 8)}`,
    );
  }
}

async function portsLost(ports: Ports): Promise<number[]> {
  const lost: number[] = [];
  for (const port of Object.values(ports)) if (!(await isFree(port))) lost.push(port);
  return lost;
}

async function waitUntilUp(spec: DaemonSpec, ports: Ports, daemon: Daemon): Promise<string | undefined> {
  const problem = await answersWithin(spec, ports, daemon, spec.readyTimeoutMs ?? 30_000);
  return problem === hasEnded ? describeExit(await daemon.exited) : problem;
}

function describeExit({ exitCode, signal }: DaemonExit): string {
  return signal === null ? `ended at once with exit code ${String(exitCode)}` : `was ended by ${signal}`;
}

const hasEnded = 'has ended';

/** @returns undefined once it answers, else what is wrong: it has ended, or the time is over. */
async function answersWithin(
  spec: DaemonSpec,
  ports: Ports,
  identity: ProcessIdentity,
  timeoutMs: number,
): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await spec.answers(ports);
      return undefined;
    } catch (error) {
      if (!isRunning(identity)) return hasEnded;
      if (performance.now() >= deadline) {
        return `did not answer within ${String(timeoutMs / 1000)} s: ${reasonOf(error)}`;
      }
    }
    await delay(50);
  }
}

/**
 * Ends a component by what is remembered of it.
 *
 * @returns false where it was not running any more.
 */
export async function stopState(context: LocalContext, state: ComponentState): Promise<boolean> {
  if (state.process === undefined) return false;
  const result = await endProcess(state.process, { signal: state.stopSignal, graceMs: state.stopGraceMs });
  writeState(context, { ...state, process: undefined });
  return result !== 'was-gone';
}

/** The parts of a handle that are the same for every daemon. */
export function daemonHandle(context: LocalContext, running: RunningDaemon, address: string): ComponentHandle {
  return {
    name: running.state.name,
    how: running.how,
    version: running.state.version,
    address,
    pid: running.state.process.pid,
    logFile: running.state.logFile,
    stop: async () => {
      await stopState(context, running.state);
    },
  };
}

const maxLogTail = 16 * 1024;

/** The end of what a log has gained since it was `from` bytes long, 16 KiB at most; all of its end where it was begun anew. */
export function readFrom(file: string, from: number): string {
  const size = statSync(file).size;
  const begin = Math.max(size < from ? 0 : from, size - maxLogTail);
  const buffer = Buffer.alloc(size - begin);
  const handle = openSync(file, 'r');
  try {
    readSync(handle, buffer, 0, buffer.length, begin);
  } finally {
    closeSync(handle);
  }
  return buffer.toString('utf8');
}
