import type { SourceEvent } from '../../domain/run.ts';

/** A request of a forge, as it came: the body unparsed, for the signature is over its bytes. */
export interface ForgeRequest {
  /** By name in small letters. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
}

/** What a delivery is about. */
export interface ForgeDelivery {
  /** Given by the forge, the same when it delivers again; derived from the body where it gives none. At most 200 characters. */
  readonly id: string;
  /** The forge's own name of the event. */
  readonly event: string;
}

/** One thing that happened; a push of Bitbucket may tell of several branches at once. */
export interface ForgeEvent {
  readonly event: SourceEvent;
  /** Paths that changed between `before` and `after`. Only where the delivery names all of them, and may name some that were changed back. */
  readonly paths?: readonly string[];
  /** The delivery has only the beginning of the commit: this ref of the repository names it whole. */
  readonly wholeIn?: string;
  /**
   * The delivery does not say whether the pull request has another target than before: this is the moment of it. Its newest run of the same commit
   * tells.
   */
  readonly perhapsRetargetedAt?: string;
  /** It starts something only where the target is another one. */
  readonly onlyRetargeted?: true;
}

/** What a delivery asks for. */
export type ForgeMessage =
  /** At least one. */
  | { readonly kind: 'events'; readonly events: readonly ForgeEvent[] }
  /** Well understood, and nothing is to be done. */
  | { readonly kind: 'ignored'; readonly why: string };

/** `stale`: the signature is right, and the moment it was made at is too far from now. */
export type Proof = 'valid' | 'invalid' | 'stale';

/**
 * One kind of forge. Nothing here reaches out: a request is judged by what is in it.
 */
export interface Forge {
  /**
   * What the request says it is, before anything is checked; for what must be decided without the body.
   *
   * @throws ProviderError `InvalidInput` (not retried): a header that every delivery has is missing
   */
  identify(request: ForgeRequest): ForgeDelivery;
  /**
   * Compares the signature with that of each secret, in constant time.
   *
   * @param now - for the forges that sign the moment too.
   * @returns `valid` when one of the secrets made it.
   */
  verify(request: ForgeRequest, secrets: readonly string[], now: Date): Proof;
  /**
   * Reads what was verified.
   *
   * @throws ProviderError `InvalidInput` (not retried): no JSON, or not what this event has
   */
  read(request: ForgeRequest): ForgeMessage;
  /** Addresses of the repository that the body names; empty when it names none. For finding the project of a shared address. */
  repositories(request: ForgeRequest): readonly string[];
}
