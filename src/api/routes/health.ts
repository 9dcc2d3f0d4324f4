import { sql } from 'kysely';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Verdict } from '../../domain/verdict.ts';
import { countUndelivered } from '../../store/notices.ts';
import { readDiskVerdict } from '../../store/upkeep.ts';
import type { ApiContext } from '../context.ts';

const checkTimeoutMs = 2_000;
const Verdicts = z.enum(['passed', 'inconclusive', 'errored', 'failed']);
const State = z.enum(['up', 'down']);
/** Three rounds of the disk watch. What is older says nothing of now. */
const diskMaxAgeMs = 900_000;

/** Whether the process lives, and whether it can do its work. */
export function healthRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const check = async (work: () => Promise<unknown>): Promise<'up' | 'down'> => {
    try {
      await work();
      return 'up';
    } catch {
      return 'down';
    }
  };
  return async (app) => {
    app.get(
      '/health',
      {
        config: { role: null },
        schema: {
          tags: ['health'],
          summary: 'The process lives',
          response: { 200: z.object({ status: z.literal('ok') }) },
        },
      },
      () => ({ status: 'ok' as const }),
    );
    const Ready = z.object({
      status: z.enum(['ready', 'not-ready']),
      store: State,
      temporal: State,
      disks: Verdicts,
      notices: Verdicts,
    });
    app.get(
      '/ready',
      {
        config: { role: null },
        schema: {
          tags: ['health'],
          summary: 'Store and Temporal answer',
          response: { 200: Ready, 503: Ready },
        },
      },
      async (_request, reply) => {
        const [store, temporal, disks, notices] = await Promise.all([
          check(() => sql`select 1 from projects limit 1`.execute(deps.store.db)),
          check(() =>
            deps.temporal.withDeadline(Date.now() + checkTimeoutMs, () =>
              deps.temporal.workflowService.describeNamespace({ namespace: deps.temporal.options.namespace }),
            ),
          ),
          readDiskVerdict(deps.store.db, diskMaxAgeMs).catch((): Verdict => 'errored'),
          countUndelivered(deps.store.db).then(
            (count): Verdict => (count === 0 ? 'passed' : 'failed'),
            (): Verdict => 'errored',
          ),
        ]);
        // A full disk of some machine, or people who were not told, keeps no process of the API from its work: it is told, and turns nobody away.
        // Without Temporal webhooks are still accepted, but a balancer that has a choice should choose another process.
        const ready = store === 'up' && temporal === 'up';
        return await reply
          .code(ready ? 200 : 503)
          .send({ status: ready ? 'ready' : 'not-ready', store, temporal, disks, notices });
      },
    );
    await Promise.resolve();
  };
}
