import type { ImageLayers } from '../../domain/image-layers.ts';
import type { BuiltImage } from '../../domain/retention.ts';
import type { RegistryAddress, RegistryCredentials } from '../registries/port.ts';

/** An image as the engine of the worker has it. */
export interface LocalImage {
  /** `sha256:…` of its configuration, or of its manifest: a hash over everything that is in it, so that no other image has it. */
  readonly id: string;
  readonly sizeBytes: number;
  /** Digests of manifests it is known by in registries, as `repository@sha256:…`. */
  readonly digests: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The images in it, where it is a list of several platforms. */
  readonly platforms?: readonly PlatformImage[] | undefined;
  /** What its build could not do and did not fail for, such as a cache that cannot be read. */
  readonly warnings?: readonly string[] | undefined;
}

/** An image of one platform in a list. */
export interface PlatformImage {
  /** `linux/arm64`, `linux/arm/v7`. */
  readonly platform: string;
  /** `sha256:…` of its manifest. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** User that its process runs as; empty means root. */
  readonly user: string;
}

/** An image as files, which other programs read without asking whoever built it. */
export interface SavedImage {
  /** Undefined where the image is no list. */
  readonly platform?: string | undefined;
  /** `docker-archive`: one file, as `docker save` writes it. `oci-dir`: a folder, the OCI image layout with one image. */
  readonly form: 'docker-archive' | 'oci-dir';
  /** Absolute. */
  readonly path: string;
}

/** What is told while an image is fetched, built or pushed. */
export interface BuildProgress {
  /** Output for the log, as it comes. */
  readonly output: (text: string) => void;
  /** Something moved; for the heartbeat. */
  readonly moved: () => void;
  readonly signal: AbortSignal;
}

export interface BuildRequest {
  readonly name: string;
  /** Absolute path of the context: a clean checkout. */
  readonly folder: string;
  /** Relative to the context. */
  readonly dockerfile: string;
  /** Text of the `.dockerignore` that holds; empty when there is none. */
  readonly ignore: string;
  readonly target?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly platforms: readonly string[];
  readonly network: 'default' | 'none';
  /** Time of every file in the image, so that equal contents are equal images. */
  readonly modifiedAt: Date;
  /** Images the base of which was resolved, by the name that the Dockerfile has for them: these digests are built on, whatever a tag is by now. */
  readonly bases?: Readonly<Record<string, string>> | undefined;
  /** The image built of it before, as `repository@sha256:…`: its layers are used where this engine has built nothing of the name yet. */
  readonly cache?: string | undefined;
  /** Places in a registry, `repository:tag`. One that cannot be read, or does not take layers, is a warning in the output. */
  readonly caches?: BuildCaches | undefined;
  /** The registry of the project. */
  readonly registry?: RegistryAddress | undefined;
  readonly credentials?: RegistryCredentials | undefined;
  /** Values that RUN instructions may mount by these ids (`--mount=type=secret`). Only BuildKit can keep them out of the image. */
  readonly secrets?: Readonly<Record<string, string>> | undefined;
  /** Private keys, or sockets of agents, that RUN instructions may use (`--mount=type=ssh`), by the id of the mount. */
  readonly ssh?: Readonly<Record<string, { readonly key: string } | { readonly socket: string }>> | undefined;
}

/** Layers of other builds. */
export interface BuildCaches {
  readonly import: readonly string[];
  readonly export?: 'inline' | { readonly place: string } | undefined;
  /** `max`: the layers of every stage, not only of what is built. */
  readonly mode: 'min' | 'max';
}

/**
 * Makes images on the worker's engine. After an error nothing is left but layers, which the next build uses; a container of the build that a
 * restart of the engine left is removed by the engine.
 */
export interface ImageBuilder {
  /** By id, tag or digest; undefined where it is not here. */
  inspect(reference: string): Promise<LocalImage | undefined>;
  /** How an image was made, by id, tag or digest; undefined where it is not here. @param platform - of a list; default: its first. */
  readLayers(reference: string, platform?: string): Promise<ImageLayers | undefined>;
  /**
   * Ids of images by their names, fetched where they are not here; of a builder without an engine, their digests.
   *
   * @throws `BuildFailed` (not retried): there is no such image. `RegistryUnavailable`, `EngineUnavailable` (retried)
   */
  resolve(
    references: readonly string[],
    options: BuildProgress & {
      readonly credentials?: RegistryCredentials | undefined;
      /**
       * The Dockerfile is anybody's: that an image of a registry lies here already does not say that its author may have it, so the registry is asked,
       * without a login. Default: false.
       */
      readonly untrusted?: boolean | undefined;
      /** Of the image that will be built on them. Default: the builder's own. */
      readonly platforms?: readonly string[] | undefined;
      /** Those that need not have the platforms: they are taken on another one, or for their files alone. */
      readonly anyPlatform?: readonly string[] | undefined;
    },
  ): Promise<Readonly<Record<string, string>>>;
  /**
   * @throws `BuildFailed` (not retried): details carry its own last lines. `BuildInterrupted`, `EngineUnavailable` (retried): the engine went
   *   away in the middle, and building again begins from clean layers.
   */
  build(request: BuildRequest, progress: BuildProgress): Promise<LocalImage>;
  /** Adds a name for people. */
  tag(id: string, repository: string, tag: string): Promise<void>;
  /** Every image here that has these labels. Images that were fetched have those that somebody else gave them. */
  list(labels: Readonly<Record<string, string>>): Promise<readonly BuiltImage[]>;
  /**
   * Whether a container is of it, running or not.
   *
   * @throws `EngineUnavailable` (retried), `EngineRefused` (not retried)
   */
  isUsed(image: Pick<BuiltImage, 'id'>): Promise<boolean>;
  /**
   * Removes an image under all its names, and the layers that only it had.
   *
   * @returns false where a container is of it, running or not: it stays as it is.
   */
  discard(image: BuiltImage): Promise<boolean>;
  /**
   * Writes an image to files, one for each platform of it.
   *
   * @param folder - absolute, there already; after an error it may hold a part.
   * @throws `EngineUnavailable` (retried), `EngineRefused`, `DiskFull` (not retried)
   */
  save(id: string, folder: string, progress: BuildProgress): Promise<readonly SavedImage[]>;
  /**
   * Folder that images lie in, as the engine's machine names it.
   *
   * @throws `EngineUnavailable` (retried), `EngineRefused` (not retried)
   */
  readRoot(): Promise<string>;
  /** Throws an image away and keeps its layers for the next build. Nothing happens where something still uses it. */
  remove(id: string): Promise<void>;
}
