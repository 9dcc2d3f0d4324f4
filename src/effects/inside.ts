import { constants } from 'node:fs';
import { type FileHandle, open, readlink, realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';

/**
 * Opens a file of a folder that hostile programs write to, for reading. A link is not followed, and where a folder on the way is one that leads
 * out, or became one in between, the file is none: what was opened is asked where it lies, not the path that led there.
 *
 * @returns undefined where there is no such regular file.
 */
export async function openInside(root: string, path: string): Promise<FileHandle | undefined> {
  return await openKind(root, path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK, 'file');
}

/** As {@link openInside}, for a folder; `/proc/self/fd/<fd>` then is a name for it that nobody can put another folder behind. */
export async function openFolderInside(root: string, path: string): Promise<FileHandle | undefined> {
  return await openKind(root, path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_DIRECTORY, 'folder');
}

/** Another name of an open file or folder, that stays true whatever happens to the path it was opened by. */
export function nameOfOpen(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`;
}

async function openKind(
  root: string,
  path: string,
  flags: number,
  kind: 'file' | 'folder',
): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(join(root, path), flags);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EMLINK', 'EACCES'].includes(code)) return undefined;
    throw error;
  }
  try {
    const [found, at, top] = await Promise.all([handle.stat(), readlink(nameOfOpen(handle)), realpath(root)]);
    const fits = kind === 'file' ? found.isFile() : found.isDirectory();
    if (fits && (at === top || at.startsWith(top + sep))) return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

/** Opens the folder that a path lies in. */
export async function openParentInside(root: string, path: string): Promise<FileHandle | undefined> {
  return await openFolderInside(root, dirname(path));
}
