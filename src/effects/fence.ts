import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool, type PoolClient } from 'pg';
import { ProviderError } from '../domain/failures.ts';
import { claim, fenceChannel, release, renew, takeLock, type FenceClaim, type FenceHolder } from './fence-table.ts';
import { currentLease, underLease, uptimeMs, type Lease } from './lease.ts';
import { isAlive, ownIdentity } from './liveness.ts';
import { endProcessesUnder } from './process.ts';

export interface FenceOptions {
  /** PostgreSQL 14 or later, reached directly: a pooler that hands out sessions by transaction cannot hold a lock. */
  readonly connectionString: string;
  /**
   * How long a holder may go on after its last renewal, ms. Default 4_000: above the 3 s after which Temporal starts the next attempt
   * of a worker that stopped beating, so that little is waited for twice, and within the 8 s in which that attempt must have begun.
   */
  readonly leaseMs?: number;
  /** Between two renewals, ms. Default 1_000. */
  readonly renewEveryMs?: number;
  /** How long a newer attempt waits for an older holder's lease to end, ms. Default 6_500. */
  readonly waitMs?: number;
}

/** Guards targets with PostgreSQL; one a worker. */
export interface Fence {
  readonly leaseMs: number;
  readonly renewEveryMs: number;
  readonly waitMs: number;
  readonly pool: Pool;
  close(): Promise<void>;
}

export interface FenceRequest {
  /** What is changed: an environment's place on its target, the same text wherever it is changed from. */
  readonly target: string;
  /** The deployment's number in its environment; a rollback by hand takes a number of its own. */
  readonly deployment: number;
  /**
   * Where in the deployment: grows from one activity to the next (Temporal numbers them), so that a late attempt of an earlier
   * activity is refused too. Default 0.
   */
  readonly step?: number;
  /** Temporal's attempt of the activity, from 1. */
  readonly attempt: number;
  /**
   * What to do when the store cannot be reached. `refuse` for whatever moves on; `proceed` only for moves back to the previous
   * release, which must not wait for the store. Default `refuse`.
   */
  readonly onStoreDown?: 'refuse' | 'proceed';
  /** Ends the waiting. The work has to listen to it itself. */
  readonly signal?: AbortSignal;
}

/** Added to a lease by whoever waits for its end: for the kill to happen, and for clocks that run unequally. Judgement. */
const marginMs = 500;
const pollMs = 50;
/** A busy machine takes its time to make a session; a move back does not wait for it. */
const longestConnectMs = 3_000;
const longestConnectBackMs = 1_000;
/** How often the end of a lease is looked at; the watch of a process looks for itself. */
const tickMs = 250;

// The server notices within seconds that a holder's machine is gone, and no statement of ours waits longer than the lease could.
const sessionSettings = [
  'client_connection_check_interval=1000',
  'tcp_keepalives_idle=2',
  'tcp_keepalives_interval=1',
  'tcp_keepalives_count=3',
  'statement_timeout=2000',
  // A worker that is stopped in the middle of its claim holds the row that others ask for; less than a statement of theirs may wait.
  'idle_in_transaction_session_timeout=1000',
  'idle_session_timeout=0',
];

/** Connects only when a target is held for the first time. Its table is made by {@link fenceMigrationSql}. */
export function createFence(options: FenceOptions): Fence {
  const pool = new Pool({
    connectionString: options.connectionString,
    application_name: 'slipway fence',
    options: sessionSettings.map((setting) => `-c ${setting}`).join(' '),
    keepAlive: true,
    keepAliveInitialDelayMillis: 2_000,
    connectionTimeoutMillis: longestConnectMs,
    // Beyond the server's own limit: for an answer that is lost on the way.
    query_timeout: 2_500,
    // A worker changes few targets at once, and the store of one machine takes 60 connections in all.
    max: 16,
  });
  // A broken idle session is replaced at its next use.
  pool.on('error', () => undefined);
  // One that breaks while it is in use says so at its next question; unheard before that, its error would end the process.
  pool.on('connect', (client) => void client.on('error', () => undefined));
  return {
    leaseMs: options.leaseMs ?? 4_000,
    renewEveryMs: options.renewEveryMs ?? 1_000,
    waitMs: options.waitMs ?? 6_500,
    pool,
    close: () => pool.end(),
  };
}

/**
 * Runs `work` as the only one that changes `target`, never beside and never after a newer deployment or attempt.
 *
 * What is promised: processes started under the lease are dead before anybody newer begins, also when this worker is killed or
 * stopped, and on another machine. A call to another program's API that was already sent when the worker stopped is that program's
 * to finish; every later one is held back by `lease.check()`, which the caller makes right before each. Under a lease for the same
 * target the work joins it.
 *
 * @throws `FenceRefused` (not retried) - something newer has begun on the target, before or while this ran.
 * @throws `FenceUnavailable` (retried) - the holder did not let go in time, or the store could not be reached.
 * @throws whatever `work` throws, while the lease was held.
 */
export async function withFence<T>(
  fence: Fence,
  request: FenceRequest,
  work: (lease: Lease) => Promise<T>,
): Promise<T> {
  const outer = currentLease();
  if (outer?.target === request.target) {
    outer.check();
    return work(outer);
  }
  const holding = await hold(fence, request);
  try {
    const result = await underLease(holding.lease, () => work(holding.lease));
    holding.lease.check();
    return result;
  } catch (error) {
    // What the work makes of losing its lease says less than the loss.
    if (holding.lease.signal.aborted) throw holding.lease.signal.reason;
    throw error;
  } finally {
    await holding.release();
  }
}

interface Holding {
  readonly lease: Lease;
  release(): Promise<void>;
}

async function hold(fence: Fence, request: FenceRequest): Promise<Holding> {
  const wish: FenceClaim = {
    target: request.target,
    deployment: request.deployment,
    step: request.step ?? 0,
    attempt: request.attempt,
    token: randomUUID(),
    identity: ownIdentity(),
  };
  try {
    const connectMs = request.onStoreDown === 'proceed' ? longestConnectBackMs : longestConnectMs;
    const connected = await connectWithin(fence, connectMs);
    const { client, renewedAtMs } = await acquire(fence, connected, wish, uptimeMs() + fence.waitMs, request.signal);
    return keep(fence, wish, request, client, renewedAtMs);
  } catch (error) {
    if (request.signal?.aborted === true) throw request.signal.reason;
    if (error instanceof ProviderError) throw error;
    if (request.onStoreDown === 'proceed') return keep(fence, wish, request, undefined, uptimeMs());
    throw new ProviderError(
      'FenceUnavailable',
      `the store that guards ${wish.target} cannot be reached: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

interface Acquired {
  readonly client: PoolClient;
  /** On this machine's clock, no later than on the store's. */
  readonly renewedAtMs: number;
}

async function connectWithin(fence: Fence, ms: number): Promise<PoolClient> {
  const connecting = fence.pool.connect();
  const givenUp = new AbortController();
  try {
    return await Promise.race([
      connecting,
      delay(ms, undefined, { signal: givenUp.signal }).then(() => {
        throw new Error(`no answer within ${ms} ms`);
      }),
    ]);
  } catch (error) {
    // What comes after all is given back to whoever comes next.
    connecting.then(
      (late) => late.release(),
      () => undefined,
    );
    throw error;
  } finally {
    givenUp.abort();
  }
}

async function acquire(
  fence: Fence,
  client: PoolClient,
  wish: FenceClaim,
  untilMs: number,
  signal?: AbortSignal,
): Promise<Acquired> {
  try {
    const renewedAtMs = await claimRow(fence, client, wish, untilMs, signal);
    while (!(await takeLock(client, wish.target))) {
      if (uptimeMs() > untilMs) throw heldTooLong(wish);
      await delay(pollMs, undefined, signal === undefined ? {} : { signal });
    }
    await client.query(`LISTEN ${fenceChannel}`);
    return { client, renewedAtMs };
  } catch (error) {
    // Closed rather than given back: it may hold half of what it was to hold.
    client.release(true);
    throw error;
  }
}

async function claimRow(
  fence: Fence,
  client: PoolClient,
  wish: FenceClaim,
  untilMs: number,
  signal?: AbortSignal,
): Promise<number> {
  let dead: string | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const sentAtMs = uptimeMs();
    const answer = await claim(client, wish, fence.leaseMs + marginMs, dead);
    if (answer.kind === 'refused') throw refused(wish);
    if (answer.kind === 'claimed') {
      if (answer.previous === undefined) return sentAtMs;
      await clearAway(answer.previous);
      // That took a moment, in which somebody newer may have come, and which the lease should not pay for.
      const clearedAtMs = uptimeMs();
      if (!(await renew(client, wish))) throw refused(wish);
      return clearedAtMs;
    }
    if (answer.holder !== undefined && isAlive(answer.holder.identity) === false) {
      await clearAway(answer.holder);
      dead = answer.holder.token;
      continue;
    }
    if (uptimeMs() > untilMs) throw heldTooLong(wish);
    await delay(pollMs, undefined, signal === undefined ? {} : { signal });
  }
}

/** Makes sure that nothing of a holder goes on here; on another machine its own watch has seen to it before its lease was over. */
async function clearAway(holder: FenceHolder): Promise<void> {
  if (holder.identity.host === ownIdentity().host) await endProcessesUnder(holder.token);
}

function keep(
  fence: Fence,
  wish: FenceClaim,
  request: FenceRequest,
  acquired: PoolClient | undefined,
  acquiredAtMs: number,
): Holding {
  const lost = new AbortController();
  const over = new AbortController();
  const listeners = new Set<() => void>();
  let client: PoolClient | undefined;
  let fenced = acquired !== undefined;
  let everFenced = fenced;
  let renewedAtMs = acquiredAtMs;
  let expiresAtMs = acquiredAtMs + fence.leaseMs;
  let wake: (() => void) | undefined;

  function lose(error: ProviderError): void {
    if (isOver()) return;
    lost.abort(error);
    // A lease that ran out has nothing left to give back, and what is still asked over a dead line is not waited for.
    if (error.type === 'FenceUnavailable') onGone();
  }
  function extendTo(ms: number): void {
    expiresAtMs = ms;
    for (const listener of listeners) listener();
  }
  function lapsed(): ProviderError {
    return new ProviderError(
      'FenceUnavailable',
      `the lease of ${wish.target} ran out: the worker was stopped, or the store is away`,
    );
  }
  function onGone(): void {
    const gone = client;
    client = undefined;
    gone?.release(true);
    wake?.();
  }
  function onNotification({ payload }: { payload?: string | undefined }): void {
    if (payload === wish.target) wake?.();
  }
  function attach(next: PoolClient): void {
    client = next;
    next.once('error', onGone);
    next.once('end', onGone);
    next.on('notification', onNotification);
  }

  async function renewOnce(): Promise<void> {
    const sentAtMs = uptimeMs();
    try {
      if (client === undefined) {
        const again = await acquire(fence, await fence.pool.connect(), wish, sentAtMs, over.signal);
        attach(again.client);
      } else if (!(await renew(client, wish))) {
        throw refused(wish);
      }
    } catch (error) {
      if (error instanceof ProviderError && error.type === 'FenceRefused') lose(error);
      else onGone();
      return;
    }
    // After a stop the lease may have ended while the answer was on its way; what ended does not begin again.
    if (uptimeMs() >= expiresAtMs) return;
    fenced = true;
    everFenced = true;
    renewedAtMs = sentAtMs;
    extendTo(sentAtMs + fence.leaseMs);
  }

  const isOver = (): boolean => over.signal.aborted || lost.signal.aborted;
  const isLapsed = (): boolean =>
    lost.signal.reason instanceof ProviderError && lost.signal.reason.type === 'FenceUnavailable';

  async function renewing(): Promise<void> {
    while (!isOver()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, fence.renewEveryMs).unref();
      });
      if (!isOver()) await renewOnce();
    }
  }

  const ticking = setInterval(() => {
    const now = uptimeMs();
    if (now >= expiresAtMs) {
      lose(lapsed());
    } else if (request.onStoreDown === 'proceed' && now - renewedAtMs > 2 * fence.renewEveryMs) {
      // The store is away, so nobody else can take the target either; from here on only this clock says that the worker lives.
      fenced = false;
      extendTo(now + fence.leaseMs);
    }
  }, tickMs);
  if (acquired !== undefined) attach(acquired);
  const renewals = renewing();

  const lease: Lease = {
    target: wish.target,
    token: wish.token,
    get fenced() {
      return fenced;
    },
    signal: lost.signal,
    check() {
      if (uptimeMs() >= expiresAtMs) lose(lapsed());
      if (lost.signal.aborted) throw lost.signal.reason;
    },
    expiresAtMs: () => expiresAtMs,
    onRenewed(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return {
    lease,
    async release() {
      over.abort();
      clearInterval(ticking);
      wake?.();
      await renewals;
      if (!everFenced || isLapsed()) {
        // A reconnection may have come through after the lease was over.
        onGone();
        return;
      }
      await letGo(fence, wish, client, () => {
        client?.removeListener('error', onGone);
        client?.removeListener('end', onGone);
        client?.removeListener('notification', onNotification);
      });
    },
  };
}

/** Frees the target. A failure here costs the next one the rest of the lease and nothing else, so it is nobody's failure. */
async function letGo(fence: Fence, wish: FenceClaim, held: PoolClient | undefined, detach: () => void): Promise<void> {
  try {
    const client = held ?? (await fence.pool.connect());
    try {
      await release(client, wish);
      await client.query('UNLISTEN *');
      detach();
      client.release();
    } catch {
      detach();
      client.release(true);
    }
  } catch {
    // The store is away; the lease ends by itself.
  }
}

function refused(wish: FenceClaim): ProviderError {
  const { deployment, step, attempt } = wish;
  return new ProviderError(
    'FenceRefused',
    `deployment ${deployment} (step ${step}, attempt ${attempt}) may not change ${wish.target} any more: something newer has begun there`,
    { details: { target: wish.target, deployment, step, attempt } },
  );
}

function heldTooLong(wish: FenceClaim): ProviderError {
  return new ProviderError('FenceUnavailable', `${wish.target} is still being changed by an earlier attempt`, {
    details: { target: wish.target },
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
