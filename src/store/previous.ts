import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { Db } from './schema.ts';

/** How far back is looked. Judgement: nobody goes back a hundred releases. */
const remembered = 200;

/** One deployment or rollback that has ended, and what it left live. */
interface Ended {
  readonly kind: 'rollout' | 'rollback';
  readonly outcome: Outcome | null;
  readonly live: LiveRelease | null;
}

/**
 * The release that a further rollback would go to: what was live before the live one came there.
 *
 * A rollback is a step back in the row of what was live, not a step on: after 1, 2 and back to 1, what was live before 1 is the previous
 * one, and never 2, which somebody had a reason to leave.
 */
export async function releaseBefore(
  db: Db,
  { project, environment }: Pick<DeploymentRef, 'project' | 'environment'>,
): Promise<LiveRelease | null> {
  const rows = await db
    .selectFrom('deployments')
    .select(['kind', 'outcome', sql<LiveRelease | null>`result->'live'`.as('live')])
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('settledAt', 'is not', null)
    .orderBy('settledAt', 'desc')
    .orderBy('id', 'desc')
    .limit(remembered)
    .execute();
  return liveInTurn(rows.reverse()).at(-2) ?? null;
}

/** What was live, one after the other, without what was left again by a rollback; the last one is live now. */
function liveInTurn(ended: readonly Ended[]): readonly LiveRelease[] {
  let row: readonly LiveRelease[] = [];
  for (const { kind, outcome, live } of ended) {
    if (live === null) {
      // The first release was taken back, and nothing serves.
      if (outcome === 'rollback-unavailable') row = [];
      continue;
    }
    if (row.at(-1)?.version === live.version) continue;
    const at = kind === 'rollback' ? row.findLastIndex(({ version }) => version === live.version) : -1;
    row = at === -1 ? [...(kind === 'rollback' ? [] : row), live] : row.slice(0, at + 1);
  }
  return row;
}
