import { sql } from 'kysely';
import { ProviderError } from '../domain/failures.ts';
import type { RunPhase, RunRef } from '../domain/run.ts';
import type { QueuePlace, RunTurn } from '../domain/run-turn.ts';
import { publish } from './events.ts';
import type { Db } from './schema.ts';
import { inTransaction } from './transaction.ts';

/** A run's question whether its turn has come. */
export interface TurnRequest extends Pick<RunTurn, 'mode'> {
  readonly run: RunRef;
  /** Since when it waits and until when it will, ISO 8601. */
  readonly since: string;
  readonly until: string;
  /** Whether its checkout is there: it goes on with its checks, or has to be prepared anew. */
  readonly prepared: boolean;
}

/** A run that stands before another one. */
export interface Ahead {
  readonly key: string;
  readonly number: number;
  readonly phase: RunPhase;
  /** Whether Temporal is known to have had its workflow. */
  readonly started: boolean;
}

export type TakenTurn =
  | { readonly kind: 'granted' }
  | { readonly kind: 'superseded'; readonly by: number }
  | ({ readonly kind: 'waits'; readonly first: Ahead } & QueuePlace);

/** Since when a run waits for its turn, until when, and for whom; nobody stands before one whose turn has come this moment. */
export interface QueueView {
  readonly since: string;
  readonly until: string;
  readonly position: number;
  readonly waitsFor: number | null;
}

/**
 * Who stands before a run `me`: whoever has the turn, and whoever was accepted before and comes to a turn of its own, or may yet, for what is not
 * prepared has not said so. A pull request of a fork that waits for a word holds nobody up, and a run that is only to check has no route.
 */
const standsBefore = sql`other.project = me.project and other.ref = me.ref and other.outcome is null
  and other.number <> me.number and (
    other.turn_at is not null
    or other.number < me.number and (
      other.turn_mode in ('supersede', 'queue')
      or other.turn_mode is null and other.phase in ('accepted', 'preparing')
        and other.input ->> 'checksOnly' is distinct from 'true'))`;

/**
 * Gives a run its turn, or its place behind those of its ref that come first: one of a ref has the turn at a time, in the order of their numbers,
 * which is that of their acceptance. Nothing is held but what stands in the rows of the runs, so a place is free as soon as its run has an
 * outcome, whoever wrote it. Idempotent: who has the turn has it until then.
 *
 * @throws ProviderError `NotFound`: there is no such run; `Conflict`: it has an outcome.
 */
export async function takeTurn(db: Db, { run, mode, since, until, prepared }: TurnRequest): Promise<TakenTurn> {
  const { project, number } = run;
  return await inTransaction(db, async (tx) => {
    const row = await tx
      .selectFrom('runs')
      .select(['ref', 'outcome', 'turnAt', 'phase'])
      .where('project', '=', project)
      .where('number', '=', number)
      .executeTakeFirst();
    if (row === undefined) throw new ProviderError('NotFound', `There is no run ${number} of ${project}.`);
    if (row.outcome !== null) {
      throw new ProviderError('Conflict', `Run ${number} of ${project} has ended ${row.outcome} already.`);
    }
    if (row.turnAt !== null) return { kind: 'granted' };
    // Two that ask at once would not see each other.
    await sql`select pg_advisory_xact_lock(hashtextextended(${`run-turn/${project}/${row.ref}`}, 0))`.execute(tx);
    const newer = await tx
      .selectFrom('runs')
      .select('number')
      .where('project', '=', project)
      .where('ref', '=', row.ref)
      .where('number', '>', number)
      .where('turnMode', '=', 'supersede')
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (mode === 'supersede' && newer !== undefined) return { kind: 'superseded', by: newer.number };
    const before = await sql<Ahead & { readonly position: number }>`
      select other.key, other.number, other.phase, other.started_at is not null as started, count(*) over ()::integer as position
      from runs me join runs other on ${standsBefore}
      where me.project = ${project} and me.number = ${number}
      order by other.turn_at is null, other.number limit 1`.execute(tx);
    const [ahead] = before.rows;
    const phase: RunPhase = ahead !== undefined ? 'queued' : prepared ? 'checking' : 'preparing';
    const moves = phase !== row.phase && (ahead !== undefined || row.phase === 'queued');
    await tx
      .updateTable('runs')
      .set({
        turnMode: mode,
        ...(moves ? { phase } : {}),
        ...(ahead === undefined ? { turnAt: sql<string>`now()` } : { queuedAt: since, turnUntil: until }),
      })
      .where('project', '=', project)
      .where('number', '=', number)
      .where('outcome', 'is', null)
      .execute();
    if (moves) await publish(tx, [{ kind: 'run', project, run: number, data: { phase } }]);
    if (ahead === undefined) return { kind: 'granted' };
    const { position, ...first } = ahead;
    return { kind: 'waits', first, waitsFor: first.number, position };
  });
}

/** Runs of the ref before this one whose place a newer one may take, oldest first. */
export async function runsToSupersede(db: Db, { project, number }: RunRef): Promise<readonly string[]> {
  const { rows } = await sql<{ readonly key: string }>`
    select other.key from runs me join runs other
      on other.project = me.project and other.ref = me.ref and other.number < me.number
    where me.project = ${project} and me.number = ${number} and other.outcome is null and other.turn_mode = 'supersede'
    order by other.number`.execute(db);
  return rows.map(({ key }) => key);
}

/** The run that comes next of those that wait for their turn; undefined where none does. */
export async function firstQueued(db: Db, project: string, ref: string): Promise<Ahead | undefined> {
  const row = await db
    .selectFrom('runs')
    .select(['key', 'number', 'phase', 'startedAt'])
    .where('project', '=', project)
    .where('ref', '=', ref)
    .where('outcome', 'is', null)
    .where('phase', '=', 'queued')
    .orderBy('number')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { startedAt, ...ahead } = row;
  return { ...ahead, started: startedAt !== null };
}

/** Where runs stand that wait for their turn, by their number; those that do not are left out. */
export async function readQueueViews(
  db: Db,
  runs: readonly Pick<RunRef, 'project' | 'number'>[],
): Promise<(run: Pick<RunRef, 'project' | 'number'>) => QueueView | null> {
  const nameOf = ({ project, number }: Pick<RunRef, 'project' | 'number'>): string => `${project}#${number}`;
  if (runs.length === 0) return () => null;
  const pairs = sql.join(runs.map(({ project, number }) => sql`(${project}, ${number}::integer)`));
  const { rows } = await sql<QueueView & Pick<RunRef, 'project' | 'number'>>`
    select me.project, me.number, me.queued_at as since, me.turn_until as until, count(other.number)::integer as position,
      (array_agg(other.number order by other.turn_at is null, other.number))[1] as waits_for
    from runs me left join runs other on ${standsBefore}
    where (me.project, me.number) in (${pairs}) and me.outcome is null and me.phase = 'queued'
      and me.queued_at is not null and me.turn_until is not null
    group by me.id`.execute(db);
  const known = new Map(
    rows.map(({ since, until, position, waitsFor, ...run }) => [nameOf(run), { since, until, position, waitsFor }]),
  );
  return (run) => known.get(nameOf(run)) ?? null;
}
