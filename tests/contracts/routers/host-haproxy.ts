import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { globalFileName, haproxyArguments, renderGlobal } from '../../../src/providers/routers/haproxy-file.ts';
import { ask } from '../../../src/providers/routers/haproxy-socket.ts';
import { until } from '../../support/until.ts';

/** A HAProxy of the machine, in a folder of its own; ended with its process group. */
export interface HostHaproxy {
  readonly configFolder: string;
  readonly masterSocket: string;
  readonly statsSocket: string;
  readonly binary: string;
  /** What it wrote to its standard output so far. */
  log(): string;
  /** SIGKILLs master and workers at once. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const binary = '/usr/sbin/haproxy';

/** @param settings.keepAliveMs - as of the file that is loaded first; a test of kept connections must not depend on how quick its machine is. */
export async function startHostHaproxy(settings: { readonly keepAliveMs?: number } = {}): Promise<HostHaproxy> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-router-'));
  const configFolder = join(folder, 'conf');
  const masterSocket = join(folder, 'master.sock');
  const statsSocket = join(folder, 'stats.sock');
  await mkdir(configFolder);
  await writeFile(join(configFolder, globalFileName), renderGlobal({ ...settings, statsSocket }));
  let child: ChildProcess | undefined;
  let output = '';

  async function start(): Promise<void> {
    child = spawn(binary, haproxyArguments({ configFolder, masterSocket }), {
      // A group of its own: a SIGKILLed master leaves its workers serving.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    await until(async () => (await ask(statsSocket, 'show info')).includes('Pid'), { what: 'haproxy to answer' });
  }
  async function kill(): Promise<void> {
    const pid = child?.pid;
    if (pid === undefined) return;
    const ended = new Promise((resolve) => child?.once('close', resolve));
    process.kill(-pid, 'SIGKILL');
    await ended;
    child = undefined;
  }
  await start();
  return {
    configFolder,
    masterSocket,
    statsSocket,
    binary,
    log: () => output,
    kill,
    start,
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A port nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A small upstream that answers with its name, after `?wait=<ms>`. */
export async function startUpstream(name: string, port = 0): Promise<{ port: number; stop(): Promise<void> }> {
  const server: Server = createServer((request, response) => {
    const waitMs = Number(new URL(request.url ?? '/', 'http://upstream').searchParams.get('wait') ?? 0);
    request.resume().on('end', () => setTimeout(() => response.end(name), waitMs));
  });
  // Longer than any router waits, and it says so with each answer.
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A client with one connection, which only the other side closes: a library would give it up by a clock of its own, and open another one. */
export interface KeptConnection {
  /** @param method - default GET. @throws Error - it was closed before the answer was complete. */
  ask(method?: string, path?: string): Promise<{ readonly head: string; readonly body: string }>;
  /** Settles when the other side has closed it. */
  readonly closed: Promise<void>;
  end(): void;
}

/** Opens a connection to a server of this machine whose answers name their length. */
export async function openKept(port: number): Promise<KeptConnection> {
  const socket = connect({ port, host: '127.0.0.1' }).setEncoding('utf8');
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const closed = new Promise<void>((resolve) => socket.on('error', () => undefined).once('close', () => resolve()));
  return {
    closed,
    end: () => void socket.destroy(),
    ask: (method = 'GET', path = '/') =>
      new Promise((resolve, reject) => {
        let text = '';
        const take = (chunk: string): void => {
          text += chunk;
          const [head = '', body] = text.split('\r\n\r\n', 2);
          const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
          if (body === undefined || Buffer.byteLength(body) < length) return;
          socket.off('data', take);
          resolve({ head, body });
        };
        socket.on('data', take);
        void closed.then(() => reject(new Error(`closed before the answer was there: ${JSON.stringify(text)}`)));
        socket.write(`${method} ${path} HTTP/1.1\r\nhost: kept\r\ncontent-length: 0\r\n\r\n`);
      }),
  };
}

/** A service that closes every connection just as its second request arrives, and what it was asked. */
export interface HastyService {
  readonly port: number;
  /** Method and path of each request that it took. */
  readonly asked: readonly string[];
  stop(): Promise<void>;
}

/**
 * The worst that a short keep-alive can do, each time instead of once in a hundred: it says that a connection will be kept, and the next request on it
 * meets the closing. Under `/500` it fails, under `/dies` it closes once it has read the request.
 */
export async function startHastyService(name: string): Promise<HastyService> {
  const asked: string[] = [];
  const served = new WeakSet<Socket>();
  const server = createServer((request, response) => {
    if (served.has(request.socket)) return void request.socket.destroy();
    served.add(request.socket);
    asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
    if (request.url === '/dies') return void request.socket.destroy();
    response.statusCode = request.url === '/500' ? 500 : 200;
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
