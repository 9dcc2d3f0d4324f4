import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import { type LiveTurn, inOrder, liveInTurn } from '../domain/live-row.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { Db } from './schema.ts';

/** How far back is looked. Judgement: nobody goes back a hundred releases. */
const remembered = 200;

/** The release that a further rollback would go to: what was live before the live one came there, see {@link liveInTurn}. */
export async function releaseBefore(
  db: Db,
  ref: Pick<DeploymentRef, 'project' | 'environment'>,
): Promise<LiveRelease | null> {
  return liveInTurn(await readLiveTurns(db, ref)).at(-2) ?? null;
}

/** What was left live by every end and every word of an environment, oldest first. */
export async function readLiveTurns(
  db: Db,
  { project, environment }: Pick<DeploymentRef, 'project' | 'environment'>,
): Promise<readonly LiveTurn[]> {
  const ended: readonly LiveTurn[] = await db
    .selectFrom('deployments')
    .select(['kind', 'outcome', 'number', 'settledAt as at', sql<LiveRelease | null>`result->'live'`.as('live')])
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('settledAt', 'is not', null)
    .orderBy('settledAt', 'desc')
    .orderBy('id', 'desc')
    .limit(remembered)
    .execute();
  const words = await db
    .selectFrom('operatorWords')
    .select(['live', 'at'])
    .where('project', '=', project)
    .where('environment', '=', environment)
    .orderBy('at', 'desc')
    .limit(remembered)
    .execute();
  const said = words.map(({ live, at }): LiveTurn => ({ kind: 'word', outcome: null, live, at }));
  // Stable, so that deployments of one moment stay in the order of their ids.
  return inOrder([...ended.toReversed(), ...said]);
}
