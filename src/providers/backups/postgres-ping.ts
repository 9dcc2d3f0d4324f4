import { databaseError } from '../migrations/postgres-errors.ts';

/** For the connection, and again for the answer. Judgement: an application's pool gives up about then. */
const answerMs = 3_000;

/**
 * Connects as the application does, asks `select 1` and leaves. No connection is kept: one that is open says nothing of whether a new one
 * could be had.
 *
 * @param name - for messages; the URL stands in none.
 * @throws ProviderError `DatabaseUnreachable` (retried): no connection or no answer within 3 s each; `DatabaseRefused` (not retried)
 */
export async function pingPostgres(url: string, name: string): Promise<void> {
  const { Client } = (await import('pg')).default;
  const client = new Client({
    connectionString: url,
    application_name: 'slipway watch',
    connectionTimeoutMillis: answerMs,
    query_timeout: answerMs,
  });
  // Unheard, the end of the connection would end the process; the query that was running rejects by itself.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
  } catch (error) {
    throw databaseError(error, name, 'DatabaseUnreachable');
  } finally {
    // Not waited for: where the server hangs, the farewell would too.
    void client.end().catch(() => undefined);
  }
}
