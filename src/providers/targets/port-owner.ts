import { readFile, readdir, readlink } from 'node:fs/promises';

/**
 * Names the process on this machine that listens on a TCP port, as `name (pid N)`; undefined where it cannot be seen.
 *
 * For a message only: it may have changed by the time it is read.
 */
export async function readPortOwner(port: number): Promise<string | undefined> {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      // 0A is LISTEN.
      if (
        state === '0A' &&
        inode !== undefined &&
        local?.endsWith(`:${port.toString(16).toUpperCase().padStart(4, '0')}`) === true
      ) {
        inodes.add(`socket:[${inode}]`);
      }
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (!inodes.has(link)) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
      return `${name.trim()} (pid ${pid})`;
    }
  }
  return undefined;
}
