import type { SourceEvent } from '../../domain/run.ts';

/** A request of a forge, as it came: the body unparsed, for the signature is over its bytes. */
export interface ForgeRequest {
  /** By name in small letters. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
}

/** What a delivery is about. */
export interface ForgeDelivery {
  /** Given by the forge, the same when it delivers again. */
  readonly id: string;
  /** The forge's own name of the event. */
  readonly event: string;
}

/** What a delivery asks for. */
export type ForgeMessage =
  | { readonly kind: 'event'; readonly event: SourceEvent }
  /** Well understood, and nothing is to be done. */
  | { readonly kind: 'ignored'; readonly why: string };

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
   * @returns whether one of them made it.
   */
  verify(request: ForgeRequest, secrets: readonly string[]): boolean;
  /**
   * Reads what was verified.
   *
   * @throws ProviderError `InvalidInput` (not retried): no JSON, or not what this event has
   */
  read(request: ForgeRequest): ForgeMessage;
  /** Addresses of the repository that the body names; empty when it names none. For finding the project of a shared address. */
  repositories(request: ForgeRequest): readonly string[];
}
