import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { ProviderError } from '../domain/failures.ts';
import { type UserIds, runTool } from '../effects/daemon.ts';
import { type LocalContext, announce, installationId } from './context.ts';
import { type RunningDaemon, findOrStart } from './daemons.ts';
import { findProgram, lastLines, runHelper } from './programs.ts';

/** The account that owns everything in a server of ours. */
export const databaseUser = 'slipway';

/** One PostgreSQL server to find or start. */
export interface PostgresSpec {
  /** Name of the component, of its secret and of its folder. */
  readonly name: string;
  /** Key of its port in `ports.ts`. */
  readonly port: string;
  readonly owner: 'slipway' | 'target';
  /** Addresses to listen on; the first is used to ask it. */
  readonly hosts: readonly string[];
  /** Lines of pg_hba.conf beyond the one for loopback. */
  readonly clients: readonly string[];
  readonly settings: Readonly<Record<string, string | number>>;
  /** Called only where it must be started: the folder with `initdb` and `postgres`. */
  readonly binFolder: () => Promise<string>;
  readonly initdbArgs: readonly string[];
}

/** A server that runs, and how to get in. */
export interface RunningPostgres {
  readonly running: RunningDaemon;
  readonly port: number;
  readonly password: string;
  readonly version: string;
}

/**
 * Finds or starts a PostgreSQL server of this installation, with a password of its own and its data on disk.
 *
 * PostgreSQL refuses to run as root: then it runs as the user `postgres`, which is made where there is none.
 */
export async function findOrStartPostgres(context: LocalContext, spec: PostgresSpec): Promise<RunningPostgres> {
  const password = ensureSecret(context, spec.name);
  const running = await findOrStart(context, {
    name: spec.name,
    owner: spec.owner,
    ports: [spec.port],
    prepare: async () => {
      const folder = dataFolder(context, spec.name);
      const user = await unprivilegedUser(context, folder);
      const bin = await spec.binFolder();
      await initialise(context, spec, { bin, folder, user, password });
      writeClients(folder, spec.clients, user);
      const { stdout } = await runHelper(context, join(bin, 'postgres'), ['--version'], { user });
      const version = /(\d+(\.\d+)*)/.exec(stdout)?.[1] ?? 'unknown';
      const own = { listen_addresses: spec.hosts.join(','), unix_socket_directories: '' };
      const launch = (ports: Readonly<Record<string, number>>) => ({
        command: join(bin, 'postgres'),
        args: ['-D', folder, ...settingArgs({ ...spec.settings, ...own, port: ports[spec.port] ?? 0 })],
        user,
      });
      return { version, launch };
    },
    answers: async (ports) => {
      for (const host of spec.hosts) {
        await withClient(connectionUrl(password, host, ports[spec.port] ?? 0, 'postgres'), (client) =>
          client.query('select 1'),
        );
      }
    },
    // Fast shutdown: SIGTERM would wait for every client to leave.
    stopSignal: 'SIGINT',
    stopGraceMs: 30_000,
  });
  return { running, port: running.state.ports[spec.port] ?? 0, password, version: running.state.version };
}

/** `postgres://…` with the password in it: for handing on in memory, never for a log or a table. */
export function connectionUrl(password: string, host: string, port: number, database: string): string {
  return `postgres://${databaseUser}:${encodeURIComponent(password)}@${host}:${String(port)}/${database}`;
}

/** Makes the database where it is missing. */
export async function ensureDatabase(serverUrl: string, database: string): Promise<void> {
  await withClient(serverUrl, async (client) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [database]);
    if (rowCount === 0) await client.query(`create database ${pg.escapeIdentifier(database)}`);
  });
}

/**
 * Connects, works, disconnects.
 *
 * @throws Error - the driver's own; nothing of the password is in it.
 */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // Without a listener, a server that ends while we are connected would end us too.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Where the password of a server is, readable by its owner alone. */
export function secretFile(context: LocalContext, name: string): string {
  return join(context.stateFolder, 'secrets', name);
}

/** The password of a server, made where there is none. */
export function ensureSecret(context: LocalContext, name: string): string {
  const file = secretFile(context, name);
  if (!existsSync(file)) {
    writeFileSync(`${file}.new`, randomBytes(24).toString('base64url'), { mode: 0o600 });
    // A second starter that comes in between keeps the first one's word.
    if (existsSync(file)) rmSync(`${file}.new`);
    else renameSync(`${file}.new`, file);
  }
  return readFileSync(file, 'utf8').trim();
}

/**
 * Where the data goes: beside the rest of the state, or where another user may not enter the folders above it (a clone
 * in /root), below /var/lib.
 */
function dataFolder(context: LocalContext, name: string): string {
  const beside = join(context.stateFolder, name);
  if (process.getuid?.() !== 0 || isReachable(context.stateFolder)) return beside;
  return join('/var/lib/slipway', installationId(context), name);
}

/** Whether any user may pass through every folder down to this one. */
export function isReachable(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function unprivilegedUser(context: LocalContext, folder: string): Promise<UserIds | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = statSync(folder, { throwIfNoEntry: false });
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const known = findUser('postgres');
  if (known !== undefined) return known;
  const useradd = findProgram(context, 'useradd') ?? 'useradd';
  const made = await runHelper(context, useradd, ['--system', '--user-group', '--no-create-home', 'postgres']);
  const user = findUser('postgres');
  if (user === undefined) {
    throw new ProviderError(
      'ToolMissing',
      `PostgreSQL may not run as root, and the user postgres could not be made: ${lastLines(made.stderr)}. ` +
        'Make that user, run Slipway as somebody else, or set DATABASE_URL.',
    );
  }
  return user;
}

function findUser(name: string): UserIds | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

interface Place {
  readonly bin: string;
  readonly folder: string;
  readonly user: UserIds | undefined;
  readonly password: string;
}

/** Makes the cluster beside its place and moves it there: an `initdb` that was killed leaves nothing half-made. */
async function initialise(context: LocalContext, spec: PostgresSpec, place: Place): Promise<void> {
  const { bin, folder, user, password } = place;
  if (existsSync(join(folder, 'PG_VERSION'))) return;
  const fresh = `${folder}.new`;
  const passwordFile = `${folder}.password`;
  mkdirSync(dirname(folder), { recursive: true });
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  try {
    if (user !== undefined) for (const path of [fresh, passwordFile]) chownSync(path, user.uid, user.gid);
    const args = [
      ...['--pgdata', fresh, '--username', databaseUser, '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
      ...['--encoding', 'UTF8', '--no-instructions', '--data-checksums', ...spec.initdbArgs],
    ];
    const result = await announce(context, spec.name, 'making its data folder', () =>
      runTool(join(bin, 'initdb'), args, { env: context.env, user, timeoutMs: 120_000 }),
    );
    if (result.exitCode !== 0) {
      throw new ProviderError(
        'ProcessFailed',
        `initdb for ${spec.name} failed: ${lastLines(result.stderr + result.stdout)}`,
      );
    }
    renameSync(fresh, folder);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** Nobody gets in without the password, and from outside this machine nobody at all. */
function writeClients(folder: string, more: readonly string[], user: UserIds | undefined): void {
  const file = join(folder, 'pg_hba.conf');
  const lines = ['host all all 127.0.0.1/32 scram-sha-256', ...more];
  writeFileSync(file, `${lines.join('\n')}\n`);
  chmodSync(file, 0o600);
  if (user !== undefined) chownSync(file, user.uid, user.gid);
}

/** Settings as arguments of `postgres`. */
export function settingArgs(settings: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
}
