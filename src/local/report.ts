import type { ProgressEvent } from './context.ts';
import type { ComponentHandle } from './daemons.ts';

/** Turns progress into lines. */
export interface Reporter {
  readonly report: (event: ProgressEvent) => void;
}

/**
 * One line when something begins, and one with the time spent whenever it is still going on: readable in a terminal and
 * in a log alike.
 */
export function createReporter(write: (line: string) => void): Reporter {
  return {
    report: ({ component, message, elapsedMs }) => {
      const spent = elapsedMs < 1_000 ? '' : ` (${String(Math.round(elapsedMs / 1000))} s)`;
      write(`${component}: ${message}${spent}`);
    },
  };
}

/**
 * What was found or started and where it listens, one aligned line for each component: name, how it was come by,
 * version, address, log.
 */
export function componentLines(handles: readonly Omit<ComponentHandle, 'stop'>[]): string[] {
  const rows = handles.map(({ name, how, version, address, logFile }) => [name, how, version, address, logFile ?? '']);
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, column) => Math.max(widest[column] ?? 0, cell.length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
