import type { SecretRef, SecretRefs } from '../../definition/specs/secret.ts';
import { ProviderError } from '../../domain/failures.ts';
import { createEnvSecretSource } from './env.ts';
import { createFileSecretSource } from './file.ts';
import type { Secret, SecretSource, Secrets } from './port.ts';
import { createSecret } from './secret.ts';

export interface SecretsOptions {
  /** Variables that `env` may name. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where relative paths of `file` begin. */
  readonly folder: string;
  /** Key of this installation, the same on every worker: versions of secrets depend on it. */
  readonly versionKey: string;
}

type SourcesByKind = { readonly [Kind in SecretRef['kind']]: SecretSource<Extract<SecretRef, { kind: Kind }>> };

/** All kinds of secrets there are. */
export function createSecrets(options: SecretsOptions): Secrets {
  const sources: SourcesByKind = {
    env: createEnvSecretSource(options.environment),
    file: createFileSecretSource(options.folder),
  };

  async function read(ref: SecretRef): Promise<Secret> {
    const value = ref.kind === 'env' ? await sources.env.read(ref) : await sources.file.read(ref);
    return createSecret(value, options.versionKey);
  }

  async function readAll(refs: SecretRefs): Promise<Readonly<Record<string, Secret>>> {
    const names = Object.keys(refs);
    const results = await Promise.allSettled(Object.values(refs).map(read));
    const missing = results.flatMap((result, index) =>
      result.status === 'rejected' ? [`${names[index] ?? ''}: ${messageOf(result.reason)}`] : [],
    );
    if (missing.length > 0) {
      throw new ProviderError('SecretMissing', missing.join('\n'), { details: { missing } });
    }
    return Object.fromEntries(
      results.flatMap((result, index) =>
        result.status === 'fulfilled' ? [[names[index] ?? '', result.value] as const] : [],
      ),
    );
  }

  return {
    read,
    readAll,
    async versions(refs) {
      const secrets = await readAll(refs);
      return Object.fromEntries(Object.entries(secrets).map(([name, secret]) => [name, secret.version]));
    },
  };
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'cannot be read';
}
