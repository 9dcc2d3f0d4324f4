import { ProviderError } from '../../domain/failures.ts';

/**
 * @throws `DigestMismatch` (not retried): under this tag the registry holds something else than was pushed.
 */
export function checkDigest(repository: string, tag: string, pushed: string, held: string | undefined): void {
  if (held === pushed) return;
  throw new ProviderError(
    'DigestMismatch',
    `${repository}:${tag} was pushed as ${pushed}, and the registry holds ${held ?? 'nothing'} under it`,
    { details: { repository, tag, pushed, held: held ?? null } },
  );
}
