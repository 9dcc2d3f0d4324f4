/** Where programs are on this machine. */
import { accessSync, constants as fsConstants, statSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import type { Launch } from './supervision.ts';

/**
 * Makes sure that a process can be started.
 *
 * @param path - as in PATH.
 * @throws `WorkspaceLost` - its folder is not there; `ToolMissing` - its program is not.
 */
export function requireProgram(request: Pick<Launch, 'command' | 'cwd'>, path: string): void {
  const [program] = request.command;
  const folder = request.cwd ?? process.cwd();
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new ProviderError('WorkspaceLost', `the folder ${folder}, in which to run ${program}, is not there`);
  }
  if (findProgram(program, path, folder) !== undefined) return;
  throw new ProviderError(
    'ToolMissing',
    `${program} is not on this worker (looked in ${program.includes('/') ? folder : path})`,
    {
      details: { program },
    },
  );
}

/** The absolute path of a program; undefined where there is none that may be run. @param folder - what a path with a slash starts from. */
export function findProgram(program: string, path: string, folder: string): string | undefined {
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
