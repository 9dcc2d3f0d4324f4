import type { ProgressEvent } from './context.ts';
import type { ComponentHandle } from './daemons.ts';

/** Turns progress into lines. */
export interface Reporter {
  readonly report: (event: ProgressEvent) => void;
}

/** Longest silence about something that goes on, ms. */
const longestSilenceMs = 30_000;

/**
 * One line when something begins, and one with the time spent while it is still going on, less and less often, at least every 30 s: readable in
 * a terminal and in a log alike.
 */
export function createReporter(write: (line: string) => void): Reporter {
  const dueMs = new Map<string, number>();
  return {
    report: ({ component, message, elapsedMs }) => {
      if (elapsedMs > 0 && elapsedMs < (dueMs.get(component) ?? 0)) return;
      dueMs.set(component, Math.min(elapsedMs * 1.4, elapsedMs + longestSilenceMs));
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
