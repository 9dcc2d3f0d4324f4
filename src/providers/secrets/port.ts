import type { SecretRef, SecretRefs } from '../../definition/specs/secret.ts';

/** A secret in memory. It gives its value only to whoever asks for it by name, and nothing when printed, logged or serialised. */
export interface Secret {
  /** The value; for the environment of a process, a request, and the redactor. Never for a message, a payload or a log. */
  reveal(): string;
  /**
   * Changes with the value and tells nothing about it: 16 hexadecimal characters of an HMAC with the key of this installation. Part of a
   * plan's hash, so that an approval does not outlive a changed secret.
   */
  readonly version: string;
}

/** One place where secrets come from. */
export interface SecretSource<Ref extends SecretRef = SecretRef> {
  readonly kind: Ref['kind'];
  /**
   * The value as it is now; read anew each time, so that a changed secret is seen.
   *
   * @throws `SecretMissing`: it is not there, empty, or cannot be read. The message names the place, never a value.
   */
  read(ref: Ref): Promise<string>;
}

/** All places together. */
export interface Secrets {
  /** @throws `SecretMissing` */
  read(ref: SecretRef): Promise<Secret>;
  /**
   * Many at once, by variable.
   *
   * @throws `SecretMissing` with everything that is missing, not only the first.
   */
  readAll(refs: SecretRefs): Promise<Readonly<Record<string, Secret>>>;
  /** Versions by variable, for the plan. */
  versions(refs: SecretRefs): Promise<Readonly<Record<string, string>>>;
}
