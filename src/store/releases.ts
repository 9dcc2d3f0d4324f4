import type { Release, ReleaseImage } from '../domain/release.ts';
import { ProviderError } from '../domain/failures.ts';
import { type Page, type PageRequest, before, omit, rowsToRead, toPage } from './page.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/** A release with where it came from. */
export interface StoredRelease extends Release {
  readonly runKey: string | null;
  readonly author: string;
  readonly createdAt: string;
}

/**
 * Writes a release down, once and for ever; the same one again is no change.
 *
 * @throws ProviderError `Conflict` (not retried) - another release has this version.
 */
export async function recordRelease(
  db: Db,
  release: Release & { readonly runKey?: string; readonly author: string },
): Promise<void> {
  const added = await db
    .insertInto('releases')
    .values({
      project: release.project,
      version: release.version,
      build: release.build,
      commit: release.commit,
      images: json(release.images),
      definition: release.definition,
      migrations: json(release.migrations),
      runKey: release.runKey ?? null,
      author: release.author,
    })
    .onConflict((conflict) => conflict.columns(['project', 'version']).doNothing())
    .executeTakeFirst();
  if (added.numInsertedOrUpdatedRows === 1n) return;
  const known = await readRelease(db, release.project, release.version);
  if (known !== undefined && (known.commit !== release.commit || digests(known.images) !== digests(release.images))) {
    throw new ProviderError(
      'Conflict',
      `Version ${release.version} of ${release.project} is commit ${known.commit.slice(0, 12)} already and cannot become ${release.commit.slice(0, 12)}; give the new one another version.`,
    );
  }
}

function digests(images: readonly ReleaseImage[]): string {
  return images
    .map((image) => `${image.name}@${image.digest}`)
    .sort()
    .join();
}

/** One release; a leading `v` of the version is accepted. */
export async function readRelease(db: Db, project: string, version: string): Promise<StoredRelease | undefined> {
  const row = await db
    .selectFrom('releases')
    .selectAll()
    .where('project', '=', project)
    .where('version', 'in', [version, version.replace(/^v/, '')])
    .executeTakeFirst();
  return row === undefined ? undefined : omit(row, 'id');
}

/** Newest first. */
export async function listReleases(
  db: Db,
  project: string | undefined,
  page: PageRequest,
): Promise<Page<StoredRelease>> {
  const from = before(page);
  let query = db.selectFrom('releases').selectAll();
  if (project !== undefined) query = query.where('project', '=', project);
  if (from !== undefined) query = query.where('id', '<', from);
  return toPage(await query.orderBy('id', 'desc').limit(rowsToRead(page)).execute(), page);
}
