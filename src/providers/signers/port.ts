import type { Statement } from '../../domain/provenance.ts';
import type { RegistryAddress } from '../registries/port.ts';

/** An image in a registry, by what it can only be known by. */
export interface SignedImage {
  readonly registry: RegistryAddress;
  readonly repository: string;
  /** `sha256:…` of the manifest. */
  readonly digest: string;
}

/** Read at the moment of use; never in a payload, a log or the environment of another process. */
export interface SigningKey {
  readonly privateKey: string;
  /** Empty where it has none. */
  readonly password: string;
}

/** What is attested: how it was built, what is in it (twice, for readers differ), and what was found in it. */
export type AttestationType = 'provenance' | 'spdx' | 'cyclonedx' | 'scan';

/**
 * Signs images and attests to them by key, beside the image in its registry; no transparency log and no network but the registry. Every call may
 * be repeated: what is there already is not added a second time. Statements about one image lie together and are read, added to and written again,
 * and so are its signatures: of two who do so at once one may lose what the other has written.
 *
 * @throws `RegistryRefused` (not retried), `RegistryUnavailable` (retried); `ImageNotFound` (not retried) where it is looked for: a signature may be put
 *   beside a digest that is not there.
 * @throws `ToolMissing` (not retried): the program is not there; nothing was signed and nothing verified.
 */
export interface ImageSigner {
  /** @throws `SignerFailed`: after it the image may or may not be signed; signing again is right. */
  sign(image: SignedImage, key: SigningKey, signal?: AbortSignal): Promise<void>;
  /**
   * Attaches one statement about the image.
   *
   * @param attestation.replace - in the place of older ones of its type, for what only has one truth at a time.
   * @throws `SignerFailed`: after it the statement may or may not be there.
   */
  attest(
    image: SignedImage,
    key: SigningKey,
    attestation: { readonly type: AttestationType; readonly predicateFile: string; readonly replace: boolean },
    signal?: AbortSignal,
  ): Promise<void>;
  /**
   * @param keys - public keys in PEM; one whose signature holds is enough.
   * @throws `ImageNotSigned` (not retried): there is no signature, or none by these keys. `SignerFailed`: could not find out.
   */
  verifySignature(image: SignedImage, keys: readonly string[], signal?: AbortSignal): Promise<void>;
  /**
   * The statements of a type whose subject is the image and whose signature by any of the keys holds, each once.
   *
   * @throws `ImageNotSigned` (not retried): there is none. `AttestationInvalid` (not retried): there are some, and none was signed by these keys
   *   as it is. `SignerFailed`: could not find out.
   */
  readAttestations(
    image: SignedImage,
    keys: readonly string[],
    type: AttestationType,
    signal?: AbortSignal,
  ): Promise<readonly Statement[]>;
  /**
   * Types of which the image has a statement, whoever signed it. Nothing is read or verified for it, for a list may be as large as the image is.
   */
  listAttested(image: SignedImage, signal?: AbortSignal): Promise<ReadonlySet<AttestationType>>;
  /**
   * Removes statements of a type that nobody needs, whoever signed them, where there are that many. Whoever reads meanwhile finds all of them, or those
   * that stay. Like what is attested it must have the image for itself: what is added meanwhile may be lost.
   *
   * @param options.moved - told while statements come: where there are many, all of them are fetched, also where none goes.
   * @returns how many of the type there are then, at most.
   */
  forget(
    image: SignedImage,
    unneeded: {
      readonly type: AttestationType;
      readonly atLeast: number;
      readonly isNeeded: (statement: Statement) => boolean;
    },
    options?: { readonly signal?: AbortSignal; readonly moved?: () => void },
  ): Promise<number>;
  /** @throws `ToolMissing` (not retried): its program is not there; one that is being built is waited for no longer than a short activity may take. */
  ready(): Promise<void>;
}
