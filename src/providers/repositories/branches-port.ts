import type { RepositoryAddress } from './port.ts';

/** A branch that Slipway offers: one commit over another. */
export interface OfferedBranch {
  readonly repository: RepositoryAddress;
  /** Without `refs/heads/`. */
  readonly branch: string;
  /** The commit that it goes over; in the mirror already. */
  readonly base: string;
  /** ISO 8601; of the commit, so that the same offer is the same commit. */
  readonly at: string;
  readonly message: string;
  /** Whole new text of files that are there. */
  readonly files: readonly { readonly path: string; readonly mode: string; readonly text: string }[];
  readonly signal: AbortSignal;
}

export type OfferAnswer =
  | { readonly kind: 'pushed' | 'there'; readonly commit: string }
  /** Somebody has put commits of their own on the branch; it stays as it is. */
  | { readonly kind: 'taken'; readonly commit: string };

/**
 * Branches that Slipway pushes with the credentials of the repository. Every call may be made twice. Nothing of the repository is executed.
 *
 * @throws `RepositoryRefused` (not retried): the credentials may not push. `RepositoryUnreachable` (retried)
 */
export interface OfferedBranches {
  /** Makes the branch be this one commit, over whatever Slipway had offered there before. */
  ensureOffered(offer: OfferedBranch): Promise<OfferAnswer>;
  /** Removes a branch that Slipway offered. @returns false where somebody has put commits on it, and it stays. */
  ensureWithdrawn(request: {
    readonly repository: RepositoryAddress;
    readonly branch: string;
    readonly signal: AbortSignal;
  }): Promise<boolean>;
}
