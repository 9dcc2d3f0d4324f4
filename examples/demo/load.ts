import { Agent, request } from 'undici';

/** What the users of the service saw in one piece of time. */
interface Slice {
  sent: number;
  failed: number;
  versions: Map<string, number>;
}

export interface LoadReport {
  readonly requests: number;
  /** No answer at all, or a status of 500 and above. */
  readonly failed: number;
  /** Notes the service said it had kept. */
  readonly notesKept: number;
  readonly ratePerS: number;
  readonly versions: Readonly<Record<string, number>>;
  /** What went wrong and how often: `503`, `ECONNRESET` … */
  readonly failures: Readonly<Record<string, number>>;
}

/** A constant stream of requests, as many users would make it. */
export interface Load {
  /** What happened from one instant to another; from the start to now without them. Times are of `Date.now()`. */
  report(fromMs?: number, toMs?: number): LoadReport;
  /** When the first answer of `version` came, of `Date.now()`; undefined if none did. */
  firstAnswerOf(version: string): number | undefined;
  /** Answers of another version than `version` among the requests sent later than `fromMs`. */
  wrongVersion(version: string, fromMs: number, toMs?: number): number;
  stop(): Promise<LoadReport>;
}

export interface LoadOptions {
  /** On this machine only; anything else is refused. */
  readonly url: string;
  /** Default 80. */
  readonly ratePerS?: number;
  /** Requests under way at once; while there are so many none is sent, so a machine that cannot keep up gets fewer. Default 200. */
  readonly maxInFlight?: number;
}

const sliceMs = 50;
const requestTimeoutMs = 10_000;

/**
 * Starts sending. Two of five requests write a note, and every second one closes its connection, so that both fresh and kept
 * connections cross a switch.
 *
 * @throws RangeError - the address is not on this machine.
 */
export function startLoad({ url, ratePerS = 80, maxInFlight = 200 }: LoadOptions): Load {
  const target = new URL(url);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(target.hostname)) {
    throw new RangeError(`${target.hostname} is not this machine; load is only ever sent to 127.0.0.1.`);
  }
  const agent = new Agent({ connections: 64, keepAliveTimeout: 4_000, headersTimeout: requestTimeoutMs });
  const slices = new Map<number, Slice>();
  const failures = new Map<number, Map<string, number>>();
  const kept = new Map<number, number>();
  const firstAnswers = new Map<string, number>();
  const startedMs = Date.now();
  let due = 0;
  let sent = 0;
  let inFlight = 0;
  let stopped = false;
  const idle: (() => void)[] = [];

  const sliceOf = (ms: number): Slice => {
    const key = Math.floor(ms / sliceMs);
    let slice = slices.get(key);
    if (slice === undefined) slices.set(key, (slice = { sent: 0, failed: 0, versions: new Map() }));
    return slice;
  };
  const fail = (ms: number, why: string): void => {
    sliceOf(ms).failed += 1;
    const key = Math.floor(ms / sliceMs);
    const counts = failures.get(key) ?? new Map<string, number>();
    counts.set(why, (counts.get(why) ?? 0) + 1);
    failures.set(key, counts);
  };

  const send = async (number: number): Promise<void> => {
    const sentMs = Date.now();
    sliceOf(sentMs).sent += 1;
    inFlight += 1;
    const writes = number % 5 < 2;
    try {
      const response = await request(new URL(number % 5 === 4 ? '/' : '/notes', target), {
        dispatcher: agent,
        method: writes ? 'POST' : 'GET',
        body: writes ? JSON.stringify({ body: `note ${number} of the load` }) : null,
        reset: number % 2 === 0,
        bodyTimeout: requestTimeoutMs,
      });
      const version = String(response.headers['x-version'] ?? 'none');
      await response.body.dump();
      const { versions } = sliceOf(sentMs);
      if (!firstAnswers.has(version)) firstAnswers.set(version, Date.now());
      versions.set(version, (versions.get(version) ?? 0) + 1);
      if (response.statusCode >= 500) fail(sentMs, String(response.statusCode));
      else if (response.statusCode === 201) {
        const key = Math.floor(sentMs / sliceMs);
        kept.set(key, (kept.get(key) ?? 0) + 1);
      }
    } catch (error) {
      fail(sentMs, (error as NodeJS.ErrnoException).code ?? String(error));
    } finally {
      inFlight -= 1;
      if (inFlight === 0) for (const wake of idle.splice(0)) wake();
    }
  };

  // By the clock and not by the answers: users do not wait for each other, so a stall shows as requests that wait.
  const ticker = setInterval(() => {
    due = Math.floor(((Date.now() - startedMs) / 1000) * ratePerS);
    for (; sent < due && !stopped && inFlight < maxInFlight; sent += 1) void send(sent);
    // What could not be sent is not made up for later: a burst would measure the generator.
    sent = due;
  }, 5);

  const within = (key: number, fromMs: number, toMs: number): boolean =>
    key * sliceMs >= fromMs - sliceMs && key * sliceMs < toMs;

  const report = (fromMs = 0, toMs = Number.POSITIVE_INFINITY): LoadReport => {
    const versions: Record<string, number> = {};
    const why: Record<string, number> = {};
    let requests = 0;
    let failed = 0;
    let notesKept = 0;
    for (const [key, slice] of slices) {
      if (!within(key, fromMs, toMs)) continue;
      requests += slice.sent;
      failed += slice.failed;
      notesKept += kept.get(key) ?? 0;
      for (const [version, count] of slice.versions) versions[version] = (versions[version] ?? 0) + count;
      for (const [reason, count] of failures.get(key) ?? []) why[reason] = (why[reason] ?? 0) + count;
    }
    const seconds = (Math.min(toMs, Date.now()) - Math.max(fromMs, startedMs)) / 1000;
    return { requests, failed, notesKept, ratePerS: seconds > 0 ? requests / seconds : 0, versions, failures: why };
  };

  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopped = true;
    clearInterval(ticker);
    if (inFlight > 0) await new Promise<void>((resolve) => idle.push(resolve));
    await agent.close();
  };

  return {
    report,
    firstAnswerOf: (version) => firstAnswers.get(version),
    wrongVersion(version, fromMs, toMs = Number.POSITIVE_INFINITY) {
      let wrong = 0;
      for (const [key, slice] of slices) {
        if (key * sliceMs < fromMs || key * sliceMs >= toMs) continue;
        for (const [seen, count] of slice.versions) if (seen !== version) wrong += count;
      }
      return wrong;
    },
    async stop() {
      await (stopping ??= stop());
      return report();
    },
  };
}
