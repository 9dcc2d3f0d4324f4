import { ProviderError } from '../domain/failures.ts';
import { type Fence, withFence } from './fence.ts';
import { readOrder } from './fence-table.ts';
import type { Lease } from './lease.ts';

/** How a call that belongs to no deployment holds a target. */
export interface BesideRequest {
  /** As in `FenceRequest`. */
  readonly target: string;
  readonly signal?: AbortSignal;
}

/**
 * Holds a target for work that belongs to no deployment and has no place in their order, such as the removal of what is left over.
 *
 * It takes the order as it stands and never raises it: a number of its own would have the deployment that is under way refused. Whatever
 * changes the target next goes before, for it is newer: the lease is lost at once, and what is being done then is the last thing done.
 *
 * @returns what `work` gives; undefined when somebody changes the target, or began to before the work was over.
 * @throws whatever `work` throws, while the lease was held
 */
export async function withFenceBeside<T>(
  fence: Fence,
  request: BesideRequest,
  work: (lease: Lease) => Promise<T>,
): Promise<T | undefined> {
  const order = await readOrder(fence.pool, request.target).catch((error: unknown) => {
    throw new ProviderError('FenceUnavailable', `the store that guards ${request.target} cannot be reached`, {
      cause: error,
    });
  });
  try {
    return await withFence(fence, { ...request, ...(order ?? { deployment: 0, step: 0, attempt: 0 }) }, work);
  } catch (error) {
    if (error instanceof ProviderError && (error.type === 'FenceRefused' || error.type === 'FenceUnavailable')) {
      return undefined;
    }
    throw error;
  }
}

/** Holds several targets, as {@link withFenceBeside} does one; in the order of their names, so that two who want the same never wait in a ring. */
export async function withFencesBeside<T>(
  fence: Fence,
  { targets, signal }: { readonly targets: readonly string[]; readonly signal?: AbortSignal },
  work: (leases: readonly Lease[]) => Promise<T>,
): Promise<T | undefined> {
  const names = [...new Set(targets)].sort();
  const next = async (index: number, leases: readonly Lease[]): Promise<T | undefined> => {
    const target = names[index];
    if (target === undefined) return await work(leases);
    const request = { target, ...(signal === undefined ? {} : { signal }) };
    return await withFenceBeside(fence, request, (lease) => next(index + 1, [...leases, lease]));
  };
  return await next(0, []);
}
