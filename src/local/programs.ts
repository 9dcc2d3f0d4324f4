import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type ToolResult, type UserIds, runTool } from '../effects/daemon.ts';
import { ProviderError } from '../domain/failures.ts';
import type { LocalContext } from './context.ts';
import { reasonOf } from './reason.ts';

/** Where Debian and the Go installer put programs that a person's PATH may lack. */
const usualPlaces = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/local/go/bin',
];

/**
 * Looks for a program: in the cache of built ones, on PATH, in the usual places.
 *
 * @returns its absolute path, or undefined.
 */
export function findProgram(
  context: Pick<LocalContext, 'cacheFolder' | 'env'>,
  name: string,
  morePlaces: readonly string[] = [],
): string | undefined {
  const onPath = (context.env['PATH'] ?? '').split(delimiter).filter((folder) => folder.startsWith('/'));
  return [join(context.cacheFolder, 'bin'), ...onPath, ...usualPlaces, ...morePlaces]
    .map((folder) => join(folder, name))
    .find(isProgram);
}

/** Whether this is a file that may be executed. */
export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Runs a short helper such as `temporal --version`. */
export async function runHelper(
  context: LocalContext,
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs?: number; readonly user?: UserIds | undefined } = {},
): Promise<ToolResult> {
  return await runTool(command, args, { env: context.env, timeoutMs: 60_000, ...options });
}

/** One way of coming by something. */
export interface Way<T> {
  /** What is tried, as it reads after "tried": `` `temporal` on PATH``. */
  readonly what: string;
  /** @returns undefined where this way does not lead there and there is no more to say. */
  readonly take: () => Promise<T | undefined> | T | undefined;
}

/**
 * Takes the first way that leads there.
 *
 * @param advice - what a person can do when none does.
 * @throws ProviderError `ToolMissing` (not retried) - no way led there; the message names each one with its reason.
 */
export async function obtain<T>(thing: string, ways: readonly Way<T>[], advice: string): Promise<T> {
  const tried: string[] = [];
  for (const way of ways) {
    try {
      const found = await way.take();
      if (found !== undefined) return found;
      tried.push(way.what);
    } catch (error) {
      tried.push(`${way.what} (${reasonOf(error)})`);
    }
  }
  throw new ProviderError(
    'ToolMissing',
    `${thing} is missing and could not be had. Tried: ${tried.join('; ')}. ${advice}`,
  );
}

/** The last lines of an output, for a message. */
export function lastLines(text: string, count = 5): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map((line) => line.trim())
    .join(' | ');
}
