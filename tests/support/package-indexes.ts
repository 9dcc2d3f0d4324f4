/** Real indexes of packages, each a process of the test alone: Verdaccio, and pypiserver from PyPI. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTool } from '../../src/effects/daemon.ts';
import { createLocalContext } from '../../src/local/context.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram, lastLines } from '../../src/local/programs.ts';
import { withLock } from '../../src/local/state.ts';
import type { IndexLogin } from '../../src/providers/package-uploads/port.ts';
import { testStateFolder } from './components.ts';
import { until } from './until.ts';

export interface RealIndex {
  readonly url: string;
  readonly login: IndexLogin;
  /** What it has logged so far. */
  log(): string;
  stop(): Promise<void>;
}

/** `name==version`; the index of the tests is the same everywhere. */
const pypiserver = 'pypiserver==2.4.2';
/** A dozen packages from an index that may be far away; judgement. */
const installTimeoutMs = 5 * 60_000;
/** Judgement: Verdaccio takes two seconds on an idle core. */
const startMs = 60_000;

const verdaccioProgram = join(import.meta.dirname, '../../node_modules/verdaccio/bin/verdaccio');

/** A registry of npm with one user, that asks no other registry. */
export async function startVerdaccio(): Promise<RealIndex> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-verdaccio-'));
  const config = {
    storage: join(folder, 'storage'),
    auth: { htpasswd: { file: join(folder, 'htpasswd'), algorithm: 'bcrypt', rounds: 4 } },
    uplinks: {},
    packages: { '**': { access: '$all', publish: '$authenticated' } },
    web: { enable: false },
    log: { type: 'stdout', format: 'json', level: 'http' },
  };
  // Every JSON is YAML.
  await writeFile(join(folder, 'config.yaml'), JSON.stringify(config));
  const {
    process: server,
    url,
    log,
  } = await serve(folder, (port) => [
    process.execPath,
    [verdaccioProgram, '--config', join(folder, 'config.yaml'), '--listen', `127.0.0.1:${port}`],
  ]);
  const answer = await fetch(`${url}/-/user/org.couchdb.user:ci`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'ci', password: randomBytes(16).toString('hex') }),
  });
  const { token } = (await answer.json()) as { readonly token?: string };
  if (token === undefined) throw new Error(`verdaccio gave no token: ${answer.status}`);
  return { url, login: { kind: 'token', token }, log, stop: () => end(server, folder) };
}

/** An index of Python packages with one user, that never overwrites a file and asks no other index. */
export async function startPypiserver(): Promise<RealIndex> {
  const program = await ensurePypiserver();
  const folder = await mkdtemp(join(tmpdir(), 'slipway-pypiserver-'));
  const password = randomBytes(16).toString('hex');
  const packages = join(folder, 'packages');
  mkdirSync(packages);
  const secret = `{SHA}${createHash('sha1').update(password).digest('base64')}`;
  await writeFile(join(folder, 'htpasswd'), `ci:${secret}\n`);
  const {
    process: server,
    url,
    log,
  } = await serve(folder, (port) => [
    program,
    [
      ...['-I', '-m', 'pypiserver', 'run', '--interface', '127.0.0.1', '--port', String(port), '--disable-fallback'],
      ...['--authenticate', 'update', '--passwords', join(folder, 'htpasswd'), '-v', packages],
    ],
  ]);
  return { url, login: { kind: 'password', username: 'ci', password }, log, stop: () => end(server, folder) };
}

/** @returns the Python of a virtual environment with pypiserver, made once and kept in the person's cache. */
async function ensurePypiserver(): Promise<string> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const run = async (program: string, ...args: readonly string[]): Promise<void> => {
    const env = { ...context.env, PIP_DISABLE_PIP_VERSION_CHECK: '1' };
    const { exitCode, stderr } = await runTool(program, args, { env, timeoutMs: installTimeoutMs });
    if (exitCode !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${lastLines(stderr)}`);
  };
  const folder = join(context.cacheFolder, 'pypiserver', pypiserver);
  const program = join(folder, 'bin/python3');
  await withLock(join(context.stateFolder, 'run', 'pypiserver.lock'), async () => {
    if (existsSync(program)) return;
    let python = findProgram(context, 'python3');
    if (python === undefined) {
      await installDebianPackages(context, 'python', ['python3', 'python3-venv']);
      python = findProgram(context, 'python3');
    }
    if (python === undefined) throw new Error('this machine has no Python');
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    await run(python, '-m', 'venv', part);
    // By its module and not by its scripts, which name the folder they were made in.
    await run(join(part, 'bin/python3'), '-m', 'pip', 'install', '--quiet', pypiserver, 'passlib==1.7.4');
    renameSync(part, folder);
  });
  return program;
}

async function serve(
  folder: string,
  command: (port: number) => readonly [program: string, args: readonly string[]],
): Promise<{ readonly process: ChildProcess; readonly url: string; readonly log: () => string }> {
  const port = await freePort();
  const [program, args] = command(port);
  const server = spawn(program, args, {
    cwd: folder,
    env: { HOME: folder, PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said: Buffer[] = [];
  server.stdout.on('data', (chunk: Buffer) => said.push(chunk));
  server.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const log = (): string => Buffer.concat(said).toString();
  const url = `http://127.0.0.1:${port}`;
  await until(
    async () => {
      if (server.exitCode !== null) throw new Error(`${program} ended: ${log()}`);
      return (await fetch(`${url}/`).catch(() => undefined)) !== undefined;
    },
    { what: `${program} to answer`, timeoutMs: startMs },
  );
  return { process: server, url, log };
}

async function end(server: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise((resolve) => server.once('exit', resolve));
  if (server.exitCode === null && server.kill('SIGKILL')) await ended;
  await rm(folder, { recursive: true, force: true });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
