import type { Verdict } from './verdict.ts';

/** What upkeep looks after; each has a workflow of its own. */
export const upkeepKinds = ['disk', 'scan', 'audit', 'bases', 'dependencies'] as const;
export type UpkeepKind = (typeof upkeepKinds)[number];

/** What one round of upkeep found and did about one thing. */
export interface UpkeepRound {
  readonly kind: UpkeepKind;
  /** What was looked after: a machine, `project/environment` … The newest round of each is what is known of it. */
  readonly subject: string;
  readonly project?: string;
  readonly environment?: string;
  /** `errored`: it could not be found out. Never `passed` for want of data. */
  readonly verdict: Verdict;
  /** One sentence. */
  readonly summary: string;
  /** For people, at most {@link mostLines}. */
  readonly lines: readonly string[];
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Lines of a round. Judgement: what a page of the Temporal UI and a terminal hold. */
export const mostLines = 40;
