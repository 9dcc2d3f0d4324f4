import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sourceFolder = fileURLToPath(new URL('..', import.meta.url));
/** npm writes it last when it has installed: which versions of libraries there are. */
const installed = fileURLToPath(new URL('../../node_modules/.package-lock.json', import.meta.url));

/**
 * Tells one state of the program's files from another, by their names, sizes and times: cheap enough to ask every few seconds (some 700 files, 35 ms
 * measured), and enough to see that somebody has put another build in place.
 *
 * @param folder - default: the program that runs.
 */
export async function programState(folder = sourceFolder): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash('sha256');
  for (const file of [...files.sort(), installed]) {
    const seen = await stat(file).catch(() => undefined);
    hash.update(`${file} ${String(seen?.size)} ${String(seen?.mtimeMs)}\n`);
  }
  return hash.digest('hex');
}
