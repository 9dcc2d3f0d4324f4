import type { Slot } from '../../domain/release.ts';
import type { Verdict } from '../../domain/verdict.ts';

/** What is asked whether it is well. */
export interface ProbeSubject {
  readonly project: string;
  readonly environment: string;
  readonly slot: Slot;
  readonly version: string;
  /** `host:port` to ask: the slot's own, or the router's, the way users come. */
  readonly address: string;
  readonly through: 'slot' | 'router';
}

/** What one try saw. */
export interface ProbeTry {
  readonly verdict: Verdict;
  /** Address, status and time, or what was found instead; one line, of words that are Slipway's or the definition's. */
  readonly detail: string;
  /**
   * What was asked said itself, as a body. It may hold secrets and be as long as it likes: whoever passes it on takes them out and cuts it.
   */
  readonly said?: string;
}

/**
 * One check of something alive. A try never throws but for the signal: `failed` says that the thing is bad, `errored` that the probe
 * could not find out.
 */
export interface Probe {
  readonly name: string;
  check(subject: ProbeSubject, signal: AbortSignal): Promise<ProbeTry>;
}
