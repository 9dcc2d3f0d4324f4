import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import type { Client } from 'pg';
import type { FailureType } from '../../domain/failure-kinds.ts';
import { ProviderError } from '../../domain/failures.ts';
import { longestProgramMs } from '../../domain/database-work.ts';
import { runProcess } from '../../effects/process.ts';
import type { ProcessRequest, ProcessResult } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { databaseError } from '../migrations/postgres-errors.ts';
import { type ProgramPlaces, findProgramFolder, programAdvice, requirePrograms } from './postgres-programs.ts';
import { type PostgresUrl, readPostgresUrl } from './postgres-url.ts';

/** One server with the role that Slipway uses on it, and the database that is its concern. */
export interface PostgresServer {
  readonly database: string;
  /** `host:port`, for messages. */
  readonly address: string;
  /**
   * Opens a connection for some work and closes it.
   *
   * @throws what {@link databaseError} makes of it, `otherwise` where the server answered.
   */
  connected<T>(database: string, otherwise: FailureType, work: (client: Client) => Promise<T>): Promise<T>;
  /**
   * Folder of the programs that {@link PostgresServer.run} takes: the one that is set, else that for the version which the server says now;
   * it may be another one after an upgrade.
   *
   * @throws `ToolMissing` (not retried): none fits, or the one that is set has none. What {@link PostgresServer.connected} throws.
   */
  programFolder(database: string, otherwise: FailureType): Promise<string>;
  /**
   * Runs one of PostgreSQL's programs against a database. The password goes by the environment, never by an argument.
   *
   * @throws `ToolMissing`, `ToolTooOld` (not retried): the program is not there, or refuses a server newer than itself.
   * @throws `DatabaseUnreachable`, `DatabaseRefused`, `DiskFull`, else `otherwise`; details carry its last lines.
   */
  run(program: string, args: readonly string[], database: string, how: RunOptions): Promise<ProcessResult>;
}

export interface RunOptions {
  readonly otherwise: FailureType;
  readonly signal?: AbortSignal | undefined;
  readonly input?: ProcessRequest['input'];
  readonly sink?: ProcessRequest['sink'];
  /** Told of its remarks and errors; with it the program is asked to make remarks. */
  readonly onLine?: ProcessRequest['onLine'] | undefined;
}

/** Database for statements about databases; every server has it. */
export const maintenanceDatabase = 'postgres';
/** What Slipway's own connections are called. */
export const applicationName = 'slipway-backup';
const keptLines = 15;
/** What a program that was asked for remarks says of its work, and not of a mistake: names of the application's own tables are in it. */
const remark = /^pg_(?:dump|restore): (?!\[|error:|warning:|detail:|hint:|fatal:)/;

/**
 * Reads a connection URL; connects to nothing.
 *
 * @param options - `clientBin`: folder of the programs. Without it they are looked for in `places`.
 */
export function describeServer(options: {
  readonly url: string;
  readonly clientBin?: string | undefined;
  readonly places?: Partial<ProgramPlaces> | undefined;
}): PostgresServer {
  const url = readPostgresUrl(options.url);
  const { database, address } = url;

  return {
    database,
    address,
    async connected(name, otherwise, work) {
      await url.ensureUsable();
      const { default: pg } = await import('pg');
      const client = new pg.Client({
        connectionString: url.driverUrl(name),
        enableChannelBinding: url.bindsChannel,
        application_name: applicationName,
        connectionTimeoutMillis: 5_000,
        keepAlive: true,
      });
      // Unheard, a broken connection would end the process; the query under way rejects by itself.
      client.on('error', () => undefined);
      try {
        await client.connect();
        return await work(client);
      } catch (error) {
        throw databaseError(error, `database ${name} at ${address}`, otherwise);
      } finally {
        await client.end().catch(() => undefined);
      }
    },
    async programFolder(name, otherwise) {
      if (options.clientBin !== undefined) {
        requirePrograms(options.clientBin);
        return options.clientBin;
      }
      const major = await this.connected(name, otherwise, readMajor);
      return await findProgramFolder(major, `database ${name} at ${address}`, options.places);
    },
    async run(program, args, name, { otherwise, signal, input, sink, onLine }) {
      await url.ensureUsable();
      const folder = await this.programFolder(name, otherwise);
      const start = (authorities?: string): Promise<ProcessResult> =>
        runProcess({
          command: [join(folder, program), ...(onLine === undefined ? [] : ['--verbose']), ...args],
          env: {
            ...url.programVariables(name, authorities),
            PGCONNECT_TIMEOUT: '10',
            LC_ALL: 'C',
          },
          timeoutMs: longestProgramMs,
          // Its silence is watched by whoever asked for it, together with what the server does meanwhile (postgres-progress.ts).
          stallAfterMs: Infinity,
          output: 'data',
          ...(signal === undefined ? {} : { signal }),
          ...(input === undefined ? {} : { input }),
          ...(sink === undefined ? {} : { sink }),
          ...(onLine === undefined ? {} : { onLine }),
        });
      const result = await withAuthorities(url, start);
      if (result.exitCode === 0) return result;
      throw toolError(program, `database ${name} at ${address}`, result, otherwise);
    },
  };
}

/** Libpq trusts nobody unasked, as Node does: it is given the same authorities, in a file that lasts as long as the program. */
async function withAuthorities<T>(url: PostgresUrl, work: (authorities?: string) => Promise<T>): Promise<T> {
  if (!url.needsAuthorities) return await work();
  return await withScratch('authorities', async (folder) => {
    const file = join(folder, 'authorities.pem');
    await writeFile(file, getCACertificates('default').join('\n'), { mode: 0o600 });
    return await work(file);
  });
}

/** Of the server, as 15 of 15.18. */
async function readMajor(client: Client): Promise<number> {
  const { rows } = await client.query<{ major: number }>(
    `select current_setting('server_version_num')::int / 10000 as major`,
  );
  const [row] = rows;
  if (row === undefined) throw new Error('the server does not say its version');
  return row.major;
}

function toolError(program: string, database: string, result: ProcessResult, otherwise: FailureType): ProviderError {
  const tail = result.tail
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const complaints = tail.filter((line) => !remark.test(line));
  const lines = complaints.length === 0 ? tail : complaints;
  const words = lines.join('\n');
  const said = lines.find((line) => /error|fatal/i.test(line)) ?? lines.at(-1) ?? `exit code ${result.exitCode}`;
  const details = { program, exitCode: result.exitCode, output: lines.slice(-keptLines) };
  const type: FailureType = /server version mismatch/i.test(words)
    ? 'ToolTooOld'
    : /no space left on device|disk full|53100/i.test(words)
      ? 'DiskFull'
      : /authentication failed|permission denied|role ".*" does not exist|database ".*" does not exist/i.test(words)
        ? 'DatabaseRefused'
        : /connection to server|could not connect|server closed the connection|terminating connection|starting up|shutting down/i.test(
              words,
            )
          ? 'DatabaseUnreachable'
          : otherwise;
  const what =
    type === 'DiskFull'
      ? `there is no room on the disk of the server of ${database}`
      : `${program} of ${database} failed`;
  // As programs of 17 say to a server of 16 (`transaction_timeout`), whose words alone help nobody.
  const isTooNew = program === 'pg_restore' && /unrecognized configuration parameter/i.test(words);
  const advice =
    type === 'ToolTooOld'
      ? `. It refuses a server newer than itself. ${programAdvice}`
      : isTooNew
        ? `. Programs newer than a server set what it does not know. ${programAdvice}`
        : '';
  return new ProviderError(type, `${what}: ${said}${advice}`, { details });
}

/** An identifier as SQL takes it whatever it holds. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as an SQL literal, for statements that take no parameters. */
export function quoteText(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}
