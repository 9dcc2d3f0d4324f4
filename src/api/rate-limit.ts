/** Lets so many through at once, and so many a minute after them. */
export interface RateLimit {
  /** @returns 0 when one more may pass, else the seconds until it may. */
  take(key: string): number;
  /** What was taken did not count after all. */
  giveBack(key: string): void;
}

export interface RateLimitOptions {
  readonly burst: number;
  readonly perMinute: number;
  /** Milliseconds of any clock that does not go back. Default `performance.now`. */
  readonly now?: () => number;
}

/** Of the webhooks of one project (B-05). */
export const webhookRate = { burst: 1_000, perMinute: 2_000 } as const;

/**
 * Of deliveries from one address that prove nothing, where the body must be read to know whose signature it should have. Judgement: more than a
 * forge has under way at once, and a body of 5 MiB takes some 50 ms to read.
 */
export const strangerRate = { burst: 300, perMinute: 300 } as const;

const mostKeys = 10_000;

/** A bucket of tokens for each key. Of one process: behind several of them the limit is as many times as high. */
export function createRateLimit({ burst, perMinute, now = () => performance.now() }: RateLimitOptions): RateLimit {
  const buckets = new Map<string, { level: number; at: number }>();
  const perMs = perMinute / 60_000;
  return {
    take(key) {
      const at = now();
      if (buckets.size >= mostKeys) buckets.clear();
      const bucket = buckets.get(key) ?? { level: burst, at };
      bucket.level = Math.min(burst, bucket.level + (at - bucket.at) * perMs);
      bucket.at = at;
      buckets.set(key, bucket);
      if (bucket.level < 1) return Math.max(1, Math.ceil((1 - bucket.level) / perMs / 1000));
      bucket.level -= 1;
      return 0;
    },
    giveBack(key) {
      const bucket = buckets.get(key);
      if (bucket !== undefined) bucket.level = Math.min(burst, bucket.level + 1);
    },
  };
}
