import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { sqlState } from '../migrations/postgres-errors.ts';
import { quoteName, quoteText } from './postgres-connection.ts';

/** What a database of ours is for; kept as its comment, which moves with it when it is renamed. */
export interface Mark {
  readonly role: 'proof' | 'compare' | 'damaged';
  /** Database that it was made for. */
  readonly of: string;
  readonly deployment: number;
  /** `restoring` until its contents were compared. Only for a proof. */
  readonly state?: 'restoring' | 'proved';
  /** Backup that it holds. */
  readonly sha256?: string;
  /** Since when: the swap for a damaged one, the refusal of connections for a proof that is being swapped in. ISO 8601. */
  readonly since?: string;
  readonly rows?: number;
  readonly durationMs?: number;
}

/**
 * Connection limit of a scratch database between its creation and its mark, which cannot be one transaction: whoever is killed between the
 * two leaves one that is known by this. No person has set it.
 */
const unmarkedLimit = 60_007;

/** The server's code for what a role may not do. */
const insufficientPrivilege = '42501';
/** How long sessions may take to end after they were told to, ms. */
export const endSessionsMs = 5_000;
/** Between two questions whether they have, ms: short, for the application waits too, and not none, for one that stays is asked for to the end. */
const askAgainMs = 10;

/** A database as the server lists it. */
export interface ListedDatabase {
  readonly name: string;
  /** Created by us, and its creator was killed before it could mark it. */
  readonly unfinished: boolean;
  readonly allowsConnections: boolean;
  readonly mark: Mark | undefined;
  readonly comment: string | null;
  readonly sizeBytes: number;
}

const prefix = 'slipway ';

/** Names of the databases of one deployment. PostgreSQL cuts names at 63 bytes, so a long one is cut here, before the part that tells them apart. */
export function scratchName(database: string, role: Mark['role'], deployment: number): string {
  const suffix = `_${role}_${deployment}`;
  return `${Buffer.from(database)
    .subarray(0, 63 - suffix.length)
    .toString('utf8')
    .replace(/\uFFFD$/, '')}${suffix}`;
}

/** The deployment whose scratch copy of `database` this is; undefined when it is none. */
export function scratchOf({ name, mark, unfinished }: ListedDatabase, database: string): number | undefined {
  if (mark !== undefined) return mark.of === database && mark.role !== 'damaged' ? mark.deployment : undefined;
  // Its maker was killed before it could mark it, so that only its name says whose it is.
  const match = unfinished ? /_(proof|compare)_(\d+)$/.exec(name) : null;
  if (match === null) return undefined;
  const deployment = Number(match[2]);
  return name === scratchName(database, match[1] as Mark['role'], deployment) ? deployment : undefined;
}

/** Lists databases by name; those that are not there are left out. */
export async function readDatabases(client: Client, names?: readonly string[]): Promise<Map<string, ListedDatabase>> {
  const { rows } = await client.query<{
    name: string;
    allows: boolean;
    unfinished: boolean;
    comment: string | null;
    size: string;
  }>(
    `select datname as name, datallowconn as allows, datconnlimit = ${unmarkedLimit} as unfinished, shobj_description(oid, 'pg_database') as comment,
       pg_database_size(oid)::text as size
     from pg_database where not datistemplate and ($1::text[] is null or datname = any($1))`,
    [names ?? null],
  );
  return new Map(
    rows.map(({ name, allows, unfinished, comment, size }) => [
      name,
      { name, allowsConnections: allows, unfinished, comment, mark: readMark(comment), sizeBytes: Number(size) },
    ]),
  );
}

function readMark(comment: string | null): Mark | undefined {
  if (comment?.startsWith(prefix) !== true) return undefined;
  try {
    return JSON.parse(comment.slice(prefix.length)) as Mark;
  } catch {
    return undefined;
  }
}

/** The statement that marks a database. */
export function markStatement(database: string, mark: Mark): string {
  return commentStatement(database, `${prefix}${JSON.stringify(mark)}`);
}

/** The statement that sets or (null) removes the comment of a database. */
export function commentStatement(database: string, comment: string | null): string {
  return `comment on database ${quoteName(database)} is ${comment === null ? 'null' : quoteText(comment)}`;
}

/** The statement that lets connections in or refuses them, superusers included. */
export function allowStatement(database: string, allow: boolean): string {
  return `alter database ${quoteName(database)} with allow_connections ${allow}`;
}

/** Settings that hold a list: the catalog keeps them quoted already. */
const listSettings = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** Creates an empty database like another and marks it: owner, encoding, locale, limit, settings and rights, which no dump of one database carries. */
export async function createScratch(client: Client, model: string, name: string, mark: Mark): Promise<void> {
  const { rows } = await client.query<{
    owner: string;
    encoding: string;
    lc_collate: string;
    lc_ctype: string;
    tablespace: string;
    connection_limit: number;
    locale: Record<string, string | null>;
  }>(
    `select pg_get_userbyid(d.datdba) as owner, pg_encoding_to_char(d.encoding) as encoding, d.datcollate as lc_collate,
       d.datctype as lc_ctype, s.spcname as tablespace, d.datconnlimit as connection_limit,
       jsonb_build_object('provider', to_jsonb(d)->>'datlocprovider', 'icu', coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale')) as locale
     from pg_database d join pg_tablespace s on s.oid = d.dattablespace where d.datname = $1`,
    [model],
  );
  const [found] = rows;
  if (found === undefined) throw new Error(`there is no database ${model}`);
  const icu =
    found.locale['provider'] === 'i' ? ` locale_provider icu icu_locale ${quoteText(found.locale['icu'] ?? '')}` : '';
  // Naming the default one needs a right that its use does not.
  const tablespace = found.tablespace === 'pg_default' ? '' : ` tablespace ${quoteName(found.tablespace)}`;
  await client.query(
    `create database ${quoteName(name)} template template0 owner ${quoteName(found.owner)} encoding ${quoteText(found.encoding)}
     lc_collate ${quoteText(found.lc_collate)} lc_ctype ${quoteText(found.lc_ctype)}${icu}${tablespace}
     connection limit ${unmarkedLimit}`,
  );
  await client.query(markStatement(name, mark));
  await client.query(`alter database ${quoteName(name)} connection limit ${found.connection_limit}`);
  const settings = await client.query<{ role: string | null; setting: string }>(
    `select case when setrole = 0 then null else pg_get_userbyid(setrole) end as role, unnest(setconfig) as setting
     from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = $1)`,
    [model],
  );
  for (const { role, setting } of settings.rows) {
    const [key, value] = [setting.slice(0, setting.indexOf('=')), setting.slice(setting.indexOf('=') + 1)];
    const literal = listSettings.has(key) ? value : quoteText(value);
    const subject =
      role === null ? `database ${quoteName(name)}` : `role ${quoteName(role)} in database ${quoteName(name)}`;
    await client.query(`alter ${subject} set ${key.split('.').map(quoteName).join('.')} to ${literal}`);
  }
  const rights = await client.query<{ grantee: string | null; privilege: string; grantable: boolean }>(
    `select case when a.grantee = 0 then null else pg_get_userbyid(a.grantee) end as grantee, a.privilege_type as privilege, a.is_grantable as grantable
     from pg_database d, aclexplode(d.datacl) a where d.datname = $1`,
    [model],
  );
  if (rights.rows.length === 0) return;
  await client.query(`revoke all on database ${quoteName(name)} from public`);
  for (const { grantee, privilege, grantable } of rights.rows) {
    const to = grantee === null ? 'public' : quoteName(grantee);
    await client.query(
      `grant ${privilege} on database ${quoteName(name)} to ${to}${grantable ? ' with grant option' : ''}`,
    );
  }
}

/**
 * Ends the sessions of a database and waits until they are gone. Asked to end one that it may not end, the server refuses the whole question, so
 * it is asked for those that our role may end: a superuser's stay and are counted. Its own workers that vacuum are nobody's and not counted: it
 * ends them itself for whoever drops or renames a database.
 *
 * @returns how many there are still, after `timeoutMs`.
 */
export async function endSessions(client: Client, database: string, timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const { rows } = await client.query<{ left: string }>(
      `select count(*)::text as left from (
         select case when me.rolsuper
             or (not role.rolsuper and (pg_has_role(role.oid, 'usage') or pg_has_role('pg_signal_backend', 'usage')))
           then pg_terminate_backend(session.pid) end
         from pg_stat_activity session
         join pg_roles role on role.oid = session.usesysid
         join pg_roles me on me.rolname = current_user
         where session.datname = $1 and session.pid <> pg_backend_pid()) as ended`,
      [database],
    );
    const left = Number(rows[0]?.left ?? 0);
    if (left === 0 || performance.now() > deadline) return left;
    await delay(askAgainMs);
  }
}

/** Whether a database was made by us for one of these roles. */
export function isOurs({ mark, unfinished }: ListedDatabase, roles: readonly Mark['role'][]): boolean {
  return mark === undefined ? unfinished : roles.includes(mark.role);
}

/** Drops a database of ours; one without our mark is left alone. */
export async function dropMarked(client: Client, name: string, roles: readonly Mark['role'][]): Promise<boolean> {
  const found = (await readDatabases(client, [name])).get(name);
  if (found === undefined || !isOurs(found, roles)) return false;
  await client.query(`drop database if exists ${quoteName(name)} with (force)`).catch(async (error: unknown) => {
    // The server vacuums it, and may not be forced to stop by us; without force it stops by itself.
    if (sqlState(error) !== insufficientPrivilege) throw error;
    await endSessions(client, name, endSessionsMs);
    await client.query(`drop database if exists ${quoteName(name)}`);
  });
  return true;
}
