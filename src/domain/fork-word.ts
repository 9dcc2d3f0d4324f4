import type { FailureType } from './failure-kinds.ts';
import type { SourceEvent } from './run.ts';

/** Somebody's word that the code of a fork may be run. */
export interface ForkWord {
  readonly by: string;
  /** The commit that was looked at; at least its first 8 digits. */
  readonly commit: string;
}

/** What a run from a fork's pull request knows when a word comes. */
export interface ForkWait {
  readonly event: Pick<SourceEvent, 'fork' | 'after'>;
  /** Who has allowed it already. */
  readonly allowedBy: string | undefined;
  /** It waits for a word, or is to. */
  readonly waits: boolean;
}

/** @returns what is wrong with a word for the commit of a fork; undefined: it holds. */
export function whyNoWord(
  { by, commit }: ForkWord,
  { event: { fork, after }, allowedBy, waits }: ForkWait,
): { readonly type: FailureType; readonly why: string } | undefined {
  if (fork !== true) return { type: 'Conflict', why: 'this run needs no word: it is of no pull request from a fork' };
  if (allowedBy !== undefined) return { type: 'TooLate', why: `${allowedBy} has allowed it already` };
  if (!waits) return { type: 'TooLate', why: `${by} is too late: the run does not wait any more` };
  if (after.startsWith(commit)) return undefined;
  return { type: 'Conflict', why: `the word is for ${commit.slice(0, 12)}, but the run is of ${after.slice(0, 12)}` };
}
