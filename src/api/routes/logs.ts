import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type LogStream, readLog } from '../../store/logs.ts';
import type { ApiContext } from '../context.ts';
import { withTimes } from '../log-search.ts';
import { type StreamMessage, alsoStreaming, lastSeen, stream, wantsStream } from '../plugins/sse.ts';
import { refuse } from '../problems.ts';
import { Flag } from '../schemas.ts';
import { completeCharacters } from '../text.ts';

const tags = ['logs'];
/** Read at once: large enough for the disk, small enough for many readers. */
const pieceBytes = 262_144;
/** A notice may be lost with its connection; then a reader looks again after this. */
const lookAgainMs = 5_000;

const LogPath = z.object({ '*': z.string().min(1).max(1_000) });

/** The output of steps, whole, in parts, and while it is being written. */
export function logRoutes({ deps, feeds }: ApiContext): FastifyPluginAsyncZod {
  async function need(log: string): Promise<LogStream> {
    const found = await readLog(deps.store.db, log);
    if (found === undefined) throw refuse('NotFound', `There is no log ${log}, or it is no longer kept.`);
    return found;
  }

  async function* bytesOf(found: LogStream, from: number, to: number): AsyncGenerator<Buffer> {
    if (found.blob === null) return;
    for (let offset = from; offset < to;) {
      const piece = await deps.logs.read(found.blob, offset, Math.min(pieceBytes, to - offset));
      // Less than the index says: the tail was lost with the machine.
      if (piece.length === 0) return;
      offset += piece.length;
      yield piece;
    }
  }

  async function* follow(log: string, from: number, signal: AbortSignal): AsyncGenerator<StreamMessage> {
    const watch = feeds.log(log);
    try {
      for (let offset = from; !signal.aborted;) {
        const found = await need(log);
        for await (const bytes of bytesOf(found, offset, found.sizeBytes)) {
          const whole = completeCharacters(bytes, found.closedAt !== null);
          if (whole === 0) continue;
          offset += whole;
          yield { id: String(offset), event: 'text', data: bytes.toString('utf8', 0, whole) };
        }
        if (found.closedAt !== null) return;
        await watch.next(signal, lookAgainMs);
      }
    } finally {
      watch.close();
    }
  }

  return async (app) => {
    app.get(
      '/v1/logs/*',
      {
        ...alsoStreaming,
        schema: {
          tags,
          summary: 'A log as text, whole, in part, or as it is written',
          description:
            '`Range: bytes=…` gives a part of it; while it is being written, the whole is what there is. `Accept: text/event-stream` gives it as it is written: each event is a piece of its text as a JSON string, its id the offset behind it, and the stream ends with the log. 204 when `Last-Event-ID` is at its end.',
          params: LogPath,
          headers: z.looseObject({ range: z.string().optional() }),
          querystring: z.object({
            times: Flag.optional().describe('Every line begins with the time at which it was written, to the second.'),
            download: Flag.optional().describe('A browser keeps it as a file.'),
          }),
        },
      },
      async (request, reply) => {
        const log = request.params['*'];
        const found = await need(log);
        if (wantsStream(reply)) {
          const seen = Number(lastSeen(reply) ?? 0);
          const from = Number.isSafeInteger(seen) && seen > 0 ? seen : 0;
          // A browser that is told 204 does not come back again and again.
          if (from > 0 && found.closedAt !== null && from >= found.sizeBytes) return await reply.code(204).send();
          await stream(reply, (signal) => follow(log, from, signal));
          return;
        }
        return await sendText(reply, found, request.headers.range, request.query);
      },
    );
    await Promise.resolve();
  };

  async function sendText(
    reply: FastifyReply,
    found: LogStream,
    wanted: string | undefined,
    {
      times = false,
      download = false,
    }: { readonly times?: boolean | undefined; readonly download?: boolean | undefined },
  ): Promise<FastifyReply> {
    const size = found.sizeBytes;
    // With times it is another text, of which nobody knows the length.
    const range = times ? undefined : parseRange(wanted, size);
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${size}`);
      throw refuse('InvalidInput', `The log has ${size} bytes; the range lies behind them.`, { status: 416 });
    }
    const { from, to } = range ?? { from: 0, to: size };
    if (range !== undefined) reply.code(206).header('content-range', `bytes ${from}-${to - 1}/${size}`);
    return await reply
      .type('text/plain; charset=utf-8')
      .headers({
        'accept-ranges': times ? 'none' : 'bytes',
        ...(download ? { 'content-disposition': `attachment; filename="${fileName(found)}"` } : {}),
        'x-content-type-options': 'nosniff',
        'x-log-complete': found.closedAt === null ? 'false' : 'true',
      })
      .send(Readable.from(await text(found, from, to, times), { objectMode: false }));
  }

  async function text(found: LogStream, from: number, to: number, times: boolean): Promise<AsyncIterable<Buffer>> {
    const bytes = bytesOf(found, from, to);
    return times && found.blob !== null ? withTimes(bytes, await deps.logs.readTimes(found.blob)) : bytes;
  }
}

/** Of the log on the reader's machine: letters, digits, hyphens and points only. */
function fileName({ stage, step, attempt }: LogStream): string {
  return `${stage}-${step}-${attempt}.log`.replaceAll(/[^\w.-]/g, '_');
}

/** One range of bytes, as `to` one past the end; undefined when the whole is wanted. */
export function parseRange(
  header: string | undefined,
  size: number,
): { readonly from: number; readonly to: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  return from >= to ? 'unsatisfiable' : { from, to };
}
