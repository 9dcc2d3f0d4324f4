import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, daemonHandle } from './daemons.ts';
import type { DockerHandle } from './docker.ts';
import { installDebianPackages } from './packages.ts';
import { connectionUrl, ensureDatabase, findOrStartPostgres } from './postgres-server.ts';
import { isProgram, obtain, runHelper } from './programs.ts';

/**
 * The PostgreSQL that deployed applications use on one machine. It belongs to the target: it goes on when Slipway stops.
 */
export interface ApplicationPostgresHandle extends ComponentHandle {
  /** As this machine reaches it, as its owner, with the password in it. Database `postgres`. */
  readonly url: string;
  /** The same, as a container on the default bridge reaches it. */
  readonly containerUrl: string;
  /** `pg_dump`, `pg_restore` and `psql` of the server's own version: `pg_dump` refuses a server newer than itself. */
  readonly clientBin: string;
}

const settings = {
  max_connections: 100,
  shared_buffers: '64MB',
  max_wal_size: '512MB',
  log_min_messages: 'warning',
};

/** Networks that Docker gives to its bridges by default; the password is asked for all the same. */
const containerNetworks = ['172.16.0.0/12', '192.168.0.0/16', '10.0.0.0/8'];

/**
 * Finds or starts the applications' PostgreSQL: Debian's, on loopback and on the address that containers see this
 * machine at, data in `application-postgres` of the state folder.
 *
 * @throws ProviderError `ToolMissing` (not retried) - no server programs, and they cannot be installed.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureApplicationPostgres(
  context: LocalContext,
  docker: DockerHandle,
): Promise<ApplicationPostgresHandle> {
  const clientBin = await serverBinFolder(context);
  const { running, port, password } = await findOrStartPostgres(context, {
    name: 'application-postgres',
    port: 'application-postgres',
    owner: 'target',
    hosts: ['127.0.0.1', docker.bridgeGateway],
    clients: ['samehost', ...containerNetworks].map((network) => `host all all ${network} scram-sha-256`),
    settings,
    binFolder: () => Promise.resolve(clientBin),
    initdbArgs: ['--locale=C.UTF-8'],
  });
  return {
    ...daemonHandle(
      context,
      running,
      `127.0.0.1:${String(port)}, for containers ${docker.bridgeGateway}:${String(port)}`,
    ),
    url: connectionUrl(password, '127.0.0.1', port, 'postgres'),
    containerUrl: connectionUrl(password, docker.bridgeGateway, port, 'postgres'),
    clientBin,
  };
}

/**
 * Makes a database of its own for an application.
 *
 * @returns its addresses, from this machine and from a container.
 */
export async function ensureApplicationDatabase(
  server: Pick<ApplicationPostgresHandle, 'url' | 'containerUrl'>,
  database: string,
): Promise<{ readonly url: string; readonly containerUrl: string }> {
  await ensureDatabase(server.url, database);
  const [url, containerUrl] = [new URL(server.url), new URL(server.containerUrl)];
  url.pathname = containerUrl.pathname = `/${database}`;
  return { url: url.href, containerUrl: containerUrl.href };
}

async function serverBinFolder(context: LocalContext): Promise<string> {
  return await obtain(
    'PostgreSQL for applications',
    [
      { what: 'the PostgreSQL of Debian', take: () => debianBinFolder() },
      { what: '`pg_config` on PATH', take: () => configuredBinFolder(context) },
      {
        what: 'installing postgresql by apt',
        take: async () => {
          await installDebianPackages(context, 'application-postgres', ['postgresql']);
          return debianBinFolder();
        },
      },
    ],
    'Install the PostgreSQL server (15 or later).',
  );
}

/** The newest one that has server and client. */
function debianBinFolder(): string | undefined {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  return readdirSync(root)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'))
    .find(isComplete);
}

async function configuredBinFolder(context: LocalContext): Promise<string | undefined> {
  const { exitCode, stdout } = await runHelper(context, 'pg_config', ['--bindir']);
  const folder = stdout.trim();
  return exitCode === 0 && isComplete(folder) ? folder : undefined;
}

function isComplete(folder: string): boolean {
  return ['initdb', 'postgres', 'pg_dump', 'pg_restore'].every((name) => isProgram(join(folder, name)));
}
