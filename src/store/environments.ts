import type { LiveRelease } from '../domain/release.ts';
import { publish } from './events.ts';
import type { Db, StoredHold } from './schema.ts';
import { json } from './store.ts';
import { inTransaction } from './transaction.ts';

/** An environment as lists show it; its workflow has the truth. */
export interface EnvironmentRecord {
  readonly project: string;
  readonly name: string;
  readonly live: LiveRelease | null;
  /** What a rollback without a version goes to (`releaseBefore`); whether it still runs somewhere, the workflow knows. */
  readonly previous: LiveRelease | null;
  readonly hold: StoredHold | null;
  readonly updatedAt: string;
}

const columns = ['project', 'name', 'live', 'previous', 'hold', 'updatedAt'] as const;

export async function readEnvironment(db: Db, project: string, name: string): Promise<EnvironmentRecord | undefined> {
  return await db
    .selectFrom('environments')
    .select(columns)
    .where('project', '=', project)
    .where('name', '=', name)
    .executeTakeFirst();
}

/** By project and name. */
export async function listEnvironments(db: Db, project?: string): Promise<readonly EnvironmentRecord[]> {
  let query = db.selectFrom('environments').select(columns);
  if (project !== undefined) query = query.where('project', '=', project);
  return await query.orderBy('project').orderBy('name').limit(1000).execute();
}

/** Makes the row of an environment that was not seen before. */
export async function ensureEnvironment(db: Db, project: string, environment: string): Promise<void> {
  await db
    .insertInto('environments')
    .values({ project, name: environment })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** What a person or the target has said is live; the hold ends with it. */
export async function recordLive(
  db: Db,
  environment: { readonly project: string; readonly name: string },
  live: LiveRelease | null,
): Promise<void> {
  await inTransaction(db, async (tx) => {
    await tx
      .updateTable('environments')
      .set({ live: live === null ? null : json(live), hold: null, updatedAt: new Date().toISOString() })
      .where('project', '=', environment.project)
      .where('name', '=', environment.name)
      .execute();
    await publish(tx, [
      {
        kind: 'environment',
        project: environment.project,
        environment: environment.name,
        data: { live: live?.version ?? null },
      },
    ]);
  });
}
