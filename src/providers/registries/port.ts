/** Name and password of a registry, read at the moment of use. */
export interface RegistryCredentials {
  /** `host:port` they are for. */
  readonly address: string;
  readonly username: string;
  readonly password: string;
}

/** Where images lie and how it is spoken to. */
export interface RegistryAddress {
  /** `host:port`, as in an image's name. */
  readonly address: string;
  /** Plain HTTP. */
  readonly insecure: boolean;
  readonly credentials?: RegistryCredentials | undefined;
}

/** A manifest as the registry tells of it. */
export interface Manifest {
  /** `sha256:…` */
  readonly digest: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

/** A manifest with what it names. */
export interface ManifestContent extends Manifest {
  /** Digest of the configuration; absent for a list of manifests. */
  readonly config?: string;
  /** Configuration and layers. */
  readonly blobs: readonly {
    readonly digest: string;
    readonly sizeBytes: number;
    /** What the manifest notes beside it. */
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
  /** Manifests of a list, by platform. */
  readonly manifests: readonly string[];
}

/**
 * A registry of images, as the OCI distribution specification has it. Every call may be repeated; after an error the registry holds what it
 * held, or what was asked for.
 *
 * @throws `RegistryRefused` (not retried), `RegistryUnavailable` (retried)
 */
export interface ImageRegistry {
  /** @param reference - a tag or a digest; undefined where there is none. */
  readManifest(repository: string, reference: string, signal?: AbortSignal): Promise<Manifest | undefined>;
  /**
   * The manifest itself; undefined where there is none.
   *
   * @throws `DigestMismatch` (not retried): asked for by digest, something else was given.
   */
  readContent(repository: string, reference: string, signal?: AbortSignal): Promise<ManifestContent | undefined>;
  /**
   * The platforms of an image, each with its manifest: those of a list, or the one of its configuration. Statements about an image that lie in its
   * list (`unknown/unknown`) are none. Empty where there is no such image.
   *
   * @throws `DigestMismatch` (not retried)
   */
  readPlatforms(
    repository: string,
    digest: string,
    signal?: AbortSignal,
  ): Promise<readonly { readonly platform: string; readonly digest: string }[]>;
  /**
   * User that the process of an image of one platform runs as; empty means root, undefined that there is no such image.
   *
   * @throws `DigestMismatch` (not retried)
   */
  readUser(repository: string, digest: string, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Fetches everything that a digest names, as an empty engine would, and counts the digest of each part over. Nothing is kept.
   *
   * @throws `ImageNotFound`, `DigestMismatch` (not retried): a part is missing, or is not what its name says.
   */
  verifyContent(
    repository: string,
    digest: string,
    options: { readonly signal?: AbortSignal; readonly moved?: () => void },
  ): Promise<{ readonly blobs: number; readonly bytes: number }>;
  /**
   * Fetches everything that a digest names into a folder, as an OCI image layout; each part is counted over.
   *
   * @param folder - absolute; after an error it holds a part.
   * @throws `ImageNotFound`, `DigestMismatch`, `DiskFull` (not retried)
   */
  fetchImage(
    repository: string,
    digest: string,
    folder: string,
    options: { readonly signal?: AbortSignal; readonly moved?: () => void },
  ): Promise<void>;
  /**
   * Gives the manifest one more tag, without moving a layer, and asks for it again.
   *
   * @throws `ImageNotFound`, `DigestMismatch` (not retried)
   */
  ensureTag(repository: string, digest: string, tag: string, signal?: AbortSignal): Promise<void>;
  /**
   * Uploads a configuration or layer; nothing happens where the registry has it already.
   *
   * @param open - its bytes from the beginning; asked again where the registry asks for a password in the middle.
   * @returns whether it was sent.
   */
  ensureBlob(
    repository: string,
    blob: { readonly digest: string; readonly sizeBytes: number; readonly open: () => AsyncIterable<Uint8Array> },
    options: { readonly signal?: AbortSignal; readonly moved?: () => void },
  ): Promise<boolean>;
  /**
   * Writes a manifest whose parts are there, and asks for it again.
   *
   * @param reference - its digest, or a tag.
   * @throws `DigestMismatch` (not retried)
   */
  writeManifest(
    repository: string,
    reference: string,
    manifest: { readonly mediaType: string; readonly digest: string; readonly bytes: Buffer },
    signal?: AbortSignal,
  ): Promise<void>;
  /**
   * All of them; empty where there is no such repository.
   *
   * @throws `TooLarge` (not retried): there are more than can be read. A part is never given for the whole.
   */
  listTags(repository: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** Digests of what says that it is about this manifest (its `subject`): signatures, attestations, bills of materials. */
  listReferrers(repository: string, digest: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** Nothing happens where it is not there. */
  deleteManifest(repository: string, digest: string, signal?: AbortSignal): Promise<void>;
}

/** Brings images from the worker's engine to a registry. */
export interface ImagePusher {
  /**
   * Pushes an image under a tag and asks the registry what it holds under it.
   *
   * @returns the digest of the manifest, as the registry told it.
   * @throws `RegistryRefused`, `DigestMismatch`, `ImageNotFound` (not retried); `RegistryUnavailable`, `EngineUnavailable` (retried)
   */
  push(request: {
    readonly id: string;
    readonly repository: string;
    readonly tag: string;
    readonly output: (text: string) => void;
    readonly moved: () => void;
    readonly signal: AbortSignal;
  }): Promise<string>;
}
