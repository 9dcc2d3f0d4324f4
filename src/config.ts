import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type ClientConnectConfig, loadClientConnectConfig } from '@temporalio/envconfig';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';
import type { DiskLimits } from './domain/disk.ts';
import { ProviderError } from './domain/failures.ts';
import { type Capability, Settings } from './settings.ts';

export { type Capability, capabilities } from './settings.ts';

/** Everything a process of Slipway is told by its environment. */
export interface Config {
  /** Absolute. `SLIPWAY_STATE`, default `.slipway` in the current folder. */
  readonly stateFolder: string;
  /** Absolute, inside the state folder where nothing else is said. */
  readonly folders: {
    /** `SLIPWAY_BLOBS`: backups. */
    readonly blobs: string;
    /** `SLIPWAY_LOGS`: output of steps; shared by workers and API. */
    readonly logs: string;
    /** `SLIPWAY_SPOOL`: facts on their way to the store; of this machine alone. */
    readonly spool: string;
    /** `SLIPWAY_WORK`: mirrors and workspaces; of this machine alone. */
    readonly work: string;
  };
  /** `DATABASE_URL`; the one machine's own store where it is not given. */
  readonly databaseUrl: string | undefined;
  /** `SLIPWAY_STORE_POOL`, default 10. */
  readonly storePoolSize: number;
  readonly temporal: TemporalConfig;
  /** `DOCKER_HOST`: where images are built and, unless a target says otherwise, releases run. Default: the machine's own engine. */
  readonly engine: { readonly address: string };
  readonly router: RouterConfig;
  readonly api: ApiConfig;
  readonly worker: {
    /** `SLIPWAY_CAPABILITIES`, divided by commas. Default: all. */
    readonly capabilities: readonly Capability[];
    /** `SLIPWAY_WORKER_NAME`: names the task queue of its workspaces, so it must survive a restart. Default: the machine's. */
    readonly name: string;
    /** `SLIPWAY_MACHINE_PATIENCE` in ms, default 300_000: how long a stage waits for this machine before its run begins anew elsewhere. */
    readonly patienceMs: number;
  };
  /**
   * `SLIPWAY_DISK_HIGH` and `SLIPWAY_DISK_LOW`, percent: a disk filled to the first is freed of images that nothing needs down to the second.
   * Defaults 85 and 80. Shares from 0 to 1.
   */
  readonly disk: DiskLimits;
  /** `SLIPWAY_LOG_LEVEL`, default `info`. */
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** The environment itself, for secrets that a project takes from it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** As the Temporal command line reads it: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…, TEMPORAL_PROFILE. */
export interface TemporalConfig {
  /** `host:port`; the one machine's own server where it is not given. */
  readonly address: string | undefined;
  /** Default `default`. */
  readonly namespace: string;
  /** TLS, API key and headers; `address` is not in it. */
  readonly connection: Omit<ClientConnectConfig['connectionOptions'], 'address'>;
}

/** The router beside the releases; `slipway up` gives these of the one it found or started. */
export interface RouterConfig {
  /** `SLIPWAY_ROUTER_FOLDER`: files of routes. Default `router` in the state folder. */
  readonly configFolder: string;
  /** `SLIPWAY_ROUTER_MASTER` and `SLIPWAY_ROUTER_STATS`: its sockets. Default: in the folder. */
  readonly masterSocket: string;
  readonly statsSocket: string;
  /** `SLIPWAY_ROUTER_CONTAINER`: whose log tells the requests. Default `slipway-router`. */
  readonly container: string;
  /** `SLIPWAY_ROUTER_BINARY`: checks files; in the container where it is not given. */
  readonly binary: string | undefined;
}

export interface ApiConfig {
  /** `SLIPWAY_API_HOST`, default 127.0.0.1; anything else but loopback needs TLS. */
  readonly host: string;
  /** `SLIPWAY_API_PORT`, default 8420. */
  readonly port: number;
  /** `SLIPWAY_TLS_CERT` and `SLIPWAY_TLS_KEY`: files in PEM. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** `SLIPWAY_PUBLIC_URL`: how people reach the API, for links in notices. Without a slash at the end. */
  readonly publicUrl: string | undefined;
  /** `SLIPWAY_TEMPORAL_UI`: the same for the Temporal UI. */
  readonly temporalUi: string | undefined;
}

const loopback = /^(127\.\d+\.\d+\.\d+|localhost|::1)$/;

/**
 * Reads and checks the environment; all problems at once.
 *
 * @throws ProviderError `ConfigurationInvalid` (not retried)
 */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  // An empty variable is one that is not set: `VAR=` of an env file would else be a port 0.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value?.trim() !== ''));
  const { data, error } = Settings.safeParse(given);
  if (data === undefined) {
    throw invalid(error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`));
  }
  const stateFolder = resolve(data.SLIPWAY_STATE ?? '.slipway');
  const host = data.SLIPWAY_API_HOST ?? '127.0.0.1';
  const certFile = data.SLIPWAY_TLS_CERT;
  const keyFile = data.SLIPWAY_TLS_KEY;
  const tls = certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
  const problems = [
    ...((certFile === undefined) === (keyFile === undefined)
      ? []
      : ['SLIPWAY_TLS_CERT and SLIPWAY_TLS_KEY must be given together']),
    ...(tls !== undefined || loopback.test(host)
      ? []
      : [
          `SLIPWAY_API_HOST is ${host}: beyond this machine tokens need TLS; give SLIPWAY_TLS_CERT and SLIPWAY_TLS_KEY`,
        ]),
  ];
  if (data.SLIPWAY_DISK_LOW >= data.SLIPWAY_DISK_HIGH) {
    problems.push('SLIPWAY_DISK_LOW must be less than SLIPWAY_DISK_HIGH');
  }
  if (problems.length > 0) throw invalid(problems);
  return {
    stateFolder,
    folders: {
      blobs: resolve(data.SLIPWAY_BLOBS ?? join(stateFolder, 'blobs')),
      logs: resolve(data.SLIPWAY_LOGS ?? join(stateFolder, 'logs')),
      spool: resolve(data.SLIPWAY_SPOOL ?? join(stateFolder, 'spool')),
      work: resolve(data.SLIPWAY_WORK ?? join(stateFolder, 'work')),
    },
    databaseUrl: data.DATABASE_URL,
    storePoolSize: data.SLIPWAY_STORE_POOL,
    temporal: readTemporal(given),
    engine: { address: data.DOCKER_HOST ?? 'unix:///var/run/docker.sock' },
    router: {
      configFolder: resolve(data.SLIPWAY_ROUTER_FOLDER ?? join(stateFolder, 'router')),
      masterSocket: resolve(data.SLIPWAY_ROUTER_MASTER ?? join(stateFolder, 'router/master.sock')),
      statsSocket: resolve(data.SLIPWAY_ROUTER_STATS ?? join(stateFolder, 'router/stats.sock')),
      container: data.SLIPWAY_ROUTER_CONTAINER ?? 'slipway-router',
      binary: data.SLIPWAY_ROUTER_BINARY,
    },
    api: {
      host,
      port: data.SLIPWAY_API_PORT,
      tls,
      publicUrl: data.SLIPWAY_PUBLIC_URL,
      temporalUi: data.SLIPWAY_TEMPORAL_UI,
    },
    worker: {
      capabilities: data.SLIPWAY_CAPABILITIES,
      name: data.SLIPWAY_WORKER_NAME ?? hostname(),
      patienceMs: data.SLIPWAY_MACHINE_PATIENCE * 1_000,
    },
    disk: { high: data.SLIPWAY_DISK_HIGH / 100, low: data.SLIPWAY_DISK_LOW / 100 },
    logLevel: data.SLIPWAY_LOG_LEVEL,
    environment,
  };
}

function readTemporal(environment: Readonly<Record<string, string | undefined>>): TemporalConfig {
  const given = Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  try {
    const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: given });
    const { address, ...connection } = connectionOptions;
    return { address, namespace: namespace ?? 'default', connection };
  } catch (error) {
    throw invalid([`the TEMPORAL_… variables or the Temporal profile: ${error instanceof Error ? error.message : ''}`]);
  }
}

function invalid(problems: readonly string[]): ProviderError {
  return new ProviderError(
    'ConfigurationInvalid',
    `The environment of this process is wrong: ${problems.join('; ')}.`,
    {
      details: { problems },
    },
  );
}

/**
 * The key by which versions of secrets are made and decisions are proven. `SLIPWAY_INSTALLATION_KEY` must be the same for API and workers; one machine makes its own
 * and keeps it in `secrets/installation-key` of its state folder.
 */
export function installationKey(config: Config): string {
  const given = config.environment['SLIPWAY_INSTALLATION_KEY'];
  if (given !== undefined && given !== '') return given;
  const file = join(config.stateFolder, 'secrets/installation-key');
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    // Only one of several processes that start at once makes it.
    writeFileSync(file, randomBytes(32).toString('hex'), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}

/** Fields that hold secrets, wherever they come up. */
const secretFields = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'apiKey',
  'url.password',
  'databaseUrl',
];

/**
 * What of an error may stand in a log. Errors of Node carry what they were given (`ERR_INVALID_URL` the whole URL with its password), so of
 * foreign fields only the code is kept; details are of our own making, with secrets taken out.
 */
function loggable(error: unknown, depth = 0): unknown {
  if (typeof error !== 'object' || error === null || !('message' in error)) return error;
  const { name, message, stack, code, type, details, cause } = error as Error & Record<string, unknown>;
  return {
    type: typeof type === 'string' ? type : name,
    message,
    stack,
    ...(code === undefined ? {} : { code }),
    ...(details === undefined ? {} : { details }),
    // As deep as an honest chain goes.
    ...(cause === undefined || depth >= 10 ? {} : { cause: loggable(cause, depth + 1) }),
  };
}

/** The log of a process: one JSON object a line, with secrets left out. */
export function createLogger(config: Pick<Config, 'logLevel'>, name: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    name,
    level: config.logLevel,
    redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: '***' },
    serializers: { err: loggable, error: loggable },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
