import type { IndexedVersion, VersionScheme } from '../../domain/dependency-update.ts';

/** A version with what a lock of its ecosystem may have to know of it. */
export interface FoundVersion extends IndexedVersion {
  /** `sha256:…` of each of its files, where the ecosystem pins files by it. */
  readonly hashes?: readonly string[];
}

export interface PackageIndexOptions {
  /** Without a slash at the end. */
  readonly url: string;
  /** The whole header. */
  readonly authorization?: string;
}

/** Where packages are published. Only read; repeated at will. */
export interface PackageIndex {
  /**
   * Versions of a package that may be used: none that was withdrawn. Undefined where there is no such package.
   *
   * @throws `IndexRefused` (not retried), `IndexUnavailable` (retried)
   */
  readVersions(name: string, signal?: AbortSignal): Promise<readonly FoundVersion[] | undefined>;
}

/** An index and the order of its versions. */
export interface PackageIndexKind {
  readonly scheme: VersionScheme;
  create(options: PackageIndexOptions): PackageIndex;
}
