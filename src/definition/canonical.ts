import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/**
 * The one text of a JSON value (RFC 8785): keys sorted, numbers in their shortest form, nothing between.
 *
 * @throws TypeError for what JSON cannot hold: it would be lost without a word.
 */
export function canonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('only a JSON value has a canonical text');
  return text;
}

/** SHA-256 of the canonical text, 64 hexadecimal characters. */
export function canonicalHash(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}
