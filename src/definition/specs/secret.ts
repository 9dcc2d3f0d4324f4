/** Secrets as they are referred to; no value of one is in any spec. */
/** Where a secret comes from; never the value. */
export type SecretRef =
  { readonly kind: 'env'; readonly name: string } | { readonly kind: 'file'; readonly path: string };

/** Secrets by the name of the variable that carries them. */
export type SecretRefs = Readonly<Record<string, SecretRef>>;

/** A name and a password, for registries and repositories. */
export interface Credentials {
  readonly username: string;
  readonly password: SecretRef;
}
