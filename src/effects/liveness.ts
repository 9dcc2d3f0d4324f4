import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

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
  own ??= { host: hostIdentity(), pid: process.pid, startedAt: startOf(process.pid)?.startedAt ?? '0' };
  return own;
}

/**
 * Whether a process still lives: `undefined` when it is on another machine and cannot be asked. A killed process that nobody has
 * waited for yet counts as dead.
 */
export function isAlive(identity: ProcessIdentity): boolean | undefined {
  if (identity.host !== ownIdentity().host) return undefined;
  if (identity.startedAt === '0') return answersSignals(identity.pid);
  const found = startOf(identity.pid);
  return found !== undefined && found.startedAt === identity.startedAt && found.state !== 'Z' && found.state !== 'X';
}

function hostIdentity(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function startOf(pid: number): { state: string; startedAt: string } | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold spaces and parentheses itself; what follows its last one is regular (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startedAt: fields[19] ?? '0' };
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
