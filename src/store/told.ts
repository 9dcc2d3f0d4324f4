import { sql } from 'kysely';
import type { Occasion, ToldRun } from '../domain/commit-status.ts';
import type { ForgeStatus } from '../domain/deployment.ts';
import type { StartedBy } from '../domain/run-start.ts';
import { readNewestCommit } from './runs.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/**
 * Runs of a commit that are asked for what they say of it, the newest ones. Judgement: no commit has so many pushes, pull requests and runs by hand. A schedule
 * every five minutes has them in 42 hours of a quiet branch, and then a red one that comes more seldom is not heard any more.
 */
const mostTold = 500;

/** What tells on what occasion a run was made. */
export type RunOccasion = Pick<ToldRun, 'kind' | 'startedBy'>;

/**
 * Notes what a run tells of its commit, beside what it has told before.
 *
 * @returns undefined where there is no such run.
 */
export async function recordTold(
  db: Db,
  run: { readonly project: string; readonly number: number },
  commit: string,
  statuses: readonly ForgeStatus[],
): Promise<RunOccasion | undefined> {
  const told = Object.fromEntries(statuses.map(({ context, ...status }) => [context, status]));
  const row = await db
    .updateTable('runs')
    .set({
      toldCommit: commit,
      told: sql<string>`case when told_commit = ${commit} then told else '{}'::jsonb end || ${json(told)}::jsonb`,
    })
    .where('project', '=', run.project)
    .where('number', '=', run.number)
    .returning(['kind', startedBy.as('startedBy')])
    .executeTakeFirst();
  return row && { kind: row.kind, startedBy: row.startedBy ?? undefined };
}

/** The newest runs of a project that have told of a commit and are of one occasion; the newest first. */
export async function readTold(
  db: Db,
  {
    project,
    commit,
    occasion,
  }: { readonly project: string; readonly commit: string; readonly occasion: Occasion | undefined },
): Promise<readonly ToldRun[]> {
  const rows = await db
    .selectFrom('runs')
    .select(['number', 'kind', 'ref', 'author', 'told', startedBy.as('startedBy'), release.as('release')])
    .where('project', '=', project)
    .where('toldCommit', '=', commit)
    .where('kind', 'in', kinds[occasion ?? 'check'])
    .$if(occasion !== 'schedule', (query) => query.where(startedBy, occasion === 'started' ? 'is not' : 'is', null))
    .orderBy('number', 'desc')
    .limit(mostTold)
    .execute();
  return rows.map((row) => ({
    ...row,
    told: row.told ?? {},
    startedBy: row.startedBy ?? undefined,
    release: row.release ?? undefined,
  }));
}

/** Which kinds of runs an occasion has, for the index, which passes by all others: what a schedule has left there are thousands. */
const kinds = {
  check: ['push', 'tag', 'pull-request', 'manual'],
  schedule: ['schedule'],
  started: ['manual'],
} as const satisfies Readonly<Record<Occasion | 'check', readonly ToldRun['kind'][]>>;

/** The rest of what a run was asked with may be large. */
const startedBy = sql<StartedBy | null>`input->'startedBy'`;
const release = sql<string | null>`input->>'release'`;

/**
 * Whether a run is the one that its pull request's comment is about: of the newest commit of it, and the last one of those. One that the store does
 * not have is believed to be.
 */
export async function isNewestOfPullRequest(db: Db, project: string, number: number): Promise<boolean> {
  const own = await db
    .selectFrom('runs')
    .select(['ref', 'commit'])
    .where('project', '=', project)
    .where('number', '=', number)
    .executeTakeFirst();
  if (own === undefined) return true;
  const newest = await readNewestCommit(db, project, own.ref);
  if (newest !== undefined && newest !== own.commit) return false;
  const later = await db
    .selectFrom('runs')
    .select('number')
    .where('project', '=', project)
    .where('ref', '=', own.ref)
    .where('commit', '=', own.commit)
    .where('number', '>', number)
    .limit(1)
    .executeTakeFirst();
  return later === undefined;
}

/** Holds the comment of a pull request, so that whoever else would write it sees what was written. It has a connection as long as `work` takes. */
export async function holdingComment<T>(
  db: Db,
  { project, pullRequest }: { readonly project: string; readonly pullRequest: number },
  work: (tx: Db) => Promise<T>,
): Promise<T> {
  return await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`comment/${project}/${pullRequest}`}, 0))`.execute(tx);
    return await work(tx);
  });
}
