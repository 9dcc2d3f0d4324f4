import { randomBytes } from 'node:crypto';
import type { StepSpec } from '../../definition/specs/stage.ts';
import { ProviderError } from '../../domain/failures.ts';
import { createControlFilter } from '../../effects/control.ts';
import { createTail } from '../../effects/tail.ts';
import { msUntil, timerMs } from '../../effects/waits.ts';
import { argumentsOf } from './command.ts';
import type { StepEnd, StepRun } from './port.ts';

/**
 * One small shell runs all steps of a stage, each in a shell of its own below it: to start a process from a worker of 300 MB means to copy its
 * page tables, ten times the price of starting it from a shell.
 *
 * It reads one line for each step and says behind the step's output how it ended, with a mark that only it and the worker know. Both streams
 * are one, for of two the second might come behind the mark. Its input ends with the worker, and so does it.
 */
const script = `NL='
'
exec 3<&0 </dev/null 2>&1
IFS= read -r mark <&3
while IFS= read -r line <&3; do
  (exec 3<&-; eval "$line")
  printf '\\000%s %s\\n' "$mark" "$?"
done`;

/** The command of a runner. The first line that it reads is its mark, for arguments can be read by the steps. */
export const runnerCommand = ['sh', '-c', script] as const;

export function createMark(): string {
  return randomBytes(16).toString('hex');
}

/** A runner that has been started, wherever it runs. */
export interface Runner {
  readonly mark: string;
  /** Gives it a line. */
  send(line: string): void;
  /** Who takes its output from now on. While the promise is open it waits in its write. */
  listen(take: (chunk: Buffer) => void | Promise<void>): void;
  /** Ends it with all that it started, and waits until it is gone. Where that fails it rejects, and may be called again. */
  kill(): Promise<void>;
  /** Settles when it is gone, for whatever reason: its status, as a shell says it. Rejects where it could not run at all. */
  readonly ended: Promise<number>;
}

/** The line that makes a runner run a step. Multi-line values are put together from their lines, for the line must stay one. */
export function stepLine(step: StepSpec, folder: string, env: Readonly<Record<string, string>>): string {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${quote(value)}`);
  const exports = settings.length === 0 ? '' : `export ${settings.join(' ')} && `;
  return `cd ${quote(folder)} && ${exports}exec ${argumentsOf(step.command).map(quote).join(' ')}`;
}

function quote(word: string): string {
  return word
    .split('\n')
    .map((line) => `'${line.replaceAll("'", `'\\''`)}'`)
    .join('"$NL"');
}

const maxTailBytes = 16_384;
/** What a shell says of a program that is not there, or is none. */
const noProgram = /exec: .*(not found|no such file|permission denied|exec format error)/i;

/**
 * Runs one step in a runner. A step whose time is over, or that is silent for too long, takes the runner along.
 *
 * @returns how it ended, and whether the runner is still there for the next one.
 * @throws `ToolMissing` (not retried). The signal's reason after an abort; the runner is gone then.
 */
export async function runStep(
  runner: Runner,
  run: StepRun,
  folder: string,
): Promise<{ readonly end: StepEnd; readonly alive: boolean }> {
  const { step, signal } = run;
  const began = performance.now();
  const tail = createTail(maxTailBytes);
  // Before secrets are looked for, which nothing that is taken away may have kept apart.
  const shown = createControlFilter();
  const redacting = run.redactor.stream();
  const scan = createMarkScan(runner.mark);
  let stoppedBy: 'timeout' | 'stall' | 'abort' | undefined;
  let handing = false;

  async function give(chunk: Buffer | undefined): Promise<void> {
    const parts: Buffer[] = [];
    const collect = (part: Buffer): void => void parts.push(part);
    if (chunk === undefined) {
      redacting.push(shown.end(), collect);
      redacting.end(collect);
    } else redacting.push(shown.push(chunk), collect);
    if (parts.length === 0) return;
    // In one piece, for a chunk full of secrets falls into thousands.
    const part = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    if (part === undefined) return;
    tail.push(part);
    await run.sink(part);
  }

  let giveUp: (error: unknown) => void = () => undefined;
  const ended = new Promise<number>((resolve, reject) => {
    giveUp = reject;
    runner.listen(async (chunk) => {
      handing = true;
      try {
        const { output, exitCode } = scan(chunk);
        if (output.length > 0) await give(output);
        if (exitCode !== undefined) resolve(exitCode);
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      } finally {
        handing = false;
        stall.refresh();
      }
    });
    runner.ended.then(resolve, reject);
  });
  function stop(reason: NonNullable<typeof stoppedBy>): void {
    if (stoppedBy !== undefined) return;
    stoppedBy = reason;
    // What cannot be ended may never say that it has.
    runner.kill().catch(giveUp);
  }
  const onAbort = (): void => stop('abort');
  signal.addEventListener('abort', onAbort, { once: true });
  const timeout = setTimeout(() => stop('timeout'), timerMs(run.timeoutMs, msUntil(run.untilMs)));
  const stall = setTimeout(() => {
    // Silence while we keep it waiting is ours.
    if (handing) stall.refresh();
    else stop('stall');
  }, timerMs(step.stallAfterMs));
  let exitCode: number;
  try {
    if (signal.aborted) stop('abort');
    else runner.send(stepLine(step, folder, run.env));
    exitCode = await ended;
    if (stoppedBy !== undefined) await runner.kill();
  } catch (error) {
    await runner.kill();
    throw error;
  } finally {
    clearTimeout(timeout);
    clearTimeout(stall);
    signal.removeEventListener('abort', onAbort);
    runner.listen(() => undefined);
  }
  if (stoppedBy === 'abort') throw signal.reason;
  await give(undefined);
  const text = tail.text();
  if (step.command.kind === 'argv' && (exitCode === 126 || exitCode === 127) && noProgram.test(text)) {
    const [program] = argumentsOf(step.command);
    const where = step.executor === 'container' ? `in the image ${step.image}` : 'on this worker';
    throw new ProviderError('ToolMissing', `${program} is not ${where}, or is no program`, { details: { program } });
  }
  const gone = await Promise.race([runner.ended.then(() => true), Promise.resolve(false)]);
  return {
    end: {
      exitCode,
      durationMs: performance.now() - began,
      tail: text,
      timedOut: stoppedBy === 'timeout',
      stalled: stoppedBy === 'stall',
    },
    alive: stoppedBy === undefined && !gone,
  };
}

interface Scanned {
  /** What the step said; what may be the beginning of a mark waits for the next chunk. */
  readonly output: Buffer;
  readonly exitCode?: number;
}

const newline = 0x0a;

/** Finds the end of a step in the output of its runner, whatever the pieces it comes in. */
export function createMarkScan(mark: string): (chunk: Buffer) => Scanned {
  const sentinel = Buffer.from(`\0${mark} `);
  let held = Buffer.alloc(0);
  return (chunk) => {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const at = bytes.indexOf(sentinel);
    const end = at < 0 ? -1 : bytes.indexOf(newline, at + sentinel.length);
    if (end >= 0) {
      held = Buffer.alloc(0);
      return { output: bytes.subarray(0, at), exitCode: Number(bytes.toString('latin1', at + sentinel.length, end)) };
    }
    const open = at >= 0 ? at : openFrom(bytes, sentinel);
    // A copy, for the chunk belongs to its stream.
    held = Buffer.from(bytes.subarray(open));
    return { output: bytes.subarray(0, open) };
  };
}

/** Where the beginning of a mark stands at the end of what came so far. */
function openFrom(bytes: Buffer, sentinel: Buffer): number {
  for (let at = Math.max(0, bytes.length - sentinel.length + 1); at < bytes.length; at += 1) {
    const rest = bytes.length - at;
    if (bytes[at] === 0 && bytes.compare(sentinel, 0, rest, at, bytes.length) === 0) return at;
  }
  return bytes.length;
}
