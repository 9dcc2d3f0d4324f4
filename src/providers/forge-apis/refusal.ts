/** How a forge answered what it did not do. */
export interface ForgeAnswer {
  /** Of HTTP; undefined where it did not answer. */
  readonly status: number | undefined;
  readonly words: string;
}

/**
 * Whether asking again is of no use: the token may not, or what was asked for is wrong (`ForgeRefused`, not retried). Everything else is
 * `ForgeUnavailable` (retried): away, at fault, or out of quota, for which 403 stands as often as for a right; what the answer says decides.
 */
export function isRefusal({ status, words }: ForgeAnswer): boolean {
  const quota = status === 429 || (status === 403 && /rate limit|quota|abuse/i.test(words));
  return status !== undefined && status >= 400 && status < 500 && status !== 408 && !quota;
}
