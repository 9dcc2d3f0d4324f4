import { type PostgresServer, applicationName, maintenanceDatabase } from './postgres-connection.ts';
import type { BackupOptions } from './port.ts';

/** How often the server is asked whether it works, ms. Judgement: often enough before work that says nothing counts as hung. */
const defaultEveryMs = 10_000;
/** What Slipway and the programs that it starts call themselves. */
const ours = [applicationName, 'pg_dump', 'pg_restore'];
/** Whoever waits for one of these does nothing: a lock, the program at the other end, the clock. */
const idleWaits = ['Lock', 'Client', 'Timeout', 'Activity', 'Extension'];

/**
 * Whether the server works on something of ours in one of these databases. An index that is being built, or a table that is being compared,
 * says nothing for as long as that takes; a program that hangs leaves the server idle.
 */
export function isWorking(server: PostgresServer, databases: readonly string[]): Promise<boolean> {
  return server.connected(maintenanceDatabase, 'RestoreFailed', async (client) => {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity
       where datname = any($1) and application_name = any($2) and state = 'active' and pid <> pg_backend_pid()
         and coalesce(wait_event_type, '') <> all($3) limit 1`,
      [databases, ours, idleWaits],
    );
    return rows.length > 0;
  });
}

/** Tells of progress while the server works on it, though nobody says a word. Its own questions have ended when it returns. */
export async function tellingWork<T>(
  server: PostgresServer,
  databases: readonly string[],
  { onProgress }: BackupOptions,
  work: () => Promise<T>,
  everyMs: number = defaultEveryMs,
): Promise<T> {
  if (onProgress === undefined) return await work();
  let asking: Promise<void> | undefined;
  const ask = async (): Promise<void> => {
    // A server that does not answer has not got on.
    if (await isWorking(server, databases).catch(() => false)) onProgress('the server works');
    asking = undefined;
  };
  const timer = setInterval(() => {
    asking ??= ask();
  }, everyMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await asking;
  }
}
