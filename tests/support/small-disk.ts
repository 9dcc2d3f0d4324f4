import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, rmdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';

/** A file system of a few megabytes, really full when it is full. */
export interface SmallDisk {
  readonly folder: string;
  /** Takes all the room that is left but so many bytes; default 0. */
  fill(leaveBytes?: number): void;
  /** Gives the room back. */
  clear(): void;
  unmount(): void;
}

/** Mounts one. @param size - as tmpfs takes it. @param folder - default: a new one. @param owner - of the folder. */
export function mountSmallDisk(
  size: string,
  { folder: over, owner = 'mode=0700' }: { readonly folder?: string; readonly owner?: string } = {},
): SmallDisk {
  const folder = over ?? mkdtempSync(join(tmpdir(), 'slipway-small-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},${owner}`, 'tmpfs', folder]);
  const filler = join(folder, '.filler');
  return {
    folder,
    fill(leaveBytes = 0) {
      for (const bytes of [1024 * 1024, 4096]) {
        try {
          for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        }
      }
      truncateSync(filler, Math.max(0, statSync(filler).size - leaveBytes));
    },
    clear: () => rmSync(filler, { force: true }),
    unmount() {
      execFileSync('umount', ['--lazy', folder]);
      if (over === undefined) rmdirSync(folder);
    },
  };
}

/** A tablespace on a disk of its own: what is full there is full for the databases in it, and for nothing else of the server. */
export interface SmallTablespace extends SmallDisk {
  readonly name: string;
  /** After every database in it was dropped. */
  drop(): Promise<void>;
}

/** @param adminUrl - of a superuser of a server on this machine. */
export async function createSmallTablespace(adminUrl: string, size: string): Promise<SmallTablespace> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ folder: string }>(`select current_setting('data_directory') as folder`);
    const { uid, gid } = statSync(rows[0]?.folder ?? '');
    const disk = mountSmallDisk(size, { owner: `mode=0700,uid=${String(uid)},gid=${String(gid)}` });
    const name = `slipway_small_${String(process.pid)}`;
    await client.query(`create tablespace ${name} location '${disk.folder}'`);
    return {
      ...disk,
      name,
      async drop() {
        const again = new Client({ connectionString: adminUrl });
        await again.connect();
        try {
          await again.query(`drop tablespace ${name}`);
        } finally {
          await again.end();
          disk.unmount();
        }
      },
    };
  } finally {
    await client.end();
  }
}
