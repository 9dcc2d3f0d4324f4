import type { SecretRefs } from './specs/secret.ts';

/** Of the secrets that the project offers, those that somebody names; a name that is not offered gives none. */
export function pickOffered(secrets: SecretRefs, names: readonly string[]): SecretRefs {
  return Object.fromEntries(
    names.flatMap((name) => {
      const ref = secrets[name];
      return ref === undefined ? [] : [[name, ref] as const];
    }),
  );
}
