import { sql } from 'kysely';
import { deleteOld } from './retention.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/** A change that somebody may be looking at. */
export interface NewEvent {
  readonly kind: 'run' | 'deployment' | 'environment' | 'incident';
  readonly project: string;
  readonly environment?: string | undefined;
  readonly number?: number | undefined;
  readonly run?: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface StoredEvent extends NewEvent {
  /** Grows with the order in which events became visible, so a reader goes on behind the last one it saw. */
  readonly id: number;
  readonly at: string;
}

/** Channels of NOTIFY. */
export const channels = { events: 'slipway_events', logs: 'slipway_logs' } as const;

const eventsLock = 7_505_901;

/** What transactions that are under way will add. */
const pending = new WeakMap<Db, NewEvent[]>();

/**
 * Adds events, in a transaction as its last act: those who add wait for each other until the commit, and who already holds them up must
 * not wait for anything else.
 */
export async function publish(db: Db, events: readonly NewEvent[]): Promise<void> {
  if (!db.isTransaction) {
    await addEvents(db, events);
    return;
  }
  pending.set(db, [...(pending.get(db) ?? []), ...events]);
}

/** Adds what was published in this transaction; `inTransaction` calls it. */
export async function flushEvents(tx: Db): Promise<void> {
  await addEvents(tx, pending.get(tx) ?? []);
  pending.delete(tx);
}

/** One after the other: else an event with a smaller id could become visible after a greater one was read, and its reader would never see it. */
async function addEvents(db: Db, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const rows = json(
    events.map((event) => ({
      kind: event.kind,
      project: event.project,
      environment: event.environment ?? null,
      number: event.number ?? null,
      run: event.run ?? null,
      data: event.data,
    })),
  );
  await sql`
    with lock as materialized (select pg_advisory_xact_lock(${eventsLock})),
    added as (
      insert into events (kind, project, environment, number, run, data)
      select e.kind, e.project, e.environment, e.number, e.run, e.data
      from lock, jsonb_to_recordset(${rows}::jsonb)
        as e(kind text, project text, environment text, number bigint, run integer, data jsonb)
      returning id
    )
    select pg_notify(${channels.events}, max(id)::text) from added`.execute(db);
}

/** Events behind `after`, oldest first. */
export async function readEvents(
  db: Db,
  after: number,
  filter: { readonly project?: string | undefined; readonly environment?: string | undefined } = {},
  limit = 500,
): Promise<readonly StoredEvent[]> {
  let query = db.selectFrom('events').selectAll().where('id', '>', after);
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  if (filter.environment !== undefined) query = query.where('environment', '=', filter.environment);
  const rows = await query.orderBy('id').limit(limit).execute();
  return rows.map((row) => ({
    id: row.id,
    at: row.at,
    kind: row.kind as NewEvent['kind'],
    project: row.project,
    environment: row.environment ?? undefined,
    number: row.number ?? undefined,
    run: row.run ?? undefined,
    data: row.data,
  }));
}

/** Where a reader begins that wants only what is new. */
export async function lastEventId(db: Db): Promise<number> {
  const row = await db
    .selectFrom('events')
    .select((select) => select.fn.max('id').as('id'))
    .executeTakeFirst();
  return row?.id ?? 0;
}

/** Events are for the looking-on of now; what they tell of is in the tables. @returns how many were removed. */
export async function forgetOldEvents(db: Db, keptDays = 7): Promise<number> {
  return await deleteOld(db, 'events', 'at', keptDays);
}
