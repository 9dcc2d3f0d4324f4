import { type ActivityOptions, CancellationScope, patched } from '@temporalio/workflow';
import type * as contracts from '../activities/contracts.ts';

/** An activity of one of the proxies (`proxies/`). */
export interface Callable<I, R> {
  executeWithOptions(options: ActivityOptions, args: [I]): Promise<R>;
}

/**
 * Calls an activity with the line that people read for it in the Temporal UI.
 *
 * @param summary - at most 200 bytes; longer is cut, for the server refuses it.
 */
export function call<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  options: ActivityOptions = {},
): Promise<R> {
  return activity.executeWithOptions({ ...options, summary: brief(summary) }, [input]);
}

/**
 * As {@link call}, with facts that the worker spools while it works: they cost no activity of their own, and nothing waits for them. Should
 * nobody ever take the call, as one that is cancelled before, they are not told.
 */
export function callTelling<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  told: contracts.Told,
  options: ActivityOptions = {},
): Promise<R> {
  // Every activity takes them behind its input (activities/told.ts), which its own type does not say.
  return activity.executeWithOptions({ ...options, summary: brief(summary) }, [input, told] as unknown as [I]);
}

/**
 * As {@link call}, whatever becomes of the workflow's own scope: handlers of messages run in that one, and once somebody has cancelled the
 * workflow nothing could be recorded or said from them any more.
 */
export function callAnyway<I, R>(
  activity: Callable<I, R>,
  summary: string,
  input: I,
  options: ActivityOptions = {},
): Promise<R> {
  return CancellationScope.nonCancellable(() => call(activity, summary, input, options));
}

/**
 * A word to a forge. An abort keeps none from being said, nor lets a later one overtake one that is under way: what is pending there would stay
 * so for ever.
 */
export async function say<I>(activity: Callable<I, void>, input: I): Promise<void> {
  const to = patched('2026-11-26-told-to-the-end') ? callAnyway : call;
  await to(activity, 'tells the forge', input).catch(() => undefined);
}

/** Cuts a line to what the server takes as a summary (200 bytes), on a character's border. */
export function brief(line: string): string {
  return line.length <= 60
    ? line
    : new TextDecoder().decode(new TextEncoder().encode(line).slice(0, 197)).replace(/\uFFFD$/, '');
}
