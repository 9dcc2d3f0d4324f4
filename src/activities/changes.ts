import { Context } from '@temporalio/activity';
import { toFailure } from '../domain/failures.ts';
import { type Fence, withFence } from '../effects/fence.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import type { Change } from './contracts.ts';
import type { Place } from './places.ts';

/** A third of the heartbeat time-out of 3 s, so that an abort arrives within a second. */
const heartbeatMs = 500;

/**
 * Runs one mutating call on a place: alone on its target, and never after something newer began there. What it throws leaves as a
 * typed failure.
 */
export async function changing<T>(
  fence: Fence,
  place: Place,
  change: Change,
  work: (signal: AbortSignal, progress: (detail?: unknown) => void) => Promise<T>,
  stallAfterMs?: number,
): Promise<T> {
  const { attempt } = Context.current().info;
  return await beating(
    (signal, progress) =>
      withFence(
        fence,
        {
          target: place.spec.target.name,
          deployment: change.turn ?? change.number,
          step: change.step,
          attempt,
          onStoreDown: change.back === true ? 'proceed' : 'refuse',
          signal,
        },
        async (lease) => {
          lease.check();
          return await work(AbortSignal.any([signal, lease.signal]), progress);
        },
      ),
    stallAfterMs,
  );
}

/** Runs work that heartbeats and only looks. */
export async function beating<T>(
  work: (signal: AbortSignal, progress: (detail?: unknown) => void) => Promise<T>,
  stallAfterMs?: number,
): Promise<T> {
  try {
    return await withHeartbeat(heartbeatMs, work, undefined, stallAfterMs);
  } catch (error) {
    throw toFailure(error);
  }
}

/** The same without heartbeats, for what takes moments. */
export async function typed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toFailure(error);
  }
}
