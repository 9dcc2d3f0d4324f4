import sse from '@fastify/sse';
import type { FastifyInstance, FastifyReply } from 'fastify';

/** One message of a stream; a client that comes back says the last id it saw. */
export interface StreamMessage {
  readonly id: string;
  readonly event?: string;
  /** One line of text, or anything that is sent as JSON. */
  readonly data: unknown;
}

/** Proxies end connections on which nothing is said for a minute. */
const heartbeatMs = 15_000;

/** The only file that knows the package: it is younger than 1.0. */
export async function installStreams(app: FastifyInstance): Promise<void> {
  // The package is CommonJS and says otherwise: what is imported is the module, which is the function too.
  await app.register(sse.fastifySSE, { heartbeatInterval: heartbeatMs });
}

/** Option of a route that only streams. */
export const streaming = { sse: 'only' } as const;
/** Option of a route that streams to those who accept `text/event-stream`, and answers the others. */
export const alsoStreaming = { sse: 'dual' } as const;

/** Whether the client asked a route that also streams for the stream. */
export function wantsStream(reply: FastifyReply): boolean {
  return (reply.sse as typeof reply.sse | undefined) !== undefined;
}

/** Where the client wants to go on. */
export function lastSeen(reply: FastifyReply): string | undefined {
  return reply.sse.lastEventId ?? undefined;
}

/** Sends messages until they end or the client is gone; `source` is told by the signal. */
export async function stream(
  reply: FastifyReply,
  source: (signal: AbortSignal) => AsyncIterable<StreamMessage>,
): Promise<void> {
  const gone = new AbortController();
  reply.sse.onClose(() => {
    gone.abort();
  });
  // At once: a client that waits for something to happen is connected all the same.
  reply.sse.sendHeaders();
  reply.raw.flushHeaders();
  try {
    for await (const message of source(gone.signal)) {
      if (!reply.sse.isConnected) return;
      await reply.sse.send(message);
    }
  } finally {
    gone.abort();
  }
}
