import { readFileSync } from 'node:fs';
import { Client, Connection } from '@temporalio/client';
import closeWithGrace from 'close-with-grace';
import { type Config, createLogger, installationKey, readConfig } from '../config.ts';
import { loadProject } from '../definition/load.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { createLogFolder } from '../effects/log-files.ts';
import { createBlobs } from '../providers/blobs/index.ts';
import { runTool } from '../effects/process.ts';
import { createSecrets } from '../providers/secrets/index.ts';
import { readProject } from '../store/projects.ts';
import { type Store, migrate, openStore } from '../store/store.ts';
import { workflowTaskQueue } from '../workflows/queues.ts';
import { buildApp } from './app.ts';

/** Longer than any command waits for its workflow. */
const closeTimeoutMs = 12_000;
const resolveTimeoutMs = 15_000;

/** The process of the API: reads the environment, connects, listens, and ends in order when it is told to. */
async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger(config, 'api');
  const { databaseUrl, temporal: server } = config;
  if (databaseUrl === undefined || server.address === undefined) {
    throw new ProviderError(
      'ConfigurationInvalid',
      'DATABASE_URL and TEMPORAL_ADDRESS must be set; `slipway up` starts both and sets them.',
    );
  }
  const store = openStore({ url: databaseUrl, poolSize: config.storePoolSize, applicationName: 'slipway api' });
  await migrate(store.db);
  // Connects when it is first used: webhooks are accepted while Temporal is away.
  const connection = Connection.lazy({ ...server.connection, address: server.address });
  const secrets = createSecrets({
    environment: config.environment,
    folder: config.stateFolder,
    versionKey: installationKey(config),
  });
  const { publicUrl, temporalUi, tls } = config.api;
  const app = await buildApp({
    store,
    temporal: new Client({ connection, namespace: server.namespace }),
    logs: createLogFolder(config.folders.logs),
    blobs: createBlobs({ kind: 'folder', folder: config.folders.blobs }),
    readSecret: async (ref) => (await secrets.read(ref)).reveal(),
    resolveRef: (project, ref) => resolveRef(config, store, project, ref),
    settings: {
      taskQueue: workflowTaskQueue,
      publicUrl,
      temporalUi,
      tls: tls === undefined ? undefined : { cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) },
    },
    logger,
  });
  closeWithGrace({ delay: closeTimeoutMs, logger }, async ({ err }) => {
    if (err !== undefined) logger.fatal({ err }, 'the API ends because of a fault');
    await app.close();
    await Promise.allSettled([store.close(), connection.close()]);
  });
  const address = await app.listen({ host: config.api.host, port: config.api.port });
  logger.info({ address, pid: process.pid }, 'API listens');
}

/** Asks the repository itself, with what the machine has for it; nothing is fetched. */
async function resolveRef(config: Config, store: Store, name: string, ref: string): Promise<string> {
  const stored = await readProject(store.db, name);
  const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
  if (loaded?.ok !== true) throw new ProviderError('NotFound', `There is no project ${name}.`);
  const { repository } = loaded.value;
  if (repository.credentials !== undefined) {
    throw new ProviderError(
      'InvalidInput',
      `The repository of ${name} needs credentials, which the API does not use; say which commit of ${ref} to run.`,
    );
  }
  const { stdout, exitCode } = await runTool({
    command: [
      'git',
      '-c',
      'protocol.ext.allow=never',
      'ls-remote',
      '--exit-code',
      '--end-of-options',
      repository.url,
      ref,
      `${ref}^{}`,
    ],
    cwd: config.stateFolder,
    env: { PATH: config.environment['PATH'] ?? '', GIT_TERMINAL_PROMPT: '0' },
    timeoutMs: resolveTimeoutMs,
  });
  // Of a tag with a message the last line is the commit it points at.
  const commit = /([0-9a-f]{40})\s+\S+\s*$/.exec(stdout)?.[1];
  if (exitCode === 0 && commit !== undefined) return commit;
  if (exitCode === 2) throw new ProviderError('CommitNotFound', `The repository of ${name} has no ${ref}.`);
  throw new ProviderError(
    'InvalidInput',
    `The repository of ${name} could not be asked for ${ref}; say which commit to run.`,
  );
}

try {
  await main();
} catch (error) {
  const { type, message, sentence } = describeFailure(error);
  process.stderr.write(`${type}: ${message}\n${sentence}\n`);
  // Connections that are open would keep the process.
  process.exit(3);
}
