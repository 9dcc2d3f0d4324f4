import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { readProcessStat } from './process-stat.ts';

/** Names one process for as long as its machine is up; a pid alone is used again. */
export interface ProcessIdentity {
  /** The machine's boot and its pid namespace: only where these are equal does a pid mean the same. */
  readonly host: string;
  readonly pid: number;
  /** Clock ticks since boot at which it started; '0' where the platform does not tell. */
  readonly startedAt: string;
}

let own: ProcessIdentity | undefined;

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  own ??= { host: hostIdentity(), pid: process.pid, startedAt: readProcessStat(process.pid)?.startedAt ?? '0' };
  return own;
}

/**
 * Whether a process still lives: `undefined` when it is on another machine and cannot be asked. A killed process that nobody has
 * waited for yet counts as dead.
 */
export function isAlive(identity: ProcessIdentity): boolean | undefined {
  if (identity.host !== ownIdentity().host) return undefined;
  if (identity.startedAt === '0') return answersSignals(identity.pid);
  const found = readProcessStat(identity.pid);
  return found !== undefined && found.startedAt === identity.startedAt && !found.ended;
}

function hostIdentity(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
