import type { Client } from 'pg';
import { ProviderError } from '../../domain/failures.ts';
import { quoteName, maintenanceDatabase } from './postgres-connection.ts';
import type { PostgresServer } from './postgres-connection.ts';
import {
  allowStatement,
  commentStatement,
  endSessions,
  endSessionsMs,
  markStatement,
  readDatabases,
  scratchName,
  type ListedDatabase,
  type Mark,
} from './postgres-scratch.ts';
import type { BackupRecord, DatabaseSwap } from './port.ts';

/** What the names on the server say of a swap. */
type SwapState =
  | { readonly at: 'before'; readonly live: ListedDatabase; readonly proof: ListedDatabase & { readonly mark: Mark } }
  | { readonly at: 'after'; readonly damaged: ListedDatabase & { readonly mark: Mark } };

/**
 * Swaps by renaming; see {@link Backup.ensureSwapped}.
 *
 * Two steps, each all or nothing: connections to the live database are refused and ended, then one transaction renames both. Killed before
 * the first, nothing happened; between them, the live database refuses connections until the next call; after the second, it is done. The
 * names on the server tell which.
 */
export async function swapDatabases(server: PostgresServer, record: BackupRecord): Promise<DatabaseSwap> {
  return server.connected(maintenanceDatabase, 'RestoreFailed', async (client) => {
    const names = namesOf(record);
    const state = await readState(client, server, record);
    if (state.at === 'after') {
      return { changed: false, damagedDatabase: names.damaged, refusedWritesMs: state.damaged.mark.durationMs ?? 0 };
    }
    // Where an earlier call was cut off it has been refusing since then.
    const since = state.proof.mark.since ?? (await readClock(client));
    await client.query(markStatement(names.proof, { ...state.proof.mark, since }));
    await client.query(allowStatement(names.live, false));
    try {
      for (const name of [names.live, names.proof]) {
        const left = await endSessions(client, name, endSessionsMs);
        if (left > 0) {
          throw new Error(
            `${left} of the sessions of ${name} do not end (those of a superuser only a superuser may end)`,
          );
        }
      }
      const refusedWritesMs = await rename(client, state, names, since);
      return { changed: true, damagedDatabase: names.damaged, refusedWritesMs };
    } catch (error) {
      // Back to where it was, unless the server is gone: then the next call finds it refusing and goes on.
      await client
        .query(allowStatement(names.live, true))
        .then(() => client.query(markStatement(names.proof, state.proof.mark)))
        .catch(() => undefined);
      throw new ProviderError(
        'RestoreFailed',
        `database ${names.live} at ${server.address} could not be swapped: ${error instanceof Error ? error.message : String(error)}. By hand, in psql on database ${maintenanceDatabase}: ${byHand(names)}`,
        { details: { command: byHand(names) }, cause: error },
      );
    }
  });
}

/** Tells whether a swap was begun; see {@link Backup.readSwapBegun}. */
export async function readSwapBegun(server: PostgresServer, record: BackupRecord): Promise<boolean> {
  const { proof, damaged } = namesOf(record);
  const there = await server.connected(maintenanceDatabase, 'RestoreFailed', (client) =>
    readDatabases(client, [proof, damaged]),
  );
  return there.get(damaged)?.mark?.role === 'damaged' || there.get(proof)?.mark?.since !== undefined;
}

interface SwapNames {
  readonly live: string;
  readonly proof: string;
  readonly damaged: string;
}

function namesOf(record: BackupRecord): SwapNames {
  const { database, deployment } = record;
  return {
    live: database,
    proof: scratchName(database, 'proof', deployment),
    damaged: scratchName(database, 'damaged', deployment),
  };
}

async function readState(client: Client, server: PostgresServer, record: BackupRecord): Promise<SwapState> {
  const names = namesOf(record);
  const there = await readDatabases(client, [names.live, names.proof, names.damaged]);
  const [live, proof, damaged] = [there.get(names.live), there.get(names.proof), there.get(names.damaged)];
  if (live !== undefined && damaged?.mark?.role === 'damaged' && proof === undefined) {
    return { at: 'after', damaged: { ...damaged, mark: damaged.mark } };
  }
  if (
    live !== undefined &&
    damaged === undefined &&
    proof?.mark?.state === 'proved' &&
    proof.mark.sha256 === record.sha256
  ) {
    return { at: 'before', live, proof: { ...proof, mark: proof.mark } };
  }
  const found = [names.live, names.proof, names.damaged].map(
    (name) => `${name} ${there.has(name) ? 'is there' : 'is not there'}`,
  );
  throw new ProviderError(
    'RestoreFailed',
    `database ${names.live} at ${server.address} cannot be swapped with the proof of its backup: ${found.join(', ')}`,
    { details: { ...names, blob: record.blob }, nonRetryable: true },
  );
}

async function rename(
  client: Client,
  state: Extract<SwapState, { at: 'before' }>,
  names: SwapNames,
  since: string,
): Promise<number> {
  await client.query('begin');
  try {
    await client.query(`alter database ${quoteName(names.live)} rename to ${quoteName(names.damaged)}`);
    await client.query(`alter database ${quoteName(names.proof)} rename to ${quoteName(names.live)}`);
    await client.query(commentStatement(names.live, state.live.comment));
    await client.query(`alter database ${quoteName(names.damaged)} set default_transaction_read_only to on`);
    await client.query(`revoke connect on database ${quoteName(names.damaged)} from public`);
    await client.query(allowStatement(names.damaged, true));
    await client.query(allowStatement(names.live, true));
    const now = await readClock(client);
    const refusedWritesMs = Date.parse(now) - Date.parse(since);
    const { of, deployment, sha256 } = state.proof.mark;
    const mark: Mark = {
      role: 'damaged',
      of,
      deployment,
      since: now,
      durationMs: refusedWritesMs,
      ...(sha256 === undefined ? {} : { sha256 }),
    };
    await client.query(markStatement(names.damaged, mark));
    await client.query('commit');
    return refusedWritesMs;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** The server's clock, for it is compared with itself across restarts of ours. */
async function readClock(client: Client): Promise<string> {
  const { rows } = await client.query<{ now: Date }>('select clock_timestamp() as now');
  return (rows[0]?.now ?? new Date()).toISOString();
}

/** What a person types when it cannot be done from here. */
function byHand(names: SwapNames): string {
  const [live, proof, damaged] = [names.live, names.proof, names.damaged].map(quoteName);
  return `alter database ${live} rename to ${damaged}; alter database ${proof} with allow_connections true; alter database ${proof} rename to ${live};`;
}
