import type { BranchProtection } from '../../domain/branch-protection.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { ForgeApiOptions } from '../forge-apis/port.ts';

/**
 * Reads what a forge asks of changes to a branch. Changes nothing.
 *
 * Throws ProviderError `ForgeUnavailable` (retried): away, out of quota, or at fault; `ForgeRefused` (not retried): the token may not look, which
 * says nothing of the branch.
 */
export interface ProtectionReader {
  /** @param branch - without `refs/heads/`. */
  read(branch: string): Promise<BranchProtection>;
}

export type CreateProtectionReader = (options: ForgeApiOptions) => Promise<ProtectionReader>;

/** How a forge answered what could not be read. */
export interface Answer {
  /** Undefined where it did not answer. */
  readonly status: number | undefined;
  readonly words: string;
}

/** What an answer means, in the words of the closed table. */
export function refusalOf(forge: string, { repository }: ForgeApiOptions, { status, words }: Answer): ProviderError {
  const quota = status === 429 || (status === 403 && /rate limit|quota|abuse/i.test(words));
  const refused = status !== undefined && status >= 400 && status < 500 && status !== 408 && !quota;
  return new ProviderError(
    refused ? 'ForgeRefused' : 'ForgeUnavailable',
    `${forge} ${refused ? 'does not let the protection' : 'could not be asked for the protection'} of ${repository}${refused ? ' be read' : ''}: ${status ?? ''} ${words.slice(0, 200)}`,
  );
}
