import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { refuse } from './problems.ts';

/** Signed for one person, for one thing, until one time; no secret is in it, and it opens nothing else. */
export interface Seals {
  /** @param until - ms since 1970; rounded down to seconds. @returns characters that need no encoding in a path or a cookie. */
  seal(what: string, reader: string, until: number): string;
  /**
   * @returns the id of the token of whom it was made for, and until when it is good; whether that token still is must be asked.
   * @throws ProviderError `LinkInvalid`, `LinkExpired` (not retried)
   */
  open(seal: string, what: string): { readonly reader: string; readonly until: number };
}

/** Id of a token, seconds since 1970, HMAC-SHA-256: 36 characters and at most 55 more. */
const form = /^([0-9a-f-]{36})\.([0-9a-z]{1,9})\.([A-Za-z0-9_-]{43})$/;

/**
 * @param installationKey - the same for all processes of an installation (src/config.ts).
 * @param use - what is sealed for one use is no seal for another: each has a key of its own (HKDF, RFC 5869).
 * @param now - ms since 1970. Default `Date.now`.
 */
export function createSeals(
  installationKey: string,
  use: 'signed path' | 'cookie of pages',
  now: () => number = Date.now,
): Seals {
  const key = Buffer.from(hkdfSync('sha256', installationKey, '', `slipway ${use}`, 32));
  const sign = (what: string, reader: string, seconds: string): string =>
    createHmac('sha256', key)
      .update(JSON.stringify([what, reader, seconds]))
      .digest('base64url');
  return {
    seal(what, reader, until) {
      const seconds = Math.floor(until / 1000).toString(36);
      return `${reader}.${seconds}.${sign(what, reader, seconds)}`;
    },
    open(seal, what) {
      const [, reader = '', seconds = '', given = ''] = form.exec(seal) ?? [];
      const expected = sign(what, reader, seconds);
      // Text against text: of the last character of base64url two bits say nothing, so several decode to the same bytes.
      const same = given.length === expected.length && timingSafeEqual(Buffer.from(given), Buffer.from(expected));
      if (!same) throw refuse('LinkInvalid', 'This link is not one that was given out for this page.');
      const until = Number.parseInt(seconds, 36) * 1000;
      if (until <= now()) throw refuse('LinkExpired', 'This link is over.');
      return { reader, until };
    },
  };
}
