/** What is known of work on a database whose length is that of the data. */

/** Longest run of one of the database's programs, ms. Judgement: beyond it a database wants another kind of backup. */
export const longestProgramMs = 6 * 3_600_000;

/** Of a restore after which nobody knows yet what it took away. */
export function tellUnexported(damagedDatabase: string | undefined, why: string): string {
  return `The proved copy took its place and ${damagedDatabase ?? 'the database put aside'} keeps the rest, but what was written since the backup is not exported yet: ${why}`;
}
