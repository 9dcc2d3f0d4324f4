import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { upkeepKinds } from '../../domain/upkeep.ts';
import { listRounds, readUpkeep } from '../../store/upkeep.ts';
import type { ApiContext } from '../context.ts';
import { Name, Paging, pageOf } from '../schemas.ts';

/** A round of upkeep. */
export const Round = z.object({
  kind: z.enum(upkeepKinds),
  subject: z.string(),
  project: z.string().nullable(),
  environment: z.string().nullable(),
  verdict: z.enum(['passed', 'inconclusive', 'errored', 'failed']),
  summary: z.string(),
  lines: z.array(z.string()).readonly(),
  detail: z.record(z.string(), z.unknown()).readonly(),
  at: z.string(),
});
const Filter = z.object({ kind: z.enum(upkeepKinds).optional(), project: Name.optional() });

/** What is done by schedule, and what it found. */
export function upkeepRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;
  return async (app) => {
    app.get(
      '/v1/upkeep',
      {
        schema: {
          tags: ['upkeep'],
          summary: 'The newest round of everything that upkeep looks after',
          querystring: Filter,
          response: { 200: z.array(Round).readonly() },
        },
      },
      async (request) => await readUpkeep(db, request.query),
    );

    app.get(
      '/v1/upkeep/rounds',
      {
        schema: {
          tags: ['upkeep'],
          summary: 'Rounds of upkeep, newest first',
          querystring: Paging.extend({ ...Filter.shape, subject: z.string().max(500).optional() }),
          response: { 200: pageOf(Round) },
        },
      },
      async (request) => await listRounds(db, request.query, request.query),
    );
    await Promise.resolve();
  };
}
