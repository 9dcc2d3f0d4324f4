import { ProviderError } from '../domain/failures.ts';

interface Forge {
  free: number;
  readonly waiting: Set<() => void>;
}

export interface ForgeTurns {
  /**
   * Works at a forge with at most so many others, in the order in which they ask.
   *
   * @throws ProviderError `ForgeUnavailable` - its turn did not come in time; nothing was done, and it does not come any more.
   */
  take<T>(forge: string, work: () => Promise<T>): Promise<T>;
}

/** @param waitMs - longest wait for a turn: whoever waits holds a slot of its worker, which messages to people need as well. */
export function createForgeTurns(most: number, waitMs: number): ForgeTurns {
  // One that hangs keeps no other waiting.
  const forges = new Map<string, Forge>();

  return {
    async take(name, work) {
      const forge = forges.get(name) ?? { free: most, waiting: new Set() };
      forges.set(name, forge);
      if (forge.free > 0) forge.free -= 1;
      else await turnOf(name, forge.waiting, waitMs);
      try {
        return await work();
      } finally {
        const [next] = forge.waiting;
        if (next === undefined) forge.free += 1;
        else next();
        if (forge.free === most) forges.delete(name);
      }
    },
  };
}

/** Settles with a turn that somebody has left to it. */
async function turnOf(name: string, waiting: Forge['waiting'], waitMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const next = (): void => {
      clearTimeout(timer);
      waiting.delete(next);
      resolve();
    };
    const timer = setTimeout(() => {
      waiting.delete(next);
      reject(new ProviderError('ForgeUnavailable', `${name} is slow: other comments have been waiting for it.`));
    }, waitMs);
    waiting.add(next);
  });
}
