import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import type { RegistryCredentials } from '../registries/port.ts';
import {
  EngineEventError,
  engineError,
  isEngineGone,
  messageOf,
  namesRegistry,
  progressLine,
  readEvents,
  statusOf,
} from './engine.ts';
import type { BuildProgress, LocalImage } from './port.ts';

/**
 * Has an image here that others are built from.
 *
 * @param login - used where the image is of its registry, and nowhere else. `nobody`: what has a registry in its name is asked for there as by anybody,
 * also where it is here already.
 * @returns its id.
 * @throws `BuildFailed` (not retried) - it cannot be had; `RegistryUnavailable` and those of {@link engineError} - it could not be fetched.
 */
export type EnsureBase = (
  reference: string,
  progress: BuildProgress,
  login: RegistryCredentials | 'nobody' | undefined,
) => Promise<string>;

/** Fetches base images with one engine. @param inspect - what the engine knows of an image. */
export function createBaseFetcher(
  docker: Docker,
  inspect: (reference: string) => Promise<LocalImage | undefined>,
): EnsureBase {
  async function pull(
    reference: string,
    progress: BuildProgress,
    credentials: RegistryCredentials | undefined,
  ): Promise<void> {
    const own = credentials !== undefined && reference.startsWith(`${credentials.address}/`);
    const auth = own
      ? {
          authconfig: {
            username: credentials.username,
            password: credentials.password,
            serveraddress: credentials.address,
          },
        }
      : {};
    progress.output(`fetching ${reference}\n`);
    const stream = (await docker.createImage({
      ...auth,
      fromImage: reference,
      ...(/[:@][^/]*$/.test(reference) ? {} : { tag: 'latest' }),
      abortSignal: progress.signal,
    })) as AsyncIterable<Buffer>;
    for await (const event of readEvents(stream)) {
      progress.moved();
      if (event.status !== undefined && event.progress === undefined) progress.output(`${progressLine(event)}\n`);
    }
  }

  return async (reference, progress, login) => {
    const here = await inspect(reference);
    if (here !== undefined && !(login === 'nobody' && namesRegistry(reference))) return here.id;
    try {
      await pull(reference, progress, login === 'nobody' ? undefined : login);
    } catch (error) {
      if (progress.signal.aborted) throw progress.signal.reason;
      throw pullError(error, reference);
    }
    const fetched = await inspect(reference);
    if (fetched !== undefined) return fetched.id;
    throw new ProviderError('BuildFailed', `the base image ${reference} was fetched and is not here`, {
      details: { image: reference },
    });
  };
}

function pullError(error: unknown, reference: string): Error {
  const said = messageOf(error);
  const status = statusOf(error);
  const details = { image: reference };
  if (/not found|manifest unknown|access denied|denied|unauthorized|does not exist|invalid reference/i.test(said)) {
    return new ProviderError('BuildFailed', `the base image ${reference} cannot be had: ${said}`, {
      details,
      cause: error,
    });
  }
  if (isEngineGone(error)) return engineError(error, `fetch the base image ${reference}`);
  if (error instanceof EngineEventError || (status !== undefined && status >= 500)) {
    return new ProviderError('RegistryUnavailable', `the base image ${reference} could not be fetched: ${said}`, {
      details,
      cause: error,
    });
  }
  return engineError(error, `fetch the base image ${reference}`);
}
