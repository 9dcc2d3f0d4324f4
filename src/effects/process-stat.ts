import { readFileSync } from 'node:fs';

/** What Linux says of one process. */
export interface ProcessStat {
  /** Clock ticks since boot at which it started: with its pid it names one process for as long as the machine is up. */
  readonly startedAt: string;
  /** It has ended and only waits to be collected. */
  readonly ended: boolean;
}

/** @returns undefined where there is no such process, or no Linux to ask. */
export function readProcessStat(pid: number): ProcessStat | undefined {
  try {
    return parseProcessStat(readFileSync(`/proc/${String(pid)}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** Reads a line of `/proc/<pid>/stat` (proc(5)); undefined where it is none. */
export function parseProcessStat(line: string): ProcessStat | undefined {
  // The name, in parentheses, may hold spaces and parentheses itself; what follows its last one is regular.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const [state, threads, startedAt] = [fields[0], Number(fields[17]), fields[19]];
  if (startedAt === undefined) return undefined;
  // The state is that of the first thread alone. A killed process whose first thread was quick is a zombie by it while the others still end,
  // and with the last of them it still has its files: what it listened on is taken, what it had locked is locked.
  return { startedAt, ended: state === 'X' || (state === 'Z' && threads <= 1) };
}
