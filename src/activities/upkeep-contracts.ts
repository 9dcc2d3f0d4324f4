/** What the workflows of upkeep may ask for; the rules are those of {@link ./contracts.ts}. No run, deployment or environment waits for any of it. */
import type { Abandoned, ClosedWorkflow } from '../domain/abandoned.ts';
import type { PinnedBase } from '../domain/base-image.ts';
import type { DependencyGroup, DependencyUpdate, Ecosystem } from '../domain/dependency-update.ts';
import type { DeploymentResult } from '../domain/deployment.ts';
import type { DiskReading } from '../domain/disk.ts';
import type { KnownFindings, LiveImageScan, LiveRole } from '../domain/live-scan.ts';
import type { RunOutcome } from '../domain/outcome.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { RunRef } from '../domain/run.ts';
import type { UpkeepRound } from '../domain/upkeep.ts';

/** What scheduled workflows do; no run, deployment or environment waits for any of it. */
export interface UpkeepActivities {
  /**
   * Looks through the open rows of the store, a page at a time, for those that no open workflow will ever end. Where Temporal or an
   * environment does not answer, a row counts as open. Heartbeats.
   *
   * @throws `StoreUnavailable`, `TemporalUnavailable` (retried)
   */
  readAbandoned(input: AbandonedRequest): Promise<AbandonedPage>;
  /**
   * Writes the end of such a row, audited, and sends the notice that its workflow would have sent. A row that has an outcome by now stays as
   * it is.
   *
   * @returns whether it ended so.
   */
  settleAbandoned(input: AbandonedEnd): Promise<boolean>;
  /** What every project keeps, by its present document. One whose document cannot be read is left out, and said. */
  readRetention(input?: undefined): Promise<RetentionPlan>;
  /** Rows that only guard against a repetition that cannot come any more (deliveries, keys of facts), or that nobody asks for: events, uses of caches. Heartbeats. */
  removeOldRows(input?: undefined): Promise<readonly Removal[]>;
  /** Logs of runs beyond the newest, and of no release that is needed; one batch of runs, `more` when there are others. Heartbeats. */
  removeOldLogs(input: ProjectRetention): Promise<Removal>;
  /**
   * Bills of materials, scans, statements, reports and pages of the same runs; what gates went by stays in the store. And, whatever their run, artifacts
   * whose time is over, caches beyond what the project keeps, and files of both that nothing names. Heartbeats.
   */
  removeOldEvidence(input: ProjectRetention): Promise<Removal>;
  /**
   * Images that Slipway built and that no kept run and no needed release names. `targets`: on the engines that the project's environments
   * run on; `builder`: on the engine that the asked worker builds with. Under the fence of every environment of the project, and it makes
   * room at once for whatever changes one of them. Heartbeats.
   */
  removeOldImages(input: ProjectRetention & { readonly on: 'targets' | 'builder' }): Promise<Removal>;
  /** Backups beyond the newest, with their configuration and later writes, that nothing needs. Heartbeats. */
  removeOldBackups(input: EnvironmentRetention): Promise<Removal>;
  /** Databases that a rollback put aside long ago, and scratch copies of deployments that ended a day ago; under the fence. Heartbeats. */
  removeOldDatabases(input: EnvironmentRetention): Promise<Removal>;
  /** On the queue of one machine: checkouts of runs that are over, what is half-made of mirrors, blobs that were never finished. Heartbeats. */
  removeLeftFiles(input?: undefined): Promise<Removal>;
}

export interface AbandonedRequest {
  readonly of: 'runs' | 'deployments';
  /** Nothing younger is looked at, and nothing whose workflow closed since. */
  readonly graceMs: number;
  /** `next` of the page before; 0 at first. */
  readonly after: number;
}

export interface AbandonedPage {
  readonly abandoned: readonly Abandoned[];
  /** Null after the last page. */
  readonly next: number | null;
  readonly looked: number;
}

export type AbandonedEnd = (
  | {
      readonly kind: 'run';
      readonly run: RunRef;
      readonly outcome: RunOutcome;
      readonly reason: string;
    }
  | { readonly kind: 'deployment'; readonly result: DeploymentResult; readonly version: string }
) & {
  /** What had become of its workflows, for the audit. */
  readonly why: Readonly<Record<string, ClosedWorkflow>>;
};

export interface RetentionPlan {
  readonly projects: readonly (ProjectRetention & { readonly environments: readonly string[] })[];
  /** Task queues of the machines that have had a checkout lately. */
  readonly machines: readonly string[];
  readonly problems: readonly string[];
}

/** What a project keeps: `retention` of its project.yaml. */
export interface ProjectRetention {
  readonly project: string;
  /** What is no longer kept goes from the registry too. */
  readonly registry?: true;
  readonly runs: number;
  readonly backups: number;
  readonly damagedDatabasesMs: number;
  /** Of all caches together; absent in what an older Slipway has planned. */
  readonly cachesBytes?: number;
}

export interface EnvironmentRetention extends ProjectRetention {
  readonly environment: string;
}

/** What was removed of one kind. */
export interface Removal {
  readonly what: string;
  readonly count: number;
  readonly sizeBytes: number;
  /** There is more of it; the same call again goes on. */
  readonly more?: boolean;
  /** Why something was left that could have gone. */
  readonly left?: string;
}

// ─── Machines and rounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What machines are asked for, each on a queue of its own. */
export interface DiskActivities {
  /** The disks that Slipway and the engines of this machine write to. What cannot be measured is told, never left out. Heartbeats. */
  readDisks(input?: undefined): Promise<DiskReading>;
  /**
   * Removes images of Slipway from an engine, oldest first, until its disk is filled to `until` or there is nothing left that may go. What a live,
   * previous, last good or backed-up release, an open deployment or an open run names stays, and so does what has a container, what Slipway did
   * not build, and what belongs to no project of this installation. Audited before it is done, under the fences of the project. Heartbeats.
   *
   * @throws `EngineUnavailable`, `StoreUnavailable` (retried)
   */
  pruneImages(input: { readonly engine: string; readonly until: number }): Promise<Removal>;
}

/** What upkeep asks and tells the store. */
export interface RoundActivities {
  /** Machines that have been there lately, and the projects that work on them. */
  readMachines(input?: undefined): Promise<Machines>;
  /** Keeps what a round found. Twice is two entries of the same. */
  recordRound(input: UpkeepRound): Promise<void>;
}

/** Reports of who did and decided what. */
export interface AuditReportActivities {
  /**
   * Makes the report of a project from where its last one ended, and keeps it as JSON and Markdown. The same end gives the same files.
   *
   * @throws `StoreUnavailable`, `BlobsUnavailable` (retried), `DiskFull` (not retried)
   */
  keepAuditReport(input: { readonly project: string; readonly until: string }): Promise<KeptAuditReport>;
}

/** A report that is kept, and its figures. */
export interface KeptAuditReport {
  readonly since: string;
  readonly until: string;
  /** Names below `/v1/projects/<project>/audit-reports/`. */
  readonly files: readonly string[];
  readonly deployments: number;
  readonly rollbacks: number;
  readonly operatorWords: number;
  /** Decisions that no token proves. */
  readonly unproven: number;
}

/** Pull requests for base images that have moved (S4-123). */
export interface BaseUpdateActivities {
  /**
   * The images that the Dockerfiles of a project's release branch pin by tag and digest, with what the tags name now. Heartbeats.
   *
   * @throws `NotFound`, `CommitNotFound`, `RepositoryRefused` (not retried); `RepositoryUnreachable` (retried)
   */
  readBases(input: { readonly project: string }): Promise<BaseReading>;
  /**
   * Pushes a branch in which one base is the newest, and has a pull request open for it; the same again changes nothing. Heartbeats.
   *
   * @throws `RepositoryRefused`, `ForgeRefused` (not retried); `RepositoryUnreachable`, `ForgeUnavailable` (retried)
   */
  offerBase(input: {
    readonly project: string;
    readonly commit: string;
    readonly at: string;
    readonly into: string;
    readonly branch: string;
    readonly base: PinnedBase;
    readonly newest: string;
  }): Promise<UpkeepOffer>;
  /**
   * Says that there is nothing left to do, and removes the branch, with which forges close the pull request; a branch that somebody has put
   * commits on stays. As `offerBase` for errors.
   */
  withdrawBase(input: UpkeepWithdrawal): Promise<{ readonly withdrawn: boolean }>;
}

/** What became of an offer. */
export type UpkeepOffer =
  | { readonly kind: 'open'; readonly number: number; readonly url: string; readonly created: boolean }
  | { readonly kind: 'taken' | 'nothing-to-merge' };

export interface UpkeepWithdrawal {
  readonly project: string;
  readonly branch: string;
  /** Null where it is not known any more; then nothing is said. */
  readonly pullRequest: number | null;
}

/** A branch that Slipway has offered before. */
export interface OfferedPullRequest {
  readonly branch: string;
  readonly pullRequest: number | null;
}

export interface BaseReading {
  readonly commit: string;
  /** When it was made. */
  readonly at: string;
  /** The release branch. */
  readonly into: string;
  /** Dockerfiles that were read, at most 100. */
  readonly files: number;
  /** How many more there are; absent where all were read. */
  readonly unread?: number;
  /** How many bases more there are than are asked for; absent where all were. */
  readonly unasked?: number;
  /** At most 200. */
  readonly bases: readonly {
    readonly base: PinnedBase;
    /** Digest that the tag names now; absent where it could not be found out. */
    readonly newest?: string;
    readonly problem?: string;
  }[];
  readonly offered: readonly OfferedPullRequest[];
}

/** Pull requests for dependencies that have newer versions (S4-123). */
export interface DependencyUpdateActivities {
  /**
   * What the manifests of a project's release branch pin, with the newest versions that the project's policy lets through. Nothing of the repository
   * is executed. What cannot be read or asked is a problem of its manifest, and hides nothing of the others. Heartbeats.
   *
   * @throws `NotFound`, `CommitNotFound`, `RepositoryRefused` (not retried); `RepositoryUnreachable`, `StoreUnavailable` (retried)
   */
  readOutdated(input: { readonly project: string }): Promise<OutdatedReading>;
  /**
   * Pushes a branch in which these dependencies are newer, with their lock, and has a pull request open for it; the same again changes nothing
   * but what the index has since. Nothing is pushed where no update could be made. Heartbeats.
   *
   * @throws `RepositoryRefused`, `ForgeRefused` (not retried); `RepositoryUnreachable`, `ForgeUnavailable` (retried)
   */
  offerDependencies(input: {
    readonly project: string;
    readonly commit: string;
    readonly at: string;
    readonly into: string;
    readonly group: DependencyGroup;
  }): Promise<(UpkeepOffer | { readonly kind: 'nothing-made' }) & { readonly problems: readonly string[] }>;
  /** As {@link BaseUpdateActivities.withdrawBase}. */
  withdrawDependencies(input: UpkeepWithdrawal): Promise<{ readonly withdrawn: boolean }>;
}

export interface OutdatedReading {
  readonly commit: string;
  /** When it was made. */
  readonly at: string;
  /** The release branch. */
  readonly into: string;
  /** Manifests that were read. */
  readonly manifests: number;
  /** Dependencies that are pinned in them. */
  readonly dependencies: number;
  /** At most 200, those that fix an advisory first. */
  readonly updates: readonly DependencyUpdate[];
  /** How many more there are. */
  readonly unlisted: number;
  readonly problems: readonly DependencyProblem[];
  /** How many problems more there are. */
  readonly untold: number;
  /** Dependencies that the project wants left alone, each with its reason. */
  readonly ignored: readonly string[];
  readonly group: 'ecosystem' | 'dependency';
  /** Pull requests that may be open at once. */
  readonly most: number;
  readonly offered: readonly OfferedPullRequest[];
}

/** Why something is not known of a manifest, or of one dependency in it. */
export interface DependencyProblem {
  readonly ecosystem: Ecosystem;
  readonly manifest: string;
  readonly problem: string;
}

/** Scans of what runs. */
export interface LiveScanActivities {
  /**
   * What is live in a project's environments and what was before it, with the keys of what the last scan had found.
   *
   * @throws `NotFound`, `DefinitionInvalid` (not retried), `StoreUnavailable` (retried)
   */
  readLive(input: { readonly project: string; readonly environment?: string }): Promise<readonly LiveEnvironment[]>;
  /**
   * Looks an image up in the advisories of today, by the list that was made when it was built, or else by one made now. A scanner that is missing,
   * breaks or has old advisories is a verdict `errored`, never a clean one. Heartbeats.
   *
   * @throws `NotFound`, `DefinitionInvalid` (not retried), `StoreUnavailable`, `BlobsUnavailable` (retried)
   */
  scanLiveImage(input: {
    readonly project: string;
    readonly image: ReleaseImage;
    /** Run that built the release; null where the store does not know it. */
    readonly build: number | null;
  }): Promise<LiveImageScan>;
}

export interface LiveEnvironment {
  readonly project: string;
  readonly environment: string;
  readonly production: boolean;
  readonly releases: readonly {
    readonly role: LiveRole;
    readonly version: string;
    readonly images: readonly ReleaseImage[];
    readonly build: number | null;
  }[];
  readonly known: KnownFindings;
}

export interface Machines {
  readonly machines: readonly { readonly queue: string; readonly name: string }[];
  readonly projects: readonly string[];
}

/** What is kept in registries. Wherever it removes something, the store has it in the audit before. */
export interface RegistryRetentionActivities {
  /**
   * Images that runs of the project have pushed and that no kept run, no live, previous, last good or open release of any project, and no
   * release that a backup belongs to names, nor an open run or deployment has claimed; with their signatures and attestations and those of their
   * platforms. What somebody comes to claim meanwhile is left. Heartbeats.
   */
  removePushedImages(input: PushedRetention): Promise<PushedRemoval>;
}

export interface PushedRetention {
  readonly project: string;
  /** Only says what would go. */
  readonly dryRun?: true;
}

export interface PushedRemoval extends Removal {
  /** `name:tag@digest`, at most 500. */
  readonly names: readonly string[];
}

/** For the day after the store was lost. */
export interface RecoveryActivities {
  /**
   * Finds out what the records of an environment have to be, by its router, its target and Temporal, and with `apply` writes what is missing, in
   * the audit. Nothing of router, target or Temporal is changed. Heartbeats.
   *
   * @throws `NotFound`, `DefinitionInvalid`, `Conflict` (with `apply`: somebody has the turn; not retried)
   * @throws `StoreUnavailable`, `TemporalUnavailable`, `EngineUnavailable`, `RouterUnavailable` (retried)
   */
  recoverEnvironment(input: RecoveryRequest): Promise<RecoveryReport>;
}

export interface RecoveryRequest {
  readonly project: string;
  readonly environment: string;
  readonly apply: boolean;
  readonly by: string;
  /** For the audit. */
  readonly reason: string;
}

export interface RecoveryReport {
  readonly project: string;
  readonly environment: string;
  /** Something was written. */
  readonly applied: boolean;
  /** What is, or would be, written, a line each; none where nothing is missing. */
  readonly lines: readonly string[];
  /** What cannot be said, and what to do about it. */
  readonly problems: readonly string[];
}
