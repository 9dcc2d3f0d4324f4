/** What the readers of licences share. */

/** No environment has more; judgement. */
export const mostPackages = 20_000;

/** What a package without a licence is said to have: one that nobody knows. */
export const unknownLicence = 'UNKNOWN';

/** Several licences of one package, all of which hold; each an SPDX expression, or whatever name stands there. */
export function licencesAtOnce(licences: readonly string[]): string {
  return licences.join('; ');
}
