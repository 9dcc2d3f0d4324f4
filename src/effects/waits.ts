/**
 * Waits for work that others may wait for too, and so cannot be ended by one of them.
 *
 * @throws the signal's reason once it aborts; the work goes on.
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    const settled = (): void => signal.removeEventListener('abort', onAbort);
    // Heard of in any case: a failure of which nobody hears ends the process.
    work.then(resolve, reject).finally(settled);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Waits as {@link unlessAborted} does, and no longer than until a moment.
 *
 * @param limits.untilMs - ms since the epoch. Default: only the signal ends the wait.
 * @returns undefined: the moment came first; the work goes on.
 * @throws the signal's reason, and what the work throws.
 */
export async function unlessOver<T>(
  work: Promise<T>,
  { signal, untilMs }: { readonly signal?: AbortSignal; readonly untilMs?: number },
): Promise<T | undefined> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), timerMs(msUntil(untilMs)));
  try {
    return await unlessAborted(work, AbortSignal.any([over.signal, ...(signal === undefined ? [] : [signal])]));
  } catch (error) {
    if (over.signal.aborted && signal?.aborted !== true) return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** From now, ms; none below zero. @param untilMs - ms since the epoch; absent: never. */
export function msUntil(untilMs = Infinity): number {
  return Math.max(0, untilMs - Date.now());
}

/** Longest delay of a timer; Node takes a longer one for 1 ms. */
const longestTimerMs = 2_147_483_647;

/** The shortest of these, ms, as a timer can be set to it. */
export function timerMs(...delays: readonly number[]): number {
  return Math.min(...delays, longestTimerMs);
}
