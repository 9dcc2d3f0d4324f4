import type { Db, Row } from './schema.ts';
import { inTransaction } from './transaction.ts';

/** project.yaml as it is in force. */
export interface StoredProject {
  readonly name: string;
  readonly revision: number;
  readonly hash: string;
  /** The document itself; what it means is for the definition to say. */
  readonly text: string;
  readonly updatedAt: string;
}

export interface NewRevision {
  readonly name: string;
  readonly text: string;
  readonly hash: string;
  /** What a person sees of the change: unified, empty for the first one. */
  readonly diff: string;
  readonly by: string;
}

/**
 * Puts a new revision in force; the same text again changes nothing.
 *
 * @returns the revision in force after it, and whether this call made it.
 */
export async function putProject(
  db: Db,
  revision: NewRevision,
): Promise<{ readonly revision: number; readonly changed: boolean }> {
  return await inTransaction(db, async (tx) => {
    await tx
      .insertInto('projects')
      .values({ name: revision.name, revision: 0 })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const current = await tx
      .selectFrom('projects')
      .select('revision')
      .where('name', '=', revision.name)
      .forUpdate()
      .executeTakeFirstOrThrow();
    const last = await tx
      .selectFrom('projectRevisions')
      .select('hash')
      .where('project', '=', revision.name)
      .where('revision', '=', current.revision)
      .executeTakeFirst();
    if (last?.hash === revision.hash) return { revision: current.revision, changed: false };
    const number = current.revision + 1;
    await tx
      .insertInto('projectRevisions')
      .values({
        project: revision.name,
        revision: number,
        hash: revision.hash,
        text: revision.text,
        diff: revision.diff,
        by: revision.by,
      })
      .execute();
    await tx
      .updateTable('projects')
      .set({ revision: number, updatedAt: new Date().toISOString() })
      .where('name', '=', revision.name)
      .execute();
    return { revision: number, changed: true };
  });
}

/** The project as it is now. */
export async function readProject(db: Db, name: string): Promise<StoredProject | undefined> {
  return await inForce(db).where('projects.name', '=', name).executeTakeFirst();
}

/** All of them, by name; installations have tens, not thousands on a page. */
export async function listProjects(db: Db): Promise<readonly StoredProject[]> {
  return await inForce(db).orderBy('projects.name').execute();
}

function inForce(db: Db) {
  return db
    .selectFrom('projects')
    .innerJoin('projectRevisions as r', (join) =>
      join.onRef('r.project', '=', 'projects.name').onRef('r.revision', '=', 'projects.revision'),
    )
    .select(['projects.name', 'projects.revision', 'r.hash', 'r.text', 'r.createdAt as updatedAt']);
}

/** Who changed what, newest first. */
export async function listRevisions(
  db: Db,
  project: string,
): Promise<readonly Omit<Row<'projectRevisions'>, 'text' | 'project'>[]> {
  return await db
    .selectFrom('projectRevisions')
    .select(['revision', 'hash', 'diff', 'by', 'createdAt'])
    .where('project', '=', project)
    .orderBy('revision', 'desc')
    .limit(100)
    .execute();
}

/** Keeps a pair of documents, as the definition writes it down, under its hash; the same hash is the same pair. */
export async function putDefinition(db: Db, hash: string, text: string): Promise<void> {
  await db
    .insertInto('definitions')
    .values({ hash, text })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** @returns what was kept under the hash; undefined when nothing was. */
export async function readDefinition(db: Db, hash: string): Promise<string | undefined> {
  const row = await db.selectFrom('definitions').select('text').where('hash', '=', hash).executeTakeFirst();
  return row?.text;
}
