import type { LiveRelease } from '../domain/release.ts';
import type { Db } from './schema.ts';
import type { StoredHold } from './tables/deployment.ts';

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
