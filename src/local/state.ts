import { linkSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type ProcessIdentity, identityOf, isRunning } from '../effects/daemon.ts';
import type { LocalContext } from './context.ts';

/** What is remembered of a component, also after it was stopped: its ports are taken again at the next start. */
export interface ComponentState {
  readonly name: string;
  /** Present while it should be running. */
  readonly process?: ProcessIdentity | undefined;
  /** Present instead where it is a container and not a process of ours. */
  readonly container?: ContainerIdentity | undefined;
  readonly ports: Readonly<Record<string, number>>;
  readonly version: string;
  readonly command: string;
  readonly logFile: string;
  /** What belongs to the target goes on when Slipway stops: it carries what was deployed. */
  readonly owner: 'slipway' | 'target';
  readonly stopSignal: NodeJS.Signals;
  readonly stopGraceMs: number;
  /** When it was last started, ISO 8601 UTC. */
  readonly startedAt: string;
}

/** A container, and the engine it is on as in DOCKER_HOST. */
export interface ContainerIdentity {
  readonly engine: string;
  readonly name: string;
}

function stateFile(context: LocalContext, name: string): string {
  return join(context.stateFolder, 'run', `${name}.json`);
}

/** @returns undefined where nothing is known of the component, or the file is not ours to understand. */
export function readState(context: LocalContext, name: string): ComponentState | undefined {
  try {
    const state = JSON.parse(readFileSync(stateFile(context, name), 'utf8')) as Partial<ComponentState>;
    return state.name === name && typeof state.ports === 'object' ? (state as ComponentState) : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces the file in one step: a reader never sees half of it. */
export function writeState(context: LocalContext, state: ComponentState): void {
  const file = stateFile(context, state.name);
  writeFileSync(`${file}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
  renameSync(`${file}.new`, file);
}

/** Every component this installation ever started itself, running or not. */
export function listStates(context: LocalContext): ComponentState[] {
  return readdirSync(join(context.stateFolder, 'run'))
    .filter((file) => file.endsWith('.json'))
    .map((file) => readState(context, file.slice(0, -'.json'.length)))
    .filter((state) => state !== undefined)
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** Longer than the longest build from source seen (143 s on two cores). */
const lockTimeoutMs = 10 * 60_000;

/**
 * Runs `work` while no other process does so under the same lock file; a lock whose holder died is taken over.
 *
 * @throws Error - another living process held it for 10 minutes.
 */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const own = `${file}.${String(process.pid)}.${String(lockCount++)}`;
  writeFileSync(own, JSON.stringify({ pid: process.pid, started: identityOf(process.pid) ?? '' }));
  try {
    const deadline = performance.now() + lockTimeoutMs;
    while (!tryLink(own, file)) {
      takeAwayIfStale(file, own);
      if (performance.now() > deadline) {
        throw new Error(`${file} has been held by process ${String(readHolder(file)?.pid)} for 10 minutes; end it`);
      }
      await delay(50);
    }
    try {
      return await work();
    } finally {
      rmSync(file, { force: true });
    }
  } finally {
    rmSync(own, { force: true });
  }
}

let lockCount = 0;

function tryLink(own: string, file: string): boolean {
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined;
  }
}

function takeAwayIfStale(file: string, own: string): void {
  const holder = readHolder(file);
  if (holder === undefined || isRunning(holder)) return;
  const moved = `${own}.stale`;
  try {
    renameSync(file, moved);
  } catch {
    return;
  }
  // Between reading and moving, another waiter may have taken the dead one away and locked: then it is put back.
  const taken = readHolder(moved);
  if (taken !== undefined && isRunning(taken)) tryLink(moved, file);
  rmSync(moved, { force: true });
}
