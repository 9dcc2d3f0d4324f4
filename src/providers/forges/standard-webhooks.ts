import type { ForgeRequest, Proof } from './port.ts';
import { header, isSame } from './request.ts';
import { createHmac } from 'node:crypto';

/** Farther from now a signature is an old one that somebody sends again, ms (the libraries of standardwebhooks.com: five minutes). */
export const toleranceMs = 300_000;
const prefix = 'whsec_';

/** Whether a secret is the key of signatures of this kind by its form: `whsec_` and the key in Base64. */
export function isSigningToken(secret: string): boolean {
  return secret.startsWith(prefix);
}

/**
 * The signature of standardwebhooks.com: `webhook-signature` holds `v1,` and the Base64 of the HMAC-SHA256 over
 * `<webhook-id>.<webhook-timestamp>.<body>`, several of them divided by blanks. The key is what follows `whsec_`, in Base64; a secret
 * without that beginning is the key itself.
 */
export function verifyStandardWebhook(request: ForgeRequest, secrets: readonly string[], now: Date): Proof {
  const id = header(request, 'webhook-id') ?? '';
  const timestamp = header(request, 'webhook-timestamp') ?? '';
  const given = (header(request, 'webhook-signature') ?? '').split(' ').slice(0, mostSignatures);
  if (id === '' || !/^\d{1,12}$/.test(timestamp)) return 'invalid';
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), request.body]);
  const valid = secrets
    .filter((secret) => secret !== '' && secret !== prefix)
    .map((secret) => `v1,${createHmac('sha256', keyOf(secret)).update(signed).digest('base64')}`)
    // All are compared, so that the time tells nothing of which one it was.
    .map((expected) => given.map((signature) => isSame(signature, expected)).some(Boolean))
    .some(Boolean);
  if (!valid) return 'invalid';
  return Math.abs(now.getTime() - Number(timestamp) * 1000) <= toleranceMs ? 'valid' : 'stale';
}

/** Nobody rotates more keys at once, and each costs a comparison. */
const mostSignatures = 10;

function keyOf(secret: string): Buffer {
  return isSigningToken(secret) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret);
}
