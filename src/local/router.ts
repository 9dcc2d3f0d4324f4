import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { globalFileName, haproxyArguments, renderGlobal } from '../providers/routers/haproxy-file.ts';
import { containerHandle, findOrStartContainer } from './containers.ts';
import { type LocalContext, socketFolder } from './context.ts';
import type { ComponentHandle } from './daemons.ts';
import type { DockerHandle } from './docker.ts';
import { ensureImage, pullImage } from './images.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, obtain, runHelper } from './programs.ts';

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
  const global = renderGlobal({ statsSocket: place.statsSocket });
  // One that an older Slipway wrote holds until the next switch of traffic, which loads it anew.
  if (!existsSync(place.configFile) || readFileSync(place.configFile, 'utf8') !== global) {
    // In one piece: the router may be loading its files just now.
    writeFileSync(`${place.configFile}.new`, global);
    renameSync(`${place.configFile}.new`, place.configFile);
  }
  const running = await findOrStartContainer(context, docker, {
    name: 'router',
    owner: 'target',
    ports: [],
    create: async () => ({
      Image: await routerImage(context, docker),
      Entrypoint: ['haproxy'],
      // -W: a master that keeps serving while a worker with a new file takes over; -db: in the foreground.
      Cmd: ['-db', ...haproxyArguments(place)],
      User: `${String(process.getuid?.() ?? 0)}:${String(process.getgid?.() ?? 0)}`,
      StopSignal: 'SIGUSR1',
      HostConfig: {
        Binds: [...new Set([configFolder, sockets])].map((folder) => `${folder}:${folder}`),
        CapDrop: ['ALL'],
        CapAdd: ['NET_BIND_SERVICE'],
        SecurityOpt: ['no-new-privileges'],
        ReadonlyRootfs: true,
      },
    }),
    answers: async () => /^Version: ([\d.]+)/m.exec(await askSocket(place.statsSocket, 'show info'))?.[1] ?? 'unknown',
    failure: 'RouterUnavailable',
  });
  const { name } = running.state.container;
  return { ...containerHandle(context, running, `container ${name}`), container: name, ...place };
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
