import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Something a person waiting for the machine wants to see. */
export interface ProgressEvent {
  readonly component: string;
  /** One line: what happens, and with what. */
  readonly message: string;
  /** Since this piece of work began, ms. */
  readonly elapsedMs: number;
}

/** What every part of `local` works with. */
export interface LocalContext {
  /** Absolute; state, logs and data of this installation. */
  readonly stateFolder: string;
  /** Absolute; programs that were built or downloaded, shared by all installations of this person. */
  readonly cacheFolder: string;
  /** The environment that installers and helpers get: the person's own, with proxies and mirrors. */
  readonly env: Readonly<Record<string, string>>;
  readonly report: (event: ProgressEvent) => void;
  /** Preferred ports by component, instead of those of `ports.ts`. */
  readonly preferredPorts: Readonly<Record<string, number>>;
}

/** What a caller may choose; everything has a default. */
export interface LocalOptions {
  /** Default `.slipway` in the current folder. */
  readonly stateFolder?: string | undefined;
  /** Default `${XDG_CACHE_HOME:-~/.cache}/slipway`. */
  readonly cacheFolder?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  readonly preferredPorts?: Readonly<Record<string, number>> | undefined;
}

/** Fills in the defaults and makes the folders. */
export function createLocalContext(options: LocalOptions = {}): LocalContext {
  const { env, cacheFolder } = programsOf(options.env);
  const stateFolder = resolve(options.stateFolder ?? '.slipway');
  for (const folder of ['run', 'log', 'secrets']) mkdirSync(join(stateFolder, folder), { recursive: true });
  return {
    stateFolder: realpathSync(stateFolder),
    cacheFolder: options.cacheFolder === undefined ? cacheFolder : resolve(options.cacheFolder),
    env,
    report: options.onProgress ?? (() => undefined),
    preferredPorts: options.preferredPorts ?? {},
  };
}

/** What of a context says where programs are, without making any folder. */
export function programsOf(
  given: Readonly<Record<string, string | undefined>> = process.env,
): Pick<LocalContext, 'cacheFolder' | 'env'> {
  const env = Object.fromEntries(
    Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const caches = env['XDG_CACHE_HOME'] ?? join(env['HOME'] ?? homedir(), '.cache');
  return { env, cacheFolder: resolve(caches, 'slipway') };
}

/** Eight characters that tell this installation from another one on the same machine. */
export function installationId(context: LocalContext): string {
  return createHash('sha256').update(context.stateFolder).digest('hex').slice(0, 8);
}

/** Where the log of a component is. */
export function logFile(context: LocalContext, name: string): string {
  return join(context.stateFolder, 'log', `${name}.log`);
}

// sockaddr_un holds 108 bytes with the closing zero, and HAProxy binds to `<path>.<pid>.tmp` first.
const longestSocketPath = 90;

/**
 * A folder for sockets: the wanted one, or where its path is too long for a socket a short one that belongs to this
 * installation alone.
 *
 * @param longestName - the longest name of a socket in it.
 */
export function socketFolder(context: LocalContext, wanted: string, longestName: string): string {
  const short = join(process.getuid?.() === 0 ? '/run' : tmpdir(), `slipway-${installationId(context)}`);
  const fits = Buffer.byteLength(join(wanted, longestName)) <= longestSocketPath;
  const folder = fits ? wanted : join(short, createHash('sha256').update(wanted).digest('hex').slice(0, 4));
  mkdirSync(folder, { recursive: true });
  return folder;
}

const tickMs = 5_000;

/**
 * Does a piece of work and says so: at its start, then at least every 5 s until it is over. No wait is silent.
 *
 * @param work - is given a function to replace the line by a more exact one, such as the package being compiled.
 */
export async function announce<T>(
  context: LocalContext,
  component: string,
  message: string,
  work: (detail: (line: string) => void) => Promise<T>,
): Promise<T> {
  const began = performance.now();
  let detail = '';
  const say = (): void => {
    const elapsedMs = Math.round(performance.now() - began);
    context.report({ component, message: detail === '' ? message : `${message}: ${detail}`, elapsedMs });
  };
  say();
  const ticker = setInterval(say, tickMs);
  try {
    return await work((line) => {
      detail = line.trim().slice(0, 120);
    });
  } finally {
    clearInterval(ticker);
  }
}
