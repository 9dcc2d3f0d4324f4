import { sql } from 'kysely';
import { deleteOld } from './retention.ts';
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

/** An image on the engine of some worker, by what it was made of. */
export interface StoredBuiltImage {
  readonly project: string;
  /** Hash over all inputs of the build. */
  readonly key: string;
  readonly name: string;
  /** Hash over the content of the image. */
  readonly id: string;
}

/** Engines that may have an image of one key at once; of more the oldest are not asked about. Judgement. */
const mostBuilt = 20;
/** Unasked for so long, an image is long gone from its engine, or is built again. Judgement. */
const builtKeptDays = 90;

/** Ids of the images that were built of equal inputs, the newest first; asking counts as use. */
export async function listBuiltImages(db: Db, project: string, key: string): Promise<readonly string[]> {
  const rows = await db
    .with('asked', (cte) =>
      cte
        .updateTable('builtImages')
        .set({ usedAt: sql<string>`now()` })
        .where('project', '=', project)
        .where('key', '=', key)
        .returning(['id', 'builtAt']),
    )
    .selectFrom('asked')
    .select('id')
    // By the store: two of one millisecond are equal to a clock of JavaScript.
    .orderBy('builtAt', 'desc')
    .limit(mostBuilt)
    .execute();
  return rows.map(({ id }) => id);
}

/** Remembers what a worker has just built. */
export async function recordBuiltImage(db: Db, image: StoredBuiltImage): Promise<void> {
  await db
    .insertInto('builtImages')
    .values(image)
    .onConflict((conflict) => conflict.columns(['project', 'key', 'id']).doUpdateSet({ usedAt: sql<string>`now()` }))
    .execute();
}

/** Removes what nobody has asked for in a long time. @returns how many were removed. */
export async function forgetOldBuiltImages(db: Db, keptDays = builtKeptDays): Promise<number> {
  return await deleteOld(db, 'built_images', 'used_at', keptDays);
}

/** Forgets an image that the registry no longer has. */
export async function forgetBuild(db: Db, project: string, key: string): Promise<void> {
  await db.deleteFrom('builds').where('project', '=', project).where('key', '=', key).execute();
}
