import type { ClientBase, Pool } from 'pg';
import type { ProcessIdentity } from './liveness.ts';

/**
 * The table that remembers, for every target, the newest deployment and attempt that was ever seen, and who changes it now. The
 * numbers stay when nobody holds it: they are what an older attempt is refused by.
 */
export const fenceMigrationSql = `
CREATE TABLE IF NOT EXISTS fence (
  target         text PRIMARY KEY,
  deployment     bigint NOT NULL,
  step           bigint NOT NULL,
  attempt        bigint NOT NULL,
  holder         text,
  holder_host    text,
  holder_pid     integer,
  holder_started text,
  backend_pid    integer,
  acquired_at    timestamptz,
  renewed_at     timestamptz
)`;

/** For tests, and for stores that are not migrated otherwise. */
export async function ensureFenceSchema(pool: Pool | ClientBase): Promise<void> {
  await pool.query(fenceMigrationSql);
}

/** Where in the order of all changes to a target a call belongs; compared from left to right. */
export interface FenceOrder {
  readonly deployment: number;
  readonly step: number;
  readonly attempt: number;
}

/** One wish to hold one target. */
export interface FenceClaim extends FenceOrder {
  readonly target: string;
  readonly token: string;
  readonly identity: ProcessIdentity;
}

/** Who holds a target, as seen by somebody who may not have it yet. */
export interface FenceHolder {
  readonly token: string;
  readonly identity: ProcessIdentity;
  /** Until its lease is certainly over, ms. */
  readonly leftMs: number;
}

export type ClaimAnswer =
  | { readonly kind: 'claimed'; readonly previous: FenceHolder | undefined }
  | { readonly kind: 'refused'; readonly newest: FenceOrder }
  | { readonly kind: 'held'; readonly holder: FenceHolder | undefined };

interface Row {
  readonly deployment: string;
  readonly step: string;
  readonly attempt: string;
  readonly newer: boolean;
  readonly holder: string | null;
  readonly holder_host: string | null;
  readonly holder_pid: number | null;
  readonly holder_started: string | null;
  readonly left_ms: number | null;
}

/**
 * Writes the claim down if the target is free: nobody holds it, the holder's lease ended `graceMs` ago, or the holder is one that
 * the caller knows to be dead. If not, the order is written down all the same when it is newer, so that the holder is refused from
 * then on, and it is told.
 *
 * @param leaseMs - how long a holder may go on after a renewal.
 * @param dead - the token of a holder that certainly changes nothing any more.
 */
export async function claim(
  client: ClientBase,
  wish: FenceClaim,
  leaseMs: number,
  dead: string | undefined,
): Promise<ClaimAnswer> {
  const order = [wish.target, wish.deployment, wish.step, wish.attempt];
  await client.query('BEGIN');
  try {
    await client.query(
      `INSERT INTO fence (target, deployment, step, attempt) VALUES ($1, $2, $3, $4) ON CONFLICT (target) DO NOTHING`,
      order,
    );
    const { rows } = await client.query<Row>(
      `SELECT *, (deployment, step, attempt) > ($2::bigint, $3::bigint, $4::bigint) AS newer,
              (extract(epoch FROM renewed_at - clock_timestamp()) * 1000 + $5)::float8 AS left_ms
         FROM fence WHERE target = $1 FOR UPDATE`,
      [...order, leaseMs],
    );
    const [row] = rows;
    if (row === undefined) throw new Error(`the row of ${wish.target} went away while it was locked`);
    const answer = judge(row, wish, dead);
    if (answer.kind === 'claimed') {
      await client.query(
        `UPDATE fence SET deployment = $2, step = $3, attempt = $4, holder = $5, holder_host = $6, holder_pid = $7,
                holder_started = $8, backend_pid = pg_backend_pid(), acquired_at = clock_timestamp(), renewed_at = clock_timestamp()
          WHERE target = $1`,
        [...order, wish.token, wish.identity.host, wish.identity.pid, wish.identity.startedAt],
      );
    } else if (answer.kind === 'held') {
      await client.query(`UPDATE fence SET deployment = $2, step = $3, attempt = $4 WHERE target = $1`, order);
      await client.query(`SELECT pg_notify('${fenceChannel}', $1)`, [wish.target]);
    }
    await client.query('COMMIT');
    return answer;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** The newest order that was ever seen of a target; undefined when nothing ever changed it. */
export async function readOrder(client: Pool | ClientBase, target: string): Promise<FenceOrder | undefined> {
  const { rows } = await client.query<Pick<Row, 'deployment' | 'step' | 'attempt'>>(
    'SELECT deployment, step, attempt FROM fence WHERE target = $1',
    [target],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  return { deployment: Number(row.deployment), step: Number(row.step), attempt: Number(row.attempt) };
}

/** Where holders hear that somebody newer wants their target. */
export const fenceChannel = 'slipway_fence';

function judge(row: Row, wish: FenceClaim, dead: string | undefined): ClaimAnswer {
  if (row.newer) {
    const newest = { deployment: Number(row.deployment), step: Number(row.step), attempt: Number(row.attempt) };
    return { kind: 'refused', newest };
  }
  if (row.holder === null || row.holder === wish.token) return { kind: 'claimed', previous: undefined };
  const identity = { host: row.holder_host ?? '', pid: row.holder_pid ?? 0, startedAt: row.holder_started ?? '0' };
  const holder = { token: row.holder, identity, leftMs: row.left_ms ?? 0 };
  return holder.leftMs <= 0 || row.holder === dead ? { kind: 'claimed', previous: holder } : { kind: 'held', holder };
}

/** Puts the end of the lease off; false when the target is somebody else's, or somebody newer wants it. */
export async function renew(client: ClientBase, wish: FenceClaim): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE fence SET renewed_at = clock_timestamp()
      WHERE target = $1 AND deployment = $2 AND step = $3 AND attempt = $4 AND holder = $5`,
    [wish.target, wish.deployment, wish.step, wish.attempt, wish.token],
  );
  return rowCount === 1;
}

/** Says that nobody holds the target, once nothing under this token changes anything any more. */
export async function release(client: ClientBase, wish: FenceClaim): Promise<void> {
  // In this order: who finds the row free may expect the lock to be free, and ends the session that has it if not.
  await client.query('SELECT pg_advisory_unlock_all()');
  await client.query('UPDATE fence SET holder = NULL WHERE target = $1 AND holder = $2', [wish.target, wish.token]);
}

/**
 * Takes the target's advisory lock for this session. Call it only after {@link claim} gave the row: then whoever still has the lock
 * has lost the lease, and its session is ended (a stopped process keeps its connection open and would keep the lock for ever).
 */
export async function takeLock(client: ClientBase, target: string): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean }>(`SELECT pg_try_advisory_lock(${lockKey}) AS taken`, [target]);
  if (rows[0]?.taken === true) return true;
  await client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = ${lockKey}`,
    [target],
  );
  return false;
}

const lockKey = `hashtextextended('slipway/fence/' || $1::text, 0)`;
