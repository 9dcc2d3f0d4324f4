import { PassThrough } from 'node:stream';
import type { HostStep } from '../../definition/specs.ts';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess } from '../../effects/process.ts';
import { folderOf } from './command.ts';
import type { StageScope, StepExecutor } from './port.ts';
import { createMark, runStep, runnerCommand, type Runner } from './runner.ts';

/** Steps have limits of their own; this one only has to be longer than all of them. */
const longestStageMs = 2_147_483_647;
/** For a runner that is told to stop, ms: nothing it runs may go on longer after an abort. */
const graceMs = 1_000;

/**
 * Steps as processes of the worker's machine, with the worker's rights: only for repositories that are trusted with them. Nothing has to be
 * reaped here, for no process outlives its worker (effects/process); what a step leaves running ends with its stage.
 */
export function createHostExecutor(): StepExecutor<HostStep> {
  return {
    kind: 'host',
    open: (scope) => {
      const runners = new Map<number, Runner>();
      return Promise.resolve({
        async run(run) {
          const folder = await folderOf(scope.source, run.step);
          const { lane = 0 } = run;
          const runner = runners.get(lane) ?? startRunner(scope);
          runners.set(lane, runner);
          try {
            const { end, alive } = await runStep(runner, run, folder);
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
        },
      });
    },
  };
}

function startRunner(scope: StageScope): Runner {
  const mark = createMark();
  const input = new PassThrough();
  input.write(`${mark}\n`);
  const stop = new AbortController();
  let take: (chunk: Buffer) => void | Promise<void> = () => undefined;
  const ended = runProcess({
    command: runnerCommand,
    cwd: scope.source,
    home: scope.home,
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
