import type { Slot } from '../domain/release.ts';
import type { RequestRecord } from '../providers/metrics/port.ts';

/** The release that is watched, as the router's log names it. */
export interface Watched {
  /** Its version in the characters of a server's name. */
  readonly slug: string;
  readonly slot: Slot;
  /** Since when it is the live one, ms since 1970. */
  readonly sinceMs: number;
}

/**
 * How long after the move a request that the other slot answers may still be one of before it, ms: a kept-alive connection that was idle at a
 * worker of the router that finishes. It ends within 5 s (`SlotSessions.lingering`); a second is for the clocks and the probe in between. Judgement.
 */
const lingeringMs = 6_000;

/**
 * Whose answer a request is: of the release that is `watched`, or of nobody, which is its fault too; of the `backup`, which the router asks only
 * when it cannot reach the release; or of `before`, of a request that began while the other one was still live.
 */
export function answerOf(record: RequestRecord, { slug, slot, sinceMs }: Watched): 'watched' | 'backup' | 'before' {
  // What no server could take is everybody's error, and there is only one release that should have.
  if (record.release === '') return 'watched';
  if (record.release === slug && (record.slot ?? slot) === slot) return 'watched';
  return record.atMs - record.totalMs < sinceMs + lingeringMs ? 'before' : 'backup';
}
