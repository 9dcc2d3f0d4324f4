import type { Outcome } from './outcome.ts';
import type { LiveRelease } from './release.ts';

/** One deployment or rollback that has ended, or an operator's word, and what it left live. */
export interface LiveTurn {
  /** `word`: not the end of anything, but an operator who said what is live. */
  readonly kind: 'rollout' | 'rollback' | 'word';
  readonly outcome: Outcome | null;
  readonly live: LiveRelease | null;
  /** ISO 8601. */
  readonly at: string | null;
  /** Of the deployment or rollback; absent for a word. */
  readonly number?: number;
}

/** In the order in which they happened; those of one moment stay as they are given. */
export function inOrder(turns: readonly LiveTurn[]): readonly LiveTurn[] {
  return [...turns].sort((one, other) => momentOf(one) - momentOf(other));
}

function momentOf({ at }: LiveTurn): number {
  return at === null ? 0 : Date.parse(at);
}

/**
 * What was live, one after the other, without what was left again by a rollback; the last one is live now.
 *
 * A rollback is a step back in the row of what was live, not a step on: after 1, 2 and back to 1, what was live before 1 is the previous
 * one, and never 2, which somebody had a reason to leave.
 */
export function liveInTurn(turns: readonly LiveTurn[]): readonly LiveRelease[] {
  let row: readonly LiveRelease[] = [];
  for (const { kind, outcome, live } of turns) {
    if (live === null) {
      // The first release was taken back, or an operator has found nothing: nothing serves.
      if (outcome === 'rollback-unavailable' || kind === 'word') row = [];
      continue;
    }
    if (row.at(-1)?.version === live.version) continue;
    const at =
      kind === 'rollback' || kind === 'word' ? row.findLastIndex(({ version }) => version === live.version) : -1;
    row = at === -1 ? [...(kind === 'rollback' ? [] : row), live] : row.slice(0, at + 1);
  }
  return row;
}
