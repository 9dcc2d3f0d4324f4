import { flushEvents } from './events.ts';
import type { Db } from './schema.ts';

/** Does several statements as one, in the caller's transaction where there is one. Events published meanwhile are added at its end. */
export async function inTransaction<T>(db: Db, work: (tx: Db) => Promise<T>): Promise<T> {
  if (db.isTransaction) return await work(db);
  return await db.transaction().execute(async (tx) => {
    const result = await work(tx);
    await flushEvents(tx);
    return result;
  });
}
