import { availableParallelism, totalmem } from 'node:os';
import type { Machine } from '../domain/machine.ts';
import { readDiskSpace } from './disk-space.ts';

/**
 * Of this process: cores and memory with the limits of its control group. A disk that cannot be read is left out; nothing fails.
 *
 * @param folder - where its workspaces lie.
 */
export async function readMachine(folder: string): Promise<Machine> {
  const space = await readDiskSpace(folder).catch(() => undefined);
  // Without a limit it is 0, or more than there is.
  const limit = process.constrainedMemory();
  return {
    cores: availableParallelism(),
    memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem(),
    ...(space === undefined ? {} : { diskBytes: space.availableBytes }),
  };
}
