import type { SecretRef } from '../../definition/specs/secret.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { SecretSource } from './port.ts';

export type EnvSecretRef = Extract<SecretRef, { kind: 'env' }>;

/** Secrets from variables of the worker. */
export function createEnvSecretSource(
  environment: Readonly<Record<string, string | undefined>>,
): SecretSource<EnvSecretRef> {
  return {
    kind: 'env',
    read({ name }) {
      const value = environment[name];
      if (value === undefined || value === '') {
        const state = value === '' ? 'is empty' : 'is not set';
        return Promise.reject(
          new ProviderError('SecretMissing', `Variable ${name} of the worker ${state}.`, { details: { name } }),
        );
      }
      return Promise.resolve(value);
    },
  };
}
