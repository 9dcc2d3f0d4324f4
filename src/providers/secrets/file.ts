import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { SecretRef } from '../../definition/specs/secret.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { SecretSource } from './port.ts';

export type FileSecretRef = Extract<SecretRef, { kind: 'file' }>;

/** Far above keys and tokens; a path to something else than a secret is noticed. Judgement. */
const largestSecretBytes = 64 * 1024;

/**
 * Secrets from files of the worker, as Docker, Kubernetes and systemd give them.
 *
 * @param folder - where relative paths begin.
 */
export function createFileSecretSource(folder: string): SecretSource<FileSecretRef> {
  return {
    kind: 'file',
    async read({ path }) {
      const missing = (why: string): ProviderError =>
        new ProviderError('SecretMissing', `Secret file ${path} ${why}.`, { details: { path } });
      let content: string;
      try {
        content = await text(createReadStream(resolve(folder, path), { end: largestSecretBytes }));
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
        throw missing(code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`);
      }
      if (Buffer.byteLength(content) > largestSecretBytes) throw missing(`is larger than ${largestSecretBytes} bytes`);
      // Editors and `echo` end a file with a line break that is no part of the secret.
      const value = content.replace(/\r?\n$/, '');
      if (value === '') throw missing('is empty');
      return value;
    },
  };
}
