import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { noticeEvents } from '../../domain/notice.ts';
import { listNotices } from '../../store/notices.ts';
import type { ApiContext } from '../context.ts';
import { Flag, Name } from '../schemas.ts';

const Notice = z
  .object({
    key: z.string().describe('What it is about; one message for each channel.'),
    channel: z.string().describe('Name of the notifier.'),
    event: z.enum(noticeEvents),
    level: z.enum(['info', 'warning', 'error', 'critical']),
    project: z.string(),
    environment: z.string().nullable(),
    title: z.string(),
    state: z.enum(['sending', 'sent', 'failed']),
    error: z.string().nullable().describe('Why the last try failed.'),
    at: z.string().describe('When it was last tried, or delivered.'),
    tries: z.number().int(),
    retryAt: z.string().nullable().describe('When it is tried again; null where it is not.'),
    createdAt: z.string(),
  })
  .meta({ id: 'Notice' });

/** What people were told, and what some channel has not taken. */
export function noticeRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/v1/notices',
      {
        schema: {
          tags: ['notices'],
          summary: 'The last messages to people, newest first',
          querystring: z.object({
            project: Name.optional(),
            undelivered: Flag.optional().describe('Only those of the last day that their channel has not taken.'),
            limit: z.coerce.number().int().min(1).max(200).optional().describe('Default 100.'),
          }),
          response: { 200: z.array(Notice).readonly() },
        },
      },
      async ({ query: { limit, ...of } }) => (await listNotices(deps.store.db, of, limit)) as z.output<typeof Notice>[],
    );
    await Promise.resolve();
  };
}
