import type { DataRollback } from './deployment.ts';
import type { Outcome } from './outcome.ts';
import { sentences } from './sentences.ts';

/** Who asked for a rollback or ended it, and why. */
interface Word {
  readonly by: string;
  readonly reason: string;
}

/** What serves when a rollback is stopped on its way. */
export type Serving =
  /** Traffic is where it was to go. */
  | 'target'
  /** Nothing was moved yet. */
  | 'as-before'
  /** It was on its way. */
  | 'unknown';

/** Why a person has to look at a rollback that was stopped. @param version - where it was to go back to. */
export function sayStopped({ by, reason }: Word, version: string, serving: Serving): string {
  const now: Record<Serving, string> = {
    target: `${version} serves`,
    'as-before': 'What serves is as before',
    unknown: 'What serves now must be looked at',
  };
  return sentences(
    `${by} stopped the rollback to ${version}: ${reason}`,
    `${now[serving]}, and the rest is left: \`retry\`, \`reconcile\` or \`unlock\`.`,
  );
}

/** Why a person has to look at a rollback that did not work. @param undone - everything it had begun was taken back. */
export function sayFailed(version: string, message: string, undone: boolean): string {
  const left = undone ? 'What serves is as before' : 'What serves now must be looked at';
  return sentences(
    `The rollback to ${version} did not work: ${message}`,
    `${left}: \`retry\`, \`reconcile\` or \`unlock\`.`,
  );
}

/**
 * How a rollback ended whose release serves.
 *
 * @param left - what could not be done after the traffic had moved; none of it takes anything back.
 * @param owed - an earlier rollback owed the data.
 * @param data - what became of it; undefined where nothing was done about it.
 */
export function outcomeOfRollback(
  { by, reason }: Word,
  version: string,
  left: readonly string[],
  owed: boolean,
  data: DataRollback | undefined,
): { readonly outcome: Extract<Outcome, 'rolled-back' | 'rollback-failed'>; readonly reason: string } {
  const undone = left.length === 0 ? undefined : `Not everything is done: ${left.join('; ')}`;
  const open = data === undefined || data.action === 'held' || data.unexported !== undefined;
  if (owed && open) {
    const what = data?.unexported === undefined ? 'its data is not back' : 'what was written since is not kept';
    return { outcome: 'rollback-failed', reason: sentences(`${version} serves, but ${what}.`, undone) };
  }
  return { outcome: 'rolled-back', reason: sentences(`${by} rolled back to ${version}: ${reason}`, undone) };
}
