import type { ProgressEvent } from './context.ts';

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
