import { stat, statfs } from 'node:fs/promises';

/** One file system, as the machine counts it. */
export interface DiskSpace {
  /** The same for all folders on it. */
  readonly device: number;
  readonly usedBytes: number;
  /** What a program without privileges may still write. */
  readonly availableBytes: number;
}

/** Of the file system that a folder lies on. @throws Error - there is no such folder, or it may not be looked at. */
export async function readDiskSpace(folder: string): Promise<DiskSpace> {
  const [{ dev }, { bsize, blocks, bfree, bavail }] = await Promise.all([stat(folder), statfs(folder)]);
  return { device: dev, usedBytes: (blocks - bfree) * bsize, availableBytes: bavail * bsize };
}
