import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readProcessStat } from './process-stat.ts';

/**
 * Processes that belong to the installation and not to a run: Temporal, the store, the registry. They outlive whoever
 * starts them, which is the very thing `effects/process` prevents, and therefore have a door of their own.
 */

/** A process and the moment it started, so that a reused pid is never mistaken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Boot and start tick on Linux, start time elsewhere. Opaque: only compared. */
  readonly started: string;
}

/** What to start and where its output goes. */
export interface DaemonOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the process; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Default `/`, so that it holds no folder of the person who started it. */
  readonly cwd?: string;
  /** Standard output and error are appended here; a file above 10 MiB is first moved to `<file>.1`. */
  readonly logFile: string;
  /** Run as this user; needs root. Default: the caller. */
  readonly user?: UserIds | undefined;
}

/** Numeric user and group. */
export interface UserIds {
  readonly uid: number;
  readonly gid: number;
}

/** How a daemon ended while its starter was still there to see it. */
export interface DaemonExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** A started daemon. `exited` settles only while the starter lives. */
export interface Daemon extends ProcessIdentity {
  readonly exited: Promise<DaemonExit>;
}

const maxLogBytes = 10 * 1024 * 1024;

/**
 * Starts a process in a session of its own, detached from the caller: it survives the caller's end and its terminal.
 *
 * @throws Error - the program could not be executed at all (not found, not executable).
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  mkdirSync(dirname(options.logFile), { recursive: true });
  if ((statSync(options.logFile, { throwIfNoEntry: false })?.size ?? 0) > maxLogBytes) {
    renameSync(options.logFile, `${options.logFile}.1`);
  }
  const log = openSync(options.logFile, 'a');
  try {
    const child = spawn(options.command, options.args, {
      cwd: options.cwd ?? '/',
      env: options.env,
      detached: true,
      stdio: ['ignore', log, log],
      ...options.user,
    });
    const exited = new Promise<DaemonExit>((resolve) => {
      child.once('exit', (exitCode, signal) => {
        resolve({ exitCode, signal });
      });
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid;
    if (pid === undefined) throw new Error(`${options.command} was started without a process id`);
    return { pid, started: identityOf(pid) ?? 'ended', exited };
  } finally {
    closeSync(log);
  }
}

/**
 * Reads what tells this process from a later one with the same pid.
 *
 * @returns undefined where there is no such process, or it has ended and only waits to be collected.
 */
export function identityOf(pid: number): string | undefined {
  if (process.platform !== 'linux') {
    const listed = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
    return listed.status === 0 && listed.stdout.trim() !== '' ? listed.stdout.trim() : undefined;
  }
  try {
    const stat = readProcessStat(pid);
    if (stat === undefined || stat.ended) return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}:${stat.startedAt}`;
  } catch {
    return undefined;
  }
}

/** Whether exactly this process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid) === identity.started;
}

/** How {@link endProcess} found or left the process. */
export type EndResult = 'was-gone' | 'ended' | 'killed';

/**
 * Ends exactly this process: first by `signal`, after `graceMs` by SIGKILL.
 *
 * @param options.signal - default SIGTERM.
 * @param options.graceMs - how long it may take to end by itself, ms. Default 10,000.
 * @throws Error - the caller may not signal it (`EPERM`), or it survived SIGKILL for 5 s.
 */
export async function endProcess(
  identity: ProcessIdentity,
  options: { readonly signal?: NodeJS.Signals; readonly graceMs?: number } = {},
): Promise<EndResult> {
  if (!isRunning(identity)) return 'was-gone';
  send(identity, options.signal ?? 'SIGTERM');
  if (await endedWithin(identity, options.graceMs ?? 10_000)) return 'ended';
  send(identity, 'SIGKILL');
  if (await endedWithin(identity, 5_000)) return 'killed';
  throw new Error(`process ${String(identity.pid)} is still there 5 s after SIGKILL; it hangs in the kernel`);
}

function send(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function endedWithin(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (!isRunning(identity)) return true;
    if (performance.now() >= deadline) return false;
    await delay(20);
  }
}

/** How a tool is run. */
export interface ToolOptions {
  /** The whole environment. An installer needs the person's own: proxies, module mirrors, caches. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly user?: UserIds | undefined;
  /** After this many ms the process group is killed. */
  readonly timeoutMs: number;
  /** Called with every line of output as it comes. */
  readonly onLine?: (line: string) => void;
  /** Written to its standard input, which is closed after it. Default: no input. */
  readonly input?: string;
}

/** What a tool left behind. Output is the last 256 KiB of each stream. */
export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

const maxToolOutput = 256 * 1024;

/**
 * Runs an installer or a helper of the machine to its end: a package manager, a compiler, `initdb`.
 *
 * Not for steps of a run: those go through `effects/process`. A package manager that dies with its starter leaves a
 * broken package database, so this one is not tied to the caller's life.
 *
 * @returns exit code 127 where the program does not exist, 124 after a timeout; it never throws for how the tool ended.
 */
export async function runTool(command: string, args: readonly string[], options: ToolOptions): Promise<ToolResult> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? '/',
    env: options.env,
    detached: true,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...options.user,
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    let line = '';
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      output[name] = (output[name] + chunk).slice(-maxToolOutput);
      const lines = (line + chunk).split(/\r?\n|\r/);
      line = lines.pop() ?? '';
      for (const complete of lines) options.onLine?.(complete);
    });
  }
  child.stdin?.on('error', () => undefined).end(options.input);

  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It ended in this very moment.
    }
  }, options.timeoutMs);
  try {
    const exitCode = await new Promise<number>((resolve) => {
      child.once('error', (error) => {
        output.stderr += error.message;
        resolve(127);
      });
      child.once('close', (code) => {
        resolve(timedOut ? 124 : (code ?? 137));
      });
    });
    return { exitCode, ...output, timedOut };
  } finally {
    clearTimeout(timer);
  }
}
