import type { RequestRecord, WindowFigures } from './port.ts';

/** Most requests kept of one second; beyond it every other one is dropped, evenly. 2,000 a second times 5 minutes is 10 MB. Judgement. */
const mostPerSecond = 2_000;

interface Second {
  readonly second: number;
  requests: number;
  errors: number;
  /** Every `stride`-th time of the second. */
  times: number[];
  stride: number;
}

/** Most of the newest requests kept one by one: so many a minute are no thin traffic. Judgement. */
const mostNewest = 5_000;

/** One request of {@link RequestWindow.newest}. */
export interface NewestRequest {
  readonly atMs: number;
  readonly error: boolean;
  readonly totalMs: number;
}

/** The requests of one release, second by second, for as long as the longest window asks. */
export interface RequestWindow {
  add(record: RequestRecord): void;
  /** Figures of the last `spanMs` before `nowMs`. */
  figures(spanMs: number, nowMs: number): WindowFigures;
  /**
   * The newest requests, oldest first, however long ago they were: at least `count`, and all of the last `spanMs` before the newest one.
   * For traffic too thin for {@link figures}.
   */
  newest(count: number, spanMs: number): readonly NewestRequest[];
  /** Everything since the window began. */
  readonly total: { readonly requests: number; readonly errors: number };
}

/** @param keptMs - the longest span that will be asked for. */
export function createRequestWindow(keptMs: number): RequestWindow {
  const seconds = new Map<number, Second>();
  const total = { requests: 0, errors: 0 };
  let newest = 0;
  let latest: NewestRequest[] = [];

  function forget(): void {
    const oldest = newest - Math.ceil(keptMs / 1_000) - 1;
    for (const second of seconds.keys()) {
      if (second < oldest) seconds.delete(second);
    }
  }

  return {
    total,
    add(record) {
      const second = Math.floor(record.atMs / 1_000);
      let bucket = seconds.get(second);
      if (bucket === undefined) {
        bucket = { second, requests: 0, errors: 0, times: [], stride: 1 };
        seconds.set(second, bucket);
        newest = Math.max(newest, second);
        forget();
      }
      const error = record.broken || record.status >= 500 || record.status === 0;
      bucket.requests += 1;
      total.requests += 1;
      if (error) {
        bucket.errors += 1;
        total.errors += 1;
      }
      latest.push({ atMs: record.atMs, error, totalMs: record.totalMs });
      if (latest.length > 2 * mostNewest) latest = latest.slice(-mostNewest);
      if (bucket.requests % bucket.stride !== 0) return;
      bucket.times.push(record.totalMs);
      if (bucket.times.length > mostPerSecond) {
        bucket.times = bucket.times.filter((_, index) => index % 2 === 0);
        bucket.stride *= 2;
      }
    },
    newest(count, spanMs) {
      const from = (latest.at(-1)?.atMs ?? 0) - spanMs;
      const first = latest.findIndex(({ atMs }) => atMs >= from);
      return latest.slice(Math.max(0, Math.min(first, latest.length - count)));
    },
    figures(spanMs, nowMs) {
      const from = Math.floor((nowMs - spanMs) / 1_000);
      let requests = 0;
      let errors = 0;
      const weighted: { readonly ms: number; readonly weight: number }[] = [];
      for (const bucket of seconds.values()) {
        if (bucket.second < from || bucket.second * 1_000 > nowMs) continue;
        requests += bucket.requests;
        errors += bucket.errors;
        for (const ms of bucket.times) weighted.push({ ms, weight: bucket.stride });
      }
      return {
        requests,
        errors,
        errorRatio: requests === 0 ? 0 : errors / requests,
        p95Ms: percentile(weighted, 0.95),
      };
    },
  };
}

/** 95th percentile of the total times, ms; 0 without requests. */
export function p95Of(requests: readonly NewestRequest[]): number {
  return percentile(
    requests.map(({ totalMs }) => ({ ms: totalMs, weight: 1 })),
    0.95,
  );
}

function percentile(samples: { readonly ms: number; readonly weight: number }[], share: number): number {
  samples.sort((a, b) => a.ms - b.ms);
  const all = samples.reduce((sum, sample) => sum + sample.weight, 0);
  let seen = 0;
  for (const sample of samples) {
    seen += sample.weight;
    if (seen >= all * share) return sample.ms;
  }
  return 0;
}
