import type { CommitInfo } from '../../domain/run.ts';
import type { PlanChanges } from '../../domain/plan.ts';

/** A project's repository as the engine knows it. */
export interface RepositoryAddress {
  readonly project: string;
  /** https, http, ssh, git or file URL, `user@host:path`, or an absolute path. */
  readonly url: string;
  readonly credentials?: RepositoryCredentials;
}

/** Read at the moment of use; handed to the transport by its environment only. */
export type RepositoryCredentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'ssh'; readonly keyFile: string; readonly knownHostsFile?: string };

/** Which commit, and where it can be asked for when the server gives out no bare commits. */
export interface CommitRequest {
  readonly repository: RepositoryAddress;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Full ref that had it: the second way to it, and what keeps it from being collected. */
  readonly ref?: string;
  readonly signal?: AbortSignal;
}

/** How two commits differ: what a plan shows. */
export type SourceChanges = Pick<PlanChanges, 'commits' | 'filesChanged' | 'linesChanged'>;

/**
 * Commits of projects, kept in one mirror a project beside the worker. Any number of calls at once. Nothing of the repository is ever
 * executed: no hooks, no filters, no submodules, no configuration of it or of the machine.
 *
 * After an error the mirror is as it was, perhaps with more objects; a half-written checkout is overwritten by the next one.
 */
export interface SourceRepository {
  /**
   * Brings the commit into the mirror, without network where it is there already, and tells what is known of it.
   *
   * @throws `CommitNotFound`, `RepositoryRefused` (not retried); `RepositoryUnreachable` (retried)
   */
  ensureCommit(request: CommitRequest): Promise<CommitInfo>;
  /**
   * The commit that a ref of the other side names now; undefined where there is no such ref. An annotated tag is the commit it was put on.
   *
   * @throws `RepositoryRefused` (not retried); `RepositoryUnreachable` (retried)
   */
  resolveRef(repository: RepositoryAddress, ref: string, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Every branch and tag of the other side; nothing is fetched. At most 64 MiB of them.
   *
   * @throws `RepositoryRefused`, `TooLarge` (not retried); `RepositoryUnreachable` (retried)
   */
  listRefs(repository: RepositoryAddress, signal?: AbortSignal): Promise<readonly RemoteRef[]>;
  /**
   * Makes `path` hold exactly the commit's files and a `.git` of its own over the mirror's objects; whatever was there before is removed.
   * Brings the commit into the mirror first, as {@link SourceRepository.ensureCommit} does.
   *
   * @throws as `ensureCommit`, and `WorkspaceLost` (retried)
   */
  checkOut(request: CommitRequest & { readonly path: string }): Promise<CommitInfo>;
  /** Folder that a checkout reads objects from; a container that is to use Git needs it, read-only, at the same path. */
  objectsFolder(project: string): string;
  /** What lies between two commits; undefined where one of them is unknown here. At most 200 commits are listed. */
  compare(request: {
    readonly project: string;
    readonly from: string;
    readonly to: string;
    readonly signal?: AbortSignal;
  }): Promise<SourceChanges | undefined>;
  /**
   * Every path that differs between two commits; with `sinceMerge` between the second and where it left the first. Undefined where one of them
   * is unknown here, or they have nothing in common.
   */
  changedPaths(request: {
    readonly project: string;
    readonly from: string;
    readonly to: string;
    readonly sinceMerge: boolean;
    readonly signal?: AbortSignal;
  }): Promise<readonly string[] | undefined>;
  /** Whether a commit is another one or lies behind it; false too where one of them is unknown here. */
  isBehind(request: {
    readonly project: string;
    readonly commit: string;
    readonly newer: string;
    readonly signal?: AbortSignal;
  }): Promise<boolean>;
  /**
   * Text of a file at a commit; undefined where it has none.
   *
   * @param request.maxBytes - default 1 MiB: what people write.
   * @throws `TooLarge` (not retried): a part of a file is never taken for the whole.
   */
  readFile(request: {
    readonly project: string;
    readonly commit: string;
    readonly path: string;
    readonly maxBytes?: number;
    readonly signal?: AbortSignal;
  }): Promise<string | undefined>;
  /**
   * Every file below a folder (`.` is the whole) at a commit, in the order of their paths; undefined where it is no folder. Two equal lists are
   * two equal folders: this is what a build's key is made of.
   */
  listTree(request: {
    readonly project: string;
    readonly commit: string;
    readonly path: string;
    readonly signal?: AbortSignal;
  }): Promise<readonly TreeEntry[] | undefined>;
  /**
   * Removes what is kept here of projects other than these, and what was left half-made.
   *
   * @param before - nothing that was changed after this moment.
   */
  removeLeftovers(request: {
    readonly projects: readonly string[];
    readonly before: Date;
  }): Promise<readonly LeftFile[]>;
}

/** Something that nobody uses any more. */
export interface LeftFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** A branch or tag of the other side. */
export interface RemoteRef {
  /** Full. */
  readonly ref: string;
  /** What it points at. */
  readonly value: string;
  /** The commit: another one than `value` for an annotated tag. */
  readonly commit: string;
}

/** One file, link or submodule of a tree. */
export interface TreeEntry {
  /** `100644`, `100755`, `120000` (a link) or `160000` (a submodule, which is never fetched). */
  readonly mode: string;
  /** Hash of the content. */
  readonly object: string;
  /** Relative to the folder asked for. */
  readonly path: string;
}
