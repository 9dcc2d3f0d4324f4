import { sql } from 'kysely';
import type { RecordedImage } from '../domain/registry-retention.ts';
import type { Db } from './schema.ts';

/** Every image that runs of a project have pushed, by repository; oldest run first. */
export async function readPushedImages(
  db: Db,
  project: string,
): Promise<ReadonlyMap<string, readonly RecordedImage[]>> {
  const rows = await db
    .selectFrom('images')
    .select(['repository', 'name', 'run', 'digest', 'tags', 'sizeBytes', 'evidence'])
    .where('project', '=', project)
    .orderBy('run')
    .execute();
  const found = new Map<string, RecordedImage[]>();
  for (const { repository, evidence, ...image } of rows) {
    const platforms = evidence?.platforms?.map(({ digest }) => digest) ?? [];
    found.set(repository, [...(found.get(repository) ?? []), { ...image, platforms }]);
  }
  return found;
}

/** How many images runs of any project have brought to a repository. Another number than before: what is known of it is out of date. */
export async function countPushed(db: Db, repository: string): Promise<number> {
  const { rows } = await sql<{ pushed: number }>`
    select count(*)::integer as pushed from images where repository = ${repository}`.execute(db);
  return rows[0]?.pushed ?? 0;
}

/** From now on no build takes this image for its own because its inputs are equal. */
export async function forgetBuildsOf(db: Db, repository: string, digest: string): Promise<void> {
  await db.deleteFrom('builds').where('repository', '=', repository).where('digest', '=', digest).execute();
}
