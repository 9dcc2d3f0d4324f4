import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { ProviderError } from '../domain/failures.ts';

const magic = Buffer.from('SLIPWAY1');
const saltBytes = 16;
/** As NIST SP 800-38D recommends for GCM. */
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Encrypts what must lie on a disk that others can read: AES-256-GCM under a key that scrypt makes of a text (N 16384, r 8, p 1: the defaults
 * of Node), with a salt of its own.
 *
 * @param place - what it is and where it lies; opened under another name it is refused.
 */
export function seal(content: Buffer, secret: string, place: string): Buffer {
  const salt = randomBytes(saltBytes);
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', scryptSync(secret, salt, 32), nonce).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  return Buffer.concat([magic, salt, nonce, cipher.getAuthTag(), sealed]);
}

/** @throws ProviderError `SecretMissing` (not retried): the secret is another one by now, or somebody has changed the bytes. */
export function unseal(sealed: Buffer, secret: string, place: string): Buffer {
  const [salt, nonce, tag] = [saltBytes, nonceBytes, tagBytes].reduce<{
    readonly at: number;
    readonly parts: Buffer[];
  }>(({ at, parts }, length) => ({ at: at + length, parts: [...parts, sealed.subarray(at, at + length)] }), {
    at: magic.length,
    parts: [],
  }).parts as [Buffer, Buffer, Buffer];
  const rest = sealed.subarray(magic.length + saltBytes + nonceBytes + tagBytes);
  try {
    if (!sealed.subarray(0, magic.length).equals(magic)) throw new Error('another form');
    const decipher = createDecipheriv('aes-256-gcm', scryptSync(secret, salt, 32), nonce).setAAD(Buffer.from(place));
    decipher.setAuthTag(tag);
    return Buffer.concat([decipher.update(rest), decipher.final()]);
  } catch {
    throw new ProviderError(
      'SecretMissing',
      `${place} cannot be decrypted: its secret is not the one it was encrypted with, or the file was changed.`,
    );
  }
}
