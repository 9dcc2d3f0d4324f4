import type { ImageReport } from '../domain/run.ts';
import type { ImageActivities } from './contracts.ts';
import { buildImage, checkOutContext } from './image-build.ts';
import { examineImages, stopVulnerable } from './image-evidence.ts';
import { judgeImages } from './image-gate.ts';
import { pushImage } from './image-push.ts';
import { type ImageDependencies, type ImageWork, forEach, openPush, together } from './image-work.ts';

/** Builds, examines, pushes and attests the images of runs by this worker's engine. */
export function createImageActivities(deps: ImageDependencies): ImageActivities {
  return {
    buildImages: ({ run, plan }) =>
      together(deps, { run, plan, doing: 'build' }, async (work) => {
        const { images } = work.known.pipeline;
        const checkout = once(() => checkOutContext(work));
        const built = await forEach(work, 'build', images, (each, image, log) =>
          buildImage(each, image, log, checkout),
        );
        try {
          const examined = await examineImages(work, built);
          // Recorded before anything is stopped for it.
          const judged = await judgeImages(work, examined);
          stopVulnerable(work, judged);
          return judged;
        } finally {
          if (plan.buildImages === 'validate') await throwAway(work, built);
        }
      }),

    pushImages: ({ run, plan, images, stages = [], packages = [] }) =>
      together(deps, { run, plan, doing: 'push' }, async (work) => {
        const opened = await openPush(work);
        return forEach(work, 'push', images, (each, image, log) =>
          pushImage(each, image, { stages, packages }, log, opened),
        );
      }),
  };
}

/** Builds that only had to show that they build leave their layers, for the next one, and no image. */
async function throwAway({ builder }: ImageWork, built: readonly ImageReport[]): Promise<void> {
  for (const { digest, reused } of built) {
    if (!reused) await builder.remove(digest);
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
