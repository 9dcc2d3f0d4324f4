import type { DependencyUpdate, Ecosystem, PinnedDependency } from '../../domain/dependency-update.ts';
import type { FoundVersion } from '../package-indexes/port.ts';

/** A manifest with the files beside it that belong to it, as they are at a commit. */
export interface ManifestFiles {
  readonly path: string;
  readonly text: string;
  /** By their names: `package-lock.json`. Undefined: there, and not read, or larger than what is read. */
  readonly beside: Readonly<Record<string, string | undefined>>;
}

export interface ManifestReading {
  readonly dependencies: readonly PinnedDependency[];
  /** Range of the language or runtime that it promises to run on. */
  readonly runtime?: string;
  /** What could not be read or cannot be kept up to date, each a sentence without the manifest's name. */
  readonly problems: readonly string[];
}

/** What an index is asked with, for the tools that ask by themselves. */
export interface ManifestIndex {
  readonly url: string;
  readonly token?: string;
  readonly signal: AbortSignal;
  /** Nothing that was published after it is taken; ISO 8601. */
  readonly before: string;
  /** Versions as the index has them. */
  readonly readVersion: (name: string, version: string) => Promise<FoundVersion | undefined>;
}

export interface ManifestChange {
  /** Whole new texts of files, by their names beside the manifest, itself among them. */
  readonly files: Readonly<Record<string, string>>;
  /** Updates that could not be made, each with a reason. */
  readonly left: readonly { readonly update: DependencyUpdate; readonly reason: string }[];
}

/** One form of manifest. What is in it is hostile: nothing of it is ever executed, and nothing but the index is asked for it. */
export interface ManifestKind {
  readonly ecosystem: Ecosystem;
  matches(path: string): boolean;
  /** Names of files beside it that it is read and changed with. */
  readonly locks: readonly string[];
  /** Names of files beside it that it cannot be changed with: that they are there is enough. */
  readonly foreignLocks: readonly string[];
  /** Never throws: what cannot be read is a problem. */
  read(files: ManifestFiles): ManifestReading;
  /**
   * The same manifest with newer versions. Repeated at will.
   *
   * @throws `ProcessFailed`, `TimedOut`, `ToolMissing`, `IndexRefused`, `IndexUnavailable`
   */
  update(files: ManifestFiles, updates: readonly DependencyUpdate[], index: ManifestIndex): Promise<ManifestChange>;
}
