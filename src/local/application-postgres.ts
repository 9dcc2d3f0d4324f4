import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import { containerHandle, findOrStartContainer } from './containers.ts';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, daemonHandle } from './daemons.ts';
import type { DockerHandle } from './docker.ts';
import { ensureImagePulled } from './images.ts';
import { installDebianPackages } from './packages.ts';
import {
  connectionUrl,
  databaseUser,
  ensureDatabase,
  ensureSecret,
  findOrStartPostgres,
  secretFile,
  settingArgs,
  withClient,
} from './postgres-server.ts';
import { findProgram, isProgram, obtain, runHelper } from './programs.ts';
import { type ContainerIdentity, readState } from './state.ts';

/**
 * The PostgreSQL that deployed applications use on one machine. It belongs to the target: it goes on when Slipway stops.
 */
export interface ApplicationPostgresHandle extends ComponentHandle {
  /** As this machine reaches it, as its owner, with the password in it. Database `postgres`. */
  readonly url: string;
  /** The same, as a container on the default bridge reaches it. */
  readonly containerUrl: string;
  /** Folder of `pg_dump`, `pg_restore` and `psql` of the server's own version. */
  readonly clientBin: string;
}

const name = 'application-postgres';

const settings = {
  max_connections: 100,
  shared_buffers: '64MB',
  max_wal_size: '512MB',
  log_min_messages: 'warning',
};

/** Networks that Docker gives to its bridges by default; the password is asked for all the same. */
const containerNetworks = ['172.16.0.0/12', '192.168.0.0/16', '10.0.0.0/8'];

/** The newest major version whose image every registry has had for a while. */
const publicImage = 'postgres:17';

/**
 * Finds or starts the applications' PostgreSQL, on loopback and on the address that containers see this machine at: Debian's
 * programs, or where they are missing the `postgres` image. Data in `application-postgres` of the state folder.
 *
 * @throws ProviderError `ToolMissing` (not retried) - no server programs, and they cannot be pulled or installed.
 * @throws ProviderError `ProcessFailed`, `DatabaseUnreachable` (retried) - it does not start.
 */
export async function ensureApplicationPostgres(
  context: LocalContext,
  docker: DockerHandle,
): Promise<ApplicationPostgresHandle> {
  const way = await chooseWay(context, docker);
  if (way === 'container') return await ensureApplicationPostgresContainer(context, docker);
  return withUrls(docker, await asProcess(context, docker, way.bin));
}

function withUrls(docker: DockerHandle, { handle, password, port, clientBin }: Server): ApplicationPostgresHandle {
  return {
    ...handle,
    url: connectionUrl(password, '127.0.0.1', port, 'postgres'),
    containerUrl: connectionUrl(password, docker.bridgeGateway, port, 'postgres'),
    clientBin,
  };
}

interface Server {
  readonly handle: ComponentHandle;
  readonly password: string;
  readonly port: number;
  readonly clientBin: string;
}

async function asProcess(context: LocalContext, docker: DockerHandle, bin: string): Promise<Server> {
  const { running, port, password } = await findOrStartPostgres(context, {
    name,
    port: name,
    owner: 'target',
    hosts: hostsOf(docker),
    clients: ['samehost', ...containerNetworks].map((network) => `host all all ${network} scram-sha-256`),
    settings,
    binFolder: () => Promise.resolve(bin),
    initdbArgs: ['--locale=C.UTF-8'],
  });
  return { handle: daemonHandle(context, running, addressOf(docker, port)), password, port, clientBin: bin };
}

/**
 * As {@link ensureApplicationPostgres} where the machine has no programs for it.
 *
 * @param image - an official `postgres` image; default `postgres:17`. It must be on the engine.
 */
export async function ensureApplicationPostgresContainer(
  context: LocalContext,
  docker: DockerHandle,
  image = publicImage,
): Promise<ApplicationPostgresHandle> {
  const password = ensureSecret(context, name);
  const secret = '/run/secrets/password';
  const running = await findOrStartContainer(context, docker, {
    name,
    owner: 'target',
    ports: [name],
    create: (ports) => {
      const own = { ...settings, port: ports[name] ?? 0, listen_addresses: hostsOf(docker).join(',') };
      return Promise.resolve({
        Image: image,
        Cmd: ['postgres', ...settingArgs(own)],
        // Without the argument the image lets everybody on this machine in without a password.
        Env: [
          `POSTGRES_USER=${databaseUser}`,
          'POSTGRES_DB=postgres',
          `POSTGRES_PASSWORD_FILE=${secret}`,
          'POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256 --data-checksums',
        ],
        HostConfig: {
          Binds: [
            `${join(context.stateFolder, name)}:/var/lib/postgresql/data`,
            `${secretFile(context, name)}:${secret}:ro`,
          ],
        },
      });
    },
    answers: async (ports) =>
      await withClient(connectionUrl(password, '127.0.0.1', ports[name] ?? 0, 'postgres'), async (client) => {
        const { rows } = await client.query<{ server_version: string }>('show server_version');
        return rows[0]?.server_version ?? 'unknown';
      }),
    failure: 'DatabaseUnreachable',
    readyTimeoutMs: 60_000,
  });
  const port = running.state.ports[name] ?? 0;
  const clientBin = writeClients(context, running.state.container);
  const handle = containerHandle(context, running, addressOf(docker, port));
  return withUrls(docker, { handle, password, port, clientBin });
}

/** The server's own client programs, run in its container: same network, same version. */
function writeClients(context: LocalContext, { engine, name: container }: ContainerIdentity): string {
  const folder = join(context.stateFolder, `${name}-client`);
  const docker = findProgram(context, 'docker');
  if (docker === undefined) {
    throw new ProviderError(
      'ToolMissing',
      'The `docker` command is missing: backups are made with the programs in the container of PostgreSQL. Install it, or the PostgreSQL of this machine.',
    );
  }
  mkdirSync(folder, { recursive: true });
  const variables = [
    'PGHOST',
    'PGPORT',
    'PGUSER',
    'PGPASSWORD',
    'PGDATABASE',
    'PGCONNECT_TIMEOUT',
    'PGSSLMODE',
    'PGSSLROOTCERT',
    'PGSSLCERT',
    'PGSSLKEY',
    'PGSSLNEGOTIATION',
    'PGCHANNELBINDING',
    'PGGSSENCMODE',
    'PGOPTIONS',
  ];
  const passed = variables.map((variable) => `--env ${variable}`).join(' ');
  for (const program of ['pg_dump', 'pg_restore', 'psql']) {
    const file = join(folder, program);
    writeFileSync(
      file,
      `#!/bin/sh\nexec '${docker}' --host '${engine}' exec --interactive ${passed} '${container}' ${program} "$@"\n`,
    );
    chmodSync(file, 0o755);
  }
  return folder;
}

function hostsOf(docker: DockerHandle): string[] {
  return ['127.0.0.1', docker.bridgeGateway];
}

function addressOf(docker: DockerHandle, port: number): string {
  return `127.0.0.1:${String(port)}, for containers ${docker.bridgeGateway}:${String(port)}`;
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

async function chooseWay(context: LocalContext, docker: DockerHandle): Promise<'container' | { readonly bin: string }> {
  // Once its data is in a container, it is looked for there.
  if (readState(context, name)?.container !== undefined) return 'container';
  const found = (bin: string | undefined) => (bin === undefined ? undefined : { bin });
  return await obtain<'container' | { readonly bin: string }>(
    'PostgreSQL for applications',
    [
      { what: 'the PostgreSQL of Debian', take: () => found(debianBinFolder()) },
      { what: '`pg_config` on PATH', take: async () => found(await configuredBinFolder(context)) },
      {
        what: `pulling ${publicImage}`,
        take: async () => {
          await ensureImagePulled(context, docker, publicImage);
          return 'container' as const;
        },
      },
      {
        what: 'installing postgresql by apt',
        take: async () => {
          await installDebianPackages(context, name, ['postgresql']);
          return found(debianBinFolder());
        },
      },
    ],
    'Install the PostgreSQL server (15 or later), or let the Docker engine pull public images.',
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
