import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { lastEventId, readEvents } from '../../store/events.ts';
import type { ApiContext } from '../context.ts';
import { type StreamMessage, lastSeen, stream, streaming } from '../plugins/sse.ts';
import { Name } from '../schemas.ts';

/** A notice may be lost with its connection; then a reader looks again after this. */
const lookAgainMs = 5_000;

const Filter = z.object({ project: Name.optional(), environment: Name.optional() });

/** Everything that changes, as it changes. */
export function eventRoutes({ deps, feeds }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  async function* follow(
    from: number,
    filter: z.output<typeof Filter>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamMessage> {
    const watch = feeds.events();
    try {
      for (let after = from; !signal.aborted;) {
        const events = await readEvents(db, after, filter);
        for (const event of events) {
          after = event.id;
          yield { id: String(event.id), event: event.kind, data: event };
        }
        if (events.length === 0) await watch.next(signal, lookAgainMs);
      }
    } finally {
      watch.close();
    }
  }

  return async (app) => {
    app.get(
      '/v1/events',
      {
        ...streaming,
        schema: {
          tags: ['events'],
          summary: 'Changes of runs, deployments, environments and incidents. `Last-Event-ID` goes on behind that one',
          querystring: Filter,
        },
      },
      async (request, reply) => {
        const seen = Number(lastSeen(reply));
        const from = lastSeen(reply) !== undefined && Number.isSafeInteger(seen) ? seen : await lastEventId(db);
        await stream(reply, (signal) => follow(from, request.query, signal));
      },
    );
    await Promise.resolve();
  };
}
