import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import closeWithGrace from 'close-with-grace';
import { type ReadSecret, repositoryAddress } from '../activities/secrets.ts';
import { createLogger, installationKey, readConfig } from '../config.ts';
import { loadProject } from '../definition/load.ts';
import { ProviderError } from '../domain/failures.ts';
import { lastWords } from '../domain/last-words.ts';
import { createDecisionProofs } from '../effects/decision-proofs.ts';
import { createLogFolder } from '../effects/log-files.ts';
import { createBlobs } from '../providers/blobs/index.ts';
import { createGitRepository } from '../providers/repositories/git.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
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
  const key = installationKey(config);
  const secrets = createSecrets({ environment: config.environment, folder: config.stateFolder, versionKey: key });
  const readSecret: ReadSecret = async (ref) => (await secrets.read(ref)).reveal();
  const repositories = createGitRepository({ folder: join(config.folders.work, 'mirrors') });
  const { publicUrl, temporalUi, tls } = config.api;
  const app = await buildApp({
    store,
    temporal: new Client({ connection, namespace: server.namespace }),
    logs: createLogFolder(config.folders.logs),
    blobs: createBlobs({ kind: 'folder', folder: config.folders.blobs }),
    readSecret,
    proofs: createDecisionProofs(key),
    resolveRef: (project, ref) => resolveRef(store, repositories, readSecret, project, ref),
    installationKey: key,
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
  const { host, port } = config.api;
  const address = await app.listen({ host, port }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new ProviderError('PortTaken', `Port ${port} on ${host}, for the API, is taken by another program.`, {
      cause: error,
      details: { port },
    });
  });
  logger.info({ address, pid: process.pid }, 'API listens');
}

/** Asks the repository itself, with the project's credentials; nothing is fetched. */
async function resolveRef(
  store: Store,
  repositories: SourceRepository,
  readSecret: ReadSecret,
  name: string,
  ref: string,
): Promise<string> {
  const stored = await readProject(store.db, name);
  const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
  if (loaded?.ok !== true) throw new ProviderError('NotFound', `There is no project ${name}.`);
  const timeout = AbortSignal.timeout(resolveTimeoutMs);
  const address = await repositoryAddress(loaded.value, readSecret);
  const commit = await repositories.resolveRef(address, ref, timeout).catch((error: unknown) => {
    if (!timeout.aborted) throw error;
    throw new ProviderError(
      'RepositoryUnreachable',
      `The repository of ${name} did not answer in ${resolveTimeoutMs} ms.`,
    );
  });
  if (commit === undefined) throw new ProviderError('CommitNotFound', `The repository of ${name} has no ${ref}.`);
  return commit;
}

try {
  await main();
} catch (error) {
  process.stderr.write(lastWords(error));
  // Connections that are open would keep the process.
  process.exit(3);
}
