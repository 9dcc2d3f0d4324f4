import { CamelCasePlugin, Kysely, PostgresDialect, type PostgresPoolClient } from 'kysely';
import { Migrator } from 'kysely/migration';
import { Pool, type PoolClient, type PoolConfig, type CustomTypesConfig, types } from 'pg';
import { ProviderError } from '../domain/failures.ts';
import { storableText } from '../domain/storable-text.ts';
import { migrations } from './migrations/index.ts';
import type { Database, Db } from './schema.ts';

export interface StoreOptions {
  /** `postgres://user:password@host:port/database`; any server from 15 on. */
  readonly url: string;
  /** Default 10. */
  readonly poolSize?: number;
  /** Shown in `pg_stat_activity`. Default `slipway`. */
  readonly applicationName?: string;
}

/** The store: a pool that is opened by the first query, so that making it needs no server. */
export interface Store {
  readonly db: Db;
  /** The pool itself, for LISTEN and for locks of a session. */
  readonly pool: Pool;
  close(): Promise<void>;
}

const connectTimeoutMs = 5_000;
const statementTimeoutMs = 30_000;

/** What a driver gives of these types by default would not be what the tables say: bigint as text, instants as Date. */
const parsers: Readonly<Record<number, (text: string) => unknown>> = {
  [types.builtins.INT8]: Number,
  [types.builtins.TIMESTAMPTZ]: (text) => new Date(text).toISOString(),
};

/** Every error of connection comes out as ProviderError `StoreUnavailable` (retried); others as the driver made them. */
export function openStore(options: StoreOptions): Store {
  const pool = new Pool(poolConfig(options));
  // An idle connection that breaks is dropped by the pool; unheard, its error would end the process.
  pool.on('error', () => undefined);
  // Nor may that of one in use, which says so at its next query: between two of a transaction nobody listens.
  pool.on('connect', (client) => void client.on('error', () => undefined));
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({
      pool: {
        connect: async () => translating(await translate(() => pool.connect())),
        end: () => pool.end(),
        options: pool.options,
      },
    }),
    plugins: [new CamelCasePlugin({ maintainNestedObjectKeys: true })],
  });
  let closing: Promise<void> | undefined;
  return {
    db,
    pool,
    // The pool directly: Kysely ends it only after a first query.
    close: () => (closing ??= pool.end()),
  };
}

function poolConfig(options: StoreOptions): PoolConfig {
  return {
    connectionString: options.url,
    max: options.poolSize ?? 10,
    application_name: options.applicationName ?? 'slipway',
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    keepAlive: true,
    types: { getTypeParser: parserOf as CustomTypesConfig['getTypeParser'] },
  };
}

function parserOf(oid: number, format?: 'text'): unknown {
  return parsers[oid] ?? (types.getTypeParser as (oid: number, format?: 'text') => unknown)(oid, format);
}

/**
 * Brings the tables to this version; several processes may do so at once.
 *
 * @throws ProviderError `StoreUnavailable` (retried), `ConfigurationInvalid` - the store belongs to a newer Slipway, or a migration failed.
 */
export async function migrate(db: Db): Promise<readonly string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve({ ...migrations }) } });
  const { error, results } = await migrator.migrateToLatest();
  if (error !== undefined) {
    if (error instanceof ProviderError) throw error;
    const message = error instanceof Error ? error.message : JSON.stringify(error);
    throw new ProviderError(
      'ConfigurationInvalid',
      `The tables of the store could not be brought up to date: ${message}`,
      {
        cause: error,
      },
    );
  }
  return (results ?? []).map((result) => result.migrationName);
}

/** Writes a value for a jsonb column. */
export function json(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'string' ? storableText(each) : each));
}

/** True when the statement broke this kind of rule: `23505` is a unique key. */
export function isViolation(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function translating(client: PoolClient): PostgresPoolClient {
  return new Proxy(client, {
    get(target, property) {
      if (property !== 'query') {
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      }
      return (text: string, values: readonly unknown[]) => {
        const clean = values.map((value) => (typeof value === 'string' ? storableText(value) : value));
        return translate(() => target.query(text, clean));
      };
    },
  });
}

async function translate<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const trouble = connectionTrouble(error);
    if (trouble === undefined) throw error;
    throw new ProviderError('StoreUnavailable', `The store does not answer: ${trouble}`, { cause: error });
  }
}

const socketCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * SQLSTATE classes 08 (connection), 40 (a deadlock: the same again will do), 53 (resources), 57P (shutting down, starting up), or no SQLSTATE at all: the socket or the pool.
 *
 * @returns what is wrong; undefined when it is not the connection.
 */
function connectionTrouble(error: unknown): string | undefined {
  // Not `instanceof Error`: a socket's error may come from another realm.
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (typeof message !== 'string') return undefined;
  if (typeof code === 'string') {
    return socketCodes.has(code) || /^(08|40|53|57P)/.test(code) ? message || code : undefined;
  }
  return /terminat|timeout|connect|closed|not queryable|ended/i.test(message) ? message : undefined;
}
