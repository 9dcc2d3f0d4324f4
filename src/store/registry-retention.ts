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
    .select(['repository', 'name', 'run', 'digest', 'tags', 'sizeBytes'])
    .where('project', '=', project)
    .orderBy('run')
    .execute();
  const found = new Map<string, RecordedImage[]>();
  for (const { repository, ...image } of rows) found.set(repository, [...(found.get(repository) ?? []), image]);
  return found;
}

/** The moment by the clock of the store. */
export async function readNow(db: Db): Promise<string> {
  const { rows } = await sql<{ now: string }>`select now()::text as now`.execute(db);
  return rows[0]?.now ?? new Date(0).toISOString();
}

/**
 * Whether somebody may have come to need an image of the repository: a run that pushes is open or has ended since, or somebody has asked for a
 * deployment since. Asked for every project with images there.
 */
export async function isRepositoryInUse(db: Db, repository: string, project: string, since: string): Promise<boolean> {
  const { rows } = await sql<{ busy: boolean }>`
    with owners as (select ${project} as project union select distinct project from images where repository = ${repository})
    select exists (
      select 1 from runs where project in (select project from owners)
        and (plan is null or plan->>'buildImages' = 'push')
        and (outcome is null or settled_at > ${since}::timestamptz)
    ) or exists (
      select 1 from deployments where project in (select project from owners) and requested_at > ${since}::timestamptz
    ) as busy`.execute(db);
  return rows[0]?.busy ?? true;
}

/** From now on no build takes this image for its own because its inputs are equal. */
export async function forgetBuildsOf(db: Db, repository: string, digest: string): Promise<void> {
  await db.deleteFrom('builds').where('repository', '=', repository).where('digest', '=', digest).execute();
}
