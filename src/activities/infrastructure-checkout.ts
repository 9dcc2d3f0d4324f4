import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { InfrastructureSpec } from '../definition/specs/infrastructure.ts';
import type { SecretRefs } from '../definition/specs/secret.ts';
import { ProviderError } from '../domain/failures.ts';
import { withScratch } from '../effects/scratch-folder.ts';
import type { InfrastructureRequest } from '../providers/infrastructures/port.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { Place } from './places.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface CheckoutDependencies {
  readonly repositories: Pick<SourceRepository, 'checkOut'>;
  readonly readSecret: ReadSecret;
  readonly readSecrets: (refs: SecretRefs) => Promise<Readonly<Record<string, string>>>;
}

export interface InfrastructureCheckout {
  readonly place: Place;
  readonly spec: InfrastructureSpec;
  /** Of the deployment. */
  readonly number: number;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

/** The definition of a deployment in a checkout of its own, for as long as the work takes; each request has another one. */
export async function inInfrastructureCheckout<T>(
  { repositories, readSecret, readSecrets }: CheckoutDependencies,
  { place, spec, number, signal, progress }: InfrastructureCheckout,
  work: (request: () => Promise<InfrastructureRequest>) => Promise<T>,
): Promise<T> {
  const [repository, secretVariables, secrets] = await Promise.all([
    repositoryAddress(place.pair.project, readSecret),
    readSecrets(spec.secretVariables),
    readSecrets(spec.secrets),
  ]);
  return await withScratch('infrastructure', async (scratch) => {
    let checkouts = 0;
    return await work(async () => {
      checkouts += 1;
      const path = join(scratch, `checkout-${checkouts}`);
      await repositories.checkOut({ repository, commit: place.release.commit, path, signal });
      return {
        name: `${place.spec.project}-${place.spec.name}-${number}`,
        folder: await folderIn(path, spec.folder),
        variables: spec.variables,
        secretVariables,
        env: spec.env,
        secrets,
        lockTimeoutMs: spec.lockTimeoutMs,
        timeoutMs: spec.timeoutMs,
        signal,
        // That it moves, never what it says: details of a heartbeat go to the server.
        onLine: () => progress(),
      };
    });
  });
}

/** The folder of the definition; a link of the repository may not lead out of its checkout. */
async function folderIn(checkout: string, folder: string): Promise<string> {
  const [root, path] = await Promise.all([realpath(checkout), realpath(join(checkout, folder)).catch(() => undefined)]);
  if (path !== undefined && (path === root || path.startsWith(`${root}${sep}`)) && (await stat(path)).isDirectory())
    return path;
  throw new ProviderError('DefinitionInvalid', `The commit has no folder \`${folder}\` for its infrastructure.`);
}
