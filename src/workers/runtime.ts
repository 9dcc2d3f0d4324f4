import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Capability, Config } from '../config.ts';
import { installationKey } from '../config.ts';
import { ProviderError } from '../domain/failures.ts';
import { createDecisionProofs } from '../effects/decision-proofs.ts';
import { createFence } from '../effects/fence.ts';
import { createLogFolder } from '../effects/log-files.ts';
import { runTool } from '../effects/process.ts';
import { createSecrets } from '../providers/secrets/index.ts';
import { migrate, openStore } from '../store/store.ts';
import { noteMachine } from '../store/upkeep.ts';
import { taskQueues } from '../workflows/queues.ts';
import { composeActivities } from './activities.ts';
import { workflowBundlePath } from './bundle.ts';
import { openFactSpool } from './facts.ts';
import { keepResending } from './notice-resender.ts';
import { keepSchedules } from './schedules.ts';
import {
  type VerifyLimits,
  type VerifyReport,
  handLimits,
  renderAccepted,
  renderProblems,
  verifyBeforeTaking,
  verifyOpenWorkflows,
} from './verify.ts';

/** A worker that polls its queues. */
export interface RunningWorker {
  /** Settles when every queue has stopped, after {@link RunningWorker.stop} or for an error. */
  readonly stopped: Promise<void>;
  /** Takes nothing more, lets activities end within their grace, and gives back what it holds. */
  stop(): void;
}

/** How long activities may go on after a stop was asked for: a short change ends, a build is begun again by another worker. */
const graceMs = 5_000;
/** After a worker died, its workflows are taken over this much later at most (design: sticky schedule-to-start). */
const stickyTimeout = '2s';

/**
 * Connects, looks whether this build can go on with what is open, opens the store and polls.
 *
 * @throws ProviderError `BuildRefused` (not retried): an open workflow cannot go on with it.
 * @throws ProviderError `TemporalUnavailable`, `StoreUnavailable` (retried): they are not there (yet).
 */
export async function startWorker(config: Config, logger: Logger): Promise<RunningWorker> {
  installRuntime(logger);
  const has = (capability: Capability): boolean => config.worker.capabilities.includes(capability);
  // Making it takes seconds of a processor, and only who runs workflows needs it.
  const bundle = has('orchestration') ? await ensureBundle(config) : undefined;
  const address = temporalAddress(config);
  const { namespace, connection: settings } = config.temporal;
  const [native, connection] = await Promise.all([
    NativeConnection.connect({ address, ...settings }),
    Connection.connect({ address, ...settings }),
  ]).catch((error: unknown) => {
    throw new ProviderError('TemporalUnavailable', `Temporal does not answer at ${address}: ${messageOf(error)}`, {
      cause: error,
    });
  });
  const temporal = new Client({ connection, namespace });
  // Before the store is migrated: a build that is refused has changed nothing.
  if (bundle !== undefined) await verifyBeforeTaking({ config, temporal, bundle, logger });
  const store = openStore({
    url: databaseUrl(config),
    poolSize: config.storePoolSize,
    applicationName: 'slipway worker',
  });
  await migrate(store.db);
  for (const folder of Object.values(config.folders)) mkdirSync(folder, { recursive: true });
  const onError = (error: unknown): void => logger.warn({ err: error }, 'facts wait in the spool');
  const spool = await openFactSpool(config.folders.spool, store, onError);
  const fence = createFence({ connectionString: databaseUrl(config) });
  const key = installationKey(config);
  const secrets = createSecrets({ environment: config.environment, folder: config.stateFolder, versionKey: key });
  const workspaceQueue = `build-${config.worker.name}`;
  const machineQueue = `machine-${config.worker.name}`;
  // Builds and what is deployed fill disks; a machine that does neither has none to watch over.
  const fillsDisks = has('build') || has('deploy');
  if (fillsDisks) await noteMachine(store.db, { queue: machineQueue, name: config.worker.name });
  const activities = await composeActivities({
    config,
    logger,
    store,
    spool,
    fence,
    secrets,
    proofs: createDecisionProofs(key),
    temporal,
    files: createLogFolder(config.folders.logs),
    workspaceQueue,
    machineQueue,
  });

  const shared: Partial<WorkerOptions> = {
    connection: native,
    namespace,
    identity: `${config.worker.name}/${process.pid}`,
    maxHeartbeatThrottleInterval: '500ms',
    defaultHeartbeatThrottleInterval: '500ms',
    shutdownGraceTime: graceMs,
    shutdownForceTime: graceMs * 2,
  };
  const workers = await Promise.all([
    ...(bundle !== undefined
      ? [
          Worker.create({
            ...shared,
            taskQueue: taskQueues.orchestration,
            workflowBundle: { codePath: bundle },
            activities: activities.orchestration,
            stickyQueueScheduleToStartTimeout: stickyTimeout,
            maxCachedWorkflows: 2_000,
            workflowThreadPoolSize: 1,
            maxConcurrentActivityTaskExecutions: 100,
          }),
        ]
      : []),
    ...(has('build')
      ? [taskQueues.build, workspaceQueue].map((taskQueue) =>
          Worker.create({
            ...shared,
            taskQueue,
            activities: activities.build,
            maxConcurrentActivityTaskExecutions: 50,
          }),
        )
      : []),
    ...(has('deploy')
      ? [
          Worker.create({
            ...shared,
            taskQueue: taskQueues.deploy,
            activities: activities.deploy,
            maxConcurrentActivityTaskExecutions: 100,
          }),
        ]
      : []),
    ...(fillsDisks
      ? [
          Worker.create({
            ...shared,
            taskQueue: machineQueue,
            activities: activities.machine,
            maxConcurrentActivityTaskExecutions: 2,
            maxConcurrentActivityTaskPolls: 1,
          }),
        ]
      : []),
    ...(has('notify')
      ? [
          Worker.create({
            ...shared,
            taskQueue: taskQueues.notify,
            activities: activities.notify,
            maxConcurrentActivityTaskExecutions: 20,
          }),
        ]
      : []),
  ]);

  const stopScheduling = has('orchestration') ? keepSchedules(temporal, logger) : undefined;
  const stopResending = has('notify') ? keepResending(() => activities.resendNotices(), logger) : undefined;

  async function run(): Promise<void> {
    try {
      await Promise.all(workers.map((worker) => worker.run()));
    } finally {
      // One queue that fails takes the others along: half a worker looks alive and is not.
      stop();
      await activities.close();
      await spool.flush(2_000);
      await spool.close();
      await Promise.allSettled([fence.close(), store.close(), connection.close(), native.close()]);
    }
  }
  function stop(): void {
    stopScheduling?.();
    stopResending?.();
    for (const worker of workers) {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    }
  }
  return { stopped: run(), stop };
}

/**
 * Replays every open workflow against this build.
 *
 * @returns what to print, and whether the build may take the queue.
 */
export async function verifyWorker(
  config: Config,
  logger: Logger,
): Promise<{ readonly accepted: boolean; readonly text: string }> {
  const report = await replayOpen(config, logger, await ensureBundle(config), handLimits);
  const accepted = report.problems.length === 0;
  return { accepted, text: accepted ? renderAccepted(report) : renderProblems(report) };
}

/** {@link verifyOpenWorkflows} over a connection of its own. */
export async function replayOpen(
  config: Config,
  logger: Logger,
  bundle: string,
  limits: VerifyLimits,
): Promise<VerifyReport> {
  installRuntime(logger);
  const address = temporalAddress(config);
  const { namespace, connection: settings } = config.temporal;
  const connection = await Connection.connect({ address, ...settings });
  try {
    return await verifyOpenWorkflows(new Client({ connection, namespace }), bundle, limits);
  } finally {
    await connection.close();
  }
}

let installed = false;

/** Once a process. Signals are for the caller: the SDK's own handling would stop the queues before the spool. */
function installRuntime(logger: Logger): void {
  if (installed) return;
  installed = true;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('WARN', ({ level, message, meta }) => {
      const line = { ...meta } as Record<string, unknown>;
      if (level === 'ERROR') logger.error(line, message);
      else logger.warn(line, message);
    }),
  });
}

/** Makes the bundle in a process of its own, whose memory goes with it. */
async function ensureBundle(config: Config): Promise<string> {
  const folder = join(config.stateFolder, 'bundles');
  const main = fileURLToPath(
    new URL(`./bundle-main${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
  );
  const path = await workflowBundlePath(folder);
  if (existsSync(path)) return path;
  const made = await runTool({
    command: [process.execPath, main, folder],
    cwd: config.stateFolder,
    env: { PATH: config.environment['PATH'] ?? '' },
    timeoutMs: 120_000,
  });
  if (made.exitCode !== 0) {
    throw new ProviderError('Internal', `The workflows could not be bundled: ${made.stderr.slice(-2_000)}`);
  }
  return path;
}

/** @throws ProviderError `ConfigurationInvalid` */
function temporalAddress({ temporal }: Config): string {
  if (temporal.address !== undefined) return temporal.address;
  throw new ProviderError(
    'ConfigurationInvalid',
    'TEMPORAL_ADDRESS is not set; `slipway up` starts a server and sets it.',
  );
}

function databaseUrl({ databaseUrl: url }: Config): string {
  if (url !== undefined) return url;
  throw new ProviderError('ConfigurationInvalid', 'DATABASE_URL is not set; `slipway up` starts a store and sets it.');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
