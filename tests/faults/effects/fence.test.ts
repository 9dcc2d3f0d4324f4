import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createFence, withFence, type Fence, type FenceRequest } from '../../../src/effects/fence.ts';
import { ensureFenceSchema } from '../../../src/effects/fence-table.ts';
import { currentLease, type Lease } from '../../../src/effects/lease.ts';
import { runProcess } from '../../../src/effects/process.ts';
import { components } from '../../support/components.ts';
import { until } from '../../support/until.ts';

let client: Client;
let storeUrl: string;
let line: Line;
let fence: Fence;
let target: string;
let made = 0;

beforeAll(async () => {
  const { store } = await components('store');
  storeUrl = store.url;
  client = new Client({ connectionString: storeUrl });
  await client.connect();
  await ensureFenceSchema(client);
}, 180_000);

beforeEach(async () => {
  line = await openLine(new URL(storeUrl));
  fence = createFence({ connectionString: line.url, leaseMs: 1_000, renewEveryMs: 200, waitMs: 4_000 });
  made += 1;
  target = `fence-test/${process.pid}/${made}`;
});

afterEach(async () => {
  await fence.close();
  line.close();
});

afterAll(async () => {
  await client.query(`DELETE FROM fence WHERE target LIKE 'fence-test/%'`);
  await client.end();
});

/** A wire to the store that can be cut, or go dead without anybody being told. */
interface Line {
  readonly url: string;
  mode: 'up' | 'cut' | 'dead';
  close(): void;
}

async function openLine(url: URL): Promise<Line> {
  const sockets = new Set<Socket>();
  let mode: Line['mode'] = 'up';
  const server: Server = createServer((near) => {
    if (mode === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(Number(url.port), url.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('data', (bytes: Buffer) => {
        if (mode === 'up') to.write(bytes);
      });
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const through = new URL(url);
  through.hostname = '127.0.0.1';
  through.port = String((server.address() as AddressInfo).port);
  return {
    url: through.href,
    get mode() {
      return mode;
    },
    set mode(next) {
      mode = next;
      if (next === 'cut') for (const socket of sockets) socket.destroy();
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const request = (deployment: number, attempt: number, more: Partial<FenceRequest> = {}): FenceRequest => ({
  target,
  deployment,
  attempt,
  ...more,
});

/** Holds the fence until it is told to let go or loses it. */
function holdOpen(
  order: FenceRequest,
  by: Fence = fence,
): { lease: Promise<Lease>; letGo: () => void; done: Promise<string> } {
  let letGo = (): void => undefined;
  let tell: (lease: Lease) => void = () => undefined;
  const lease = new Promise<Lease>((resolve) => (tell = resolve));
  const done = withFence(by, order, async (held) => {
    tell(held);
    await new Promise<void>((resolve) => {
      letGo = resolve;
      held.signal.addEventListener('abort', () => resolve());
    });
    return 'done';
  }).catch((error: unknown) => (error as { type: string }).type);
  return { lease, letGo: () => letGo(), done };
}

const run = (order: FenceRequest, by: Fence = fence): Promise<string> =>
  withFence(by, order, () => Promise.resolve('done')).catch((error: unknown) => (error as { type: string }).type);

describe('order', () => {
  test('whoever is older than what was seen is refused, also when nobody holds the target', async () => {
    expect(await run(request(2, 3))).toBe('done');
    expect(await run(request(2, 2))).toBe('FenceRefused');
    expect(await run(request(1, 9))).toBe('FenceRefused');
    expect(await run(request(2, 3))).toBe('done');
    expect(await run(request(2, 1, { step: 1 }))).toBe('done');
    expect(await run(request(2, 9, { step: 0 }))).toBe('FenceRefused');
    expect(await run(request(3, 1))).toBe('done');
  });

  test('a newer one interrupts an older that is alive, and begins when that has ended', async () => {
    const events: string[] = [];
    const older = withFence(fence, request(1, 1), async () => {
      try {
        await runProcess({ command: ['sleep', '30'], timeoutMs: 60_000 });
      } finally {
        events.push('older ended');
      }
    });
    older.catch(() => undefined);
    await until(
      async () =>
        (await client.query('SELECT 1 FROM fence WHERE target = $1 AND holder IS NOT NULL', [target])).rowCount,
    );
    const startedAt = performance.now();
    await withFence(fence, request(1, 2), () => Promise.resolve(events.push('newer began')));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(events).toEqual(['older ended', 'newer began']);
    await expect(older).rejects.toMatchObject({ type: 'FenceRefused' });
  });

  test('equals wait for each other', async () => {
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await delay(20);
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 5 }, () => withFence(fence, request(1, 1), work)));
    expect(most).toBe(1);
  });

  test('one that stands still in the middle of asking keeps nobody out', async () => {
    expect(await run(request(1, 1))).toBe('done');
    // As a worker that is stopped between two statements of its claim.
    const still = await fence.pool.connect();
    still.on('error', () => undefined);
    await still.query('BEGIN');
    await still.query('SELECT 1 FROM fence WHERE target = $1 FOR UPDATE', [target]);
    const other = createFence({ connectionString: storeUrl });
    try {
      expect(await run(request(1, 2), other)).toBe('done');
    } finally {
      still.release(true);
      await other.close();
    }
  });

  test('targets do not wait for each other', async () => {
    const first = holdOpen(request(1, 1));
    await first.lease;
    expect(
      await withFence(fence, { target: `${target}-other`, deployment: 1, attempt: 1 }, () => Promise.resolve(1)),
    ).toBe(1);
    first.letGo();
    expect(await first.done).toBe('done');
  });

  test('inside its own fence the work joins the lease', async () => {
    await withFence(fence, request(1, 1), async (lease) => {
      expect(currentLease()).toBe(lease);
      expect(await withFence(fence, request(1, 1), (inner) => Promise.resolve(inner))).toBe(lease);
    });
    expect(currentLease()).toBeUndefined();
  });

  test('what the work throws comes through, and the target is free again', async () => {
    await expect(withFence(fence, request(1, 1), () => Promise.reject(new Error('no such image')))).rejects.toThrow(
      'no such image',
    );
    const startedAt = performance.now();
    expect(await run(request(1, 1))).toBe('done');
    expect(performance.now() - startedAt).toBeLessThan(500);
  });
});

describe('lease', () => {
  test('is renewed for as long as the work goes on', async () => {
    const held = holdOpen(request(1, 1));
    const lease = await held.lease;
    const first = lease.expiresAtMs();
    await until(() => lease.expiresAtMs() > first + fence.leaseMs);
    expect(() => lease.check()).not.toThrow();
    held.letGo();
    expect(await held.done).toBe('done');
  });

  test('survives a store that was away for a moment', async () => {
    const held = holdOpen(request(1, 1));
    const lease = await held.lease;
    line.mode = 'cut';
    await delay(400);
    line.mode = 'up';
    const whenBack = lease.expiresAtMs();
    await until(() => lease.expiresAtMs() > whenBack + fence.leaseMs);
    expect(() => lease.check()).not.toThrow();
    held.letGo();
    expect(await held.done).toBe('done');
    expect(await run(request(1, 1))).toBe('done');
  });

  test('ends when the store stays away, and a process under it with it', async () => {
    const working = withFence(fence, request(1, 1), () => runProcess({ command: ['sleep', '30'], timeoutMs: 60_000 }));
    working.catch(() => undefined);
    await until(
      async () =>
        (await client.query('SELECT 1 FROM fence WHERE target = $1 AND holder IS NOT NULL', [target])).rowCount,
    );
    line.mode = 'dead';
    const startedAt = performance.now();
    await expect(working).rejects.toMatchObject({ type: 'FenceUnavailable', retryable: true });
    expect(performance.now() - startedAt).toBeGreaterThan(500);
  });

  test('of a holder that nobody hears of ends before somebody newer begins', async () => {
    const other = createFence({ connectionString: storeUrl, leaseMs: 1_000, renewEveryMs: 200 });
    try {
      const held = holdOpen(request(1, 1));
      const lease = await held.lease;
      let lostAt = 0;
      lease.signal.addEventListener('abort', () => (lostAt = performance.now()));
      // Its session stays open at the server and has the lock.
      line.mode = 'dead';
      const beganAt = await withFence(other, request(1, 2), () => Promise.resolve(performance.now()));
      expect(lostAt).toBeGreaterThan(0);
      expect(beganAt).toBeGreaterThan(lostAt);
      expect(await held.done).toBe('FenceUnavailable');
    } finally {
      await other.close();
    }
  });

  test('a session ended at the server is noticed and taken up again', async () => {
    const held = holdOpen(request(1, 1));
    const lease = await held.lease;
    await client.query('SELECT pg_terminate_backend(backend_pid) FROM fence WHERE target = $1', [target]);
    await until(async () => {
      const { rows } = await client.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity JOIN fence ON pid = backend_pid WHERE target = $1`,
        [target],
      );
      return rows[0]?.n === 1;
    });
    expect(() => lease.check()).not.toThrow();
    held.letGo();
    expect(await held.done).toBe('done');
  });
});

test('a session that is ended at the server while it waits for its turn ends no more than the wait', async () => {
  const held = holdOpen(request(1, 1));
  await held.lease;
  const other = createFence({ connectionString: storeUrl });
  const sessions: number[] = [];
  other.pool.on('connect', (session) =>
    sessions.push((session as unknown as { readonly processID: number }).processID),
  );
  try {
    const waiting = run(request(1, 1), other);
    await until(() => sessions.length === 1);
    await client.query('SELECT pg_terminate_backend($1)', [sessions[0]]);
    expect(await waiting).toBe('FenceUnavailable');
    held.letGo();
    expect(await held.done).toBe('done');
    expect(await run(request(1, 1), other)).toBe('done');
  } finally {
    await other.close();
  }
});

describe('with the store down', () => {
  test('what moves on is refused, and may be tried again', async () => {
    line.mode = 'cut';
    await expect(withFence(fence, request(1, 1), () => Promise.resolve(1))).rejects.toMatchObject({
      type: 'FenceUnavailable',
      retryable: true,
    });
  });

  test.each(['cut', 'dead'] as const)('what moves back goes on at once (%s)', async (mode) => {
    line.mode = mode;
    const startedAt = performance.now();
    const fenced = await withFence(fence, request(1, 1, { onStoreDown: 'proceed' }), (lease) =>
      Promise.resolve(lease.fenced),
    );
    expect(fenced).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });

  test('what moves back also goes on when the store goes away meanwhile, and is fenced again when it is back', async () => {
    const held = holdOpen(request(1, 1, { onStoreDown: 'proceed' }));
    const lease = await held.lease;
    expect(lease.fenced).toBe(true);
    line.mode = 'cut';
    const whenGone = lease.expiresAtMs();
    await until(() => lease.expiresAtMs() > whenGone + fence.leaseMs);
    expect(() => lease.check()).not.toThrow();
    expect(lease.fenced).toBe(false);
    line.mode = 'up';
    await until(() => lease.fenced);
    held.letGo();
    expect(await held.done).toBe('done');
  });

  test('what moves back is refused too when something newer is known to have begun', async () => {
    expect(await run(request(2, 1))).toBe('done');
    expect(await run(request(1, 1, { onStoreDown: 'proceed' }))).toBe('FenceRefused');
  });

  test('and is stopped when the store comes back and knows of something newer', async () => {
    line.mode = 'cut';
    const held = holdOpen(request(1, 1, { onStoreDown: 'proceed' }));
    await held.lease;
    await client.query(`INSERT INTO fence (target, deployment, step, attempt) VALUES ($1, 2, 0, 1)`, [target]);
    line.mode = 'up';
    expect(await held.done).toBe('FenceRefused');
  });
});

test('waiting ends with the signal, whose reason is thrown', async () => {
  const held = holdOpen(request(1, 1));
  await held.lease;
  const abort = new AbortController();
  const reason = new Error('cancelled');
  const waiting = withFence(fence, request(1, 1, { signal: abort.signal }), () => Promise.resolve(1));
  setTimeout(() => abort.abort(reason), 100);
  await expect(waiting).rejects.toBe(reason);
  held.letGo();
  await held.done;
});
