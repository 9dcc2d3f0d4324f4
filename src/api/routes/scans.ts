import { WorkflowNotFoundError } from '@temporalio/client';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { appendAudit } from '../../store/audit.ts';
import { readUpkeep } from '../../store/upkeep.ts';
import { liveScanId } from '../../workflows/messages.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { Name, ProjectPath } from '../schemas.ts';
import { Round } from './upkeep.ts';

const timeoutMs = 10_000;
/** As of the schedule (`project-schedules.ts`). */
const longest = '2 hours';
const Which = z.strictObject({ environment: Name.optional() });

/** Scans of what is live, on demand. */
export function scanRoutes({ deps, projects }: ApiContext): FastifyPluginAsyncZod {
  const { temporal, settings, store } = deps;

  async function need(project: string, environment: string | undefined): Promise<void> {
    const { definition } = await projects.read(project);
    if (environment !== undefined && !Object.hasOwn(definition.environments, environment)) {
      throw refuse('NotFound', `${project} has no environment ${environment}.`);
    }
    if (definition.images.scan === undefined) {
      throw refuse('Conflict', `${project} names no scanner; give it one (\`images.scan\` of its project.yaml).`);
    }
  }

  async function withTemporal<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await temporal.withDeadline(Date.now() + timeoutMs, work);
    } catch (error) {
      throw new ProviderError('TemporalUnavailable', 'Temporal does not answer.', { cause: error });
    }
  }

  return async (app) => {
    const path = '/v1/projects/:project/scan';
    app.post(
      path,
      {
        config: { role: 'developer' },
        schema: {
          tags: ['upkeep'],
          summary: 'Scans what is live with the advisories of today; one that is under way goes on',
          params: ProjectPath,
          body: Which.nullish(),
          response: { 202: z.object({ workflowId: z.string() }) },
        },
      },
      async (request, reply) => {
        const { project } = request.params;
        const environment = request.body?.environment;
        await need(project, environment);
        const identity = whoAsks(request);
        const workflowId = liveScanId(project, environment);
        await appendAudit(store.db, {
          actor: identity.name,
          action: 'project.scan',
          object: workflowId,
          detail: { token: identity.id },
        });
        await withTemporal(() =>
          temporal.workflow.start('scanLive', {
            workflowId,
            taskQueue: settings.taskQueue,
            workflowIdConflictPolicy: 'USE_EXISTING',
            workflowExecutionTimeout: longest,
            args: [{ project, ...(environment === undefined ? {} : { environment }) }],
            staticSummary: `${identity.name} asks what is known of what is live`,
          }),
        );
        return await reply.code(202).send({ workflowId });
      },
    );

    app.get(
      path,
      {
        schema: {
          tags: ['upkeep'],
          summary: 'What the last scans of what is live found, and whether one is under way',
          params: ProjectPath,
          querystring: Which,
          response: { 200: z.object({ running: z.boolean(), rounds: z.array(Round).readonly() }) },
        },
      },
      async (request) => {
        const { project } = request.params;
        const { environment } = request.query;
        await need(project, environment);
        const handle = temporal.workflow.getHandle(liveScanId(project, environment));
        const running = await withTemporal(async () => {
          const found = await handle.describe().catch((error: unknown) => {
            if (error instanceof WorkflowNotFoundError) return undefined;
            throw error;
          });
          return found?.status.name === 'RUNNING';
        });
        const rounds = await readUpkeep(store.db, { kind: 'scan', project });
        return {
          running,
          rounds: rounds.filter((round) => environment === undefined || round.environment === environment),
        };
      },
    );
    await Promise.resolve();
  };
}
