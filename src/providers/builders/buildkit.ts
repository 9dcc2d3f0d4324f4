import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { runBuildx } from './buildx.ts';
import { refuseSeveralPlatforms } from './docker.ts';
import type { BuildProgress, BuildRequest, ImageBuilder, LocalImage } from './port.ts';

/**
 * Builds by the BuildKit of the same engine, through buildx: secrets and keys are mounted into single RUN instructions and are in no layer, and the
 * layers of the image before are taken from the registry.
 *
 * @param address - of the engine, as in DOCKER_HOST.
 * @param engine - looks after images on the same engine.
 * @param program - path of buildx; asked at each use, and may take long the first time.
 */
export function createBuildKitBuilder(
  address: string,
  engine: ImageBuilder,
  program: (signal?: AbortSignal) => Promise<string>,
): ImageBuilder {
  async function build(request: BuildRequest, progress: BuildProgress): Promise<LocalImage> {
    refuseSeveralPlatforms(request);
    const buildx = await program(progress.signal);
    return await withScratch('buildkit', async (folder) => {
      const idFile = join(folder, 'image-id');
      const warnings = await runBuildx(request, progress, {
        buildx,
        folder,
        builder: 'default',
        calledHere: 'the engine',
        environment: { DOCKER_HOST: address },
        options: ['--iidfile', idFile],
      });
      const built = await engine.inspect((await readFile(idFile, 'utf8')).trim());
      if (built !== undefined) return { ...built, warnings };
      throw new ProviderError('BuildInterrupted', `${request.name} was built and is gone`);
    });
  }

  return { ...engine, build };
}

/** What only BuildKit can do; the engine's own builder refuses it or, worse, passes it over. */
export function needsBuildKit(dockerfile: string): boolean {
  return /^\s*RUN\s[^\n]*--mount=|^\s*#\s*syntax\s*=|^\s*(?:RUN|COPY|ADD)\s[^\n]*<<-?["']?\w+/im.test(dockerfile);
}
