import { PassThrough } from 'node:stream';
import type { HostStep } from '../../definition/specs/stage.ts';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess } from '../../effects/process.ts';
import { folderOf } from './command.ts';
import type { StepExecutor } from './port.ts';
import { createMark, runStep, runnerCommand, type Runner } from './runner.ts';

/** Steps have limits of their own; this one only has to be longer than all of them. */
const longestStageMs = 2_147_483_647;
/** For a runner that is told to stop, ms: nothing it runs may go on longer after an abort. */
const graceMs = 1_000;

/** A spare runner that nobody wants is ended after this, ms: a worker without such stages shall not keep one for ever. Judgement. */
const spareMs = 600_000;
/** After a stage its end is to be told first, ms: starting a process from a large one stops everything else in it. Judgement. */
const refillMs = 50;

export interface HostExecutorOptions {
  /**
   * Keeps one runner started for the next stage, which then need not wait for it. Made after the first stage; each serves one stage only.
   * Default false; who says true calls `close`.
   */
  readonly spare?: boolean;
}

/** The executor of this machine, and the end of what it keeps. */
export interface HostExecutor extends StepExecutor<HostStep> {
  /** Ends the spare runner and makes no other. */
  close(): Promise<void>;
}

/**
 * Steps as processes of the worker's machine, with the worker's rights: only for repositories that are trusted with them. Nothing has to be
 * reaped here, for no process outlives its worker (effects/process); what a step leaves running ends with its stage.
 */
export function createHostExecutor({ spare: keepsSpare = false }: HostExecutorOptions = {}): HostExecutor {
  let spare: Runner | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function take(): Runner {
    const taken = spare ?? startRunner();
    spare = undefined;
    clearTimeout(timer);
    return taken;
  }
  function refillLater(): void {
    if (!keepsSpare || closed || spare !== undefined) return;
    clearTimeout(timer);
    timer = setTimeout(refill, refillMs).unref();
  }
  function refill(): void {
    const made = startRunner();
    spare = made;
    const forget = (): void => void (spare = spare === made ? undefined : spare);
    made.ended.then(forget, forget);
    timer = setTimeout(() => {
      // Nobody may be given one that is being ended.
      forget();
      void made.kill();
    }, spareMs).unref();
  }

  return {
    kind: 'host',
    open: (scope) => {
      const runners = new Map<number, Runner>();
      return Promise.resolve({
        async run(run) {
          const folder = await folderOf(scope.source, run.step);
          const { lane = 0 } = run;
          const runner = runners.get(lane) ?? take();
          runners.set(lane, runner);
          try {
            const inHome = { ...run, env: { HOME: scope.home, ...run.env } };
            const { end, alive } = await runStep(runner, inHome, folder);
            if (!alive) runners.delete(lane);
            return end;
          } catch (error) {
            // A missing program is no fault of the runner.
            if (!(error instanceof ProviderError)) runners.delete(lane);
            throw error;
          }
        },
        async close() {
          await Promise.all([...runners.values()].map((runner) => runner.kill()));
          refillLater();
        },
      });
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await spare?.kill();
    },
  };
}

/** Belongs to no stage yet: each line that it is given says where and with what it runs. */
function startRunner(): Runner {
  const mark = createMark();
  const input = new PassThrough();
  input.write(`${mark}\n`);
  const stop = new AbortController();
  let take: (chunk: Buffer) => void | Promise<void> = () => undefined;
  const ended = runProcess({
    command: runnerCommand,
    cwd: '/',
    input,
    timeoutMs: longestStageMs,
    stallAfterMs: Infinity,
    abortGraceMs: graceMs,
    signal: stop.signal,
    sink: (chunk) => take(chunk),
  }).then(
    ({ exitCode }) => exitCode,
    (error: unknown) => {
      if (stop.signal.aborted) return 137;
      throw error;
    },
  );
  // Whoever waits for a step is told; between two of them nobody waits.
  ended.catch(() => undefined);
  return {
    mark,
    ended,
    send: (line) => void input.write(`${line}\n`),
    listen: (listener) => void (take = listener),
    async kill() {
      stop.abort(new Error('the runner of the stage is ended'));
      input.end();
      await ended.catch(() => undefined);
    },
  };
}
