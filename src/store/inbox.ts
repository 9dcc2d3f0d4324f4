import { sql } from 'kysely';
import { ProviderError } from '../domain/failures.ts';
import type { RunInput, SourceEvent } from '../domain/run.ts';
import type { StartedBy } from '../domain/run-start.ts';
import { deleteOld } from './retention.ts';
import type { Db } from './schema.ts';
import { isViolation, json } from './store.ts';

/** What a forge, a poll or a person asks a run for. */
export interface RunRequest {
  readonly project: string;
  /** `runKey(event)` of the definition, or the caller's idempotency key. */
  readonly key: string;
  readonly event: SourceEvent;
  readonly acceptedAt: string;
  readonly requestedBy?: string;
  readonly release?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly checksOnly?: true;
  readonly startedBy?: StartedBy;
}

/** The run of a request, new or known. */
export interface AcceptedRun {
  readonly project: string;
  readonly key: string;
  readonly number: number;
  /** False when an earlier request had asked for the same run. */
  readonly created: boolean;
  /** Whether Temporal is known to have its workflow. */
  readonly started: boolean;
  readonly input: RunInput;
}

/** The delivery that brought a request, as the forge names it. */
export interface Delivery {
  readonly id: string;
  readonly event: string;
}

/**
 * Writes a request down; with its return it is accepted, whatever happens to this process. One statement, so one commit: the run is
 * there with its number, or nothing is.
 *
 * @throws ProviderError `NotFound` - there is no such project.
 */
export async function acceptRun(db: Db, request: RunRequest, delivery?: Delivery): Promise<AcceptedRun> {
  try {
    return await insertRun(db, request, delivery);
  } catch (error) {
    // Two requests for the same run at the same moment: the other one has committed, so this time it is seen.
    if (isViolation(error, '23505')) return await insertRun(db, request, delivery);
    throw error;
  }
}

async function insertRun(db: Db, request: RunRequest, delivery: Delivery | undefined): Promise<AcceptedRun> {
  const { project, event } = request;
  const input: RunInput = { ...request };
  // The data-modifying parts see the same snapshot, and the row lock of the project puts concurrent ones in order.
  const { rows } = await sql<{ key: string; number: number; created: boolean; started: boolean; input: RunInput }>`
    with known as (
      select r.key, r.number, r.started_at is not null as started, r.input from runs r
      where r.project = ${project} and r.key = coalesce(
        (select d.run_key from deliveries d where d.project = ${project} and d.id = ${delivery?.id ?? null}),
        ${request.key})
    ), counted as (
      update projects set last_run = last_run + 1
      where name = ${project} and not exists (select 1 from known)
      returning last_run
    ), made as (
      insert into runs (project, number, key, kind, ref, commit, author, message, input, accepted_at)
      select ${project}, last_run, ${request.key}, ${event.kind}, ${event.ref}, ${event.after}, ${event.author},
        ${event.message ?? null}, ${json(input)}::jsonb, ${request.acceptedAt}::timestamptz
      from counted
      returning key, number, input
    ), either as (
      select key, number, true as created, false as started, input from made
      union all
      select key, number, false, started, input from known
    ), noted as (
      insert into deliveries (project, id, event, run_key)
      select ${project}, ${delivery?.id ?? null}, ${delivery?.event ?? ''}, either.key from either
      where ${delivery?.id ?? null}::text is not null
      on conflict (project, id) do nothing
    )
    select * from either`.execute(db);
  const row = rows[0];
  if (row === undefined) throw new ProviderError('NotFound', `There is no project ${project}.`);
  return { project, ...row };
}

/** The run that was accepted under a key; undefined when there is none. */
export async function readAccepted(
  db: Db,
  project: string,
  key: string,
): Promise<Pick<AcceptedRun, 'number' | 'input'> | undefined> {
  return await db
    .selectFrom('runs')
    .select(['number', 'input'])
    .where('project', '=', project)
    .where('key', '=', key)
    .executeTakeFirst();
}

/** The newest run of a pull request for one commit; undefined where there is none. */
export async function readNewestOfCommit(
  db: Db,
  { project, ref, commit }: { readonly project: string; readonly ref: string; readonly commit: string },
): Promise<RunInput | undefined> {
  const row = await db
    .selectFrom('runs')
    .select('input')
    .where('project', '=', project)
    .where('ref', '=', ref)
    .where('kind', '=', 'pull-request')
    .where('commit', '=', commit)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.input;
}

/** Notes a delivery that asks for nothing, for whoever wonders why there is no run. */
export async function noteIgnored(db: Db, project: string, delivery: Delivery, why: string): Promise<void> {
  await db
    .insertInto('deliveries')
    .values({ project, id: delivery.id, event: delivery.event, runKey: null, ignored: why })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Temporal has the workflow of this run. */
export async function markRunStarted(db: Db, run: { readonly project: string; readonly key: string }): Promise<void> {
  await db
    .updateTable('runs')
    .set({ startedAt: sql<string>`now()` })
    .where('project', '=', run.project)
    .where('key', '=', run.key)
    .where('startedAt', 'is', null)
    .execute();
}

/** Accepted runs that Temporal is not known to have, oldest first. */
export async function runsToStart(
  db: Db,
  options: { readonly olderThanMs: number; readonly limit: number },
): Promise<readonly RunInput[]> {
  const rows = await db
    .selectFrom('runs')
    .select('input')
    .where('startedAt', 'is', null)
    .where('outcome', 'is', null)
    .where('acceptedAt', '<', sql<string>`now() - make_interval(secs => ${options.olderThanMs / 1000})`)
    .orderBy('acceptedAt')
    .limit(options.limit)
    .execute();
  return rows.map((row) => row.input);
}

/** Past this a repeated delivery is no longer recognised by its id; its run still is. */
export const deliveriesKeptDays = 90;

/** @returns how many were removed. */
export async function forgetOldDeliveries(db: Db): Promise<number> {
  return await deleteOld(db, 'deliveries', 'received_at', deliveriesKeptDays);
}
