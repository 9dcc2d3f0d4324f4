import { createRequire } from 'node:module';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { runTool } from '../../effects/process.ts';
import { createRedactor } from '../../effects/redact.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { ManifestIndex } from './port.ts';

/** Of one run of npm, ms. Judgement: a tree of two thousand packages over a slow line. */
const lockMs = 300_000;
/** Of its memory, MiB. Judgement: such a tree takes about 300. */
const memoryMiB = 1_024;
/** Of a lock, bytes: what is read of one from the repository, and as much again. */
const mostBytes = 64 * 2 ** 20;

/** npm over one manifest. */
export interface LockSession {
  /**
   * The lock that fits this manifest, over what the last one left.
   *
   * @throws `ProcessFailed`: there is none. `TimedOut`.
   */
  lock(manifest: string): Promise<string>;
  /** The next one begins with the lock of the repository again. */
  restore(): void;
}

/**
 * The npm that Slipway has with it, on the manifest and its lock alone, in a folder of its own. It runs no scripts and no git, installs nothing, and
 * what it asks for goes through a door that is open to the index alone, whatever manifest, lock and index name.
 */
export async function withNpmLock<T>(
  lock: string,
  index: ManifestIndex,
  work: (session: LockSession) => Promise<T>,
): Promise<T> {
  const door = await openDoor(new URL(index.url));
  try {
    return await withScratch('npm', async (folder) => {
      await writeFile(join(folder, '.npmrc'), settings(index, folder), { mode: 0o600 });
      let fresh = true;
      return await work({
        restore: () => (fresh = true),
        async lock(manifest) {
          await writeFile(join(folder, 'package.json'), manifest);
          if (fresh) await writeFile(join(folder, 'package-lock.json'), lock);
          fresh = false;
          await rm(join(folder, 'node_modules'), { recursive: true, force: true });
          await runNpm(folder, door.address, index);
          const made = await readFile(join(folder, 'package-lock.json'), 'utf8');
          if (made.length > mostBytes) throw new ProviderError('ProcessFailed', 'npm made a lock that is too large');
          return made;
        },
      });
    });
  } finally {
    await door.close();
  }
}

/** As a user's settings: those of the repository are not there. The token is named, and npm takes it from its environment. */
function settings({ url, token }: ManifestIndex, folder: string): string {
  const { host, pathname } = new URL(url);
  return [
    `registry=${url}/`,
    'ignore-scripts=true',
    'audit=false',
    'fund=false',
    'update-notifier=false',
    `git=${join(folder, 'no-git')}`,
    `cache=${join(folder, '.cache')}`,
    'fetch-retries=2',
    'fetch-timeout=60000',
    ...(token === undefined ? [] : [`//${host}${pathname.replace(/\/$/, '')}/:_authToken=\${SLIPWAY_INDEX_TOKEN}`]),
    '',
  ].join('\n');
}

async function runNpm(folder: string, proxy: string, { token, signal, before }: ManifestIndex): Promise<void> {
  const npm = join(dirname(createRequire(import.meta.url).resolve('npm/package.json')), 'bin/npm-cli.js');
  const { exitCode, stderr, timedOut } = await runTool({
    command: [
      ...([process.execPath, `--max-old-space-size=${memoryMiB}`, npm] as const),
      ...['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      ...[`--before=${before}`, `--proxy=${proxy}`, `--https-proxy=${proxy}`],
    ],
    cwd: folder,
    home: folder,
    env: {
      NO_UPDATE_NOTIFIER: '1',
      npm_config_userconfig: join(folder, '.npmrc'),
      npm_config_globalconfig: join(folder, 'no-npmrc'),
      ...(token === undefined ? {} : { SLIPWAY_INDEX_TOKEN: token }),
    },
    timeoutMs: lockMs,
    signal,
  });
  if (timedOut) throw new ProviderError('TimedOut', `npm has made no lock within ${lockMs / 1_000} s`);
  if (exitCode === 0) return;
  throw new ProviderError(
    'ProcessFailed',
    `npm made no lock: ${createRedactor(token === undefined ? [] : [token]).text(complaint(stderr))}`,
  );
}

/** What npm says, without its prefixes and the place of its log. */
function complaint(stderr: string): string {
  const lines = stderr
    .split('\n')
    .filter((line) => line.startsWith('npm error') && !line.includes('A complete log of this run'))
    .map((line) => line.replace(/^npm error(?: code)? ?/, '').trim())
    .filter((line) => line !== '');
  return lines.slice(0, 4).join('; ').slice(0, 500) || 'it ended without a reason';
}

interface Door {
  readonly address: string;
  close(): Promise<void>;
}

/** A proxy of this machine that goes to one server. */
async function openDoor(index: URL): Promise<Door> {
  const { RequestError, Server } = await import('proxy-chain');
  const port = index.port === '' ? (index.protocol === 'https:' ? 443 : 80) : Number(index.port);
  const host = index.hostname.replace(/^\[|\]$/g, '');
  const server = new Server({
    host: '127.0.0.1',
    port: 0,
    prepareRequestFunction(asked) {
      if (asked.hostname.replace(/^\[|\]$/g, '') === host && asked.port === port)
        return { requestAuthentication: false };
      throw new RequestError('only the index may be asked', 403);
    },
  });
  await server.listen();
  return {
    address: `http://127.0.0.1:${server.port}`,
    close: () => server.close(true),
  };
}
