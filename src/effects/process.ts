import { mkdtempSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Options, execa } from 'execa';
import { ProviderError } from '../domain/failures.ts';
import { type Containment, containments, launchCommand, needsWatch } from './launch.ts';
import { currentLease } from './lease.ts';
import { createOutputPipes } from './output-pipe.ts';
import { findProgram, requireProgram } from './program.ts';
import type { Redactor } from './redact.ts';
import { scratchFolder } from './scratch.ts';
import { type Child, type Launch, signalProcess, supervise } from './supervision.ts';
import { createHead, createLines, createTail } from './tail.ts';

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

/** A descriptor of ours, or a stream of its own. */
type Output = number | 'pipe';

async function start(request: Launch, stdout: Output, stderr: Output): Promise<Child> {
  const startedAt = performance.now();
  const lease = request.lease ?? currentLease();
  request.signal?.throwIfAborted();
  lease?.check();
  const path = request.env?.['PATH'] ?? workerPath();
  requireProgram(request, path);
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

const located = new Map<string, string>();

/** The absolute path of a program of the launcher's own. */
function locate(program: string): string {
  const known = located.get(program) ?? findProgram(program, workerPath(), '/');
  if (known === undefined) {
    throw new ProviderError('ToolMissing', `${program}, which starts every process, is not on this worker`, {
      details: { program },
    });
  }
  located.set(program, known);
  return known;
}

/** PATH of the worker: of every process that is not given another. */
export function workerPath(): string {
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
