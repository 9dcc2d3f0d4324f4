import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { Db } from './schema.ts';

/** How far back is looked. Judgement: nobody goes back a hundred releases. */
const remembered = 200;

/** One deployment or rollback that has ended, and what it left live. */
interface Ended {
  /** `word`: not the end of anything, but an operator who said what is live. */
  readonly kind: 'rollout' | 'rollback' | 'word';
  readonly outcome: Outcome | null;
  readonly live: LiveRelease | null;
  readonly at: string | null;
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
  const ended: readonly Ended[] = await db
    .selectFrom('deployments')
    .select(['kind', 'outcome', 'settledAt as at', sql<LiveRelease | null>`result->'live'`.as('live')])
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
  const said = words.map(({ live, at }): Ended => ({ kind: 'word', outcome: null, live, at }));
  // Stable, so that deployments of one moment stay in the order of their ids.
  const inTurn = [...ended.toReversed(), ...said].sort((one, other) => momentOf(one) - momentOf(other));
  return liveInTurn(inTurn).at(-2) ?? null;
}

function momentOf({ at }: Ended): number {
  return at === null ? 0 : Date.parse(at);
}

/** What was live, one after the other, without what was left again by a rollback; the last one is live now. */
function liveInTurn(ended: readonly Ended[]): readonly LiveRelease[] {
  let row: readonly LiveRelease[] = [];
  for (const { kind, outcome, live } of ended) {
    if (live === null) {
      // The first release was taken back, or an operator has found nothing: nothing serves.
      if (outcome === 'rollback-unavailable' || kind === 'word') row = [];
      continue;
    }
    if (row.at(-1)?.version === live.version) continue;
    const at =
      kind === 'rollback' || kind === 'word' ? row.findLastIndex(({ version }) => version === live.version) : -1;
    row = at === -1 ? [...(kind === 'rollback' ? [] : row), live] : row.slice(0, at + 1);
  }
  return row;
}
