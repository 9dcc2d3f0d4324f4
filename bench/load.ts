import { Worker } from 'node:worker_threads';

/** How a request is made: over a new connection, over one that is kept, with a body, or with an answer that takes a second. */
export type Mode = 'fresh' | 'kept' | 'post' | 'slow';

export interface LoadRecord {
  readonly mode: Mode;
  /** `Date.now()` with fractions. */
  readonly sentMs: number;
  readonly doneMs: number;
  /** That the answer named; empty where there was none. */
  readonly version: string;
  /** Empty when all was well. */
  readonly failure: string;
}

export interface LoadOptions {
  /** On this machine, without a slash at the end. */
  readonly url: string;
  readonly ratesPerS: Readonly<Record<Mode, number>>;
  /** Beyond it a request is not sent and counts as failed. */
  readonly maxInFlight: number;
}

/** Users who do not wait for each other. */
export interface Load {
  /** Ends it and gives everything that happened, when the last answer has come. */
  stop(): Promise<readonly LoadRecord[]>;
}

/** @throws RangeError - the address is not on this machine. */
export function startLoad(options: LoadOptions): Load {
  const { hostname } = new URL(options.url);
  if (hostname !== '127.0.0.1') throw new RangeError(`${hostname} is not this machine; load goes to 127.0.0.1 only`);
  const worker = new Worker(new URL('load-worker.ts', import.meta.url), { workerData: options });
  const ended = new Promise<readonly LoadRecord[]>((resolve, reject) => {
    worker.on('message', ({ records }: { readonly records: readonly LoadRecord[] }) => resolve(records));
    worker.on('error', reject);
  });
  return {
    async stop() {
      worker.postMessage('stop');
      const records = await ended;
      await worker.terminate();
      return [...records].sort((a, b) => a.sentMs - b.sentMs);
    },
  };
}
