import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, ownIdentity } from './liveness.ts';

let own: string | undefined;

/**
 * A folder for what lives no longer than this process: pipes and empty homes. It goes when the process ends; what a killed one could
 * not take along goes when the next one begins.
 */
export function scratchFolder(): string {
  if (own !== undefined) return own;
  const { pid, startedAt } = ownIdentity();
  sweep();
  const folder = join(tmpdir(), `${prefix()}${pid}-${startedAt}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  process.once('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  own = folder;
  return folder;
}

/** Only those of this machine and pid namespace can be asked whether they live; a container may share the folder with others. */
function prefix(): string {
  return `slipway-${createHash('sha256').update(ownIdentity().host).digest('hex').slice(0, 8)}-`;
}

function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(prefix())) continue;
    const [pid, startedAt] = name.slice(prefix().length).split('-');
    const identity = { host: ownIdentity().host, pid: Number(pid), startedAt: startedAt ?? '' };
    if (isAlive(identity) === false) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
