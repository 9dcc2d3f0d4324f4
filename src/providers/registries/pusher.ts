import { ProviderError } from '../../domain/failures.ts';
import {
  EngineEventError,
  connectEngine,
  engineError,
  isEngineGone,
  readEvents,
  statusOf,
} from '../builders/engine.ts';
import { checkDigest } from './digests.ts';
import type { ImagePusher, ImageRegistry, RegistryAddress } from './port.ts';

/** A push that was refused for good: another try would be refused as well. */
const refusedPattern =
  /unauthorized|authentication required|denied|no basic auth|forbidden|name invalid|invalid reference|server gave HTTP response to HTTPS client|certificate/i;

/**
 * Pushes through a Docker engine.
 *
 * @param address - of the engine, as in DOCKER_HOST.
 */
export async function createDockerPusher(
  address: string,
  registry: RegistryAddress,
  manifests: ImageRegistry,
): Promise<ImagePusher> {
  const docker = await connectEngine(address);
  const { credentials } = registry;
  const authconfig =
    credentials === undefined
      ? // The engine wants the header even where there is nothing to say.
        { username: '', password: '', serveraddress: registry.address }
      : { username: credentials.username, password: credentials.password, serveraddress: registry.address };

  return {
    async push({ id, repository, tag, output, moved, signal }) {
      let digest: string | undefined;
      try {
        await docker.getImage(id).tag({ repo: repository, tag });
        const stream = await docker.getImage(`${repository}:${tag}`).push({ authconfig, abortSignal: signal });
        const layers = new Set<string>();
        for await (const event of readEvents(stream as AsyncIterable<Buffer>)) {
          moved();
          digest = event.aux?.Digest ?? digest;
          if (event.status === undefined || event.progress !== undefined) continue;
          const line = event.id === undefined ? event.status : `${event.id}: ${event.status}`;
          if (layers.has(line)) continue;
          layers.add(line);
          output(`${line}\n`);
        }
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw pushError(error, `${repository}:${tag}`, registry.address);
      }
      if (digest === undefined) {
        throw new ProviderError('RegistryUnavailable', `the push of ${repository}:${tag} broke off before its end`);
      }
      const held = await manifests.readManifest(repository, tag, signal);
      checkDigest(repository, tag, digest, held?.digest);
      output(`${tag}: the registry holds ${digest}\n`);
      return digest;
    },
  };
}

function pushError(error: unknown, image: string, registry: string): Error {
  if (error instanceof EngineEventError || (statusOf(error) ?? 0) >= 500) {
    const said = (error as Error).message;
    const type = refusedPattern.test(said) ? 'RegistryRefused' : 'RegistryUnavailable';
    return new ProviderError(type, `${registry} did not take ${image}: ${said}`, {
      details: { registry, image },
      cause: error,
    });
  }
  if (statusOf(error) === 404) {
    return new ProviderError('ImageNotFound', `the engine has no image to push as ${image}`, { cause: error });
  }
  if (isEngineGone(error)) {
    return new ProviderError('EngineUnavailable', `the engine went away while it pushed ${image}`, { cause: error });
  }
  return engineError(error, `push ${image}`);
}
