import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../src/local/reason.ts';

/** How long and how often to look. */
export interface UntilOptions {
  /** Default 30,000: on a machine with many hands everything is late, and where all is well none of it is waited for. */
  readonly timeoutMs?: number;
  /** Default 25. */
  readonly everyMs?: number;
  /** What is waited for, as it reads after "waited 30 s for". */
  readonly what?: string;
}

/**
 * Waits for a condition instead of a time: looks again and again until `look` gives something truthy.
 *
 * @returns what it gave.
 * @throws Error - the time is over; the message carries the last value or the last error of `look`.
 */
export async function until<T>(look: () => Promise<T> | T, options: UntilOptions = {}): Promise<NonNullable<T>> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  let failed = false;
  do {
    try {
      const value = await look();
      if (value) return value;
      [last, failed] = [value, false];
    } catch (error) {
      [last, failed] = [error, true];
    }
    await delay(options.everyMs ?? 25);
  } while (performance.now() < deadline);
  const what = options.what ?? 'a condition';
  const seen = failed ? reasonOf(last) : JSON.stringify(last);
  throw new Error(`waited ${String(timeoutMs / 1000)} s for ${what}; last seen: ${seen}`, { cause: last });
}
