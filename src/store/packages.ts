import type { PublishedPackage } from '../domain/packages.ts';
import type { RunRef } from '../domain/run.ts';
import { omit } from './page.ts';
import type { Db } from './schema.ts';

/** What a run has published; the first word on a file holds but for whether it was there before, so that a second attempt changes nothing. */
export async function recordPackages(
  db: Db,
  { project, number }: Pick<RunRef, 'project' | 'number'>,
  packages: readonly PublishedPackage[],
): Promise<void> {
  for (const { index, ...published } of packages) {
    await db
      .insertInto('publishedPackages')
      .values({ project, run: number, indexName: index, ...published })
      .onConflict((conflict) => conflict.columns(['project', 'run', 'package', 'file']).doNothing())
      .execute();
  }
}

/** What a run has published, in the order of their names. */
export async function listPackages(db: Db, project: string, run: number): Promise<readonly PublishedPackage[]> {
  const rows = await db
    .selectFrom('publishedPackages')
    .selectAll()
    .where('project', '=', project)
    .where('run', '=', run)
    .orderBy('package')
    .orderBy('file')
    .execute();
  return rows.map(({ indexName: index, ...row }) => ({ ...omit(row, 'project', 'run'), index }));
}
