import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { RecoveryReport, RecoveryRequest } from '../../activities/contracts.ts';
import { appendAudit } from '../../store/audit.ts';
import { environmentId, recoveryId } from '../../workflows/messages.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { EnvironmentPath, Reason } from '../schemas.ts';

const Recovery = z
  .object({
    project: z.string(),
    environment: z.string(),
    applied: z.boolean().describe('Something was written.'),
    lines: z.array(z.string()).readonly().describe('What is, or would be, written; none where nothing is missing.'),
    problems: z.array(z.string()).readonly().describe('What cannot be said, and what to do about it.'),
  })
  .meta({ id: 'Recovery' });

const RecoverBody = z
  .strictObject({
    apply: z.boolean().default(false).describe('Default: only says what would be written.'),
    reason: Reason.optional().describe('Needed to write; kept in the audit.'),
  })
  .refine(({ apply, reason }) => !apply || reason !== undefined, {
    path: ['reason'],
    message: 'is needed to write',
  });

/** Nobody is kept waiting for longer than this, ms; what was asked for goes on. Below what the CLI waits. */
const recoverMs = 25_000;

/** The day after the store was lost. */
export function recoveryRoutes({ deps, projects }: ApiContext): FastifyPluginAsyncZod {
  const { store, temporal, settings } = deps;
  return async (app) => {
    app.post(
      '/v1/projects/:project/environments/:environment/recover',
      {
        config: { role: 'admin' },
        schema: {
          tags: ['environments'],
          summary: 'What the store has lost of an environment, by router, target and Temporal; never moves traffic',
          params: EnvironmentPath,
          body: RecoverBody,
          response: { 200: Recovery },
        },
      },
      async (request) => {
        const { project, environment } = request.params;
        const { definition } = await projects.read(project);
        if (!Object.hasOwn(definition.environments, environment)) {
          throw refuse('NotFound', `${project} has no environment ${environment}.`);
        }
        const { apply, reason = '' } = request.body;
        const identity = whoAsks(request);
        if (apply) {
          await appendAudit(store.db, {
            actor: identity.name,
            action: 'environment.recover',
            object: environmentId(project, environment),
            detail: { token: identity.id, reason },
          });
        }
        return await recover({ project, environment, apply, reason, by: identity.name });
      },
    );
    await Promise.resolve();
  };

  /** A worker does it: it has the passwords. */
  async function recover(input: RecoveryRequest): Promise<RecoveryReport> {
    const { project, environment, apply } = input;
    const late = Date.now() + recoverMs;
    try {
      return await temporal.withDeadline(late, async () => {
        const handle = await temporal.workflow.start('recoverRecords', {
          workflowId: recoveryId(project, environment),
          taskQueue: settings.taskQueue,
          args: [input],
          workflowExecutionTimeout: '15 minutes',
          staticSummary: `${apply ? 'writes' : 'looks for'} what the store has lost of ${project}/${environment}`,
        });
        return (await handle.result()) as RecoveryReport;
      });
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) {
        throw refuse('Conflict', `${project}/${environment} is being recovered just now; ask again when that is over.`);
      }
      if (Date.now() < late - 500) throw error;
      throw refuse('TimedOut', `${project}/${environment} is still being looked at; ask again in a moment.`);
    }
  }
}
