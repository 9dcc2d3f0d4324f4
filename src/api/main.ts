import { readFileSync } from 'node:fs';
import closeWithGrace from 'close-with-grace';
import { Client, Connection } from '@temporalio/client';
import { createLogger, installationKey, readConfig } from '../config.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { createLogFolder } from '../effects/log-files.ts';
import { createSecrets } from '../providers/secrets/index.ts';
import { migrate, openStore } from '../store/store.ts';
import { workflowTaskQueue } from '../workflows/queues.ts';
import { buildApp } from './app.ts';

/** How long requests may end after a stop was asked for, ms; streams are cut at once, their clients resume elsewhere. */
const graceMs = 5_000;

/** The process of the API. */
async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger(config, 'api');
  const { databaseUrl, temporal: temporalConfig, api } = config;
  if (databaseUrl === undefined || temporalConfig.address === undefined) {
    throw new ProviderError(
      'ConfigurationInvalid',
      'DATABASE_URL and TEMPORAL_ADDRESS must be set; `slipway up` starts both and sets them.',
    );
  }
  const store = openStore({ url: databaseUrl, poolSize: config.storePoolSize, applicationName: 'slipway api' });
  await migrate(store.db);
  // Lazy: the inbox takes deliveries while Temporal is away, and the sweeper starts them when it is back.
  const connection = Connection.lazy({ address: temporalConfig.address, ...temporalConfig.connection });
  const secrets = createSecrets({
    environment: config.environment,
    folder: config.stateFolder,
    versionKey: installationKey(config),
  });
  const app = await buildApp({
    store,
    temporal: new Client({ connection, namespace: temporalConfig.namespace }),
    logs: createLogFolder(config.folders.logs),
    readSecret: async (ref) => (await secrets.read(ref)).reveal(),
    logger,
    settings: {
      taskQueue: workflowTaskQueue,
      publicUrl: api.publicUrl,
      temporalUi: api.temporalUi,
      tls:
        api.tls === undefined
          ? undefined
          : { cert: readFileSync(api.tls.certFile), key: readFileSync(api.tls.keyFile) },
    },
  });
  closeWithGrace({ delay: graceMs, logger }, async () => {
    await app.close();
    await Promise.allSettled([store.close(), connection.close()]);
  });
  await app.listen({ host: api.host, port: api.port });
  logger.info({ host: api.host, port: api.port, pid: process.pid }, 'api listens');
}

try {
  await main();
} catch (error) {
  const { type, message, sentence } = describeFailure(error);
  process.stderr.write(`${type}: ${message}\n${sentence}\n`);
  process.exitCode = 3;
}
