import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ProcessIdentity, endProcess, isRunning } from '../effects/daemon.ts';

/** The file in which the `slipway up` of a state folder says that it keeps it. */
export function claimFile(stateFolder: string): string {
  return join(stateFolder, 'run', 'up.pid');
}

/** @returns the `slipway up` that keeps this folder; undefined where none runs. */
export function readHolder(stateFolder: string): ProcessIdentity | undefined {
  try {
    const holder = JSON.parse(readFileSync(claimFile(stateFolder), 'utf8')) as ProcessIdentity;
    return isRunning(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Tells the `slipway up` of this folder to stop and waits until it has. Before components are ended: it would start them again.
 *
 * @param options.graceMs - after this it is killed. Default 60,000, as its processes have time to end what they do.
 */
export async function endHolder(
  stateFolder: string,
  options: { readonly graceMs?: number | undefined; readonly onFound?: (holder: ProcessIdentity) => void } = {},
): Promise<void> {
  const holder = readHolder(stateFolder);
  if (holder === undefined) return;
  options.onFound?.(holder);
  await endProcess(holder, { signal: 'SIGTERM', graceMs: options.graceMs ?? 60_000 });
}
