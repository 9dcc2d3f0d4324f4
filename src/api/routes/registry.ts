import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { PushedRemoval } from '../../activities/contracts.ts';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { readProject } from '../../store/projects.ts';
import { registryReviewId } from '../../workflows/messages.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { ProjectPath } from '../schemas.ts';

const RegistryReview = z
  .object({
    count: z.number().int(),
    sizeBytes: z.number().int().describe('As they were pushed; what layers share is counted for each.'),
    images: z.array(z.string()).readonly().describe('`name:tag@digest`, the first 500.'),
  })
  .meta({ id: 'RegistryReview' });

/** A page is not kept waiting for longer than this for a registry, ms; whoever asks again gets the same look. Below what the CLI waits. */
const reviewMs = 25_000;

/** What would go from registries. */
export function registryRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const { store, temporal, settings } = deps;
  return async (app) => {
    app.post(
      '/v1/projects/:project/registry/review',
      {
        config: { role: 'operator' },
        schema: {
          tags: ['projects'],
          summary: 'What retention would remove from the registry; removes nothing',
          params: ProjectPath,
          response: { 200: RegistryReview },
        },
      },
      async (request) => {
        const { project } = request.params;
        if ((await readProject(store.db, project)) === undefined) {
          throw refuse('NotFound', `There is no project ${project}.`);
        }
        const found = await look(project);
        return { count: found.count, sizeBytes: found.sizeBytes, images: found.names };
      },
    );
    await Promise.resolve();
  };

  /** A worker looks: it has the password. Two who ask at once get one look. */
  async function look(project: string): Promise<PushedRemoval> {
    const workflowId = registryReviewId(project);
    const late = Date.now() + reviewMs;
    try {
      return await temporal.withDeadline(late, async () => {
        try {
          await temporal.workflow.start('reviewRegistry', {
            workflowId,
            taskQueue: settings.taskQueue,
            args: [{ project }],
            workflowExecutionTimeout: '1 hour',
            staticSummary: `what would go from the registry of ${project}`,
          });
        } catch (error) {
          if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        }
        return (await temporal.workflow.getHandle(workflowId).result()) as PushedRemoval;
      });
    } catch (error) {
      if (Date.now() < late - 500) throw error;
      throw refuse('TimedOut', `The registry of ${project} is still being looked at; ask again.`);
    }
  }
}
