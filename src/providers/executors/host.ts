import type { HostStep } from '../../definition/specs.ts';
import { runProcess } from '../../effects/process.ts';
import { argumentsOf, folderOf } from './command.ts';
import type { StepExecutor } from './port.ts';

/**
 * Steps as processes of the worker's machine, with the worker's rights: only for repositories that are trusted with them. Nothing has to be
 * reaped here, for no process outlives its worker (effects/process).
 */
export function createHostExecutor(): StepExecutor<HostStep> {
  return {
    kind: 'host',
    open: (scope) =>
      Promise.resolve({
        run: async ({ step, env, timeoutMs, redactor, sink, signal }) =>
          runProcess({
            command: argumentsOf(step.command),
            cwd: await folderOf(scope.source, step),
            env,
            home: scope.home,
            timeoutMs,
            stallAfterMs: step.stallAfterMs,
            redactor,
            sink,
            signal,
          }),
        close: () => Promise.resolve(),
      }),
  };
}
