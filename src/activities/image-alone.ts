import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../domain/failures.ts';
import { type Fence, withFence } from '../effects/fence.ts';
import type { Alone } from './image-work.ts';

/** Between two looks whether it is our turn, ms. Judgement: a signature and five statements take two seconds. */
const askAgainMs = 500;
/** Held at once by one worker: each keeps a session of the fence, of which deployments need theirs. Judgement. */
const mostHeld = 4;

/**
 * Holds an image by the fence: of a worker that was stopped the programs are dead before the next one begins, for one that had read before and wrote
 * afterwards would write over what is new. The wait ends with the signal.
 */
export function createAlone(fence: Fence): Alone {
  const held = new Set<string>();
  return async ({ digest, signal, waiting }, work) => {
    const target = targetOf(digest);
    for (;;) {
      signal.throwIfAborted();
      let why = 'this worker attests others';
      // Not even asked for here while it is held here: who waits at the fence asks twenty times a second.
      if (held.size < mostHeld && !held.has(target)) {
        held.add(target);
        try {
          const order = { deployment: 0, step: 0, attempt: 0 };
          return await withFence(fence, { target, ...order, signal }, (lease) =>
            work(AbortSignal.any([signal, lease.signal])),
          );
        } catch (error) {
          // Held by somebody else, or lost on the way: what was done until then is found by whoever does it again.
          if (signal.aborted || !isFence(error)) throw error;
          why = error.message;
        } finally {
          held.delete(target);
        }
      }
      waiting(why);
      await delay(askAgainMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  };
}

/** The fence remembers each target for ever: of images there are 256, and two that have one of these wait for each other. */
function targetOf(digest: string): string {
  return `attestations/${digest.replace(/^sha256:/, '').slice(0, 2)}`;
}

function isFence(error: unknown): error is ProviderError {
  return error instanceof ProviderError && (error.type === 'FenceUnavailable' || error.type === 'FenceRefused');
}
