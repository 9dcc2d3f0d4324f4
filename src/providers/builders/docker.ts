import { ProviderError } from '../../domain/failures.ts';
import { createBaseFetcher } from './docker-bases.ts';
import { createBuildRunner } from './docker-build.ts';
import { createDockerImages } from './docker-images.ts';
import { connectEngine } from './engine.ts';
import type { BuildRequest, ImageBuilder } from './port.ts';

/**
 * Builds by the engine's own builder, the one that every engine has: one request with the context, one answer that streams.
 *
 * @param address - of the engine, as in DOCKER_HOST.
 */
export async function createDockerBuilder(address: string): Promise<ImageBuilder> {
  const docker = await connectEngine(address);
  const { hasTriggers, ...images } = createDockerImages(docker);
  const ensureBase = createBaseFetcher(docker, images.inspect);
  const runBuild = createBuildRunner(docker, { ...images, hasTriggers }, ensureBase);
  return {
    ...images,

    async resolve(references, { credentials, untrusted = false, ...progress }) {
      const found: Record<string, string> = {};
      for (const reference of references) {
        found[reference] = await ensureBase(reference, progress, untrusted ? 'nobody' : credentials);
      }
      return found;
    },

    async build(request, progress) {
      refuseSeveralPlatforms(request);
      const id = await runBuild(request, progress);
      const built = await images.inspect(id);
      if (built !== undefined) return built;
      throw new ProviderError('BuildInterrupted', `${request.name} was built as ${id} and is gone`);
    },
  };
}

/**
 * One engine keeps an image of one platform.
 *
 * @throws `EngineRefused` (not retried)
 */
export function refuseSeveralPlatforms({ name, platforms }: Pick<BuildRequest, 'name' | 'platforms'>): void {
  if (platforms.length <= 1) return;
  throw new ProviderError(
    'EngineRefused',
    `${name} asks for several platforms (${platforms.join(', ')}), of which a Docker engine keeps one. Give the project a BuildKit daemon: \`builds.builder: { kind: buildkit, address: unix:///run/buildkit/buildkitd.sock }\``,
    { details: { image: name, platforms: [...platforms] } },
  );
}
