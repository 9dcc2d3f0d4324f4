import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import type { ImageLayers } from '../../domain/image-layers.ts';
import type { BuiltImage } from '../../domain/retention.ts';
import { engineError, statusOf } from './engine.ts';
import type { ImageBuilder, LocalImage } from './port.ts';

/** What a builder says and does of the images that an engine holds already. */
export type DockerImages = Omit<ImageBuilder, 'build' | 'resolve'> & {
  /** Whether an image made from this one would run something of it (ONBUILD): then it cannot be labelled by being made from. */
  readonly hasTriggers: (id: string) => Promise<boolean>;
};

/** The images of one engine. Errors are those of {@link engineError}; an image that is gone while it is looked for is none. */
export function createDockerImages(docker: Docker): DockerImages {
  async function inspect(reference: string): Promise<LocalImage | undefined> {
    try {
      const { Id, Size, RepoDigests, Config } = (await docker.getImage(reference).inspect()) as InspectedImage;
      return { id: Id, sizeBytes: Size, digests: RepoDigests ?? [], labels: Config?.Labels ?? {} };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `look for the image ${reference}`);
    }
  }

  async function readLayers(reference: string): Promise<ImageLayers | undefined> {
    try {
      const image = docker.getImage(reference);
      const [{ Config, RootFS }, history] = await Promise.all([
        image.inspect() as Promise<InspectedImage>,
        image.history() as Promise<readonly HistoryEntry[]>,
      ]);
      return {
        user: Config?.User ?? '',
        settings: Object.fromEntries((Config?.Env ?? []).map(variableOf)),
        count: RootFS?.Layers?.length ?? 0,
        history: history.map(({ Created, CreatedBy }) => ({
          createdAt: new Date(Created * 1_000).toISOString(),
          instruction: CreatedBy ?? '',
        })),
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `read the layers of ${reference}`);
    }
  }

  async function hasContainers(id: string): Promise<boolean> {
    const filters = JSON.stringify({ ancestor: [id] });
    return (await docker.listContainers({ all: true, filters })).length > 0;
  }

  return {
    inspect,
    readLayers,

    async hasTriggers(id) {
      const { Config } = (await docker.getImage(id).inspect()) as InspectedImage;
      return (Config?.OnBuild ?? []).length > 0;
    },

    async tag(id, repository, tag) {
      try {
        await docker.getImage(id).tag({ repo: repository, tag });
      } catch (error) {
        throw engineError(error, `tag ${repository}:${tag}`);
      }
    },

    async list(labels) {
      const images = await listByLabels(docker, labels);
      return images.map(({ Id, Size, RepoTags, RepoDigests, Labels, Created }: ListedImage): BuiltImage => {
        return {
          id: Id,
          sizeBytes: Size,
          tags: named(RepoTags),
          digests: named(RepoDigests),
          labels: Labels ?? {},
          createdAt: new Date(Created * 1000).toISOString(),
        };
      });
    },

    async isUsed({ id }) {
      try {
        return await hasContainers(id);
      } catch (error) {
        throw engineError(error, `look for containers of ${id}`);
      }
    },

    async discard({ id, tags, digests }) {
      try {
        if (await hasContainers(id)) return false;
        // Name by name, for one that is known in several repositories is not removed by its id; the last name takes the image along.
        for (const name of [...tags, ...digests, id]) {
          await docker
            .getImage(name)
            .remove()
            .catch((error: unknown) => {
              if (statusOf(error) !== 404) throw error;
            });
        }
        return true;
      } catch (error) {
        // A container of it has come between.
        if (statusOf(error) === 409) return false;
        throw engineError(error, `remove the image ${id}`);
      }
    },

    async save(id, folder, { moved, signal }) {
      const path = join(folder, 'image.tar');
      try {
        const stream = (await docker.getImage(id).get()) as unknown as AsyncIterable<Buffer>;
        const moving = async function* (): AsyncGenerator<Buffer> {
          for await (const chunk of stream) {
            moved();
            yield chunk;
          }
        };
        await pipeline(moving, createWriteStream(path), { signal });
        return [{ form: 'docker-archive', path }];
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
          throw new ProviderError('DiskFull', `no room is left for ${path}`, { cause: error });
        }
        throw engineError(error, `save the image ${id}`);
      }
    },

    async readRoot() {
      try {
        const { DockerRootDir } = (await docker.info()) as { readonly DockerRootDir: string };
        return DockerRootDir;
      } catch (error) {
        throw engineError(error, 'ask where images lie');
      }
    },

    async remove(id) {
      try {
        // Without its parents: they are the cache of the next build.
        await docker.getImage(id).remove({ noprune: true });
      } catch (error) {
        if (![404, 409].includes(statusOf(error) ?? 0)) throw engineError(error, `remove the image ${id}`);
      }
    },
  };
}

/** What is used of a listed image; an engine gives null for an empty list. */
interface ListedImage {
  readonly Id: string;
  readonly Size: number;
  readonly RepoTags?: readonly string[] | null | undefined;
  readonly RepoDigests?: readonly string[] | null | undefined;
  readonly Labels?: Readonly<Record<string, string>> | null | undefined;
  readonly Created: number;
}

/** Engines list an image without a name as `<none>`. */
function named(names: readonly string[] | null | undefined): readonly string[] {
  return (names ?? []).filter((name) => !name.includes('<none>'));
}

/** What is used of an inspected image. An engine leaves empty fields out, whatever its types say. */
interface InspectedImage {
  readonly Id: string;
  readonly Size: number;
  readonly RepoDigests?: readonly string[] | null;
  readonly Config?: {
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly Env?: readonly string[] | null;
    readonly User?: string | null;
    readonly OnBuild?: readonly string[] | null;
  } | null;
  readonly RootFS?: { readonly Layers?: readonly string[] | null } | null;
}

/** One entry of what the engine calls the history of an image, the newest first. */
interface HistoryEntry {
  /** Seconds since 1970. */
  readonly Created: number;
  readonly CreatedBy?: string;
}

function variableOf(line: string): readonly [string, string] {
  const at = line.indexOf('=');
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
}

/** Images with all of these labels, the newest first; none where there are no labels. */
export async function listByLabels(
  docker: Docker,
  labels: Readonly<Record<string, string>>,
): Promise<readonly Docker.ImageInfo[]> {
  const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  if (label.length === 0) return [];
  try {
    const images = await docker.listImages({ filters: JSON.stringify({ label }) });
    return images.sort((a, b) => b.Created - a.Created);
  } catch (error) {
    throw engineError(error, 'list images');
  }
}
