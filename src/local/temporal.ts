import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Connection, type ConnectionOptions } from '@temporalio/client';
import { ProviderError } from '../domain/failures.ts';
import { workflowTaskQueue } from '../workflows/queues.ts';
import type { LocalContext } from './context.ts';
import { type ComponentHandle, type Ports, daemonHandle, findOrStart } from './daemons.ts';
import { downloadProgram } from './downloads.ts';
import { installGoProgram } from './packages.ts';
import { checkListens } from './ports.ts';
import { findProgram, obtain, runHelper } from './programs.ts';
import { reasonOf } from './reason.ts';

/** A Temporal frontend that Slipway may use, with the namespace and search attributes it needs. */
export interface TemporalHandle extends ComponentHandle {
  /** `host:port` of the gRPC frontend. */
  readonly address: string;
  readonly namespace: string;
  /** Where a person looks at runs; undefined where the address was configured and its UI is not known. */
  readonly uiUrl?: string | undefined;
}

/** What Slipway may be told about a Temporal that runs already. */
export interface TemporalOptions {
  /** `host:port`; then nothing is started. */
  readonly address?: string | undefined;
  readonly namespace?: string | undefined;
  readonly uiUrl?: string | undefined;
  /** TLS, API key and the like of a configured address. */
  readonly connection?: Omit<ConnectionOptions, 'address'> | undefined;
}

/** The last version that `go install` can build: later ones have a `replace` in their go.mod. */
const cliVersion = '1.5.1';

/** All Keyword. Names are checked here and nowhere else; workflows upsert them. */
export const searchAttributes = ['SlipwayProject', 'SlipwayEnvironment', 'SlipwayPhase', 'SlipwayVersion'] as const;

/**
 * The dev server has one shard, and each history queue of a shard polls at most 20 times a second by default, so a
 * sequential activity costs 102 ms. With these it costs 12 ms (20 activities: 2,048 ms and 238 ms).
 */
const tunedFlags = [
  ...['transfer', 'timer', 'visibility'].flatMap((queue) => [
    '--dynamic-config-value',
    `history.${queue}ProcessorMaxPollRPS=2000`,
  ]),
  // An activity on the queue of its workflow goes with the answer to the workflow task, to the worker that asked for it.
  ...['--dynamic-config-value', 'system.enableActivityEagerExecution=true'],
];

/**
 * A log beside the state's file in place of a journal that is made and removed for every transaction, of which an activity has several: 20
 * trivial steps take 228 ms instead of 267, the start of a run 100 instead of 113 (docs/benchmarks.md). What was answered outlives a power cut:
 * `NORMAL` in place of `FULL` would save about half as much again, and may forget what was answered last.
 */
const stateFlags = ['journal_mode=WAL', 'synchronous=FULL'].flatMap((pragma) => ['--sqlite-pragma', pragma]);

/**
 * Finds or starts Temporal: the dev server with its UI, its state in `temporal-<server version>.db` of the state folder.
 *
 * @throws ProviderError `ConfigurationInvalid` (not retried) - the state was written by another server version.
 * @throws ProviderError `TemporalUnavailable` (retried) - the configured address does not answer.
 * @throws ProviderError `ToolMissing` (not retried) - there is no way to a Temporal program on this machine.
 * @throws ProviderError `ProcessFailed` (retried) - it does not start.
 */
export async function ensureTemporal(context: LocalContext, options: TemporalOptions = {}): Promise<TemporalHandle> {
  const namespace = options.namespace ?? 'default';
  if (options.address !== undefined) return await useConfigured({ ...options, address: options.address, namespace });

  const running = await findOrStart(context, {
    name: 'temporal',
    ports: ['temporal', 'temporal-ui'],
    prepare: async () => {
      const program = await temporalProgram(context);
      const version = await serverVersion(context, program);
      return { version, launch: (ports) => ({ command: program, args: startArgs(context, version, ports) }) };
    },
    answers: async (ports) => {
      await checkListens(ports['temporal'] ?? 0);
      await checkNamespace({ address: frontend(ports) }, namespace);
    },
  });
  const address = frontend(running.state.ports);
  return {
    ...daemonHandle(context, running, address),
    address,
    namespace,
    uiUrl: `http://127.0.0.1:${String(running.state.ports['temporal-ui'])}`,
  };
}

function frontend(ports: Ports): string {
  return `127.0.0.1:${String(ports['temporal'])}`;
}

function startArgs(context: LocalContext, version: string, ports: Ports): string[] {
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(ports['temporal'])],
    ...['--ui-ip', '127.0.0.1', '--ui-port', String(ports['temporal-ui'])],
    ...['--db-filename', stateFileFor(context, version), '--log-level', 'warn', '--log-format', 'json'],
    ...searchAttributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    ...tunedFlags,
    ...stateFlags,
  ];
}

function stateFileFor(context: LocalContext, version: string): string {
  const name = `temporal-${version}.db`;
  const files = readdirSync(context.stateFolder).filter((file) => /^temporal-.*\.db$/.test(file));
  if (files.length > 0 && !files.includes(name)) {
    throw new ProviderError(
      'ConfigurationInvalid',
      `${join(context.stateFolder, files.join(', '))} was written by another Temporal server than the ${version} of this ` +
        `machine, which cannot open it. Put the program of that version on PATH, or move the file away, with the -wal and ` +
        `-shm beside it: Temporal then begins anew, what was open is ended, and each environment reads from the store and its target what is live. ` +
        `\`slipway environments\` shows it; \`slipway unlock\` says what is true where it is held.`,
    );
  }
  return join(context.stateFolder, name);
}

async function temporalProgram(context: LocalContext): Promise<string> {
  const platform = process.platform === 'darwin' ? 'darwin' : 'linux';
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const archive = `https://temporal.download/cli/archive/v${cliVersion}?platform=${platform}&arch=${arch}`;
  return await obtain(
    'Temporal',
    [
      { what: '`temporal` in the cache and on PATH', take: () => findProgram(context, 'temporal') },
      { what: 'its download', take: () => downloadProgram(context, 'temporal', archive, 'temporal') },
      {
        what: 'building it with Go',
        take: () =>
          installGoProgram(context, 'temporal', `github.com/temporalio/cli/cmd/temporal@v${cliVersion}`, {
            ldflags: `-X github.com/temporalio/cli/temporalcli.Version=${cliVersion}`,
            hint: 'two to three minutes, once',
          }),
      },
    ],
    'Put the Temporal CLI on PATH, give the machine Go 1.24 or internet, or set TEMPORAL_ADDRESS to a Temporal that runs.',
  );
}

async function serverVersion(context: LocalContext, program: string): Promise<string> {
  const { stdout } = await runHelper(context, program, ['--version']);
  const version = /Server ([\d.]+[\w.-]*)/.exec(stdout)?.[1];
  if (version === undefined) {
    throw new ProviderError('ToolMissing', `${program} --version names no server version: "${stdout.trim()}"`);
  }
  return version;
}

/** Open workflows that are looked at, at most: as many as a start replays, twice. */
const mostOpen = 10_000;

/**
 * The open workflows of Slipway, each as `<workflow id>/<run id>`.
 *
 * @throws Error - it did not answer within 5 s, or there are more than 10,000.
 */
export async function readOpenWorkflows({
  address,
  namespace,
}: Pick<TemporalHandle, 'address' | 'namespace'>): Promise<ReadonlySet<string>> {
  const query = `ExecutionStatus = "Running" AND TaskQueue = "${workflowTaskQueue}"`;
  return await withConnection({ address }, async (connection) => {
    const open = new Set<string>();
    let nextPageToken = new Uint8Array();
    do {
      const page = await connection.workflowService.listWorkflowExecutions({
        ...{ namespace, query, nextPageToken },
        pageSize: 1_000,
      });
      for (const { execution } of page.executions) {
        open.add(`${execution?.workflowId ?? ''}/${execution?.runId ?? ''}`);
      }
      if (open.size > mostOpen) throw new Error(`more than ${mostOpen} workflows are open`);
      nextPageToken = new Uint8Array(page.nextPageToken);
    } while (nextPageToken.length > 0);
    return open;
  });
}

type Configured = TemporalOptions & { readonly address: string; readonly namespace: string };

async function useConfigured(options: Configured): Promise<TemporalHandle> {
  const { address, namespace, uiUrl } = options;
  const connectionOptions = { ...options.connection, address };
  try {
    await checkNamespace(connectionOptions, namespace);
    const version = await registerSearchAttributes(connectionOptions, namespace);
    return { name: 'temporal', how: 'configured', version, address, namespace, uiUrl, stop: () => Promise.resolve() };
  } catch (error) {
    throw new ProviderError(
      'TemporalUnavailable',
      `Temporal at ${address}, namespace ${namespace}, cannot be used: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}

async function checkNamespace(options: ConnectionOptions, namespace: string): Promise<void> {
  await withConnection(options, async (connection) => {
    await connection.workflowService.describeNamespace({ namespace });
  });
}

/** 2 is Keyword in `temporal.api.enums.v1.IndexedValueType`. */
const keywordType = 2;

async function registerSearchAttributes(options: ConnectionOptions, namespace: string): Promise<string> {
  return await withConnection(options, async (connection) => {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = searchAttributes.filter((name) => !Object.hasOwn(customAttributes, name));
    if (missing.length > 0) {
      await connection.operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(missing.map((name) => [name, keywordType])),
      });
    }
    const { serverVersion: version } = await connection.workflowService.getSystemInfo({});
    return version === '' ? 'unknown' : version;
  });
}

async function withConnection<T>(options: ConnectionOptions, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ connectTimeout: 2_000, ...options });
  try {
    return await connection.withDeadline(Date.now() + 5_000, () => work(connection));
  } finally {
    await connection.close();
  }
}
