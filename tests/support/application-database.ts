import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import { components } from './components.ts';

/** A database of its own on the applications' server, owned by a role that is no superuser. */
export interface ApplicationDatabase {
  readonly name: string;
  /** As its owner, from this machine. */
  readonly url: string;
  readonly password: string;
  readonly clientBin: string;
  /** As the server's superuser, on the maintenance database. */
  readonly adminUrl: string;
  /** Runs one statement as the owner on a connection of its own. */
  query<R extends object = Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<R[]>;
  /** The same on another database of the server. */
  queryIn<R extends object = Record<string, unknown>>(database: string, sql: string): Promise<R[]>;
  /** Drops it, every database whose name begins with its name, and the role. */
  drop(): Promise<void>;
}

let count = 0;

export async function createApplicationDatabase(
  options: { readonly tablespace?: string } = {},
): Promise<ApplicationDatabase> {
  const { applicationPostgres: server } = await components('applicationPostgres');
  count += 1;
  const name = `slipway_test_${process.pid}_${count}`;
  const password = `secret-of-${name}`;
  const admin = new Client({ connectionString: server.url });
  await admin.connect();
  await admin.query(`create role ${escapeIdentifier(name)} login createdb password ${escapeLiteral(password)}`);
  if (options.tablespace !== undefined) {
    await admin.query(
      `grant create on tablespace ${escapeIdentifier(options.tablespace)} to ${escapeIdentifier(name)}`,
    );
  }
  await admin.query(
    `create database ${escapeIdentifier(name)} owner ${escapeIdentifier(name)}${options.tablespace === undefined ? '' : ` tablespace ${escapeIdentifier(options.tablespace)}`}`,
  );
  await admin.end();
  const url = new URL(server.url);
  [url.username, url.password, url.pathname] = [name, password, `/${name}`];

  async function run<R extends object>(
    connectionString: string,
    sql: string,
    values?: readonly unknown[],
  ): Promise<R[]> {
    const client = new Client({ connectionString });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<R>(sql, values === undefined ? undefined : [...values])).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  return {
    name,
    url: url.href,
    password,
    clientBin: server.clientBin,
    adminUrl: server.url,
    query: (sql, values) => run(url.href, sql, values),
    queryIn: (database, sql) => {
      const other = new URL(url);
      other.pathname = `/${database}`;
      return run(other.href, sql);
    },
    async drop() {
      const found = await run<{ datname: string }>(
        server.url,
        `select datname from pg_database where datname = '${name}' or datname like '${name.replaceAll('_', '\\_')}\\_%'`,
      );
      for (const { datname } of found) {
        await run(server.url, `drop database if exists ${escapeIdentifier(datname)} with (force)`);
      }
      await run(server.url, `drop owned by ${escapeIdentifier(name)}`);
      await run(server.url, `drop role if exists ${escapeIdentifier(name)}`);
    },
  };
}
