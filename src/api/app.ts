import cookie from '@fastify/cookie';
import { type FastifyInstance, LogController, fastify } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { installAuth } from './auth.ts';
import { createCommands } from './commands.ts';
import type { ApiContext } from './context.ts';
import type { ApiDependencies } from './dependencies.ts';
import { createFeeds } from './feeds.ts';
import { installOpenapi } from './plugins/openapi.ts';
import { installStreams } from './plugins/sse.ts';
import { installProblems } from './problems.ts';
import { createPageLinks } from './page-links.ts';
import { createPageRegistrar } from './page-route.ts';
import { createProjectReader } from './project-reader.ts';
import { createScheduleKeeper } from './project-schedules.ts';
import { auditReportRoutes } from './routes/audit-reports.ts';
import { deploymentRoutes } from './routes/deployments.ts';
import { environmentRoutes } from './routes/environments.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { keptFileRoutes } from './routes/kept-files.ts';
import { logRoutes } from './routes/logs.ts';
import { projectRoutes } from './routes/projects.ts';
import { recordRoutes } from './routes/records.ts';
import { recoveryRoutes } from './routes/recovery.ts';
import { registryRoutes } from './routes/registry.ts';
import { evidenceRoutes } from './routes/evidence.ts';
import { reportRoutes } from './routes/reports.ts';
import { runRoutes } from './routes/runs.ts';
import { scanRoutes } from './routes/scans.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { noticeRoutes } from './routes/notices.ts';
import { upkeepRoutes } from './routes/upkeep.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { listProjects } from '../store/projects.ts';
import { createStarter } from './starts.ts';
import { installTextCheck } from './text-check.ts';

const bodyLimitBytes = 1024 * 1024;
/** A whole request must have come by then; who sends a byte now and then keeps nothing. */
const requestTimeoutMs = 30_000;

/**
 * Makes the API without listening: call `listen`, or `inject` in a test. With `ready` it begins to look for what was accepted and not
 * started; with `close` it ends all streams and waits for what it is starting.
 */
export async function buildApp(deps: ApiDependencies): Promise<FastifyInstance> {
  const app = fastify({
    ...(deps.logger === undefined ? { logger: false } : { loggerInstance: deps.logger }),
    ...(deps.settings.tls === undefined ? {} : { https: { ...deps.settings.tls, minVersion: 'TLSv1.2' as const } }),
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    // Streams would keep `close` waiting for ever.
    forceCloseConnections: true,
    logController: new LogController({ disableRequestLogging: true }),
    routerOptions: { maxParamLength: 512 },
  }) as unknown as FastifyInstance;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  installProblems(app);
  installTextCheck(app);
  const links = createPageLinks(deps.installationKey);
  // Read only; what is in one is signed by us and good for pages alone (auth.ts).
  await app.register(cookie);
  installAuth(app, deps.store.db, links);
  await installStreams(app);
  await installOpenapi(app);

  const context: ApiContext = {
    deps,
    projects: createProjectReader(deps),
    starter: createStarter(deps, app.log),
    schedules: createScheduleKeeper(deps, app.log),
    commands: createCommands(deps),
    feeds: createFeeds(deps.store.pool.options.connectionString ?? '', app.log),
    links,
    pageRoute: createPageRegistrar(deps, links),
  };
  for (const routes of [
    healthRoutes,
    webhookRoutes,
    projectRoutes,
    runRoutes,
    reportRoutes,
    evidenceRoutes,
    logRoutes,
    keptFileRoutes,
    registryRoutes,
    deploymentRoutes,
    environmentRoutes,
    recoveryRoutes,
    recordRoutes,
    auditReportRoutes,
    upkeepRoutes,
    noticeRoutes,
    scanRoutes,
    eventRoutes,
    tokenRoutes,
  ]) {
    await app.register(routes(context));
  }
  app.addHook('onReady', () => {
    context.starter.begin();
    context.schedules.begin();
    return Promise.resolve();
  });
  // Said once at the start: who pushes sees a refused delivery at the forge, and perhaps nobody looks there.
  app.addHook('onListen', () => {
    void warnOfMissingSecrets(context, app.log);
    return Promise.resolve();
  });
  app.addHook('onClose', async () => {
    await Promise.all([context.starter.end(), context.schedules.end(), context.feeds.close()]);
  });
  return app;
}

async function warnOfMissingSecrets({ deps, projects }: ApiContext, log: FastifyInstance['log']): Promise<void> {
  const all = await listProjects(deps.store.db).catch(() => []);
  for (const { name } of all) {
    const project = await projects.read(name).catch(() => undefined);
    await project
      ?.readSecrets()
      .catch((err: unknown) =>
        log.warn({ err, project: name }, 'deliveries of this project are refused until this is mended'),
      );
  }
}
