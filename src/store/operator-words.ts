import type { LiveRelease } from '../domain/release.ts';
import { ensureEnvironment } from './environments.ts';
import { publish } from './events.ts';
import { releaseBefore } from './previous.ts';
import { readRelease } from './releases.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';
import { inTransaction } from './transaction.ts';

/** What an operator has said is live in an environment, or has had the target asked for. */
export interface OperatorWord {
  readonly project: string;
  readonly environment: string;
  /** `unlock`: said by the person; `reconcile`: said by the target. */
  readonly how: 'unlock' | 'reconcile';
  readonly live: LiveRelease | null;
  readonly by: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly at: string;
}

/**
 * Takes an operator's word: what is live, what was live before it, and the end of the hold. A word that arrives after the end of a later
 * deployment is kept for the order of things, and changes nothing else.
 */
export async function recordLive(db: Db, word: OperatorWord): Promise<void> {
  const { project, environment, how, by, reason, at } = word;
  await inTransaction(db, async (tx) => {
    await ensureEnvironment(tx, project, environment);
    const live = word.live === null ? null : await withSource(tx, project, word.live);
    await tx
      .insertInto('operatorWords')
      .values({ project, environment, at, how, by, reason, live: live === null ? null : json(live) })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const previous = await releaseBefore(tx, { project, environment });
    const changed = await tx
      .updateTable('environments')
      .set({
        live: live === null ? null : json(live),
        previous: previous === null ? null : json(previous),
        hold: null,
        updatedAt: at,
      })
      .where('project', '=', project)
      .where('name', '=', environment)
      .where('updatedAt', '<=', at)
      .executeTakeFirst();
    if (changed.numUpdatedRows === 0n) return;
    await publish(tx, [{ kind: 'environment', project, environment, data: { live: live?.version ?? null } }]);
  });
}

/** Of a slot that is named by its version alone, the release on record says the rest. */
async function withSource(db: Db, project: string, live: LiveRelease): Promise<LiveRelease> {
  if (live.commit !== '') return live;
  const release = await readRelease(db, project, live.version);
  return release === undefined ? live : { ...live, commit: release.commit, images: release.images };
}
