import { AsyncLocalStorage } from 'node:async_hooks';
import { uptime } from 'node:os';

/** The right to change one target, for a while. Given by `withFence`; everything that changes the target asks it first. */
export interface Lease {
  readonly target: string;
  /** Names this holding of the fence; processes under it carry it in their environment. */
  readonly token: string;
  /** False while the store cannot be reached and the work goes on without it, as only moves back may. */
  readonly fenced: boolean;
  /** Aborted, with the ProviderError as its reason, as soon as the lease is lost. */
  readonly signal: AbortSignal;
  /**
   * Call it right before every mutating call that is not a process (an HTTP request, a file): a worker that was stopped and goes on
   * finds here that its time is over.
   *
   * @throws `FenceRefused` (not retried): a newer deployment or attempt has the target.
   * @throws `FenceUnavailable` (retried): the lease ran out, or its connection is gone.
   */
  check(): void;
  /** When the lease ends unless it is renewed: milliseconds on the clock of {@link uptimeMs}. */
  expiresAtMs(): number;
  /** Tells of every renewal; returns how to stop being told. */
  onRenewed(listener: () => void): () => void;
}

const leases = new AsyncLocalStorage<Lease>();

/** The lease that the calling code runs under, so that nothing on the way down can forget to hand it on. */
export function currentLease(): Lease | undefined {
  return leases.getStore();
}

/** Runs `work` with `lease` as the one that {@link currentLease} gives. */
export function underLease<T>(lease: Lease, work: () => Promise<T>): Promise<T> {
  return leases.run(lease, work);
}

/**
 * Milliseconds since the machine started; on Linux this is /proc/uptime, which a shell can read too, and which goes on while a
 * process is stopped. Resolution 10 ms.
 */
export function uptimeMs(): number {
  return Math.round(uptime() * 1000);
}
