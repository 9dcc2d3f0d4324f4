import { createHash } from 'node:crypto';
import type { SourceEvent } from '../domain/run.ts';

/**
 * Identity of a run: equal for a redelivered webhook and for polling that saw the same change, another one for a tag on the same commit and for
 * another target of a pull request.
 *
 * 24 hexadecimal characters (96 bits): people type them, and nobody gains by finding two alike in a project of their own.
 */
export function runKey(
  event: Pick<SourceEvent, 'kind' | 'ref' | 'before' | 'after' | 'into' | 'retargetedAt'>,
): string {
  const { kind, ref, before, after, into = '', retargetedAt } = event;
  // The target alone would not do: one that goes and comes back is a third run, for the status of the second stands.
  const target = retargetedAt === undefined ? [] : ['into', into, retargetedAt];
  return key(['event', kind, ref, before, after, ...target]);
}

/** Identity of a run whose caller brought an idempotency key of its own; never that of an event. */
export function runKeyOf(idempotencyKey: string): string {
  return key(['caller', idempotencyKey]);
}

/** Identity of the run that a stage starts in another project: one for each run and stage, however often the stage is tried. */
export function runKeyOfStart(run: { readonly project: string; readonly key: string }, stage: string): string {
  return key(['start', run.project, run.key, stage]);
}

function key(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);
}
