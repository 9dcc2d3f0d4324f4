import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { CliError } from './exit.ts';

/** Where the API is, and as whom. */
export interface Connection {
  /** Without a slash at the end. */
  readonly url: string;
  readonly token: string;
  /** Used where a command names no project. */
  readonly project?: string;
  /** Where the address was found, for messages. */
  readonly source: string;
  /** Where the token was found; absent: where the address was. */
  readonly tokenSource?: string;
}

/** The file that `slipway up` writes into its state folder, and that a person may keep under XDG_CONFIG_HOME. */
export interface ConnectionFile {
  readonly url?: string;
  readonly token?: string;
  readonly project?: string;
}

export interface ConnectionOptions {
  readonly api?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly project?: string | undefined;
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export const connectionFileName = 'cli.json';

/**
 * Finds address and token: options first, then SLIPWAY_URL, SLIPWAY_TOKEN or SLIPWAY_TOKEN_FILE, and SLIPWAY_PROJECT, then `.slipway/cli.json` of this folder or
 * one above it, then `slipway/config.json` of the person.
 *
 * @throws CliError `not-allowed` - there is no address or no token to be found.
 */
export function findConnection(options: ConnectionOptions): Connection {
  // An empty variable is one that was taken away.
  const env = Object.fromEntries(Object.entries(options.env ?? process.env).filter(([, value]) => value !== ''));
  const local = nearestStateFile(options.folder ?? process.cwd());
  const personal = join(env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config'), 'slipway/config.json');
  const files = [local, personal]
    .filter((file) => file !== undefined)
    .map((file) => ({ file, content: readConnectionFile(file) }));
  const from = (key: keyof ConnectionFile): string | undefined =>
    files.map(({ content }) => content[key]).find((value) => value !== undefined);

  const url = options.api ?? env['SLIPWAY_URL'] ?? from('url');
  const token =
    readTokenFile(options.tokenFile, '--token-file') ??
    env['SLIPWAY_TOKEN'] ??
    readTokenFile(env['SLIPWAY_TOKEN_FILE'], 'SLIPWAY_TOKEN_FILE') ??
    from('token');
  const project = options.project ?? env['SLIPWAY_PROJECT'] ?? from('project');
  if (url === undefined || token === undefined) {
    throw new CliError('not-allowed', `No ${url === undefined ? 'address of the API' : 'token'} was found.`, {
      type: 'not-connected',
      next: [
        {
          command: 'slipway up',
          when: 'to start an installation on this machine; commands typed in its folder then find it by themselves',
        },
        {
          command: 'export SLIPWAY_URL=… SLIPWAY_TOKEN_FILE=…',
          when: 'to use one that runs, from any folder: `slipway up` prints both',
        },
      ],
    });
  }
  return {
    url: url.replace(/\/+$/, ''),
    token,
    source: files.find(({ content }) => content.url === url)?.file ?? 'the environment or an option',
    tokenSource:
      files.find(({ content }) => content.token === token)?.file ?? 'SLIPWAY_TOKEN, SLIPWAY_TOKEN_FILE or --token-file',
    ...(project === undefined ? {} : { project }),
  };
}

/** Written so that only its owner can read it: the token in it is an administrator's. */
export function writeConnectionFile(stateFolder: string, content: ConnectionFile): string {
  const file = join(stateFolder, connectionFileName);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(content, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return file;
}

function nearestStateFile(folder: string): string | undefined {
  for (let current = resolve(folder); ; current = dirname(current)) {
    const file = join(current, '.slipway', connectionFileName);
    if (existsSync(file)) return file;
    if (dirname(current) === current) return undefined;
  }
}

export function readConnectionFile(file: string): ConnectionFile {
  if (!existsSync(file)) return {};
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ConnectionFile;
  } catch {
    throw new CliError('usage', `${file} is no JSON; correct it or remove it.`);
  }
}

function readTokenFile(file: string | undefined, given: string): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    throw new CliError('usage', `${file}, given as ${given}, cannot be read.`);
  }
}
