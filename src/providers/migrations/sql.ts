import type { Client } from 'pg';
import { ProviderError } from '../../domain/failures.ts';
import type { MigrationFile, MigrationRequest, MigrationRunner } from './port.ts';
import { databaseError, lineOf, sqlState } from './postgres-errors.ts';

export interface SqlMigrationOptions {
  /** Connection URL with its password; it is given to the driver and stands in no error. */
  readonly url: string;
  /** Name of the database for messages. */
  readonly name: string;
  readonly lockTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

/** Any number will do as long as every runner takes the same one: the first bytes of SHA-256 of `slipway migrations`. */
const lockKey = '4823098105412385123';
const lockNotAvailable = '55P03';
const queryCancelled = '57014';

/** Back to who connected and to the settings of the connection; also allowed in the middle of a transaction. */
const ownSettings = 'reset session authorization; reset role; reset all';
/** With {@link ownSettings} it is `DISCARD ALL` without its release of advisory locks: the lock of all runners outlives every file. */
const nothingLeft = 'close all; deallocate all; unlisten *; discard plans; discard temp; discard sequences';

/** Numbered SQL files, each in a transaction with its record in `slipway_migrations` of the application's own database. */
export function createSqlMigrationRunner(options: SqlMigrationOptions): MigrationRunner {
  const database = `database ${options.name}`;
  const open = new Set<Client>();

  async function connected<T>(
    work: (client: Client) => Promise<T>,
    signal?: AbortSignal,
    onLine?: MigrationRequest['onLine'],
  ): Promise<T> {
    signal?.throwIfAborted();
    const { Client: PgClient } = (await import('pg')).default;
    const client = new PgClient({
      connectionString: options.url,
      application_name: 'slipway migrations',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    });
    // Unheard, the end of the connection would end the process; the query that was running rejects by itself.
    client.on('error', () => undefined);
    if (onLine !== undefined) client.on('notice', (notice) => onLine(wordsOf(notice)));
    // Ending the connection makes the server roll back what runs.
    const end = (): void => void client.end();
    signal?.addEventListener('abort', end, { once: true });
    open.add(client);
    try {
      await client.connect();
      return await work(client);
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      throw databaseError(error, database, 'MigrationFailed');
    } finally {
      signal?.removeEventListener('abort', end);
      open.delete(client);
      await client.end().catch(() => undefined);
    }
  }

  async function setLimits(client: Client): Promise<void> {
    await client.query(`select set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false)`, [
      `${options.lockTimeoutMs}ms`,
      `${options.statementTimeoutMs}ms`,
    ]);
  }

  /** Holds the one lock of all runners; it goes with the connection, so a killed runner holds nothing. */
  async function locked<T>(client: Client, work: () => Promise<T>): Promise<T> {
    await setLimits(client);
    const { rows } = await client.query<{ got: boolean }>('select pg_try_advisory_lock($1::bigint) as got', [lockKey]);
    if (rows[0]?.got !== true) {
      throw new ProviderError('MigrationLocked', `Another migration runs on ${database}.`);
    }
    await client.query(`create table if not exists slipway_migrations (
      position bigint generated always as identity,
      name text primary key,
      checksum text not null,
      down text,
      deployment bigint not null,
      applied_at timestamptz not null default now()
    )`);
    return await work();
  }

  /**
   * One file with its record. Each begins with the session as it was connected: what a file has set (`search_path`, `lock_timeout`, a role),
   * made for itself or left open must not decide what the next one does.
   */
  async function inTransaction(
    client: Client,
    file: { name: string; sql: string },
    record: () => Promise<unknown>,
  ): Promise<void> {
    await client.query(`${ownSettings}; ${nothingLeft}`);
    await setLimits(client);
    await client.query('begin');
    try {
      await client.query(file.sql);
      // As a dump does, a file may have emptied the search path or taken another role; the record is ours.
      await client.query(ownSettings);
      await setLimits(client);
      await record();
      await client.query('commit');
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw migrationError(error, file);
    }
  }

  function migrationError(error: unknown, file: { name: string; sql: string }): unknown {
    const state = sqlState(error);
    const words = error instanceof Error ? error.message : String(error);
    if (state === lockNotAvailable) {
      return new ProviderError(
        'MigrationLocked',
        `${file.name} waited ${options.lockTimeoutMs} ms for a lock on ${database} and gave up, so as not to queue users behind it.`,
        { cause: error },
      );
    }
    const line = lineOf(file.sql, error);
    const where = line === undefined ? file.name : `${file.name}, line ${line}`;
    const translated = databaseError(error, database, 'MigrationFailed');
    if (translated.type !== 'MigrationFailed' && state !== queryCancelled) return translated;
    const why = state === queryCancelled ? `longer than ${options.statementTimeoutMs} ms: ${words}` : words;
    return new ProviderError('MigrationFailed', `${where} failed on ${database} and was rolled back: ${why}`, {
      cause: error,
      details: { ...translated.details, file: file.name, ...(line === undefined ? {} : { line }) },
    });
  }

  async function pendingOf(client: Client, files: readonly MigrationFile[]): Promise<readonly MigrationFile[]> {
    const { rows: found } = await client.query<{ there: boolean }>(
      `select to_regclass('slipway_migrations') is not null as there`,
    );
    if (found[0]?.there !== true) return files;
    const { rows } = await client.query<{ name: string; checksum: string }>(
      'select name, checksum from slipway_migrations',
    );
    const applied = new Map(rows.map((row) => [row.name, row.checksum]));
    const changed = files.filter((file) => (applied.get(file.name) ?? file.checksum) !== file.checksum);
    if (changed.length > 0) {
      const names = changed.map((file) => file.name).join(', ');
      throw new ProviderError(
        'MigrationFailed',
        `${names}: changed after ${database} had it. Put the file back as it was and write the difference as a new migration.`,
        { details: { changed: changed.map((file) => file.name) } },
      );
    }
    return files.filter((file) => !applied.has(file.name));
  }

  return {
    pending: (files) =>
      files.length === 0
        ? Promise.resolve([])
        : connected(async (client) =>
            (await pendingOf(client, files)).map(({ name, checksum, kind }) => ({ name, checksum, kind })),
          ),

    run: ({ files, deployment, signal, onLine }) =>
      connected(
        (client) =>
          locked(client, async () => {
            const applied: string[] = [];
            const pending = await pendingOf(client, files);
            onLine?.(`${pending.length} of ${files.length} migrations are pending on ${database}`);
            for (const file of pending) {
              signal?.throwIfAborted();
              await told(onLine, file.name, () =>
                inTransaction(client, file, () =>
                  client.query(
                    'insert into slipway_migrations (name, checksum, down, deployment) values ($1, $2, $3, $4)',
                    [file.name, file.checksum, file.down ?? null, deployment],
                  ),
                ),
              );
              applied.push(file.name);
            }
            return applied;
          }),
        signal,
        onLine,
      ),

    down: ({ deployment, signal, onLine }) =>
      connected(
        (client) =>
          locked(client, async () => {
            const { rows } = await client.query<{ name: string; down: string | null }>(
              'select name, down from slipway_migrations where deployment = $1 order by position desc',
              [deployment],
            );
            const stuck = rows.find((row) => row.down === null);
            if (stuck !== undefined) {
              throw new ProviderError('MigrationFailed', `${stuck.name} has no way down, so nothing was taken back.`, {
                details: { file: stuck.name },
              });
            }
            const undone: string[] = [];
            for (const { name, down } of rows) {
              signal?.throwIfAborted();
              const wayDown = { name: `the way down of ${name}`, sql: down ?? '' };
              await told(onLine, wayDown.name, () =>
                inTransaction(client, wayDown, () =>
                  client.query('delete from slipway_migrations where name = $1', [name]),
                ),
              );
              undone.push(name);
            }
            return undone;
          }),
        signal,
        onLine,
      ),

    appliedBy: (deployment) =>
      connected(async (client) => {
        const { rows: found } = await client.query<{ there: boolean }>(
          `select to_regclass('slipway_migrations') is not null as there`,
        );
        if (found[0]?.there !== true) return [];
        const { rows } = await client.query<{ name: string }>(
          'select name from slipway_migrations where deployment = $1 order by position',
          [deployment],
        );
        return rows.map(({ name }) => name);
      }),

    async close() {
      await Promise.all([...open].map((client) => client.end().catch(() => undefined)));
    },
  };
}

/** One file as whoever reads the log sees it: when it begins, and how it ended. */
async function told(onLine: MigrationRequest['onLine'], name: string, work: () => Promise<void>): Promise<void> {
  const began = performance.now();
  onLine?.(`${name} begins`);
  try {
    await work();
  } catch (error) {
    onLine?.(`${name} was rolled back after ${Math.round(performance.now() - began)} ms`);
    throw error;
  }
  onLine?.(`${name} is applied, in ${Math.round(performance.now() - began)} ms`);
}

/** What the server says while a file runs, as `psql` shows it. */
function wordsOf({ severity, message, detail, hint }: NoticeMessage): string {
  return [
    `${severity ?? 'NOTICE'}: ${message ?? ''}`,
    ...(detail === undefined ? [] : [`DETAIL: ${detail}`]),
    ...(hint === undefined ? [] : [`HINT: ${hint}`]),
  ].join('; ');
}

interface NoticeMessage {
  readonly severity?: string | undefined;
  readonly message?: string | undefined;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
}
