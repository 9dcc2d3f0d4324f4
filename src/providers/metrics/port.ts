import type { Slot } from '../../domain/release.ts';

/** One finished request as the router saw it. */
export interface RequestRecord {
  /** When it was finished, ms since 1970. */
  readonly atMs: number;
  /** Version of the release that answered, in the characters a server name may hold; empty when none did. */
  readonly release: string;
  /** Where that one is: both slots may hold the same version. Absent when none answered. */
  readonly slot?: Slot;
  /** 0 when no status was sent. */
  readonly status: number;
  /** From the first byte of the request to the last of the answer, ms. */
  readonly totalMs: number;
  /** The server could not be reached or broke off; counted as an error whatever the status. */
  readonly broken: boolean;
}

/** Figures of one release in a stretch of time. */
export interface WindowFigures {
  readonly requests: number;
  readonly errors: number;
  /** Errors by requests; 0 without requests: look at `requests` first, no data is never a pass. */
  readonly errorRatio: number;
  /** 95th percentile of the total time, ms; 0 without requests. */
  readonly p95Ms: number;
}

/** Requests of one environment as they are finished. */
export interface RequestLog {
  /**
   * Follows the requests of users, not those of Slipway's own probes, from a moment on, through restarts of the router, until the signal. No
   * request comes twice. Never throws for a router that is
   * away: it goes on when it is back.
   *
   * @param since - ISO 8601.
   * @param onPresent - called once, when every request that was finished before the call has been given; not while the router is away.
   */
  follow(
    route: { readonly project: string; readonly environment: string },
    since: string,
    signal: AbortSignal,
    onPresent?: () => void,
  ): AsyncIterable<RequestRecord>;
}
