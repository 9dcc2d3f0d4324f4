import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ProviderError } from '../domain/failures.ts';
import { globalFileName, haproxyArguments, renderGlobal } from '../providers/routers/haproxy-file.ts';
import { type LocalContext, announce, installationId, socketFolder } from './context.ts';
import type { ComponentHandle } from './daemons.ts';
import { type DockerHandle, connectDocker, installationLabel, removeContainer } from './docker.ts';
import { ensureImage, pullImage } from './images.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, lastLines, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';
import { type ComponentState, withLock, writeState } from './state.ts';

/**
 * HAProxy in a container of its own. It belongs to the target: it is not ended when Slipway stops, and Docker brings it
 * back after a crash of its own or of the machine with the file it had.
 *
 * To reload: write the file beside it, check it (`haproxy -c` in the container, same paths), rename it, then send
 * `reload` to `masterSocket`. That socket refuses for some milliseconds while the master executes itself anew, so a
 * refused connection is tried again. Never by `docker kill -s`: the engine takes any signal for a stop by hand.
 */
export interface RouterHandle extends ComponentHandle {
  /** Name of the container. */
  readonly container: string;
  /** Loads all `*.cfg` of it in lexical order. The same path here and in the container; so are the two sockets. */
  readonly configFolder: string;
  /** The file loaded first: log, sockets and defaults; routes are files beside it. */
  readonly configFile: string;
  /** Accepts `reload` and `show proc`. */
  readonly masterSocket: string;
  /** Must be bound by the file: `stats socket <path> mode 600 level admin expose-fd listeners`. */
  readonly statsSocket: string;
}

export interface RouterOptions {
  /** Holds `00-global.cfg` and the routes. Default `router` in the state folder. */
  readonly configFolder?: string | undefined;
}

const publicImage = 'haproxy:2.6';
const readyTimeoutMs = 20_000;

/**
 * Makes sure that the router's image and container are there and that it answers; whatever file is there stays, a first
 * one that serves nothing is written where there is none.
 *
 * @throws ProviderError `RouterUnavailable` (retried) - it does not start; the last lines of its log are in the message.
 * @throws ProviderError `ToolMissing` (not retried) - no image can be pulled and no HAProxy installed.
 */
export async function ensureRouter(
  context: LocalContext,
  docker: DockerHandle,
  options: RouterOptions = {},
): Promise<RouterHandle> {
  const configFolder = options.configFolder ?? join(context.stateFolder, 'router');
  mkdirSync(configFolder, { recursive: true });
  const sockets = socketFolder(context, configFolder, 'master.sock');
  const place = {
    configFolder,
    configFile: join(configFolder, globalFileName),
    masterSocket: join(sockets, 'master.sock'),
    statsSocket: join(sockets, 'stats.sock'),
  };
  if (!existsSync(place.configFile)) writeFileSync(place.configFile, renderGlobal({ statsSocket: place.statsSocket }));
  const engine = connectDocker(docker.address);
  return await withLock(join(context.stateFolder, 'run', 'router.lock'), async () => {
    const found = await findContainer(engine, context);
    const container = found ?? (await create(context, docker, [configFolder, sockets], place));
    const { how, version } = await start(context, engine, container, place.statsSocket);
    const state: ComponentState = {
      name: 'router',
      owner: 'target',
      container: { engine: docker.address, name: container.name },
      ports: {},
      version,
      command: `docker start ${container.name}`,
      logFile: `docker logs ${container.name}`,
      stopSignal: 'SIGUSR1',
      stopGraceMs: 0,
      startedAt: new Date().toISOString(),
    };
    writeState(context, state);
    return {
      name: 'router',
      how,
      version,
      address: `container ${container.name}`,
      container: container.name,
      ...place,
      stop: async () => {
        await removeContainer(context, state);
      },
    };
  });
}

interface RouterContainer {
  readonly id: string;
  readonly name: string;
}

const roleLabel = 'slipway.role';

async function findContainer(engine: Docker, context: LocalContext): Promise<RouterContainer | undefined> {
  const label = [`${installationLabel}=${installationId(context)}`, `${roleLabel}=router`];
  const [found] = await engine.listContainers({ all: true, filters: { label } });
  return found === undefined ? undefined : { id: found.Id, name: (found.Names[0] ?? '').replace(/^\//, '') };
}

async function create(
  context: LocalContext,
  docker: DockerHandle,
  folders: readonly string[],
  place: { readonly configFolder: string; readonly masterSocket: string },
): Promise<RouterContainer> {
  const image = await routerImage(context, docker);
  const engine = connectDocker(docker.address);
  const taken = await engine.listContainers({ all: true, filters: { name: ['^/slipway-router$'] } });
  const name = taken.length === 0 ? 'slipway-router' : `slipway-router-${installationId(context)}`;
  const user = `${String(process.getuid?.() ?? 0)}:${String(process.getgid?.() ?? 0)}`;
  const { id } = await engine.createContainer({
    name,
    Image: image,
    Entrypoint: ['haproxy'],
    // -W: a master that keeps serving while a worker with a new file takes over; -db: in the foreground.
    Cmd: ['-db', ...haproxyArguments(place)],
    User: user,
    Labels: { [installationLabel]: installationId(context), [roleLabel]: 'router' },
    StopSignal: 'SIGUSR1',
    HostConfig: {
      NetworkMode: 'host',
      // Not `unless-stopped`: a signal sent by hand would count as a stop for ever.
      RestartPolicy: { Name: 'always' },
      Binds: [...new Set(folders)].map((folder) => `${folder}:${folder}`),
      CapDrop: ['ALL'],
      CapAdd: ['NET_BIND_SERVICE'],
      SecurityOpt: ['no-new-privileges'],
      ReadonlyRootfs: true,
      LogConfig: { Type: 'json-file', Config: { 'max-size': '50m', 'max-file': '3' } },
    },
  });
  return { id, name };
}

async function routerImage(context: LocalContext, docker: DockerHandle): Promise<string> {
  return await obtain(
    'HAProxy',
    [
      { what: '`haproxy` on PATH', take: () => imageOf(context, docker, findProgram(context, 'haproxy')) },
      {
        what: `pulling ${publicImage}`,
        take: async () => {
          await pullImage(context, docker, publicImage);
          return publicImage;
        },
      },
      {
        what: 'installing haproxy by apt',
        take: async () => {
          await installDebianPackages(context, 'router', ['haproxy']);
          return await imageOf(context, docker, findProgram(context, 'haproxy'));
        },
      },
    ],
    'Install HAProxy, or let the Docker engine pull public images.',
  );
}

async function imageOf(
  context: LocalContext,
  docker: DockerHandle,
  program: string | undefined,
): Promise<string | undefined> {
  if (program === undefined) return undefined;
  const { stdout } = await runHelper(context, program, ['-v']);
  const tag = /version ([\d.]+)/.exec(stdout)?.[1] ?? 'unknown';
  const { image } = await ensureImage(context, docker, 'router', {}, () =>
    Promise.resolve({
      tag,
      programs: [{ from: program, to: '/usr/local/sbin/haproxy' }],
      env: {},
      cmd: ['haproxy', '-v'],
    }),
  );
  return image;
}

async function start(
  context: LocalContext,
  engine: Docker,
  { id, name }: RouterContainer,
  statsSocket: string,
): Promise<{ how: 'found' | 'started'; version: string }> {
  const container = engine.getContainer(id);
  const { State } = await container.inspect();
  // After several failures the engine waits up to a minute before its next try; we do not.
  if (State.Restarting) await container.restart({ t: 0 });
  else if (!State.Running) await container.start();
  const how = State.Running && !State.Restarting ? 'found' : 'started';
  const version = await announce(
    context,
    'router',
    how === 'found' ? `asking ${name}` : `starting ${name}`,
    async () => {
      const deadline = performance.now() + readyTimeoutMs;
      for (;;) {
        try {
          return /^Version: ([\d.]+)/m.exec(await askSocket(statsSocket, 'show info'))?.[1] ?? 'unknown';
        } catch (error) {
          const now = (await container.inspect()).State;
          if (now.Restarting && now.ExitCode !== 0) throw await notUp(container, name, 'it ends at once');
          if (performance.now() >= deadline) throw await notUp(container, name, reasonOf(error));
        }
        await delay(50);
      }
    },
  );
  return { how, version };
}

async function notUp(container: Docker.Container, name: string, why: string): Promise<ProviderError> {
  const log = await container.logs({ stdout: true, stderr: true, tail: 8 });
  // Each line begins with eight bytes that say which stream it is from.
  const text = log.toString('utf8').replace(/^[\u0000-\u0002][\s\S]{7}/gm, '');
  return new ProviderError(
    'RouterUnavailable',
    `the router (container ${name}) does not answer: ${why}. Its log ends with: ${lastLines(text, 8)}`,
  );
}

/** Sends one command to a socket of HAProxy and gives back its answer. */
async function askSocket(path: string, command: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ path, timeout: 2_000 });
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      answer += chunk;
    });
    socket.once('end', () => {
      resolve(answer);
    });
    socket.once('timeout', () => socket.destroy(new Error(`no answer from ${path}`)));
    socket.once('error', reject);
    socket.write(`${command}\n`);
  });
}
