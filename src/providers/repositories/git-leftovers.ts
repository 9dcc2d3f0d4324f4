import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { sizeOnDisk } from '../../effects/folder-size.ts';
import type { LeftFile } from './port.ts';

const mirror = /^(.+)\.git$/;
/** Made beside its place by somebody who was killed before it could be renamed. */
const draft = /\.git\.[0-9a-f-]{36}$/;

/**
 * Removes from a folder of mirrors what nobody will use: mirrors of projects that are no more, half-made ones, and what a killed fetch left of
 * its pack.
 *
 * @param before - what was changed after this moment may be in use.
 */
export async function removeLeftovers(
  folder: string,
  { projects, before }: { readonly projects: readonly string[]; readonly before: Date },
): Promise<readonly LeftFile[]> {
  const left: string[] = [];
  for (const name of await namesIn(folder)) {
    const project = mirror.exec(name)?.[1];
    if (project !== undefined && projects.includes(project)) {
      const packs = join(folder, name, 'objects', 'pack');
      left.push(...(await namesIn(packs)).filter((file) => file.startsWith('tmp_')).map((file) => join(packs, file)));
    } else if (project !== undefined || draft.test(name)) {
      left.push(join(folder, name));
    }
  }
  const removed: LeftFile[] = [];
  for (const path of left) {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || found.mtime >= before) continue;
    const sizeBytes = await sizeOnDisk(path);
    await rm(path, { recursive: true, force: true });
    removed.push({ path, sizeBytes });
  }
  return removed;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
}
