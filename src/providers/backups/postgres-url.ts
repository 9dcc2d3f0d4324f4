import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';

/**
 * A connection URL that means the same to the driver and to PostgreSQL's own programs. The two read it differently: the driver takes every
 * parameter for a setting of its own, and verifies the server for each `sslmode` but `disable` and `no-verify`; the programs know neither
 * `no-verify` nor `ssl`, and verify nothing for `require`. So each is told in its own words, and what only one of them would go by is refused.
 */
export interface PostgresUrl {
  readonly database: string;
  /** `host:port`, for messages. */
  readonly address: string;
  /** For the driver, with this database in the place of its own. */
  driverUrl(database: string): string;
  /** The driver uses SCRAM with channel binding where the server offers it. */
  readonly bindsChannel: boolean;
  /** Whether programs must be given the authorities that Node trusts: the driver goes by those where the URL names no file. */
  readonly needsAuthorities: boolean;
  /** The variables of libpq, the password among them. @param authorities - file of certificates, where {@link needsAuthorities}. */
  programVariables(database: string, authorities?: string): Readonly<Record<string, string>>;
  /**
   * Before anything is done with it, and not when it is read: what needs no program goes on with any URL.
   *
   * @throws `ConfigurationInvalid` (not retried): it has what only one of the two would go by, or names a file that cannot be read here. The
   * message has no value of it.
   */
  ensureUsable(): Promise<void>;
}

const modes = ['disable', 'no-verify', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type Mode = (typeof modes)[number];

const fileParameters = ['sslrootcert', 'sslcert', 'sslkey'] as const;
/** Parameters whose variable says the same to libpq. The driver leaves alone what it does not know of them. */
const passed = {
  options: 'PGOPTIONS',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslnegotiation: 'PGSSLNEGOTIATION',
  channel_binding: 'PGCHANNELBINDING',
  gssencmode: 'PGGSSENCMODE',
} as const;
/** What both take by another way: where and who, and how TLS is meant. */
const understood = ['host', 'port', 'user', 'password', 'ssl', 'sslmode', 'sslrootcert', 'uselibpqcompat'];
/** What Slipway sets itself, for it recognises its connections by their name and limits every wait: taken out of the URL. */
const ours = ['application_name', 'fallback_application_name', 'connect_timeout'];
const known = [...understood, ...Object.keys(passed), ...ours];

/**
 * Reads a connection URL; connects to nothing and reads no file.
 *
 * @throws `ConfigurationInvalid` (not retried): it is none, or names no database.
 */
export function readPostgresUrl(text: string): PostgresUrl {
  if (!URL.canParse(text))
    throw invalid('the connection URL of a database is none; it is postgres://user:password@host:5432/name');
  const url = new URL(text);
  // As the driver does: of one that is given twice the last counts.
  const parameters = new Map(url.searchParams);
  const host = parameters.get('host') ?? decodeURIComponent(url.hostname).replace(/^\[(.+)\]$/, '$1');
  const port = parameters.get('port') ?? (url.port === '' ? '5432' : url.port);
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const database = decodeURIComponent(url.pathname.slice(1));
  const where = `the connection URL of the database at ${address}`;
  if (database === '') throw invalid(`${where} names no database`);
  const problem = problemOf(parameters);
  const mode = readMode(parameters);
  const asLibpq = parameters.get('uselibpqcompat') === 'true';
  const rootFile = parameters.get('sslrootcert');
  const ownRoots = rootFile !== undefined && rootFile !== 'system';
  const programMode = mode === undefined || asLibpq ? mode : toProgramMode(mode, host);
  const needsAuthorities = !ownRoots && programMode !== undefined && programMode.startsWith('verify-');

  return {
    database,
    address,
    bindsChannel: ['prefer', 'require'].includes(parameters.get('channel_binding') ?? ''),
    needsAuthorities,
    driverUrl(name) {
      const target = new URL(url);
      target.pathname = `/${encodeURIComponent(name)}`;
      for (const parameter of ours) target.searchParams.delete(parameter);
      for (const parameter of fileParameters) {
        const file = parameters.get(parameter);
        if (file !== undefined) target.searchParams.set(parameter, resolve(file));
      }
      // What libpq calls the authorities of the system are for the driver those it trusts unasked.
      if (!ownRoots) target.searchParams.delete('sslrootcert');
      return target.href;
    },
    programVariables(name, authorities) {
      // A file of authorities makes libpq verify also where it is told not to.
      const roots = needsAuthorities ? authorities : ownRoots && mode !== 'no-verify' ? resolve(rootFile) : undefined;
      return {
        PGHOST: host,
        PGPORT: port,
        PGUSER: parameters.get('user') ?? decodeURIComponent(url.username),
        PGPASSWORD: parameters.get('password') ?? decodeURIComponent(url.password),
        PGDATABASE: name,
        ...(programMode === undefined ? {} : { PGSSLMODE: programMode }),
        ...(roots === undefined ? {} : { PGSSLROOTCERT: roots }),
        ...Object.fromEntries(
          Object.entries(passed).flatMap(([parameter, variable]) => {
            const value = parameters.get(parameter);
            const isFile = fileParameters.some((file) => file === parameter);
            return value === undefined ? [] : [[variable, isFile ? resolve(value) : value]];
          }),
        ),
      };
    },
    async ensureUsable() {
      if (problem !== undefined) throw invalid(`${where} ${problem}`);
      for (const parameter of fileParameters) {
        const file = parameters.get(parameter);
        if (file === undefined || (parameter === 'sslrootcert' && !ownRoots)) continue;
        try {
          await access(file, constants.R_OK);
        } catch (error) {
          const { code = 'unknown' } = error as NodeJS.ErrnoException;
          throw invalid(`the file that \`${parameter}\` in ${where} names cannot be read by this worker (${code})`);
        }
      }
    },
  };
}

/** What of the parameters the two would not both go by. */
function problemOf(parameters: ReadonlyMap<string, string>): string | undefined {
  const unknown = [...parameters.keys()].filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    const names = unknown.map((name) => `\`${name}\``).join(', ');
    return `has ${names}, by which Slipway's own connections and \`pg_dump\` would not both go; take that out. It can have ${known.join(', ')}; what a session is to have set goes into \`options\` (\`options=-c%20name%3Dvalue\`)`;
  }
  const ssl = parameters.get('ssl');
  const mode = parameters.get('sslmode');
  if (mode !== undefined && !modes.some((one) => one === mode))
    return `has an \`sslmode\` that is none of ${modes.join(', ')}`;
  if (ssl !== undefined && !['true', '1', '0'].includes(ssl))
    return 'has an `ssl` that is none of true, 1, 0; say `sslmode` instead';
  if (ssl !== undefined && mode !== undefined) return 'has both `ssl` and `sslmode`; leave `ssl` out';
  if (mode === 'no-verify' && parameters.get('uselibpqcompat') === 'true') {
    return 'has `sslmode=no-verify`, which `uselibpqcompat` does not know; say `sslmode=require`';
  }
  return undefined;
}

/** What `sslmode` and `ssl` say together, in the words of the driver, by which `require` verifies. */
function readMode(parameters: ReadonlyMap<string, string>): Mode | undefined {
  const given = parameters.get('sslmode');
  const ssl = parameters.get('ssl');
  if (given !== undefined) return modes.find((one) => one === given);
  if (ssl !== undefined) return ssl === '0' ? 'disable' : 'require';
  const implied = fileParameters.some((name) => parameters.has(name)) || parameters.get('sslnegotiation') === 'direct';
  return implied ? 'require' : undefined;
}

/** The `sslmode` by which libpq does what the driver does. */
function toProgramMode(mode: Mode, host: string): string {
  if (mode === 'disable' || mode === 'verify-full') return mode;
  if (mode === 'no-verify') return 'require';
  // The driver verifies for all of these. Before 15 libpq knows no addresses in certificates, so of an address only the authority is verified.
  return isIP(host) === 0 ? 'verify-full' : 'verify-ca';
}

function invalid(message: string): ProviderError {
  return new ProviderError('ConfigurationInvalid', message);
}
