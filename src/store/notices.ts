import { sql } from 'kysely';
import type { Message } from '../domain/notice.ts';
import type { NoticeLevel } from '../domain/outcome.ts';
import type { Db, Row } from './schema.ts';
import { json } from './store.ts';

export interface NoticeClaim {
  readonly key: string;
  readonly channel: string;
  readonly event: string;
  readonly level: NoticeLevel;
  readonly project: string;
  readonly environment?: string | undefined;
  readonly title: string;
  /** All of it, for who has to send it again; absent: it is not sent again. */
  readonly message?: Message | undefined;
}

/** A sender has at most 10 s; who says nothing for longer than this is dead, and another may send. */
const claimSeconds = 15;
/** For so long an undelivered notice is sent again: whoever reads it later reads of what is over. Judgement. */
const triedForSeconds = 3_600;
/** Between two tries: doubled each time, from the first to the second. With them about ten tries in the hour. Judgement. */
const retrySeconds = [10, 600] as const;
/** For so long a notice that was never delivered is shown. Judgement. */
const shownSeconds = 86_400;

/**
 * Claims the right to send one message; it is this caller's until it says how it went, or is dead.
 *
 * @returns false when it has been sent, or somebody is sending it now.
 */
export async function claimNotice(db: Db, { message, environment, ...claim }: NoticeClaim): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('notices')
    .values({
      ...claim,
      environment: environment ?? null,
      state: 'sending',
      error: null,
      message: message === undefined ? null : json(message),
      retryAt: null,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['key', 'channel'])
        .doUpdateSet({ state: 'sending', at: sql<string>`now()`, tries: sql<number>`notices.tries + 1` })
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

/** How a try ended. */
export interface NoticeTry {
  /** Absent: it was delivered. */
  readonly error?: string | undefined;
  /** Whether the same may work later. */
  readonly retryable?: boolean;
}

/**
 * How it went; one that was not delivered is due again some time later, for an hour.
 *
 * @returns false where nobody had claimed it: it is not known here, and nobody will send it again.
 */
export async function settleNotice(
  db: Db,
  key: string,
  channel: string,
  { error, retryable = true }: NoticeTry = {},
): Promise<boolean> {
  const [first, longest] = retrySeconds;
  const again = sql<string | null>`case when created_at > now() - make_interval(secs => ${triedForSeconds})
    then now() + make_interval(secs => least(${longest}, ${first} * power(2, least(tries, 20) - 1))) end`;
  const { numUpdatedRows } = await db
    .updateTable('notices')
    .set({
      state: error === undefined ? 'sent' : 'failed',
      error: error ?? null,
      at: sql<string>`now()`,
      retryAt: error !== undefined && retryable ? again : null,
      ...(error === undefined ? { message: null } : {}),
    })
    .where('key', '=', key)
    .where('channel', '=', channel)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** A notice that is to be sent again. */
export interface DueNotice {
  readonly key: string;
  readonly channel: string;
  readonly message: Message;
}

/** Those whose time has come, and those whose sender has died; the oldest first. */
export async function readDueNotices(db: Db, limit: number): Promise<readonly DueNotice[]> {
  const rows = await db
    .selectFrom('notices')
    .select(['key', 'channel', 'message'])
    .where('message', 'is not', null)
    .where((where) =>
      where.or([
        where.and([where('state', '=', 'failed'), where('retryAt', '<=', sql<string>`now()`)]),
        where.and([
          where('state', '=', 'sending'),
          where('at', '<', sql<string>`now() - make_interval(secs => ${claimSeconds})`),
        ]),
      ]),
    )
    .orderBy('createdAt')
    .limit(limit)
    .execute();
  return rows.flatMap(({ message, ...row }) => (message === null ? [] : [{ ...row, message }]));
}

/** A notice without its lines. */
export type NoticeRow = Omit<Row<'notices'>, 'message'>;

const columns = [
  'key',
  'channel',
  'event',
  'level',
  'project',
  'environment',
  'title',
  'state',
  'error',
  'at',
  'tries',
  'retryAt',
  'createdAt',
] as const;

/**
 * The last ones, of a project or of all.
 *
 * @param of.undelivered - only those of the last day that some channel has not taken.
 */
export async function listNotices(
  db: Db,
  of: { readonly project?: string | undefined; readonly undelivered?: boolean | undefined },
  limit = 100,
): Promise<readonly NoticeRow[]> {
  let query = db.selectFrom('notices').select(columns);
  if (of.project !== undefined) query = query.where('project', '=', of.project);
  if (of.undelivered === true) {
    query = query
      .where('state', '=', 'failed')
      .where('at', '>', sql<string>`now() - make_interval(secs => ${shownSeconds})`);
  }
  return await query.orderBy('at', 'desc').limit(limit).execute();
}

/** How many of the last day some channel has not taken. */
export async function countUndelivered(db: Db): Promise<number> {
  const row = await db
    .selectFrom('notices')
    .select((select) => select.fn.countAll<string>().as('count'))
    .where('state', '=', 'failed')
    .where('at', '>', sql<string>`now() - make_interval(secs => ${shownSeconds})`)
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}
