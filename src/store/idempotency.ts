import { sql } from 'kysely';
import type { Db } from './schema.ts';
import { json } from './store.ts';

export interface StoredResponse {
  readonly status: number;
  readonly body: unknown;
}

/** What is known of a request that carries an idempotency key. */
export type KeyState =
  | { readonly kind: 'new' }
  /** The first one has not been answered yet. */
  | { readonly kind: 'running' }
  /** The key was used for another request. */
  | { readonly kind: 'different' }
  | { readonly kind: 'answered'; readonly response: StoredResponse };

/** A key is remembered for 24 h; a request that never answered frees it after a minute. */
const keptHours = 24;
const runningSeconds = 60;

/** Takes the key for this request, or says what became of the one that took it before. */
export async function takeKey(db: Db, scope: string, key: string, requestHash: string): Promise<KeyState> {
  await db
    .deleteFrom('idempotencyKeys')
    .where('scope', '=', scope)
    .where('key', '=', key)
    .where(
      sql<boolean>`created_at < now() - make_interval(hours => ${keptHours})
        or (response is null and created_at < now() - make_interval(secs => ${runningSeconds}))`,
    )
    .execute();
  const added = await db
    .insertInto('idempotencyKeys')
    .values({ scope, key, requestHash, response: null })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (added.numInsertedOrUpdatedRows === 1n) return { kind: 'new' };
  const row = await db
    .selectFrom('idempotencyKeys')
    .select(['requestHash', 'response'])
    .where('scope', '=', scope)
    .where('key', '=', key)
    .executeTakeFirst();
  if (row === undefined) return await takeKey(db, scope, key, requestHash);
  if (row.requestHash !== requestHash) return { kind: 'different' };
  return row.response === null ? { kind: 'running' } : { kind: 'answered', response: row.response };
}

export async function keepResponse(db: Db, scope: string, key: string, response: StoredResponse): Promise<void> {
  await db
    .updateTable('idempotencyKeys')
    .set({ response: json(response) })
    .where('scope', '=', scope)
    .where('key', '=', key)
    .execute();
}

/** The request was refused or failed: the same key may try again. */
export async function releaseKey(db: Db, scope: string, key: string): Promise<void> {
  await db
    .deleteFrom('idempotencyKeys')
    .where('scope', '=', scope)
    .where('key', '=', key)
    .where('response', 'is', null)
    .execute();
}
