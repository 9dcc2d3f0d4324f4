import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';

export interface ContextOptions {
  /** Absolute; a clean checkout. */
  readonly folder: string;
  /** Whether a path relative to the folder stays out. */
  readonly ignores: (path: string) => boolean;
  /** Sent even where they are ignored: the engine needs them. */
  readonly always: readonly string[];
  /** Time of every file, so that equal contents are equal images. */
  readonly modifiedAt: Date;
}

/**
 * The folder as a tar stream, read as fast as it is sent. Links are sent as links, never followed; owner, time and rights are the same
 * wherever it is made.
 */
export function packContext(options: ContextOptions): Pack {
  const tar = pack();
  packFolder(tar, options, '').then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error as Error),
  );
  return tar;
}

async function packFolder(tar: Pack, options: ContextOptions, folder: string): Promise<void> {
  const names = await readdir(join(options.folder, folder));
  for (const name of names.sort()) {
    const path = folder === '' ? name : `${folder}/${name}`;
    if (path === '.git') continue;
    const file = join(options.folder, path);
    const found = await lstat(file);
    const left = options.ignores(path) && !options.always.includes(path);
    const header = { name: path, mtime: options.modifiedAt, uid: 0, gid: 0 };
    if (found.isDirectory()) {
      if (!left) await add(tar, { ...header, type: 'directory', mode: 0o755 });
      // An ignored folder may hold something that is given back.
      await packFolder(tar, options, path);
    } else if (left) {
      continue;
    } else if (found.isSymbolicLink()) {
      await add(tar, { ...header, type: 'symlink', linkname: await readlink(file), mode: 0o777 });
    } else if (found.isFile()) {
      const mode = (found.mode & 0o111) === 0 ? 0o644 : 0o755;
      await pipeline(createReadStream(file), tar.entry({ ...header, type: 'file', size: found.size, mode }));
    }
  }
}

function add(tar: Pack, header: Parameters<Pack['entry']>[0]): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry(header, (error) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
}
