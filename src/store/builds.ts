import { sql } from 'kysely';
import type { Db } from './schema.ts';

/** An image that is in the registry, by what it was made of. */
export interface StoredBuild {
  readonly project: string;
  /** Hash over all inputs of the build. */
  readonly key: string;
  readonly name: string;
  readonly repository: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** The image that equal inputs gave before; asking counts as use. */
export async function findBuild(db: Db, project: string, key: string): Promise<StoredBuild | undefined> {
  return await db
    .updateTable('builds')
    .set({ usedAt: sql<string>`now()` })
    .where('project', '=', project)
    .where('key', '=', key)
    .returning(['project', 'key', 'name', 'repository', 'digest', 'sizeBytes'])
    .executeTakeFirst();
}

/** The newest image of a name, whose layers serve as cache. */
export async function latestBuild(db: Db, project: string, name: string): Promise<StoredBuild | undefined> {
  return await db
    .selectFrom('builds')
    .select(['project', 'key', 'name', 'repository', 'digest', 'sizeBytes'])
    .where('project', '=', project)
    .where('name', '=', name)
    .orderBy('usedAt', 'desc')
    .executeTakeFirst();
}

/** Remembers a pushed image. The first one of a key stays: a second build of equal inputs must not change what they mean. */
export async function recordBuild(db: Db, build: StoredBuild): Promise<void> {
  await db
    .insertInto('builds')
    .values(build)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Forgets an image that the registry no longer has. */
export async function forgetBuild(db: Db, project: string, key: string): Promise<void> {
  await db.deleteFrom('builds').where('project', '=', project).where('key', '=', key).execute();
}
