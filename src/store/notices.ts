import { sql } from 'kysely';
import type { NoticeLevel } from '../domain/outcome.ts';
import type { Db, Row } from './schema.ts';

export interface NoticeClaim {
  readonly key: string;
  readonly channel: string;
  readonly event: string;
  readonly level: NoticeLevel;
  readonly project: string;
  readonly environment?: string | undefined;
  readonly title: string;
}

/** A sender has at most 10 s; who says nothing for longer than this is dead, and another may send. */
const claimSeconds = 15;

/**
 * Claims the right to send one message; it is this caller's until it says how it went, or is dead.
 *
 * @returns false when it has been sent, or somebody is sending it now.
 */
export async function claimNotice(db: Db, claim: NoticeClaim): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('notices')
    .values({ ...claim, environment: claim.environment ?? null, state: 'sending', error: null })
    .onConflict((conflict) =>
      conflict
        .columns(['key', 'channel'])
        .doUpdateSet({ state: 'sending', at: sql<string>`now()` })
        .where((where) =>
          where.or([
            where('notices.state', '=', 'failed'),
            where.and([
              where('notices.state', '=', 'sending'),
              where('notices.at', '<', sql<string>`now() - make_interval(secs => ${claimSeconds})`),
            ]),
          ]),
        ),
    )
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** How it went. */
export async function settleNotice(db: Db, key: string, channel: string, error?: string): Promise<void> {
  await db
    .updateTable('notices')
    .set({ state: error === undefined ? 'sent' : 'failed', error: error ?? null, at: sql<string>`now()` })
    .where('key', '=', key)
    .where('channel', '=', channel)
    .execute();
}

/** The last ones of a project. */
export async function listNotices(db: Db, project: string, limit = 100): Promise<readonly Row<'notices'>[]> {
  return await db
    .selectFrom('notices')
    .selectAll()
    .where('project', '=', project)
    .orderBy('at', 'desc')
    .limit(limit)
    .execute();
}
