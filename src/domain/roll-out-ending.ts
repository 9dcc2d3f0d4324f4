import type { DataRollback } from './deployment.ts';
import type { FailureType } from './failure-kinds.ts';
import { failureType } from './failures.ts';
import type { Outcome } from './outcome.ts';
import type { PlanPolicy } from './plan.ts';
import { sentences } from './sentences.ts';
import type { Verdict } from './verdict.ts';

/** A person's word that ends a roll-out: to stop it and undo what was changed, or to take the release back. */
export type Stop =
  | { readonly kind: 'abort'; readonly by: string; readonly reason: string; readonly noRollback?: boolean }
  | { readonly kind: 'take-back'; readonly by: string; readonly reason: string };

/** How the way forward of a roll-out ended, before anything is settled or taken back. */
export type Ending =
  | { readonly kind: 'passed'; readonly reason: string; readonly watch?: Verdict }
  /** Nothing is done until a person has decided. */
  | { readonly kind: 'hold'; readonly reason: string; readonly watch?: Verdict }
  | {
      readonly kind: 'bad';
      readonly outcome: 'failed' | 'errored';
      readonly reason: string;
      /** ISO 8601: from here the rollback is counted. */
      readonly decidedAt: string;
      readonly watch?: Verdict;
    }
  | { readonly kind: 'stopped'; readonly stop: Stop; readonly at: string };

/** Failures that say the release is bad; every other says that something around it is. */
const badRelease: readonly FailureType[] = [
  'ContainerUnhealthy',
  'MigrationFailed',
  'MigrationIncompatible',
  'InfrastructureFailed',
  'ImageNotSigned',
  'AttestationInvalid',
  'ImageVulnerable',
  'GateBlocked',
  'ReleaseDegraded',
  'EnvironmentFileInvalid',
  'DefinitionInvalid',
  'SecretMissing',
];

/** What a probe throws: the release is bad, or nobody knows. */
const probeVerdicts: readonly FailureType[] = ['ReleaseDegraded', 'MetricsUnavailable'];

/** What is said where the release is bad and stays all the same. */
export const automaticIsOff = 'Automatic rollback is off here: roll back, or unlock with what is live.';

/** Whether a failure says that the release is bad (`failed`), or that something around it is (`errored`). */
export function blameFor(error: unknown): 'failed' | 'errored' {
  return badRelease.includes(failureType(error)) ? 'failed' : 'errored';
}

/** Whether a failure is what a probe has found, and so as good as the word of a watch. */
export function isWordOfProbe(error: unknown): boolean {
  return probeVerdicts.includes(failureType(error));
}

/**
 * What a watch means for the release it watched: it passes, goes back, or waits for a person.
 *
 * @param decidedAt - ISO 8601.
 */
export function endingOfWatch(
  { watch, rollback }: Pick<PlanPolicy, 'watch' | 'rollback'>,
  verdict: Verdict,
  reason: string,
  decidedAt: string,
): Ending {
  switch (verdict) {
    case 'passed':
      return { kind: 'passed', reason: sentences(reason), watch: verdict };
    case 'inconclusive':
      return watch.onInconclusive === 'succeed'
        ? { kind: 'passed', reason: sentences(reason, 'The watch was inconclusive.'), watch: verdict }
        : {
            kind: 'hold',
            reason: sentences(reason, 'The watch was inconclusive: roll back, or unlock with what is live.'),
            watch: verdict,
          };
    case 'errored':
      return {
        kind: 'hold',
        reason: sentences(reason, 'Whether it is well is not known: roll back, or unlock with what is live.'),
        watch: verdict,
      };
    case 'failed':
      return rollback.automatic
        ? { kind: 'bad', outcome: 'failed', reason, decidedAt, watch: verdict }
        : { kind: 'hold', reason: sentences(reason, automaticIsOff), watch: verdict };
  }
}

/**
 * What it means that a release was found dead when it was to lose its backup: the word of engine or router, which is as good as a watch that failed.
 *
 * @param why - what was found, a sentence.
 * @param decidedAt - ISO 8601.
 * @param watch - what its watch had said.
 */
export function endingOfDeath(
  { rollback }: Pick<PlanPolicy, 'rollback'>,
  why: string,
  decidedAt: string,
  watch: Verdict | undefined,
): Extract<Ending, { kind: 'bad' | 'hold' }> {
  const reason = sentences(why, 'It was about to lose its backup.');
  const known = watch === undefined ? {} : { watch };
  return rollback.automatic
    ? { kind: 'bad', outcome: 'failed', reason, decidedAt, ...known }
    : { kind: 'hold', reason: sentences(reason, automaticIsOff), ...known };
}

/** A person's word, as the timeline and the outcome say it. */
export function sayStop({ kind, by, reason }: Stop): string {
  return sentences(`${by} ${kind === 'abort' ? 'aborted it' : 'rolled it back'}: ${reason}`);
}

/** What there is to know of an undo that has ended. */
export interface Undone {
  readonly ending: Extract<Ending, { kind: 'bad' | 'stopped' }>;
  /** Why it was taken back. */
  readonly why: string;
  /** Every undo and the verification succeeded. */
  readonly complete: boolean;
  readonly data: DataRollback | undefined;
  /** Traffic may have been moved. */
  readonly moved: boolean;
  /** Version that serves again; undefined where it was the first release. */
  readonly servesAgain: string | undefined;
}

/** How a deployment ended that was taken back. */
export function outcomeOfUndo({ ending, why, complete, data, moved, servesAgain }: Undone): {
  readonly outcome: Outcome;
  readonly reason: string;
} {
  if (!complete) {
    return {
      outcome: 'rollback-failed',
      reason: sentences(
        why,
        'Not everything could be taken back: the report says what. Then `retry`, `reconcile` or `unlock`.',
      ),
    };
  }
  if (data?.action === 'held') {
    return { outcome: 'held', reason: sentences(why, `The data waits for a person's word: ${data.detail}`) };
  }
  if (ending.kind === 'stopped' && ending.stop.kind === 'abort') return { outcome: 'aborted', reason: sentences(why) };
  if (moved) {
    return servesAgain === undefined
      ? {
          outcome: 'rollback-unavailable',
          reason: sentences(
            why,
            'It was the first release, so there is none to go back to: it is stopped, and nothing serves.',
          ),
        }
      : { outcome: 'rolled-back', reason: sentences(why, `${servesAgain} serves again.`) };
  }
  return { outcome: ending.kind === 'bad' ? ending.outcome : 'aborted', reason: sentences(why) };
}

/** Whether an undo has left data behind that somebody still has to bring back. */
export function owesData({
  complete,
  data,
  touched,
}: {
  readonly complete: boolean;
  readonly data: DataRollback | undefined;
  /** The new release or its migrations may have changed data. */
  readonly touched: boolean;
}): boolean {
  const owed = data?.action === 'held' || data?.unexported !== undefined;
  return owed || (!complete && touched && data === undefined);
}
