import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type Docker from 'dockerode';
import { type Pack, pack } from 'tar-stream';
import { type ComposeProgram, ensureComposeProgram } from './compose-programs.ts';
import type { LocalContext } from '../../src/local/context.ts';
import { type DockerHandle, connectDocker } from '../../src/local/docker.ts';
import { type ImageProgram, ensureImage, pullImage } from '../../src/local/images.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram } from '../../src/local/programs.ts';
import { type ComposeSupplies, ensureComposeSupplies } from './compose-supplies.ts';

const root = resolve(import.meta.dirname, '../..');

/** On images that were made in place of public ones; they are taken away again. */
const standInLabel = 'slipway.stand-in';

/**
 * Sees to it that the engine has each image under its public name: pulled where that can be done, else made of the same programs.
 *
 * @param names - as the file asks for them, such as `haproxy:2.6`.
 * @param postgresClients - major versions of PostgreSQL's client that our Dockerfile is to install.
 * @returns those that were made.
 * @throws Error - there is no recipe of that name and version, or something of it cannot be had.
 */
export async function ensureComposeImages(
  context: LocalContext,
  docker: DockerHandle,
  names: readonly string[],
  postgresClients: readonly number[],
): Promise<readonly string[]> {
  const engine = connectDocker(docker.address);
  const made: string[] = [];
  let supplies: ComposeSupplies | undefined;
  for (const name of [...new Set(names)].sort()) {
    if (await isThere(context, docker, engine, name)) continue;
    const recipe = recipes[name];
    if (recipe === undefined) {
      throw new Error(`${name} cannot be pulled, and only these can be made: ${Object.keys(recipes).join(', ')}`);
    }
    supplies ??= await ensureComposeSupplies(context, postgresClients);
    const content = await recipe({ context, docker, engine, supplies });
    await build(engine, name, content);
    made.push(name);
  }
  return made;
}

/** Takes away what {@link ensureComposeImages} made, and no image of somebody else. */
export async function removeComposeImages(docker: DockerHandle): Promise<void> {
  const engine = connectDocker(docker.address);
  for (const { Id } of await engine.listImages({ filters: { label: [standInLabel] } })) {
    await engine
      .getImage(Id)
      .remove({ force: true })
      .catch(() => undefined);
  }
}

async function isThere(context: LocalContext, docker: DockerHandle, engine: Docker, name: string): Promise<boolean> {
  try {
    // The engine leaves the labels out as null, whatever its client's types say.
    const { Config } = (await engine.getImage(name).inspect()) as {
      Config: { Labels?: Record<string, string> | null };
    };
    // One of an interrupted run is made anew: it could be of older programs.
    return !Object.hasOwn(Config.Labels ?? {}, standInLabel);
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode !== 404) throw error;
  }
  return await pullImage(context, docker, name).then(
    () => true,
    () => false,
  );
}

interface Kitchen {
  readonly context: LocalContext;
  readonly docker: DockerHandle;
  readonly engine: Docker;
  readonly supplies: ComposeSupplies;
}

/** What goes into the build of an image: a Dockerfile, texts by their name in it, and files and folders of this machine. */
interface Content {
  readonly dockerfile: string;
  readonly texts?: Readonly<Record<string, string>>;
  readonly copies?: Readonly<Record<string, string>>;
}

/**
 * By the names in `docker-compose.yml` and the Dockerfile: a new version there needs a new one here.
 *
 * What is real: every program. What is imitated: the few lines of shell that the public images begin with, and what lies beside the programs.
 */
const recipes: Readonly<Record<string, (kitchen: Kitchen) => Promise<Content>>> = {
  'node:24-slim': async (kitchen) => ({
    dockerfile: [
      `FROM ${await debianImage(kitchen)}`,
      `ENV NODE_VERSION=${process.versions.node}`,
      'COPY node /usr/local/bin/node',
      'COPY npm /usr/local/lib/node_modules/npm',
      'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
      // In place of the registry: whatever is not in this cache is an error.
      'COPY npm-cache /root/.npm',
      'RUN mkdir -p /usr/local/etc && echo offline=true > /usr/local/etc/npmrc',
      'CMD ["node"]',
    ].join('\n'),
    copies: {
      node: process.execPath,
      npm: join(root, 'node_modules/npm'),
      'npm-cache': kitchen.supplies.npmCache,
    },
  }),

  'postgres:17': async (kitchen) => ({
    dockerfile: [
      `FROM ${await debianImage(kitchen)}`,
      'RUN apt-get update && apt-get install -y --no-install-recommends postgresql-common',
      // As the public image: no cluster of Debian's own.
      "RUN sed -i 's/^#\\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf",
      'RUN apt-get install -y --no-install-recommends postgresql-17',
      'ENV PATH=$PATH:/usr/lib/postgresql/17/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8',
      'COPY entrypoint.sh /usr/local/bin/docker-entrypoint.sh',
      'RUN chmod 755 /usr/local/bin/docker-entrypoint.sh && mkdir -p "$PGDATA" && chown postgres "$PGDATA"',
      'VOLUME /var/lib/postgresql/data',
      'STOPSIGNAL SIGINT',
      'ENTRYPOINT ["docker-entrypoint.sh"]',
      'CMD ["postgres"]',
    ].join('\n'),
    texts: { 'entrypoint.sh': postgresEntrypoint },
  }),

  'haproxy:2.6': async (kitchen) => ({
    dockerfile: [
      `FROM ${await machineImage(kitchen, 'haproxy', [await debianProgram(kitchen, 'haproxy', '/usr/local/sbin/haproxy')])}`,
      'STOPSIGNAL SIGUSR1',
      'USER 1000:1000',
      'ENTRYPOINT ["haproxy"]',
    ].join('\n'),
  }),

  'registry:2': async (kitchen) => ({
    dockerfile: [
      `FROM ${await machineImage(kitchen, 'registry', [await debianProgram(kitchen, 'docker-registry', '/bin/registry')])}`,
      'COPY config.yml /etc/docker/registry/config.yml',
      'VOLUME /var/lib/registry',
      'ENTRYPOINT ["registry", "serve"]',
      'CMD ["/etc/docker/registry/config.yml"]',
    ].join('\n'),
    texts: {
      'config.yml':
        'version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n',
    },
  }),

  'temporalio/server:1.31.0': async (kitchen) => ({
    dockerfile: [
      `FROM ${await machineImage(kitchen, 'temporal-server', [
        await built(kitchen, 'temporal-server', '/usr/local/bin/temporal-server'),
        await debianProgram(kitchen, 'getent', '/usr/bin/getent'),
      ])}`,
      'COPY entrypoint.sh /etc/temporal/entrypoint.sh',
      'COPY nc /usr/local/bin/nc',
      'RUN chmod 755 /etc/temporal/entrypoint.sh /usr/local/bin/nc',
      'WORKDIR /etc/temporal',
      'USER 1000:1000',
      'CMD ["/etc/temporal/entrypoint.sh"]',
    ].join('\n'),
    texts: {
      'entrypoint.sh': temporalEntrypoint,
      // Alpine's knows `-z`, Debian's of the same busybox does not.
      nc: '#!/bin/sh\n[ "$1" = -z ] && shift\nexec busybox nc -w 2 "$@" </dev/null\n',
    },
  }),

  'temporalio/admin-tools:1.31.0': async (kitchen) => {
    const cli = findProgram(kitchen.context, 'temporal');
    if (cli === undefined) throw new Error('the Temporal CLI is not in the cache');
    return {
      dockerfile: [
        `FROM ${await machineImage(kitchen, 'temporal-tools', [
          await built(kitchen, 'temporal-sql-tool', '/usr/local/bin/temporal-sql-tool'),
          { from: cli, to: '/usr/local/bin/temporal' },
        ])}`,
        'COPY schema /etc/temporal/schema',
        'USER 1000:1000',
      ].join('\n'),
      copies: { schema: kitchen.supplies.temporalSchema },
    };
  },

  'temporalio/ui:2.49.1': async (kitchen) => ({
    dockerfile: [
      `FROM ${await machineImage(kitchen, 'temporal-ui', [
        await built(kitchen, 'temporal-ui-server', '/home/ui-server/ui-server'),
      ])}`,
      'WORKDIR /home/ui-server',
      'COPY docker.yaml config/docker.yaml',
      'USER 1000:1000',
      'ENTRYPOINT ["./ui-server", "--env", "docker", "start"]',
    ].join('\n'),
    texts: {
      'docker.yaml':
        '# enable-template\ntemporalGrpcAddress: {{ env "TEMPORAL_ADDRESS" }}\nport: 8080\nenableUi: true\ndefaultNamespace: default\n',
    },
  }),
};

/** Begins as root and goes on as `postgres`; a new folder is set up by a server of its own, which has only a socket. */
const postgresEntrypoint = `#!/bin/sh
set -eu
if [ "$(id -u)" = 0 ]; then
  chown postgres "$PGDATA"
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "\${POSTGRES_USER:=postgres}" "\${POSTGRES_DB:=$POSTGRES_USER}" "\${POSTGRES_PASSWORD:?}"
  word=$(mktemp)
  printf '%s' "$POSTGRES_PASSWORD" >"$word"
  initdb --username="$POSTGRES_USER" --pwfile="$word" --set listen_addresses='*'
  rm "$word"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait start -o "-c listen_addresses=''"
  [ "$POSTGRES_DB" = postgres ] || createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  pg_ctl --wait --mode=fast stop
fi
exec "$@"
`;

/** The server reads its settings from the environment itself; what it listens on and what others reach it at is worked out before. */
const temporalEntrypoint = `#!/bin/sh
set -eu
own=$(getent hosts "$(hostname)" | awk '{ print $1 }')
export BIND_ON_IP="\${BIND_ON_IP:-$own}"
[ "$BIND_ON_IP" != 0.0.0.0 ] || export TEMPORAL_BROADCAST_ADDRESS="\${TEMPORAL_BROADCAST_ADDRESS:-$own}"
exec temporal-server start
`;

/** A Debian whose apt installs from a folder in it. */
async function debianImage({ engine, supplies }: Kitchen): Promise<string> {
  const name = 'slipway/debian:trixie';
  await build(engine, name, {
    dockerfile: [
      'FROM scratch',
      'ADD debian.tar /',
      'COPY packages /var/packages',
      "RUN rm -rf /etc/apt/sources.list.d/* && echo 'deb [trusted=yes] file:/var/packages ./' > /etc/apt/sources.list",
    ].join('\n'),
    copies: { 'debian.tar': supplies.debian, packages: supplies.packages },
  });
  return name;
}

/** An image of programs of this machine, with busybox for what is around them. */
async function machineImage(
  { context, docker }: Kitchen,
  name: string,
  programs: readonly ImageProgram[],
): Promise<string> {
  const busybox = findProgram(context, 'busybox');
  if (busybox === undefined) throw new Error('this machine has no busybox');
  const tools = ['sh', 'awk', 'cat', 'chmod', 'echo', 'hostname', 'sleep', 'wget'];
  const { image } = await ensureImage(context, docker, `compose-${name}`, {}, () =>
    Promise.resolve({
      tag: '1',
      programs: [...programs, { from: busybox, to: '/bin/busybox', links: tools.map((tool) => `/bin/${tool}`) }],
      env: {},
      cmd: ['sh'],
    }),
  );
  return image;
}

async function debianProgram({ context }: Kitchen, name: string, to: string): Promise<ImageProgram> {
  if (findProgram(context, name) === undefined) await installDebianPackages(context, 'compose', [name]);
  const from = findProgram(context, name);
  if (from === undefined) throw new Error(`this machine has no ${name}`);
  return { from, to };
}

async function built({ context }: Kitchen, name: ComposeProgram, to: string): Promise<ImageProgram> {
  return { from: await ensureComposeProgram(context, name), to };
}

async function build(engine: Docker, name: string, { dockerfile, texts = {}, copies = {} }: Content): Promise<void> {
  const tar = pack();
  const filled = fill(tar, { ...texts, Dockerfile: dockerfile }, copies).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error as Error),
  );
  const output = (await engine.buildImage(tar as unknown as NodeJS.ReadableStream, {
    t: name,
    labels: { [standInLabel]: name },
    forcerm: true,
  })) as AsyncIterable<Buffer>;
  let rest = '';
  const said: string[] = [];
  for await (const chunk of output) {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((text) => text.trim() !== '')) {
      const event = JSON.parse(line) as { error?: string; stream?: string };
      if (event.error !== undefined) throw new Error(`${name}: ${event.error}\n${said.slice(-20).join('')}`);
      if (event.stream !== undefined) said.push(event.stream);
    }
  }
  await filled;
}

async function fill(
  tar: Pack,
  texts: Readonly<Record<string, string>>,
  copies: Readonly<Record<string, string>>,
): Promise<void> {
  const add = (name: string, body: string | Buffer, mode = 0o644): Promise<void> =>
    new Promise((done, fail) => {
      tar.entry({ name, mode, mtime: new Date(0) }, body as Buffer, (error) => {
        if (error instanceof Error) fail(error);
        else done();
      });
    });
  for (const [name, text] of Object.entries(texts)) await add(name, text);
  for (const [name, from] of Object.entries(copies)) {
    const files = statSync(from).isDirectory()
      ? readdirSync(from, { recursive: true, withFileTypes: true })
          .filter((each) => each.isFile())
          .map((each) => join(each.parentPath, each.name))
      : [from];
    for (const file of files)
      await add(name + file.slice(from.length), readFileSync(file), statSync(file).mode & 0o777);
  }
}
