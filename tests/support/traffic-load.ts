import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { Agent, request } from 'undici';

/** One kind of request in the mix. */
export interface LoadKind {
  readonly name: string;
  readonly method: 'GET' | 'POST';
  /** `{id}` is replaced by an id of its own. */
  readonly path: string;
  readonly keepAlive: boolean;
  /** Share among the kinds. */
  readonly weight: number;
}

/** Requests at a constant rate to one address of this machine, whatever the answers take. */
export interface LoadRequest {
  /** `http://127.0.0.1:PORT`; nothing else is loaded. */
  readonly origin: string;
  readonly ratePerS: number;
  readonly kinds: readonly LoadKind[];
  /** Most requests open at once; beyond it a tick is left out and counted. Default 400. */
  readonly maxOpen?: number;
  /** Begins ids, so that two loads never share one. */
  readonly idPrefix: string;
  /** Of one request, ms. Default 5,000. */
  readonly timeoutMs?: number;
}

/** How one request ended. */
export interface LoadAnswer {
  /** When it was sent and when it had ended, ms since 1970. */
  readonly sentAt: number;
  readonly endedAt: number;
  readonly kind: string;
  readonly id: string;
  /** HTTP status, or 0 when there was none. */
  readonly status: number;
  /** What `x-version` of the answer said. */
  readonly version?: string;
  /** Why there was no answer. */
  readonly error?: string;
}

export interface LoadHandle {
  /** Stops sending, waits for what is open. */
  stop(): Promise<{ readonly sent: number; readonly leftOut: number }>;
}

/** Reads without and with keep-alive, writes without and with. */
export const mixedKinds: readonly LoadKind[] = [
  { name: 'read', method: 'GET', path: '/items', keepAlive: false, weight: 4 },
  { name: 'read-kept', method: 'GET', path: '/items', keepAlive: true, weight: 3 },
  { name: 'write', method: 'POST', path: '/items/{id}', keepAlive: false, weight: 1 },
  { name: 'write-kept', method: 'POST', path: '/items/{id}', keepAlive: true, weight: 2 },
];

/** Starts a load in this process; every answer is handed to `onAnswer` as it comes. */
export function startLoad(load: LoadRequest, onAnswer: (answer: LoadAnswer) => void): LoadHandle {
  if (!/^http:\/\/(127\.0\.0\.1|localhost):\d+$/.test(load.origin))
    throw new Error(`load goes to this machine only, not to ${load.origin}`);
  const timeoutMs = load.timeoutMs ?? 5_000;
  const kept = new Agent({ connections: 32, pipelining: 1, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  const single = new Agent({
    connections: load.maxOpen ?? 400,
    pipelining: 0,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  const mix = load.kinds.flatMap((kind) => Array.from({ length: kind.weight }, () => kind));
  const startedAt = performance.now();
  let [sent, leftOut, open, ticks] = [0, 0, 0, 0];

  async function send(kind: LoadKind, id: string): Promise<void> {
    const sentAt = Date.now();
    open += 1;
    let answer: LoadAnswer;
    try {
      const { statusCode, headers, body } = await request(`${load.origin}${kind.path.replace('{id}', id)}`, {
        method: kind.method,
        dispatcher: kind.keepAlive ? kept : single,
        reset: !kind.keepAlive,
      });
      await body.dump();
      const version = headers['x-version'];
      answer = {
        sentAt,
        endedAt: Date.now(),
        kind: kind.name,
        id,
        status: statusCode,
        ...(typeof version === 'string' ? { version } : {}),
      };
    } catch (error) {
      answer = {
        sentAt,
        endedAt: Date.now(),
        kind: kind.name,
        id,
        status: 0,
        error: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      };
    }
    open -= 1;
    onAnswer(answer);
  }

  const timer = setInterval(() => {
    // By the clock and not by the number of ticks, so that a late timer does not lower the rate.
    const due = Math.floor(((performance.now() - startedAt) / 1000) * load.ratePerS);
    // After a pause of the machine the rest is left out rather than sent at once.
    const limit = Math.max(10, Math.ceil(load.ratePerS / 10));
    if (due - ticks > limit) {
      leftOut += due - ticks - limit;
      ticks = due - limit;
    }
    for (; ticks < due; ticks += 1) {
      const kind = mix[ticks % mix.length];
      if (kind === undefined || open >= (load.maxOpen ?? 400)) {
        leftOut += 1;
        continue;
      }
      sent += 1;
      void send(kind, `${load.idPrefix}-${ticks}`);
    }
  }, 5);

  return {
    async stop() {
      clearInterval(timer);
      while (open > 0) await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([kept.close(), single.close()]);
      return { sent, leftOut };
    },
  };
}

/**
 * As a process of its own (`node traffic-load.ts '<LoadRequest as JSON>'`): writes every answer as a line of JSON, and ends with a line
 * `{"sent":…,"leftOut":…}` after SIGTERM or the end of its input.
 */
async function main(load: LoadRequest): Promise<void> {
  let lines: string[] = [];
  const flush = (): void => {
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
    lines = [];
  };
  const handle = startLoad(load, (answer) => void lines.push(JSON.stringify(answer)));
  const timer = setInterval(flush, 50);
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.stdin.once('end', resolve).once('close', resolve).resume();
  });
  const sum = await handle.stop();
  clearInterval(timer);
  flush();
  process.stdout.write(`${JSON.stringify(sum)}\n`, () => process.exit(0));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(JSON.parse(process.argv[2] ?? '{}') as LoadRequest);
}
