import type { ChildProcess } from 'node:child_process';
import { accessSync, constants as fsConstants, existsSync, mkdtempSync, rmdirSync, statSync } from 'node:fs';
import { readFile, readdir, rm } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { execa, type Options } from 'execa';
import { ProviderError } from '../domain/failures.ts';
import { containments, launchCommand, needsWatch, notStartedCode, type Containment } from './launch.ts';
import { currentLease, type Lease } from './lease.ts';
import { createOutputPipes } from './output-pipe.ts';
import type { Redactor } from './redact.ts';
import { scratchFolder } from './scratch.ts';
import { createHead, createLines, createTail } from './tail.ts';

/** What every process has in common. */
interface Launch {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly [string, ...string[]];
  /** Default: the folder of the worker. */
  readonly cwd?: string;
  /** The whole environment, but for PATH (the worker's, unless listed) and HOME. Nothing else is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  /** HOME of the process. Default: an empty folder, so that nobody's settings count. */
  readonly home?: string;
  /** What it reads. Default: nothing, /dev/null. */
  readonly input?: string | Uint8Array | Readable;
  /** After this many milliseconds it is ended and the result says `timedOut`. Every wait has an end, so there is no default. */
  readonly timeoutMs: number;
  /** Aborting ends the whole tree; the call then throws the signal's reason, which is what Temporal must be told. */
  readonly signal?: AbortSignal;
  /** Between SIGTERM and SIGKILL once its time is over. Default 30_000, as for a graceful stop everywhere. */
  readonly graceMs?: number;
  /** The same after an abort. Default 1_000: an abort must have arrived within a second. */
  readonly abortGraceMs?: number;
  /** The lease it runs under. Default: the one `withFence` is holding, if any. */
  readonly lease?: Lease;
}

export interface ProcessRequest extends Launch {
  /** Ended as `stalled` after this long without output, ms. Default 300_000; Infinity for what is silent by nature. */
  readonly stallAfterMs?: number;
  /** How much of the end of the output is kept for messages. Default 16_384. */
  readonly maxTailBytes?: number;
  /** Hides secrets in everything that is handed on. */
  readonly redactor?: Redactor;
  /**
   * Takes the output as it comes. While its promise is open nothing more is read, so the process waits in its write. The chunk is
   * the callee's only until then.
   */
  readonly sink?: (chunk: Buffer) => void | Promise<void>;
  /** Takes whole lines, without their end; lines beyond 64 KiB come in pieces. */
  readonly onLine?: (line: string) => void;
  /**
   * `together`: standard output and errors in one stream, in the order written. `data`: the sink gets standard output untouched
   * (a dump, an archive), the tail is of the errors alone. Default `together`.
   */
  readonly output?: 'together' | 'data';
}

/** How a process ended. A non-zero exit is a fact, not an error: what it costs is for the caller to say. */
export interface ProcessResult {
  /** As a shell says it: 128 + number for a process that a signal ended. */
  readonly exitCode: number;
  readonly signal: string | null;
  readonly durationMs: number;
  /** The end of the output, redacted. */
  readonly tail: string;
  readonly timedOut: boolean;
  readonly stalled: boolean;
}

export interface ToolRequest extends Launch {
  /** What is kept of each stream; the rest is read and dropped. Default 1_048_576. */
  readonly maxOutputBytes?: number;
}

export interface ToolResult {
  readonly exitCode: number;
  readonly signal: string | null;
  readonly durationMs: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Whether a stream was longer than what was kept. */
  readonly truncated: boolean;
  readonly timedOut: boolean;
}

/** Names the lease in the environment of everything that runs under it, so that what escaped can be found. */
const leaseVariable = 'SLIPWAY_LEASE';

/**
 * Runs one process to its end. No process outlives its worker or its lease (see {@link processContainment}).
 *
 * @throws `ToolMissing` - the program is not there; `WorkspaceLost` - the folder is not there.
 * @throws `FenceRefused`, `FenceUnavailable` - its lease was lost; the tree was killed at once.
 * @throws the reason of `signal`, after the tree has ended.
 * @throws whatever `sink` throws, after the tree has ended.
 */
export async function runProcess(request: ProcessRequest): Promise<ProcessResult> {
  const together = request.output !== 'data';
  const tail = createTail(request.maxTailBytes ?? 16_384);
  const lines = request.onLine === undefined ? undefined : createLines(request.onLine);
  const redacted = request.redactor?.active === true ? request.redactor.stream() : undefined;

  function hand(part: Buffer): void | Promise<void> {
    tail.push(part);
    lines?.push(part);
    return together ? request.sink?.(part) : undefined;
  }
  function take(chunk: Buffer): void | Promise<void> {
    if (redacted === undefined) return hand(chunk);
    const parts: Buffer[] = [];
    redacted.push(chunk, (part) => void parts.push(part));
    // In one piece, for a chunk full of secrets falls into thousands.
    return parts.length === 0 ? undefined : hand(Buffer.concat(parts));
  }

  const pipe = await openOutputPipe();
  let child: Child;
  try {
    child = await start(request, together ? pipe.writeFd : 'pipe', pipe.writeFd);
  } catch (error) {
    pipe.reader.destroy();
    throw error;
  } finally {
    pipe.closeWriter();
  }
  child.read(pipe.reader, take);
  if (!together) child.read(child.stdout, async (chunk) => request.sink?.(chunk));
  const ending = await child.end(request.stallAfterMs ?? 300_000);
  const rest: Buffer[] = [];
  redacted?.end((part) => void rest.push(part));
  if (rest.length > 0) await hand(Buffer.concat(rest));
  lines?.end();
  return { ...ending, tail: tail.text() };
}

/**
 * Runs a short program and gives back what it printed: for the many calls of git, docker or haproxy whose output is an answer and
 * not a log. As safe as {@link runProcess}, and throws the same.
 */
export async function runTool(request: ToolRequest): Promise<ToolResult> {
  const child = await start(request, 'pipe', 'pipe');
  const maxBytes = request.maxOutputBytes ?? 1_048_576;
  const stdout = createHead(maxBytes);
  const stderr = createHead(maxBytes);
  child.read(child.stdout, stdout.push);
  child.read(child.stderr, stderr.push);
  const { exitCode, signal, durationMs, timedOut } = await child.end(Infinity);
  return {
    exitCode,
    signal,
    durationMs,
    timedOut,
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.truncated() || stderr.truncated(),
  };
}

let probing: Promise<Containment> | undefined;

/** What keeps processes from outliving their worker on this machine; found out once, by trying. A worker says it at its start. */
export function processContainment(): Promise<Containment> {
  probing ??= probe();
  return probing;
}

/**
 * Kills what still runs, on this machine, under a lease that was lost, and waits until it is gone. Where there are namespaces
 * there is nothing left to find.
 *
 * @returns how many processes there were.
 */
export async function endProcessesUnder(token: string): Promise<number> {
  const killed = new Set<number>();
  for (;;) {
    const found = await processesUnder(token);
    if (found.length === 0) return killed.size;
    for (const pid of found) {
      killed.add(pid);
      signalProcess(pid, 'SIGKILL');
    }
    await delay(20);
  }
}

interface Ending {
  readonly exitCode: number;
  readonly signal: string | null;
  readonly durationMs: number;
  readonly timedOut: boolean;
  readonly stalled: boolean;
}

/** A started process, before its output is being read. */
interface Child {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Hands on every chunk of one of its streams, and reads no further meanwhile. */
  read(stream: Readable, take: (chunk: Buffer) => void | Promise<void>): void;
  /** Waits until it has ended and all its output was handed on. */
  end(stallAfterMs: number): Promise<Ending>;
}

/** A descriptor of ours, or a stream of its own. */
type Output = number | 'pipe';

async function start(request: Launch, stdout: Output, stderr: Output): Promise<Child> {
  const startedAt = performance.now();
  const lease = request.lease ?? currentLease();
  request.signal?.throwIfAborted();
  lease?.check();
  const path = request.env?.['PATH'] ?? workerPath();
  requireCommand(request, path);
  const containment = await processContainment();
  // Again: finding out took a moment, and a signal that was aborted before it is listened to tells nobody.
  request.signal?.throwIfAborted();
  lease?.check();
  const home = request.home ?? mkdtempSync(join(scratchFolder(), 'home-'));
  const [file, ...args] = launchCommand(
    containment,
    request.command,
    needsWatch(containment, lease !== undefined),
    locate,
  );
  const options: Options = {
    ...(request.cwd === undefined ? {} : { cwd: request.cwd }),
    env: {
      HOME: home,
      ...request.env,
      PATH: path,
      ...(lease === undefined ? {} : { [leaseVariable]: lease.token }),
    },
    extendEnv: false,
    // Not a pipe unless there is something to read: bash takes a socket for a remote shell and reads ~/.bashrc (82 ms a step).
    // execa takes any open descriptor; its types know the first ten.
    stdio: [request.input === undefined ? 'ignore' : 'pipe', stdout as 1, stderr as 2, 'pipe'],
    ...(request.input === undefined ? {} : { input: request.input }),
    buffer: false,
    reject: false,
    // A session of its own, so that one signal reaches the whole tree and none reaches the worker.
    detached: true,
    cleanup: false,
  };
  const subprocess = execa(file, args, options);
  return supervise(subprocess.nodeChildProcess, { request, lease, containment, startedAt, home });
}

interface Supervision {
  readonly request: Launch;
  readonly lease: Lease | undefined;
  readonly containment: Containment;
  readonly startedAt: number;
  readonly home: string;
}

function supervise(subprocess: ChildProcess, { request, lease, containment, startedAt, home }: Supervision): Child {
  const timers = new Set<NodeJS.Timeout>();
  const streams: Readable[] = [];
  const readings: Promise<void>[] = [];
  let stoppedBy: 'timeout' | 'stall' | 'abort' | 'fault' | undefined;
  let fault: unknown;
  let began = false;
  let exited = false;
  let abandoned = false;
  let handing = 0;
  let chunks = 0;
  let stallTimer: NodeJS.Timeout | undefined;

  function killTree(signal: NodeJS.Signals): void {
    // The pid is free for somebody else once the child was waited for.
    if (!exited && subprocess.pid !== undefined) signalProcess(-subprocess.pid, signal);
  }
  function after(ms: number, act: () => void): NodeJS.Timeout {
    // Node takes a longer delay for 1 ms.
    const timer = setTimeout(act, Math.min(ms, 2_147_483_647));
    timers.add(timer);
    return timer;
  }
  function stop(reason: NonNullable<typeof stoppedBy>, graceMs: number): void {
    if (stoppedBy !== undefined || exited) return;
    stoppedBy = reason;
    if (!began) lifeline?.destroy();
    killTree(graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    if (graceMs > 0) after(graceMs, () => killTree('SIGKILL'));
  }
  function fail(error: unknown): void {
    fault ??= error;
    stop('fault', 0);
  }

  const onAbort = (): void => stop('abort', request.abortGraceMs ?? 1_000);
  const onLeaseLost = (): void => killTree('SIGKILL');
  request.signal?.addEventListener('abort', onAbort, { once: true });
  lease?.signal.addEventListener('abort', onLeaseLost, { once: true });
  after(request.timeoutMs, () => stop('timeout', request.graceMs ?? 30_000));
  if (isStream(request.input)) request.input.once('error', fail);

  const lifeline = subprocess.stdio[3] as Duplex | undefined;
  const sendDeadline = (): void => void lifeline?.write(`${deadlineOf(lease)}\n`);
  const stopRenewals = lease?.onRenewed(() => {
    if (began) sendDeadline();
  });
  lifeline?.on('data', (said: Buffer) => {
    for (const word of said.toString('latin1')) {
      if (word === 's') {
        began = true;
        stallTimer?.refresh();
      }
      if (word !== 'r' || stoppedBy !== undefined) continue;
      try {
        // The last moment at which a worker that was stopped meanwhile can still be kept from acting.
        lease?.check();
        sendDeadline();
      } catch (error) {
        fail(error);
      }
    }
  });
  // It breaks when the process is killed; how that ended is told by its exit.
  lifeline?.on('error', () => undefined);

  const exit = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolveExit, rejectExit) => {
    subprocess.once('exit', (code, signal) => resolveExit([code, signal]));
    subprocess.once('error', (error) => {
      if (subprocess.pid === undefined)
        rejectExit(
          new ProviderError('Internal', `could not start ${request.command[0]}: ${error.message}`, { cause: error }),
        );
    });
  });
  // Whoever asks for the end is told; until then nobody listens.
  exit.catch(() => undefined);

  async function drain(): Promise<void> {
    const all = Promise.all(readings);
    if (containment.kind === 'namespace') {
      await all;
      return;
    }
    // What got away into a session of its own may hold the pipe open for ever: a second without a chunk is the end.
    for (let seen = -1; ; seen = chunks) {
      const idle = new AbortController();
      const done = await Promise.race([
        all.then(() => true),
        delay(1_000, false, { signal: idle.signal }).catch(() => false),
      ]);
      idle.abort();
      if (done) return;
      if (handing > 0 || chunks !== seen) continue;
      abandoned = true;
      for (const stream of streams) stream.destroy();
    }
  }

  return {
    stdout: subprocess.stdout as Readable,
    stderr: subprocess.stderr as Readable,
    read(stream, take) {
      streams.push(stream);
      async function reading(): Promise<void> {
        try {
          for await (const chunk of stream) {
            chunks += 1;
            handing += 1;
            // After a fault the rest is read and dropped, so that nothing waits in its write for ever.
            if (fault === undefined) await take(chunk as Buffer);
            handing -= 1;
            stallTimer?.refresh();
          }
        } catch (error) {
          handing = 0;
          if (!abandoned) fail(error);
        }
      }
      readings.push(reading());
    },
    async end(stallAfterMs) {
      if (Number.isFinite(stallAfterMs)) {
        const onSilence = (): void => {
          // Silence while we keep it waiting, or while it is being started, is ours.
          if (handing > 0 || !began) stallTimer?.refresh();
          else stop('stall', request.graceMs ?? 30_000);
        };
        stallTimer = after(stallAfterMs, onSilence);
      }
      try {
        const [code, signal] = await exit;
        // Before `exited` is set: what is left of its group must go with it. In a namespace it is gone already.
        if (containment.kind !== 'namespace') killTree('SIGKILL');
        exited = true;
        await drain();
        const durationMs = performance.now() - startedAt;
        // In this order: who lost the fence must not report anything else.
        lease?.check();
        if (stoppedBy === 'fault') throw fault;
        if (stoppedBy === 'abort') throw request.signal?.reason;
        if (!began && stoppedBy === undefined) throw notStarted(request, lease, code ?? notStartedCode);
        return {
          ...exitOf(code, signal),
          durationMs,
          timedOut: stoppedBy === 'timeout',
          stalled: stoppedBy === 'stall',
        };
      } finally {
        exited = true;
        for (const timer of timers) clearTimeout(timer);
        request.signal?.removeEventListener('abort', onAbort);
        lease?.signal.removeEventListener('abort', onLeaseLost);
        stopRenewals?.();
        lifeline?.destroy();
        if (request.home === undefined) await removeHome(home);
      }
    },
  };
}

function deadlineOf(lease: Lease | undefined): string {
  return lease === undefined || !hasUptimeFile() ? '-' : String(Math.floor(lease.expiresAtMs() / 10));
}

function exitOf(code: number | null, signal: NodeJS.Signals | null): { exitCode: number; signal: string | null } {
  if (signal !== null) return { exitCode: 128 + osConstants.signals[signal], signal };
  const exitCode = code ?? 0;
  // The launcher tells of its command's signal as every shell does.
  const found = Object.entries(osConstants.signals).find(([, number]) => number === exitCode - 128);
  return { exitCode, signal: found?.[0] ?? null };
}

function notStarted(request: Launch, lease: Lease | undefined, code: number): ProviderError {
  const [program] = request.command;
  return lease === undefined
    ? new ProviderError('Internal', `${program} could not be started: its launcher ended with status ${code}`)
    : new ProviderError('FenceUnavailable', `the lease of ${lease.target} ran out before ${program} was started`);
}

function requireCommand(request: Launch, path: string): void {
  const [program] = request.command;
  const folder = request.cwd ?? process.cwd();
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new ProviderError('WorkspaceLost', `the folder ${folder}, in which to run ${program}, is not there`);
  }
  if (find(program, path, folder) !== undefined) return;
  throw new ProviderError(
    'ToolMissing',
    `${program} is not on this worker (looked in ${program.includes('/') ? folder : path})`,
    {
      details: { program },
    },
  );
}

// Synchronous where it can be: it is empty nearly always, and a turn through the thread pool costs a step half a millisecond.
async function removeHome(home: string): Promise<void> {
  try {
    rmdirSync(home);
  } catch {
    await rm(home, { recursive: true, force: true });
  }
}

const located = new Map<string, string>();

/** The absolute path of a program of the launcher's own. */
function locate(program: string): string {
  const known = located.get(program) ?? find(program, workerPath(), '/');
  if (known === undefined) {
    throw new ProviderError('ToolMissing', `${program}, which starts every process, is not on this worker`, {
      details: { program },
    });
  }
  located.set(program, known);
  return known;
}

function find(program: string, path: string, folder: string): string | undefined {
  const candidates = program.includes('/')
    ? [resolve(folder, program)]
    : path.split(delimiter).map((entry) => resolve(folder, entry, program));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, fsConstants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function workerPath(): string {
  return process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
}

async function probe(): Promise<Containment> {
  for (const containment of containments) {
    const [file, ...args] = containment.prefix;
    if (file === undefined) return containment;
    const tried = await execa(file, [...args, 'true'], {
      reject: false,
      stdio: 'ignore',
      extendEnv: false,
      env: { PATH: workerPath() },
    });
    if (tried.exitCode === 0) return containment;
  }
  throw new Error('the last containment has no prefix, so this is not reached');
}

const openOutputPipe = createOutputPipes(async (paths) => {
  const made = await execa(locate('mkfifo'), ['-m', '600', ...paths], {
    reject: false,
    stdin: 'ignore',
    extendEnv: false,
  });
  if (made.exitCode !== 0) throw new ProviderError('Internal', `could not make pipes: ${made.stderr}`);
});

let uptimeFile: boolean | undefined;

function hasUptimeFile(): boolean {
  uptimeFile ??= existsSync('/proc/uptime');
  return uptimeFile;
}

function isStream(input: Launch['input']): input is Readable {
  return typeof input === 'object' && !(input instanceof Uint8Array);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // Gone already, which is what a signal is for.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function processesUnder(token: string): Promise<readonly number[]> {
  const mark = `${leaseVariable}=${token}`;
  const entries = await readdir('/proc').catch(() => []);
  const pids = await Promise.all(
    entries
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (entry) => {
        const environment = await readFile(`/proc/${entry}/environ`, 'latin1').catch(() => '');
        return environment.split('\0').includes(mark) ? [Number(entry)] : [];
      }),
  );
  return pids.flat();
}
