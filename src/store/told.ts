import { sql } from 'kysely';
import { type ToldRun, toldRun } from '../domain/commit-status.ts';
import type { ForgeStatus } from '../domain/deployment.ts';
import { readNewestCommit } from './runs.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/**
 * Notes what a run tells of its commit, beside what it has told before.
 *
 * @returns false where there is no such run.
 */
export async function recordTold(
  db: Db,
  run: { readonly project: string; readonly number: number },
  commit: string,
  statuses: readonly ForgeStatus[],
): Promise<boolean> {
  const told = Object.fromEntries(statuses.map(({ context, ...status }) => [context, status]));
  const { numUpdatedRows } = await db
    .updateTable('runs')
    .set({
      toldCommit: commit,
      told: sql<string>`case when told_commit = ${commit} then told else '{}'::jsonb end || ${json(told)}::jsonb`,
    })
    .where('project', '=', run.project)
    .where('number', '=', run.number)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Every run of a project that has told of a commit. */
export async function readTold(db: Db, project: string, commit: string): Promise<readonly ToldRun[]> {
  const rows = await db
    .selectFrom('runs')
    .select(['number', 'kind', 'ref', 'author', 'input', 'told'])
    .where('project', '=', project)
    .where('toldCommit', '=', commit)
    .execute();
  return rows.map(({ told, ...row }) => toldRun({ ...row, told: told ?? {} }));
}

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
