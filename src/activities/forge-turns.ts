import pLimit, { type LimitFunction } from 'p-limit';
import { ProviderError } from '../domain/failures.ts';
import { unlessAborted } from '../effects/waits.ts';

export interface ForgeTurns {
  /**
   * Works at a forge with at most so many others, in the order in which they ask.
   *
   * @throws ProviderError `ForgeUnavailable` (retried) - its turn did not come in time; nothing was done, and nothing is any more.
   */
  take<T>(forge: string, work: () => Promise<T>): Promise<T>;
}

/** @param waitMs - longest wait for a turn, ms: whoever waits holds a slot of its worker, which messages to people need as well. */
export function createForgeTurns(most: number, waitMs: number): ForgeTurns {
  // One that hangs keeps no other waiting.
  const forges = new Map<string, LimitFunction>();

  return {
    async take(name, work) {
      const limit = forges.get(name) ?? pLimit(most);
      forges.set(name, limit);
      const late = new AbortController();
      const timer = setTimeout(
        () =>
          late.abort(
            new ProviderError('ForgeUnavailable', `${name} is slow: other comments have been waiting for it.`),
          ),
        waitMs,
      );
      const turn = limit(async () => {
        clearTimeout(timer);
        late.signal.throwIfAborted();
        return await work();
      });
      return await unlessAborted(turn, late.signal);
    },
  };
}
