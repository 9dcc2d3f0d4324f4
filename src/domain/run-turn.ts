import { sentences } from './sentences.ts';

/**
 * What a run does about those of the same ref that were accepted before it and still go on: nothing (`parallel`), it waits for its turn
 * (`queue`), or it ends those that may be ended and waits for the rest (`supersede`).
 */
export type RunMode = 'parallel' | 'supersede' | 'queue';

/** How a run comes to its turn. Runs that are `parallel` have none: they wait for nobody, and nobody waits for them. */
export interface RunTurn {
  readonly mode: Exclude<RunMode, 'parallel'>;
  /** Longest wait, ms; then the run ends `expired`. */
  readonly timeoutMs: number;
}

/** Where a run stands that waits for its turn. */
export interface QueuePlace {
  /** Number of the run that has the turn, or is to have it first. */
  readonly waitsFor: number;
  /** How many runs come before it, that one counted. */
  readonly position: number;
}

/** What a run is told that asks for its turn. */
export type TurnAnswer =
  | { readonly kind: 'granted' }
  /** A newer run has taken its place. */
  | { readonly kind: 'superseded'; readonly by: number }
  /** `closing`: the one that has the turn is over, and what it was running may not have heard of it yet. */
  | ({ readonly kind: 'waits'; readonly closing?: true } & QueuePlace);

/** Shortest time between two looks, ms: a run of before, or one that turns out to be `parallel`, says nothing when it is out of the way. Judgement. */
const shortestLookMs = 2_000;
/** Longest time between two looks, ms: who was ended from outside wakes nobody. Judgement. */
const longestLookMs = 300_000;
/** What a workflow that was ended was running hears of it with its next heartbeat (3 s) and is gone within 3 s more, ms. */
export const closingMs = 10_000;

/**
 * When a run that waits looks again by itself, ms. That is the second way to learn that its turn has come: the first is the word of the run before.
 *
 * @param waitedMs - how long it has waited already: it looks again once it has waited twice as long.
 */
export function nextLookMs(waitedMs: number, answer: Extract<TurnAnswer, { kind: 'waits' }>): number {
  return answer.closing === true ? closingMs : Math.min(longestLookMs, Math.max(shortestLookMs, waitedMs));
}

/** `Waits for run 41.`, and how many stand before it where that is not all. */
export function placeSentence({ waitsFor, position }: QueuePlace): string {
  return position === 1
    ? `Waits for run ${waitsFor}.`
    : `Waits for run ${waitsFor}, with ${position - 1} more before it.`;
}

/** Why a run ends `expired`. */
export function overdueSentence({ waitsFor, position }: QueuePlace, waited: string): string {
  const others = position === 1 ? '' : ` ${position - 1} more stood before it`;
  return sentences(`Its turn did not come within ${waited}: run ${waitsFor} of the same ref had not ended`, others);
}

/** Why a run ends `superseded`. */
export function supersededSentence(by: number): string {
  return `Run ${by} of the same ref took its place.`;
}
