/** How a worker opens what it works on: builders, engines, targets, the router, databases. Each is opened once, where it is the same. */
import { type DatabaseHands, connectionUrl } from '../activities/databases.ts';
import type { ImageDependencies } from '../activities/image-work.ts';
import type { Place } from '../activities/places.ts';
import type { Config } from '../config.ts';
import type { EnvironmentSpec } from '../definition/specs/environment.ts';
import type { SecretRef } from '../definition/specs/secret.ts';
import { pingPostgres } from '../providers/backups/postgres-ping.ts';
import { createPostgresBackup } from '../providers/backups/postgres.ts';
import { createBlobs } from '../providers/blobs/index.ts';
import { createBuildKitDaemonBuilder } from '../providers/builders/buildkit-daemon.ts';
import { createDockerBuilder } from '../providers/builders/docker.ts';
import type { ImageBuilder } from '../providers/builders/port.ts';
import { migrationRunners } from '../providers/migrations/index.ts';
import { createForeignRegistry, registryOrigin } from '../providers/registries/foreign.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import { createOciRegistry } from '../providers/registries/oci.ts';
import { createHaproxyRouter } from '../providers/routers/haproxy.ts';
import { targets } from '../providers/targets/index.ts';
import type { Target } from '../providers/targets/port.ts';

/** A BuildKit daemon with the keys that the worker shows it. */
export function createDaemonOpener(
  readSecret: (ref: SecretRef) => Promise<string>,
  program: (signal?: AbortSignal) => Promise<string>,
): ImageDependencies['openBuildKit'] {
  return async ({ address, tls }, { folder, registry, named }) => {
    const keys =
      tls === undefined
        ? undefined
        : {
            ca: await readSecret(tls.ca),
            certificate: await readSecret(tls.certificate),
            key: await readSecret(tls.key),
            serverName: tls.serverName,
          };
    const origins = new Set(named.map(registryOrigin));
    return createBuildKitDaemonBuilder({
      daemon: { address, tls: keys },
      folder,
      registry,
      openRegistry: createOciRegistry,
      openForeign: (foreign) =>
        createForeignRegistry({
          address: foreign,
          insecure: named.some((each) => each.address === foreign && each.insecure),
          isKnown: (origin) => origins.has(origin),
        }),
      program,
    });
  };
}

/** The images of an engine by its address; one client an engine. */
export function createEngineOpener(own: string, builder: ImageBuilder): (address: string) => Promise<ImageBuilder> {
  const known = new Map<string, Promise<ImageBuilder>>([[own, Promise.resolve(builder)]]);
  return async (address) => {
    const opening = known.get(address) ?? createDockerBuilder(address);
    known.set(address, opening);
    return await opening;
  };
}

/** One connection an engine, however many environments are on it. */
export function createTargetOpener(
  config: Config,
  readRegistry: ReadRegistry,
): (spec: Pick<EnvironmentSpec, 'target' | 'registry'>) => Promise<Target> {
  const known = new Map<string, Promise<Target>>();
  return async ({ target, registry }) => {
    const address = target.socket === undefined ? config.engine.address : `unix://${target.socket}`;
    const key = JSON.stringify([address, target.network, target.publishAddress, registry]);
    let opening = known.get(key);
    if (opening === undefined) {
      opening = openTarget();
      known.set(key, opening);
      opening.catch(() => known.delete(key));
    }
    return await opening;

    async function openTarget(): Promise<Target> {
      return await targets.docker.create({
        kind: 'docker',
        address,
        publishAddress: target.publishAddress,
        ...(target.network === undefined ? {} : { network: target.network }),
        // At each pull: what AWS gives holds for hours, a target is kept for days.
        async registryAuth() {
          const { credentials } = await readRegistry(registry);
          if (credentials === undefined) return undefined;
          const { username, password, address: serveraddress } = credentials;
          return { username, password, serveraddress };
        },
      });
    }
  };
}

/** All routes of a worker are on one router. */
export async function createRouterOpener(config: Config): Promise<() => ReturnType<typeof createHaproxyRouter>> {
  const { configFolder, masterSocket, statsSocket, container, binary } = config.router;
  const router = createHaproxyRouter({
    kind: 'haproxy',
    configFolder,
    masterSocket,
    statsSocket,
    applyTimeoutMs: 5_000,
    ...(binary === undefined
      ? { container: { name: container, docker: config.engine.address, binary: 'haproxy' } }
      : { binary }),
  });
  await router;
  return () => router;
}

/** The hands on the database of an environment. @throws TypeError - it has none. */
export async function openDatabase(
  { spec }: Place,
  config: Config,
  readSecret: (ref: SecretRef) => Promise<string>,
): Promise<DatabaseHands> {
  const { database } = spec;
  if (database === undefined) throw new TypeError('asked for the database of an environment that has none');
  const name = `${spec.project}/${spec.name}`;
  const url = connectionUrl(database.url, await readSecret(database.url), name);
  return {
    backup: createPostgresBackup(
      {
        kind: 'postgres',
        url,
        ...(database.clientBin === undefined ? {} : { clientBin: database.clientBin }),
        diskFolder: config.folders.blobs,
      },
      createBlobs({ kind: 'folder', folder: config.folders.blobs }),
    ),
    migrations: migrationRunners.sql.create({
      url,
      name,
      lockTimeoutMs: database.lockTimeoutMs,
      statementTimeoutMs: database.statementTimeoutMs,
    }),
    ping: () => pingPostgres(url, `database of ${name}`),
  };
}
