import type { MarkedIssue } from '../../domain/finding-issues.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { ForgeApiOptions } from '../forge-apis/port.ts';
import { type ForgeAnswer, isRefusal } from '../forge-apis/refusal.ts';

/** Label of the issues that are ours, and by which they are found again. */
export const issueLabel = 'slipway';

/** So many of the newest are looked through, ten requests of a hundred. Judgement. */
export const mostPages = 10;

/**
 * Issues of a repository. `update` may be made twice; `create` may have been done after an error, so whoever makes one lists first.
 *
 * All of them throw ProviderError `ForgeUnavailable` (retried): away, out of quota, or at fault; `ForgeRefused` (not retried): the token may not, or
 * the repository has no issues.
 */
export interface IssueTracker {
  /** All with the label, open or closed. */
  list(): Promise<readonly MarkedIssue[]>;
  create(issue: { readonly title: string; readonly body: string }): Promise<void>;
  update(issue: {
    readonly number: number;
    readonly title: string;
    readonly body: string;
    readonly open: boolean;
  }): Promise<void>;
  comment(number: number, body: string): Promise<void>;
}

export type CreateIssueTracker = (options: ForgeApiOptions) => Promise<IssueTracker>;

/** What a forge answered, in the words of the closed table. */
export function issueError(forge: string, { repository }: ForgeApiOptions, answer: ForgeAnswer): ProviderError {
  const refused = isRefusal(answer);
  return new ProviderError(
    refused ? 'ForgeRefused' : 'ForgeUnavailable',
    `${forge} ${refused ? 'refused' : 'could not be told'} issues of ${repository}: ${answer.status ?? ''} ${answer.words.slice(0, 300)}`,
  );
}
