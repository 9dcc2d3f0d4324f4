import type { FailureType } from '../domain/failure-kinds.ts';

/** What a refusal may rest on, as it is now. */
export interface RefusalGrounds {
  /** Tells one state of the program's files from another. */
  readonly program: () => Promise<string>;
  /** Every open workflow of Slipway. @throws Error - Temporal does not answer. */
  readonly open: () => Promise<ReadonlySet<string>>;
}

/**
 * Notes what a refusal rests on: the program's files, and for a build the workflows that were open. The settings are those that we were started with.
 *
 * One that is over counts, and not how many there are: while nobody works, schedules begin new ones every minute, and a number hides an end behind a
 * beginning.
 *
 * @returns whether that has changed since: another program is in place, or one of those workflows is over.
 */
export async function noticeRefusal(
  type: FailureType,
  { program, open }: RefusalGrounds,
): Promise<() => Promise<boolean>> {
  const before = await program();
  const refused = type === 'BuildRefused' ? await open() : undefined;
  return async () => {
    if ((await program()) !== before) return true;
    if (refused === undefined) return false;
    const now = await open();
    return [...refused].some((one) => !now.has(one));
  };
}
