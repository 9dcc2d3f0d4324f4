import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import { reasonOf, statusOf } from './docker-client.ts';

/** Credentials of the registry, as the engine wants them. */
export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
}

/** Credentials as they are now; undefined where none are needed. */
export type ReadRegistryAuth = () => Promise<RegistryAuth | undefined>;

/**
 * Makes sure that the engine has an image, by its digest.
 *
 * @throws `ImageNotFound` (not retried), `RegistryRefused` (not retried), `RegistryUnavailable` (retried), `EngineUnavailable` (retried)
 */
export async function ensureImage(
  docker: Docker,
  reference: string,
  readAuth: ReadRegistryAuth | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    await docker.getImage(reference).inspect();
    return;
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
  const auth = await readAuth?.();
  try {
    const stream: AsyncIterable<unknown> = await docker.pull(reference, {
      ...(auth === undefined ? {} : { authconfig: auth }),
      ...(signal === undefined ? {} : { abortSignal: signal }),
    });
    // The engine answers 200 and tells of a failure in the stream; dockerode's own helper never looks.
    let rest = '';
    for await (const chunk of stream) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) refuseError(line);
    }
    refuseError(rest);
  } catch (error) {
    signal?.throwIfAborted();
    throw toPullError(reference, error);
  }
}

function refuseError(line: string): void {
  if (line.trim() === '') return;
  const { error } = JSON.parse(line) as { error?: string };
  if (error !== undefined) throw new Error(error);
}

function toPullError(reference: string, error: unknown): ProviderError {
  const reason = reasonOf(error);
  const status = statusOf(error);
  const options = { details: { image: reference }, cause: error };
  if (status === 404 || /not found|manifest unknown/i.test(reason)) {
    return new ProviderError('ImageNotFound', `the registry has no ${reference}: ${reason}`, options);
  }
  if (status === 401 || status === 403 || /unauthorized|denied|authentication required/i.test(reason)) {
    return new ProviderError('RegistryRefused', `the registry does not give out ${reference}: ${reason}`, options);
  }
  return (error as NodeJS.ErrnoException).code === undefined
    ? new ProviderError('RegistryUnavailable', `could not pull ${reference}: ${reason}`, options)
    : new ProviderError(
        'EngineUnavailable',
        `could not pull ${reference}: the engine does not answer (${reason})`,
        options,
      );
}
