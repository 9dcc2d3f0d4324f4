import { sql } from 'kysely';
import type { SourceEvent } from '../domain/run.ts';
import type { Db } from './schema.ts';
import { inTransaction } from './transaction.ts';

/** Row of a project that was looked at, for a repository without refs leaves no other. No ref is named so. */
const lookedAt = '';

/** What polling saw last of a project, by full ref; undefined where it was never polled. */
export async function readRefsSeen(db: Db, project: string): Promise<ReadonlyMap<string, string> | undefined> {
  const rows = await db.selectFrom('refsSeen').select(['ref', 'value']).where('project', '=', project).execute();
  if (rows.length === 0) return undefined;
  return new Map(rows.filter(({ ref }) => ref !== lookedAt).map(({ ref, value }) => [ref, value]));
}

/** Writes down what is seen now and that it was looked, and forgets what is no longer there. */
export async function recordRefsSeen(
  db: Db,
  project: string,
  changes: { readonly moved: ReadonlyMap<string, string>; readonly gone: readonly string[] },
): Promise<void> {
  await inTransaction(db, async (tx) => {
    const rows = [[lookedAt, ''] as const, ...changes.moved].map(([ref, value]) => ({ project, ref, value }));
    // A statement has no more than 65,535 values.
    for (let at = 0; at < rows.length; at += 5_000) {
      await tx
        .insertInto('refsSeen')
        .values(rows.slice(at, at + 5_000))
        .onConflict((conflict) =>
          conflict.columns(['project', 'ref']).doUpdateSet({
            value: (eb) => eb.ref('excluded.value'),
            seenAt: sql<string>`now()`,
          }),
        )
        .execute();
    }
    for (let at = 0; at < changes.gone.length; at += 5_000) {
      await tx
        .deleteFrom('refsSeen')
        .where('project', '=', project)
        .where('ref', 'in', changes.gone.slice(at, at + 5_000))
        .execute();
    }
  });
}

/** Whether an event brought a run of one of these commits, however it came; and the commit of the newest run of the ref. */
export async function runsOfRef(
  db: Db,
  event: { readonly project: string; readonly kind: SourceEvent['kind']; readonly ref: string },
  commits: readonly string[],
): Promise<{ readonly known: boolean; readonly last: string | undefined }> {
  const runs = db
    .selectFrom('runs')
    .where('project', '=', event.project)
    .where('ref', '=', event.ref)
    .where('kind', '=', event.kind);
  const [same, newest] = await Promise.all([
    runs.select('number').where('commit', 'in', commits).limit(1).executeTakeFirst(),
    runs.select('commit').orderBy('id', 'desc').limit(1).executeTakeFirst(),
  ]);
  return { known: same !== undefined, last: newest?.commit };
}
