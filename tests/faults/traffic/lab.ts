import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Docker from 'dockerode';
import { Client } from 'pg';
import type { ReleaseImage } from '../../../src/domain/release.ts';
import { globalFileName, haproxyArguments, renderGlobal } from '../../../src/providers/routers/haproxy-file.ts';
import { ask } from '../../../src/providers/routers/haproxy-socket.ts';
import { components } from '../../support/components.ts';
import { buildServiceImage } from '../../support/service-image.ts';
import type { LoadRequest } from '../../support/traffic-load.ts';
import { until } from '../../support/until.ts';
import type { ChangeRequest } from './change.ts';
import { serviceSource } from './service.ts';

/**
 * A machine in a machine: a network of its own with its own Docker engine, registry, PostgreSQL and router, so that each of them can be
 * killed and restarted without anybody else noticing, and its packet filter rules are nobody else's.
 */
export interface TrafficLab {
  readonly docker: Docker;
  readonly image: ReleaseImage;
  readonly origin: string;
  /** What the driver of a change needs, but for the deployment. */
  readonly change: Omit<ChangeRequest, 'deployment' | 'from' | 'to'>;
  readonly blobsFolder: string;
  /** Runs a Node program inside the network. */
  node(file: string, input: unknown): ChildProcess;
  startLoad(load: Omit<LoadRequest, 'origin'>): ChildProcess;
  /** One statement on a database, over the server's socket. */
  query<R extends object>(database: string, sql: string): Promise<R[]>;
  databases(): Promise<string[]>;
  /**
   * Waits until the engine counts the router as one that lasts: each time that one ends earlier than that, the engine waits twice as long before
   * it starts it again, up to a minute.
   */
  readonly untilRouterLasts: () => Promise<void>;
  /** SIGKILLs the router's processes and waits until the engine has it up again. */
  readonly killRouter: () => Promise<void>;
  /** Ends the engine, or kills it, and starts it again; waits until it answers. */
  restartEngine(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  stop(): Promise<void>;
}

const here = import.meta.dirname;
const listenPort = 8080;
/** Docker's own, ms (its restart manager), and a little more. */
const lastingMs = 11_000;
/** The machine as its containers see it. */
const gateway = '172.29.0.1';
const slots = { blue: 18_081, green: 18_082 };

export async function startTrafficLab(): Promise<TrafficLab> {
  if (process.getuid?.() !== 0) {
    throw new Error('this test restarts a Docker engine of its own, which takes root: run the tests as root');
  }
  const machine = await components('docker', 'router', 'applicationPostgres', 'nodeImage');
  const folder = await mkdtemp(join(tmpdir(), 'slipway-traffic-'));
  // Sockets and the database's own user must get in.
  await chmod(folder, 0o755);
  const network = `slipway-${process.pid}`;
  execFileSync('ip', ['netns', 'add', network]);
  const inside = (command: string, args: readonly string[], options: object = {}): ChildProcess =>
    // `ip netns exec` would hide the cgroups from the engine.
    spawn('nsenter', [`--net=/run/netns/${network}`, command, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...options,
    });
  const daemons: ChildProcess[] = [];
  for (const command of [
    'link set lo up',
    'link add bridge0 type bridge',
    `addr add ${gateway}/16 dev bridge0`,
    'link set bridge0 up',
  ]) {
    execFileSync('nsenter', [`--net=/run/netns/${network}`, 'ip', ...command.split(' ')]);
  }

  // --- the engine
  const socket = join(folder, 'docker.sock');
  const docker = new Docker({ socketPath: socket });
  let engine: ChildProcess | undefined;
  async function startEngine(): Promise<void> {
    engine = inside('dockerd', [
      ...['--host', `unix://${socket}`, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['--pidfile', join(folder, 'docker.pid'), '--log-level', 'warn', '--live-restore'],
      // Named, so that nobody who looks for the machine's engine takes this one.
      ...['--bridge', 'bridge0'],
      // Without it the published ports are gone for as long as the engine is.
      ...['--userland-proxy=false', '--insecure-registry', '127.0.0.0/8'],
    ]);
    let said = '';
    for (const stream of [engine.stdout, engine.stderr]) {
      stream?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2_000)));
    }
    await until(() => docker.ping(), { timeoutMs: 60_000, what: 'the engine' }).catch((error: unknown) => {
      throw new Error(`the engine does not start: ${said}`, { cause: error });
    });
  }
  async function endEngine(signal: NodeJS.Signals): Promise<void> {
    const ending = engine;
    if (ending === undefined || ending.exitCode !== null) return;
    const ended = new Promise((done) => ending.once('exit', done));
    ending.kill(signal);
    await ended;
    // Where nobody collects orphans (an init that is none), the engine takes the dead one and its dead containerd for alive.
    for (const file of ['docker.pid', 'exec/containerd/containerd.pid']) await rm(join(folder, file), { force: true });
  }
  await startEngine();

  // --- images of the machine's own engine
  const outer = new Docker({ socketPath: machine.docker.address.replace('unix://', '') });
  const routerImage = (await outer.getContainer(machine.router.container).inspect()).Config.Image;
  for (const image of [routerImage, machine.nodeImage.image]) {
    const loading = await docker.loadImage(await outer.getImage(image).get());
    loading.resume();
    await new Promise((done) => loading.once('end', done));
  }

  // --- the registry
  const registryConfig = join(folder, 'registry.yml');
  await writeFile(
    registryConfig,
    `version: 0.1\nstorage: {filesystem: {rootdirectory: ${join(folder, 'registry')}}}\nhttp: {addr: "127.0.0.1:5000"}\nlog: {level: error}\n`,
  );
  daemons.push(inside('docker-registry', ['serve', registryConfig], { stdio: 'ignore' }));

  // --- the database
  const bin = machine.applicationPostgres.clientBin;
  const database = join(folder, 'postgres');
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' })));
  await mkdir(database);
  await chown(database, uid ?? 0, gid ?? 0);
  const asPostgres = { uid, gid, cwd: '/' };
  execFileSync(
    join(bin, 'initdb'),
    ['-D', database, '-U', 'postgres', '--auth=trust', '--locale=C.UTF-8', '--no-sync'],
    asPostgres,
  );
  await writeFile(join(database, 'pg_hba.conf'), 'local all all trust\nhost all all all trust\n');
  // A network can only be entered by root, so the user is taken on inside.
  daemons.push(
    inside(
      'setpriv',
      [
        '--reuid',
        String(uid),
        '--regid',
        String(gid),
        '--clear-groups',
        join(bin, 'postgres'),
        '-D',
        database,
        '-k',
        database,
        '-h',
        '0.0.0.0',
      ],
      { stdio: 'ignore', cwd: '/' },
    ),
  );
  async function query<R extends object>(name: string, sql: string): Promise<R[]> {
    const client = new Client({ host: database, user: 'postgres', database: name });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<R>(sql)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  await until(() => query('postgres', 'select 1'), { what: 'the database', timeoutMs: 30_000 });
  await query('postgres', `create role hello login createdb password 'hello'`);
  await query('postgres', 'create database hello owner hello');
  await query(
    'hello',
    `set role hello;
     create table items (id text primary key, value text not null, version text not null, at timestamptz not null default now());
     insert into items select 'seed-' || n, 'good', '1.0.0' from generate_series(1, 20000) n`,
  );

  // --- the router
  const router = join(folder, 'router');
  const sockets = { masterSocket: join(router, 'master.sock'), statsSocket: join(router, 'stats.sock') };
  const configFolder = join(router, 'conf');
  await mkdir(configFolder, { recursive: true });
  await writeFile(join(configFolder, globalFileName), renderGlobal({ statsSocket: sockets.statsSocket }));
  const container = await docker.createContainer({
    name: 'slipway-router',
    Image: routerImage,
    Entrypoint: ['haproxy'],
    Cmd: ['-db', ...haproxyArguments({ configFolder, masterSocket: sockets.masterSocket })],
    User: '0:0',
    HostConfig: { NetworkMode: 'host', RestartPolicy: { Name: 'always' }, Binds: [`${router}:${router}`] },
  });
  await container.start();
  const routerUp = (): Promise<unknown> => until(() => ask(sockets.statsSocket, 'show info'), { what: 'the router' });
  await routerUp();

  const image = await buildServiceImage({
    dockerSocket: socket,
    registry: '127.0.0.1:5000',
    base: machine.nodeImage.image,
    repository: 'hello',
    tag: '1',
    files: { 'service.mjs': serviceSource },
    packages: ['pg'],
  });
  const blobsFolder = join(folder, 'blobs');
  const node = (file: string, input: unknown): ChildProcess =>
    inside(process.execPath, ['--disable-warning=ExperimentalWarning', resolve(here, file), JSON.stringify(input)]);

  return {
    docker,
    image,
    origin: `http://127.0.0.1:${listenPort}`,
    blobsFolder,
    change: {
      docker: `unix://${socket}`,
      configFolder,
      ...sockets,
      container: 'slipway-router',
      listen: `127.0.0.1:${listenPort}`,
      slots,
      image,
      databaseUrl: 'postgres://hello:hello@127.0.0.1:5432/hello',
      serviceDatabaseUrl: `postgres://hello:hello@${gateway}:5432/hello`,
      clientBin: bin,
      blobsFolder,
    },
    node,
    startLoad: (load) => node('../../support/traffic-load.ts', { ...load, origin: `http://127.0.0.1:${listenPort}` }),
    query,
    async databases() {
      const rows = await query<{ datname: string }>(
        'postgres',
        `select datname from pg_database where datname like 'hello%' order by 1`,
      );
      return rows.map(({ datname }) => datname);
    },
    async untilRouterLasts() {
      await until(async () => Date.now() - Date.parse((await container.inspect()).State.StartedAt) > lastingMs, {
        what: 'the router to have run for a while',
        timeoutMs: 2 * lastingMs,
      });
    },
    async killRouter() {
      const { State } = await container.inspect();
      process.kill(State.Pid, 'SIGKILL');
      await until(
        async () => {
          const now = (await container.inspect()).State;
          return now.Running && now.Pid !== State.Pid && (await ask(sockets.statsSocket, 'show info')) !== '';
        },
        { what: 'the router to be back', timeoutMs: 60_000 },
      );
    },
    async restartEngine(signal) {
      await endEngine(signal);
      await startEngine();
    },
    async stop() {
      for (const { Id } of await docker.listContainers({ all: true }).catch(() => [])) {
        await docker
          .getContainer(Id)
          .remove({ force: true })
          .catch(() => undefined);
      }
      await endEngine('SIGTERM');
      for (const daemon of daemons) {
        const ended = daemon.exitCode === null ? new Promise((done) => daemon.once('exit', done)) : undefined;
        daemon.kill('SIGINT');
        await ended;
      }
      await killWhatNames(folder);
      const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
      for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse())
        spawnSync('umount', ['-l', mount]);
      spawnSync('ip', ['netns', 'del', network]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Reads every export of later writes below a folder of blobs: the ids of rows that were inserted. */
export async function readExportedIds(blobsFolder: string): Promise<Set<string>> {
  const ids = new Set<string>();
  const entries = await readdir(blobsFolder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((file) => file.isFile() && file.name === 'later-writes.jsonl')) {
    for (const line of (await readFile(join(entry.parentPath, entry.name), 'utf8')).split('\n')) {
      if (line === '') continue;
      const change = JSON.parse(line) as { change: string; row?: { id?: string } };
      if (change.change === 'inserted' && change.row?.id !== undefined) ids.add(change.row.id);
    }
  }
  return ids;
}

/** SIGKILLs what an engine that did not come back left behind: the processes that name its folder, and their children. */
async function killWhatNames(folder: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!command.includes(`${folder}/`)) continue;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
    for (const each of [pid, ...children.trim().split(' ')].map(Number).filter((found) => found > 1)) {
      try {
        process.kill(each, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
  }
}
