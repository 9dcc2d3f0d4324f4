import { sql } from 'kysely';
import type { KeptBuilds } from '../domain/retention.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/** Rows deleted by one statement, well within the time-out of a statement. */
const rowsAtOnce = 10_000;

/**
 * Versions that some environment may have to run again: live, the one before, the last two that succeeded (the last good release whatever
 * became of the rest), and those of open deployments.
 */
const neededVersions = (project: string): ReturnType<typeof sql> => sql`
  select live->>'version' as version from environments where project = ${project} and live is not null
  union select previous->>'version' from environments where project = ${project} and previous is not null
  union select version from deployments where project = ${project} and outcome is null
  union select good.version from environments e cross join lateral (
    select d.version from deployments d
    where d.project = e.project and d.environment = e.name and d.outcome = 'succeeded'
    group by d.version order by max(d.id) desc limit 2
  ) good where e.project = ${project}`;

/** Runs of which everything is kept: the newest, the open ones, and those that built a release that is needed. */
const keptRuns = (project: string, newest: number): ReturnType<typeof sql> => sql`
  select number from (select number from runs where project = ${project} order by number desc limit ${newest}) young
  union select number from runs where project = ${project} and outcome is null
  union select build from releases where project = ${project} and version in (select version from needed)`;

/** A backup, by the deployment that it was taken for. */
export interface BackedUp {
  readonly environment: string;
  readonly deployment: number;
}

/** Versions that fit the data of a backup: the one that it was taken for, and the one that was live by then. */
const backedUpVersions = (project: string): ReturnType<typeof sql> => sql`
  select d.version from backed_up b join deployments d
    on d.project = ${project} and d.environment = b.environment and d.number = b.deployment
  union select before.version from backed_up b cross join lateral (
    select d.version from deployments d
    where d.project = ${project} and d.environment = b.environment and d.number < b.deployment and d.outcome = 'succeeded'
    order by d.number desc limit 1
  ) before`;

/**
 * What of a project's builds has to stay.
 *
 * @param backups - whose releases are needed besides.
 */
export async function readKeptBuilds(
  db: Db,
  project: string,
  newestRuns: number,
  backups: readonly BackedUp[] = [],
): Promise<KeptBuilds> {
  const { rows } = await sql<{ runs: number[]; digests: string[] }>`
    with backed_up as (
      select each->>'environment' as environment, (each->>'deployment')::bigint as deployment
      from jsonb_array_elements(${json(backups)}::jsonb) each
    ),
    needed as (${neededVersions(project)} union ${backedUpVersions(project)}), kept as (${keptRuns(project, newestRuns)})
    select
      coalesce((select jsonb_agg(number) from kept), '[]') as runs,
      coalesce((select jsonb_agg(digest) from (
        select image->>'digest' as digest from releases, jsonb_array_elements(images) image
        where project = ${project} and (version in (select version from needed) or build in (select number from kept))
        union select digest from images where project = ${project} and run in (select number from kept)
        union select image->>'digest' from environments, jsonb_array_elements(coalesce(live->'images', '[]') || coalesce(previous->'images', '[]')) image
        where project = ${project}
      ) named where digest is not null), '[]') as digests`.execute(db);
  return rows[0] ?? { runs: [], digests: [] };
}

/** Digests of everything that runs and releases of a project ever named; ids of local images among them. */
export async function readBuiltDigests(db: Db, project: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ digest: string }>`
    select digest from images where project = ${project}
    union select image->>'digest' from releases, jsonb_array_elements(images) image where project = ${project}`.execute(
    db,
  );
  return new Set(rows.map(({ digest }) => digest));
}

/** A log that is no longer kept. */
export interface OldLog {
  readonly log: string;
  readonly blob: string | null;
  /** Null for one of a deployment. */
  readonly run: number | null;
  readonly environment: string | null;
  readonly number: number | null;
  readonly sizeBytes: number;
}

/**
 * Logs of runs and deployments that are not kept, oldest first; at most `limit`. Of deployments the newest of each environment stay (as many as
 * runs), the open ones, and those of a version that some environment may have to run again.
 */
export async function readOldLogs(
  db: Db,
  project: string,
  newestRuns: number,
  limit: number,
): Promise<readonly OldLog[]> {
  const { rows } = await sql<OldLog>`
    with needed as (${neededVersions(project)}), kept as (${keptRuns(project, newestRuns)})
    , young as (
      select environment, number from (
        select environment, number, row_number() over (partition by environment order by number desc) as age
        from deployments where project = ${project}
      ) aged where age <= ${newestRuns}
      union select environment, number from deployments
        where project = ${project} and (outcome is null or version in (select version from needed))
    )
    select log, blob, run, environment, number, size_bytes from log_streams
    where project = ${project} and (
      (run is not null and run not in (select number from kept))
      or (run is null and (environment, number) not in (select environment, number from young))
    )
    order by opened_at, log limit ${limit}`.execute(db);
  return rows;
}

/** Takes logs out of the index, once their bytes are gone. */
export async function forgetLogs(db: Db, logs: readonly string[]): Promise<void> {
  if (logs.length === 0) return;
  await db
    .deleteFrom('logSegments')
    .where('log', 'in', [...logs])
    .execute();
  await db
    .deleteFrom('logStreams')
    .where('log', 'in', [...logs])
    .execute();
}

/** What an environment's data needs. */
export interface NeededData {
  /**
   * Deployments whose backup is needed: to go back behind the live, the previous and the last two good releases, by open deployments, and
   * beside a database that was put aside not so long ago.
   */
  readonly backups: readonly number[];
  /** A person has to decide something about it first: nothing of its data may go. */
  readonly held: boolean;
}

export async function readNeededData(
  db: Db,
  { project, environment }: { readonly project: string; readonly environment: string },
  damagedDatabasesMs: number,
): Promise<NeededData> {
  const { rows } = await sql<{ backups: number[]; held: boolean }>`
    with place as (select * from environments where project = ${project} and name = ${environment}),
    mine as (select * from deployments where project = ${project} and environment = ${environment}),
    needed as (
      select (live->>'deployment')::bigint as number from place
      union select (previous->>'deployment')::bigint from place
      union select number from mine where outcome is null
      union select number from (
        select max(number) as number from mine where outcome = 'succeeded' group by version order by max(id) desc limit 2
      ) good
      union select number from mine where result->'rollback'->'data'->>'action' = 'swapped'
        and settled_at > now() - make_interval(secs => ${damagedDatabasesMs / 1000})
    )
    select coalesce((select jsonb_agg(number) from needed where number is not null), '[]') as backups,
      coalesce((select hold is not null from place), false) as held`.execute(db);
  return rows[0] ?? { backups: [], held: true };
}

/** Which of these deployments are over, and have been for so long; one that the store does not know is not. */
export async function readEndedDeployments(
  db: Db,
  { project, environment }: { readonly project: string; readonly environment: string },
  numbers: readonly number[],
  forMs: number,
): Promise<readonly number[]> {
  if (numbers.length === 0) return [];
  const rows = await db
    .selectFrom('deployments')
    .select('number')
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('number', 'in', [...numbers])
    .where('settledAt', '<', sql<string>`now() - make_interval(secs => ${forMs / 1000})`)
    .execute();
  return rows.map(({ number }) => number);
}

/** Which of these runs are over, and have been for so long. */
export async function readEndedRuns(
  db: Db,
  runs: readonly { readonly project: string; readonly key: string }[],
  forMs: number,
): Promise<readonly { readonly project: string; readonly key: string }[]> {
  if (runs.length === 0) return [];
  const pairs = sql.join(runs.map(({ project, key }) => sql`(${project}, ${key})`));
  const { rows } = await sql<{ project: string; key: string }>`
    select project, key from runs where (project, key) in (${pairs})
      and settled_at < now() - make_interval(secs => ${forMs / 1000})`.execute(db);
  return rows;
}

/** Task queues of the machines that have had a checkout in the last days. */
export async function readMachines(db: Db, days: number): Promise<readonly string[]> {
  const { rows } = await sql<{ queue: string }>`
    select distinct plan->'workspace'->>'queue' as queue from runs
    where plan->'workspace'->>'queue' <> '' and accepted_at > now() - make_interval(days => ${days}) order by 1`.execute(
    db,
  );
  return rows.map(({ queue }) => queue);
}

/** Deletes rows older than so many days, some at a time. @returns how many. */
export async function deleteOld(
  db: Db,
  table: 'deliveries' | 'facts' | 'events' | 'built_images' | 'cache_uses',
  column: 'received_at' | 'at' | 'used_at',
  days: number,
): Promise<number> {
  for (let deleted = 0; ;) {
    const { numAffectedRows } = await sql`
      delete from ${sql.table(table)} where ctid in (
        select ctid from ${sql.table(table)} where ${sql.ref(column)} < now() - make_interval(days => ${days}) limit ${rowsAtOnce}
      )`.execute(db);
    const count = Number(numAffectedRows ?? 0);
    deleted += count;
    if (count < rowsAtOnce) return deleted;
  }
}
