import { sql } from 'kysely';
import type { ImageEvidence } from '../domain/run.ts';
import type { Db } from './schema.ts';

/** The newest image of a digest of which a list is kept that was made by a method. */
export interface StoredListedImage {
  readonly run: number;
  readonly name: string;
  readonly evidence: ImageEvidence;
}

/** @param wanted.method - of making lists; those of several platforms are all made by one. */
export async function findListedImage(
  db: Db,
  wanted: {
    readonly project: string;
    readonly repository: string;
    readonly digest: string;
    readonly method: string;
  },
): Promise<StoredListedImage | undefined> {
  const found = await db
    .selectFrom('images')
    .select(['run', 'name', 'evidence'])
    .where('project', '=', wanted.project)
    .where('repository', '=', wanted.repository)
    .where('digest', '=', wanted.digest)
    .where(
      sql<string>`coalesce(evidence #>> '{list,method}', evidence #>> '{platforms,0,list,method}')`,
      '=',
      wanted.method,
    )
    .orderBy('run', 'desc')
    .limit(1)
    .executeTakeFirst();
  const { evidence } = found ?? {};
  return found === undefined || evidence === undefined || evidence === null ? undefined : { ...found, evidence };
}
