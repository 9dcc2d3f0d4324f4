import type { BranchProtection } from '../../domain/branch-protection.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { ForgeApiOptions } from '../forge-apis/port.ts';
import { type ForgeAnswer, isRefusal } from '../forge-apis/refusal.ts';

/**
 * Reads what a forge asks of changes to a branch. Changes nothing.
 *
 * Throws ProviderError `ForgeUnavailable` (retried): away, out of quota, or at fault; `ForgeRefused` (not retried): the token may not look, which
 * says nothing of the branch.
 */
export interface ProtectionReader {
  /**
   * @param branch - without `refs/heads/`.
   * @param check - name of the status that must pass there, where the forge knows names.
   */
  read(branch: string, check: string): Promise<BranchProtection>;
}

export type CreateProtectionReader = (options: ForgeApiOptions) => Promise<ProtectionReader>;

/** What an answer means, in the words of the closed table. */
export function refusalOf(forge: string, { repository }: ForgeApiOptions, answer: ForgeAnswer): ProviderError {
  const refused = isRefusal(answer);
  return new ProviderError(
    refused ? 'ForgeRefused' : 'ForgeUnavailable',
    `${forge} ${refused ? 'does not let the protection' : 'could not be asked for the protection'} of ${repository}${refused ? ' be read' : ''}: ${answer.status ?? ''} ${answer.words.slice(0, 200)}`,
  );
}
