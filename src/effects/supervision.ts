/** The life of one process, from its handshake to its last byte. What starts it is `process.ts`. */
import { existsSync, rmdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../domain/failures.ts';
import { type Containment, notStartedCode } from './launch.ts';
import type { Lease } from './lease.ts';

/** What every process has in common. */
export interface Launch {
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

interface Ending {
  readonly exitCode: number;
  readonly signal: string | null;
  readonly durationMs: number;
  readonly timedOut: boolean;
  readonly stalled: boolean;
}

/** A started process, before its output is being read. */
export interface Child {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Hands on every chunk of one of its streams, and reads no further meanwhile. */
  read(stream: Readable, take: (chunk: Buffer) => void | Promise<void>): void;
  /** Waits until it has ended and all its output was handed on. */
  end(stallAfterMs: number): Promise<Ending>;
}

/** What is used of a process that was started; descriptor 3 is its lifeline. */
interface Subprocess {
  readonly pid?: number | undefined;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly stdio: readonly unknown[];
  once(event: 'exit', listener: (code: number | null, signal: NodeJS.Signals | null) => void): unknown;
  once(event: 'error', listener: (error: Error) => void): unknown;
}

/** What is known of it as it starts. */
interface Supervision {
  readonly request: Launch;
  readonly lease: Lease | undefined;
  readonly containment: Containment;
  readonly startedAt: number;
  readonly home: string;
}

/**
 * Takes care of a process that was started, until it has ended and everything it said was handed on: its handshake, its limits and silence, aborts, a lost
 * lease, and what is left of its tree.
 */
export function supervise(
  subprocess: Subprocess,
  { request, lease, containment, startedAt, home }: Supervision,
): Child {
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

// Synchronous where it can be: it is empty nearly always, and a turn through the thread pool costs a step half a millisecond.
async function removeHome(home: string): Promise<void> {
  try {
    rmdirSync(home);
  } catch {
    await rm(home, { recursive: true, force: true });
  }
}

let uptimeFile: boolean | undefined;

function hasUptimeFile(): boolean {
  uptimeFile ??= existsSync('/proc/uptime');
  return uptimeFile;
}

function isStream(input: Launch['input']): input is Readable {
  return typeof input === 'object' && !(input instanceof Uint8Array);
}

/** One that is gone already is no error. @param pid - negative for a group. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // Gone already, which is what a signal is for.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
