import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepCommand, StepSpec } from '../../definition/specs/stage.ts';
import { ProviderError } from '../../domain/failures.ts';

/** The argument list of a step. A script stops at its first failing command, in the same shell wherever the step runs. */
export function argumentsOf(command: StepCommand): readonly [string, ...string[]] {
  if (command.kind === 'shell') return ['sh', '-e', '-c', command.script];
  const [program = 'false', ...args] = command.argv;
  return [program, ...args];
}

/**
 * Folder that a step runs in.
 *
 * @throws `StepFailed` (not retried): the commit has no such folder. `WorkspaceLost` (not retried here): the whole checkout is gone.
 */
export async function folderOf(source: string, step: StepSpec): Promise<string> {
  const folder = join(source, step.workdir);
  if (await isFolder(folder)) return folder;
  if (await isFolder(source))
    throw new ProviderError('StepFailed', `${step.name} is to run in ${step.workdir}, which is no folder of it`);
  throw new ProviderError('WorkspaceLost', `the checkout ${source} is gone`, { nonRetryable: true });
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
