import type { FastifyBaseLogger } from 'fastify';
import { Client } from 'pg';
import { channels } from '../store/events.ts';

/** Waits for a topic to have something new. */
export interface Watch {
  /** Settles when there was a notice since the last call, after `maxMs` at the latest, or when `signal` aborts. */
  next(signal: AbortSignal, maxMs: number): Promise<void>;
  close(): void;
}

/** Who waits for something new in the store is woken by it. */
export interface Feeds {
  /** Any event. */
  events(): Watch;
  /** More of one log. */
  log(log: string): Watch;
  close(): Promise<void>;
}

const reconnectMs = 1_000;

/**
 * One connection that listens for all streams of this process. While it is away nothing is lost: those who wait look again after their
 * `maxMs`, and are all woken once it is back.
 */
export function createFeeds(url: string, log: FastifyBaseLogger): Feeds {
  const watches = new Map<string, Set<() => void>>();
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function wake(topic: string): void {
    for (const notify of watches.get(topic) ?? []) notify();
  }

  async function connect(): Promise<void> {
    if (closed) return;
    const fresh = new Client({ connectionString: url, application_name: 'slipway-feeds', keepAlive: true });
    client = fresh;
    fresh.on('notification', ({ channel, payload }) => {
      wake(channel === channels.logs ? logTopic(payload ?? '') : eventsTopic);
    });
    fresh.on('error', () => undefined);
    fresh.on('end', () => {
      if (!closed) timer = setTimeout(() => void connect(), reconnectMs);
    });
    try {
      await fresh.connect();
      await fresh.query(`listen ${channels.events}; listen ${channels.logs}`);
      for (const topic of watches.keys()) wake(topic);
    } catch (error) {
      log.warn({ err: error }, 'the store cannot be listened to yet');
      await fresh.end().catch(() => undefined);
    }
  }

  function watch(topic: string): Watch {
    let dirty = false;
    let resume: (() => void) | undefined;
    const notify = (): void => {
      dirty = true;
      resume?.();
    };
    const set = watches.get(topic) ?? new Set();
    watches.set(topic, set.add(notify));
    // Only an API that somebody looks at needs the connection.
    if (client === undefined) void connect();
    return {
      async next(signal, maxMs) {
        if (!dirty && !signal.aborted) {
          await new Promise<void>((resolve) => {
            const wait = setTimeout(resolve, maxMs);
            resume = () => {
              clearTimeout(wait);
              resolve();
            };
            signal.addEventListener('abort', resume, { once: true });
          });
        }
        if (resume !== undefined) signal.removeEventListener('abort', resume);
        resume = undefined;
        dirty = false;
      },
      close() {
        set.delete(notify);
        if (set.size === 0) watches.delete(topic);
      },
    };
  }

  return {
    events: () => watch(eventsTopic),
    log: (name) => watch(logTopic(name)),
    async close() {
      closed = true;
      clearTimeout(timer);
      await client?.end().catch(() => undefined);
    },
  };
}

const eventsTopic = 'events';

function logTopic(log: string): string {
  return `log ${log}`;
}
