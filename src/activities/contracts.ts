/**
 * What workflows may ask for. Workflows see only these types; the implementations lie beside this file, one per interface.
 *
 * Every activity may run twice. `ensure…` brings about a state named by its input and is a no-op when it holds; `read…` only looks;
 * `run…` may be repeated from a clean start; `send…` never fails the caller for being refused.
 */
import type { Abandoned, ClosedWorkflow } from '../domain/abandoned.ts';
import type {
  DataRollback,
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  ForgeDeployment,
  ForgeStatus,
  LaterWrites,
  StepRecord,
} from '../domain/deployment.ts';
import type { PinnedBase } from '../domain/base-image.ts';
import type { DiskReading } from '../domain/disk.ts';
import type { KnownFindings, LiveImageScan, LiveRole } from '../domain/live-scan.ts';
import type { NoticeEvent } from '../domain/notice.ts';
import type { NoticeLevel, Outcome, RunOutcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import type { WatchPolicy } from '../domain/policy.ts';
import type { LiveRelease, ReleaseImage, ReleaseRef, Slot } from '../domain/release.ts';
import type { ForkRule, ImageReport, RunInput, RunPlan, RunRef, StageReport, Workspace } from '../domain/run.ts';
import type { RunStart } from '../domain/run-start.ts';
import type { UpkeepRound } from '../domain/upkeep.ts';
import type { Verdict } from '../domain/verdict.ts';

/** Names a mutating call, so that an older one is refused after a newer began (effects/fence). */
export interface Change extends DeploymentRef {
  /**
   * Fencing token of the turn: strictly higher for every later turn of the environment (ms of the moment it began). The number of the
   * deployment does not serve, for a hotfix or a late approval goes out of order. The fence compares (turn, step, attempt).
   */
  readonly turn?: number;
  /** Order of the call within its turn, from 1; with the activity's attempt it makes the fence's pair. */
  readonly step: number;
  /** A move back to the previous release: allowed even while the store is down. */
  readonly back?: boolean;
}

// ─── CI ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface SourceActivities {
  /**
   * Fetches the commit into a clean worktree, reads and checks the definitions, validates tool versions, allots the run's number and
   * records the run. Heartbeats.
   *
   * @throws `CommitNotFound`, `DefinitionInvalid`, `ToolMissing` (not retried), `RepositoryUnreachable` (retried for 2 minutes)
   */
  prepareRun(input: RunInput): Promise<RunPlan>;
  /** Removes the worktree. Never fails the run. */
  releaseWorkspace(input: { readonly run: RunRef; readonly workspace: Workspace }): Promise<void>;
}

export interface StageActivities {
  /**
   * Runs the steps of one stage in the workspace, from a clean checkout when it is not the first attempt. Heartbeats, streams logs.
   * A failed step is a verdict; only what kept it from being judged is thrown. Reports are read and judged when the steps have ended, and kept
   * as a blob; a gate that blocks fails the stage.
   */
  runStage(input: { readonly run: RunRef; readonly plan: RunPlan; readonly stage: string }): Promise<StageReport>;
}

export interface ImageActivities {
  /**
   * Builds the images of the definition at once with a limit; equal inputs give the image already built. Where the project says so, each gets
   * its bill of materials and is scanned before anything is pushed. Heartbeats.
   *
   * @throws `BuildFailed` (not retried): details carry the image and its own last lines
   * @throws `ImageVulnerable`, `ScanErrored` (not retried): no environment of the run could take the image
   */
  buildImages(input: { readonly run: RunRef; readonly plan: RunPlan }): Promise<readonly ImageReport[]>;
  /**
   * Pushes and verifies by asking the registry for the digest; signs and attests where the project has a key. Heartbeats.
   *
   * @param input.stages - how the stages went, for the provenance; absent from runs of an older Slipway.
   * @throws `RegistryRefused`, `DigestMismatch`, `TagTaken` (not retried), `RegistryUnavailable`, `SignerFailed` (retried)
   */
  pushImages(input: {
    readonly run: RunRef;
    readonly plan: RunPlan;
    readonly images: readonly ImageReport[];
    readonly stages?: readonly StageReport[];
  }): Promise<readonly ImageReport[]>;
}

export interface RunFactActivities {
  /**
   * Opens the run of a pull request from a fork and says what its project does with those. Where somebody must be asked, the run waits from here
   * on, and people are told. Idempotent.
   *
   * @throws `NotFound` (not retried), `StoreUnavailable` (retried)
   */
  openForkRun(input: RunInput): Promise<{
    readonly run: RunRef;
    readonly rule: ForkRule;
    /** How long the word is waited for. */
    readonly timeoutMs: number;
    readonly tellsForge: boolean;
  }>;
  /**
   * Records how CI ended, the release (when images were pushed, or the definition has none) and opens one deployment per environment of
   * the route; idempotent: a second call answers with the same deployments. Sends the notices of the run.
   */
  settleRun(input: {
    readonly run: RunRef;
    readonly input: RunInput;
    readonly plan?: RunPlan;
    readonly stages: readonly StageReport[];
    readonly images: readonly ImageReport[];
    readonly outcome: RunOutcome;
    readonly reason: string;
  }): Promise<{ readonly deployments: readonly DeploymentInput[] }>;
}

/** Words to the forge of a project. They may be said twice: the same again changes nothing. */
export interface FindingActivities {
  /**
   * Tells the forge what the gates of a settled run found: issues of critical findings, where it is of the release branch, and code scanning; and
   * uploads its reports of coverage, of which a failure is a warning in the log of the run. Says nothing where the project does not want it.
   *
   * @returns what was told, one line each.
   * @throws `ForgeUnavailable`, `StoreUnavailable` (retried), `ForgeRefused`, `SecretMissing`, `NotFound` (not retried)
   */
  tellFindings(input: {
    readonly run: RunRef;
    /** Hash of the documents that its gates go by. */
    readonly definition: string;
    /** 40 hexadecimal digits. */
    readonly commit: string;
    /** Full: `refs/heads/main`. */
    readonly ref: string;
  }): Promise<readonly string[]>;
}

export interface ForgeActivities {
  /**
   * Statuses of the commit, and the comment of the pull request. Says nothing where the project has no API of a forge.
   *
   * @throws `ForgeUnavailable`, `StoreUnavailable` (retried), `ForgeRefused`, `SecretMissing`, `NotFound` (not retried)
   */
  tellForge(input: {
    readonly project: string;
    readonly commit: string;
    readonly statuses: readonly ForgeStatus[];
    /** Page that the statuses lead to. */
    readonly run: number;
    readonly comment?: {
      readonly pullRequest: number;
      readonly body: string;
      /** The run is on record: what the store has of it is said instead of the body, where it has it. */
      readonly ofRecord?: true;
    };
  }): Promise<void>;
  /**
   * How a deployment stands, in the list of deployments of the forge. Says nothing where the project has not asked for it.
   *
   * @throws as `tellForge`
   */
  tellDeployment(input: ForgeDeployment): Promise<void>;
  /**
   * A release at the forge, with the plan's commits as its notes; one that is there stays as it is. Makes none where the project has not asked for
   * it, or the forge has no releases.
   *
   * @throws as `tellForge`
   */
  publishRelease(input: {
    readonly deployment: DeploymentRef;
    readonly version: string;
    /** Hash of the plan that was carried out. */
    readonly plan: string;
    readonly runKey?: string;
  }): Promise<void>;
  /**
   * Opens the pull requests that bring a hotfix back into the release branch and `develop`; those that are open stay, and where there is nothing
   * to merge there is none.
   *
   * @throws as `tellForge`
   */
  mergeBack(input: {
    readonly deployment: DeploymentRef;
    readonly version: string;
    readonly runKey: string;
  }): Promise<void>;
}

export interface PollActivities {
  /** Projects that want to be looked at, by name. */
  readPolled(input: undefined): Promise<readonly string[]>;
  /**
   * Looks at the branches and tags of a repository, and accepts a run for each that has moved since the last look and has none yet. The first
   * look only remembers. Heartbeats.
   *
   * @throws `NotFound`, `RepositoryRefused`, `TooLarge` (not retried), `RepositoryUnreachable`, `StoreUnavailable` (retried)
   */
  pollRepository(input: { readonly project: string }): Promise<PollReport>;
}

export interface ScheduleActivities {
  /**
   * Accepts the run of a schedule, of the newest commit of its branch. Idempotent by `occasion`. Answers null when the project has no such
   * schedule any more.
   *
   * @throws `NotFound`, `CommitNotFound`, `RepositoryRefused` (not retried), `RepositoryUnreachable`, `StoreUnavailable` (retried)
   */
  acceptScheduledRun(input: {
    readonly project: string;
    readonly schedule: string;
    readonly occasion: string;
  }): Promise<number | null>;
}

export interface StartActivities {
  /**
   * Accepts the run that a stage starts in another project, of the newest commit of its ref, once that project allows it and the parameters
   * agree with what that commit declares. One for each run and stage: asked again, it answers with the same. Heartbeats.
   *
   * @throws `NotAllowed`, `InvalidInput`, `CommitNotFound`, `DefinitionInvalid`, `RepositoryRefused` (not retried), `RepositoryUnreachable`,
   *   `StoreUnavailable` (retried)
   */
  acceptStartedRun(input: {
    readonly run: RunRef;
    readonly stage: string;
    readonly starts: RunStart;
    /** What the run of the stage was asked for with. */
    readonly by: RunInput;
  }): Promise<{ readonly number: number; readonly input: RunInput }>;
}

export interface PollReport {
  readonly refs: number;
  readonly moved: number;
  readonly accepted: readonly { readonly ref: string; readonly run: number }[];
}

// ─── Plan, turn, facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface PlanActivities {
  /**
   * Makes the plan from the release, the definitions and what is live now; records it by its hash. Looks, changes nothing. Verifies what the
   * images of the release are signed and attested as, where the environment demands it.
   *
   * @throws `ImageNotSigned`, `AttestationInvalid`, `ImageVulnerable`, `ScanErrored` (not retried)
   * @throws `GateBlocked`, `GateErrored` (not retried): a gate stops the release; the plan is recorded. Never for a rollback.
   */
  planDeployment(input: DeploymentInput): Promise<Plan>;
  /** Sizes, disk and connections for the backup; {@link Plan.estimate} is made with it. */
  estimateBackup(input: DeploymentRef): Promise<Plan['estimate']>;
}

/** What must be there before a release: planned to a file, and applied exactly from it. */
export interface InfrastructureActivities {
  /**
   * Makes sure that the deployment has a saved plan of the present definition and of the present state, and keeps it, encrypted. One that is
   * both stays. Heartbeats.
   *
   * @returns the SHA-256 of the saved plan; empty where the environment has no infrastructure (any more).
   * @throws `InfrastructureFailed`, `InfrastructureLocked`, `ToolMissing`, `SecretMissing`, `DefinitionInvalid` (not retried)
   * @throws `InfrastructureUnavailable`, `RepositoryUnreachable`, `TimedOut` (retried)
   */
  ensureInfrastructurePlan(input: DeploymentInput): Promise<{ readonly plan: string }>;
  /**
   * Applies exactly the saved plan. Twice it is recognised: by what the first call wrote down, or by a state that has nothing left to change.
   * Heartbeats.
   *
   * @throws `InfrastructureStale` (not retried): the state or the plan of the deployment is another one by now; nothing was applied
   * @throws `InfrastructureInterrupted` (not retried): a part is applied, by an attempt that ended in the middle
   * @throws as `ensureInfrastructurePlan`
   */
  applyInfrastructure(
    input: Change & { readonly version: string; readonly plan: string },
  ): Promise<{ readonly how: 'applied' | 'recognised'; readonly detail: string }>;
}

/** A message to the environment's workflow, which is started when it does not run. */
export interface TurnActivities {
  /** Signal-with-start of `environment`: asks for the turn (messages.ts `TurnRequest`). Idempotent by the deployment's number and `ask`. */
  requestTurn(input: {
    readonly deployment: DeploymentInput;
    readonly plan: Plan;
    /** False with `turn: 'hold'`: the approval is waited for with the turn in hand. */
    readonly approved: boolean;
    /** 1 for the first time, one more after each plan that changed. */
    readonly ask: number;
    readonly requestedAt: string;
  }): Promise<void>;
  /** Signal: no longer wanted. Nothing happens when the turn was not asked for or is over. */
  withdrawTurn(input: { readonly deployment: DeploymentRef; readonly reason: string }): Promise<void>;
  /**
   * What an environment's workflow must know when it begins without a memory (first start, or after somebody terminated it): the roll-outs
   * and rollbacks that are open now. Asked of Temporal by workflow id (describe, not the list, which lags) for every deployment of the
   * environment that the store has not closed and for the newest 50.
   */
  readOpenTurns(input: { readonly project: string; readonly environment: string }): Promise<OpenTurns>;
  /**
   * Follows a roll-out or rollback that is not a child of the asking workflow until it closes. Heartbeats; for as long as it takes.
   *
   * @param input.startsWithinMs - how long it may not be there yet. Default 0.
   * @returns what it returned, or null when it closed without a result (terminated, failed, or gone from Temporal)
   */
  awaitTurnClosed(input: { readonly workflowId: string; readonly startsWithinMs?: number }): Promise<unknown>;
}

export interface OpenTurns {
  readonly open: readonly {
    readonly workflowId: string;
    readonly kind: 'rollout' | 'rollback';
    readonly deployment: DeploymentInput;
  }[];
  /** How the last closed deployment of the environment ended; null when there was none. */
  readonly last: { readonly number: number; readonly outcome: Outcome } | null;
}

export interface FactActivities {
  /** Phase of a deployment for lists and pages; spooled, never fails for want of the store. */
  recordPhase(input: {
    readonly deployment: DeploymentRef;
    readonly phase: DeploymentPhase;
    readonly detail?: string;
  }): Promise<void>;
  /** One recorded step for the timeline; spooled. `key` is unique within the deployment. */
  recordStep(input: {
    readonly deployment: DeploymentRef;
    readonly key: string;
    readonly step: StepRecord;
  }): Promise<void>;
  /** A decision that counted or was ignored; fails closed (retried until the store has it). */
  recordDecision(input: {
    readonly deployment: DeploymentRef;
    readonly by: string;
    readonly verdict: 'approve' | 'reject';
    readonly counted: boolean;
    readonly why?: string;
    readonly plan: string;
    readonly comment?: string;
    readonly proven: boolean;
    readonly at: string;
  }): Promise<void>;
  /** The outcome of a deployment or rollback, its report, and the notice that belongs to it. Idempotent. */
  settleDeployment(input: { readonly result: DeploymentResult; readonly version: string }): Promise<void>;
  /** Opens a number of the environment's series for a rollback asked for at the environment. Idempotent by `requestId`. */
  openRollback(input: {
    readonly project: string;
    readonly environment: string;
    readonly requestId: string;
    readonly to?: string;
    readonly reason: string;
    readonly by: string;
  }): Promise<DeploymentInput>;
  /**
   * What an operator has said is live (`unlock`), or the target when an operator had it asked (`reconcile`). Spooled; once for an
   * environment and a moment.
   */
  recordLive(input: {
    readonly project: string;
    readonly environment: string;
    readonly live: LiveRelease | null;
    readonly how: 'unlock' | 'reconcile';
    readonly by: string;
    readonly reason: string;
    /** ISO 8601. */
    readonly at: string;
  }): Promise<void>;
  /** Opens the incident of a rollback; answers with its id. Idempotent by the deployment. Post-mortem due in 2 business days. */
  openIncident(input: {
    readonly deployment: DeploymentRef;
    readonly trigger: string;
    readonly summary: string;
  }): Promise<string>;
}

export interface NoticeActivities {
  /** At most 10 s; a channel that fails is recorded, never thrown. One message per (key, channel). */
  sendNotice(input: Notice): Promise<void>;
}

export interface Notice {
  readonly event: NoticeEvent;
  readonly level: NoticeLevel;
  readonly project: string;
  readonly environment?: string;
  /** Unique per thing that happened; a repeat sends nothing. */
  readonly key: string;
  readonly title: string;
  readonly lines: readonly string[];
  /** Path of the API that tells more. Default: the run or deployment that the key names. */
  readonly page?: string;
}

export type { NoticeEvent };

// ─── The exclusive part ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface ReleaseActivities {
  /** What runs where, from the target's own labels: live slot by the router, releases by slot. */
  readEnvironment(input: DeploymentRef): Promise<EnvironmentFacts>;
  /**
   * Starts the release in the slot by digest and waits until the platform says healthy. A container of another release in that slot is
   * replaced; the same release healthy there is a no-op. Signature and attestation of the image are verified first where the environment
   * demands it, except for a move back, which goes to what was verified before. Heartbeats.
   *
   * @throws `ImageNotSigned`, `AttestationInvalid` (not retried)
   * @throws `ContainerUnhealthy`, `ImageNotFound`, `PortTaken` (not retried): details carry the last log lines and the probe's transcript
   */
  ensureReleaseRunning(
    input: Change & { readonly slot: Slot; readonly version: string; readonly readyMs: number },
  ): Promise<void>;
  /** Waits for the slot's sessions to end (at most `drainMs`), then SIGTERM, then SIGKILL after the grace. Heartbeats. */
  ensureReleaseStopped(
    input: Change & {
      readonly slot: Slot;
      readonly drainMs: number;
      readonly graceMs: number;
      readonly remove: boolean;
    },
  ): Promise<void>;
}

export interface EnvironmentFacts {
  readonly live: LiveRelease | null;
  readonly slots: readonly {
    readonly slot: Slot;
    readonly version: string;
    readonly deployment: number;
    readonly healthy: boolean;
  }[];
  /** Version in the other slot that could serve at once, or the last good one of the store. */
  readonly previous: ReleaseRef | null;
}

export interface TrafficActivities {
  /**
   * Makes the rendered router file say: all traffic to `slot`, the other (when `backup`) as backup; applies and reads it back.
   *
   * @throws `RouterConfigInvalid` (not retried), `RouterUnavailable`, `TrafficNotMoved` (retried): the file is the truth and is applied by
   * whoever starts the router next
   */
  ensureTraffic(
    input: Change & { readonly slot: Slot | null; readonly backup: Slot | null },
  ): Promise<{ readonly movedAt: string }>;
}

export interface DataActivities {
  /**
   * Dumps the database to the blob store and proves the dump by restoring it into a scratch database and comparing; snapshots the
   * configuration beside it. Idempotent per deployment. Heartbeats with progress.
   *
   * @throws `BackupFailed`, `BackupNotProved`, `DiskFull` (not retried), `DatabaseUnreachable` (retried)
   */
  ensureBackup(
    input: Change & { readonly database: boolean; readonly configuration: boolean; readonly prove: boolean },
  ): Promise<BackupReport>;
  /**
   * Runs the release's pending migrations, in order. Heartbeats.
   *
   * @throws `MigrationFailed` (not retried), `MigrationLocked`, `DatabaseUnreachable` (retried)
   */
  runMigrations(input: Change & { readonly version: string }): Promise<{ readonly applied: readonly string[] }>;
  /**
   * Brings the data to where the previous release needs it, by policy. `automatic`: swap by rename of the proof copy, whether the release
   * migrated or only wrote; ask for it only when it did either. `ask`: nothing for a release that did not migrate; else the swap where
   * nothing was written since, down migrations, or left; with writes lost otherwise it answers `held` and changes nothing.
   * Resumes when killed between two statements.
   *
   * @throws `RestoreFailed` (not retried), `DatabaseUnreachable` (retried)
   */
  ensureDataRolledBack(
    input: Change & {
      readonly to: string;
      readonly backup: BackupReport;
      readonly restore: 'automatic' | 'ask';
      readonly migrated: boolean;
    },
  ): Promise<DataRollback>;
  /** Compares the live database with what the backup recorded (after a swap), or that it answers. */
  verifyData(input: DeploymentRef & { readonly backup: BackupReport; readonly swapped: boolean }): Promise<StepRecord>;
  /** Drops the scratch copy once the deployment has settled. */
  ensureProofDropped(input: Change): Promise<void>;
}

export interface BackupReport {
  /** Number of the deployment it was taken for; that of the caller when absent. */
  readonly deployment?: number;
  /** Blob of the dump; absent when the environment has no database. */
  readonly blob?: string;
  readonly sizeBytes: number;
  readonly sha256?: string;
  readonly tool?: string;
  /** Scratch database kept for the swap. */
  readonly proof?: string;
  readonly proofMs: number;
  readonly takenAt: string;
  readonly configurationBlob?: string;
  readonly laterWrites?: LaterWrites;
}

export interface WatchActivities {
  /** Runs the probes of the definition against a slot, each with its retries. Heartbeats. */
  runProbes(
    input: DeploymentRef & { readonly slot: Slot; readonly version: string; readonly through: 'slot' | 'router' },
  ): Promise<ProbeReport>;
  /**
   * Watches the live release until `until` or until a rollback band is crossed; samples go to the spool every 10 s. Heartbeats; a new attempt
   * goes on from the heartbeat's details. One call covers the whole watch, so that 30 minutes cost a few events.
   */
  watchRelease(
    input: DeploymentRef & {
      readonly slot: Slot;
      readonly version: string;
      readonly policy: WatchPolicy;
      readonly startedAt: string;
      readonly until: string;
      readonly production: boolean;
    },
  ): Promise<WatchReport>;
}

export interface ProbeReport {
  readonly verdict: Verdict;
  readonly probes: readonly {
    readonly name: string;
    readonly verdict: Verdict;
    readonly detail: string;
    readonly durationMs: number;
  }[];
}

export interface WatchReport {
  readonly verdict: Verdict;
  /** The figure that decided, in one sentence. */
  readonly reason: string;
  /** When the verdict was reached; the rollback's clock starts here. */
  readonly decidedAt: string;
  readonly requests: number;
  readonly errorRatio: number;
  readonly p95Ms: number;
  readonly warnings: readonly string[];
  /** What the probe said that decided; absent when another figure did. */
  readonly badProbe?: string;
}

// ─── Upkeep ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

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
  /** Rows that only guard against a repetition that cannot come any more: deliveries, keys of facts, events. Heartbeats. */
  removeOldRows(input?: undefined): Promise<readonly Removal[]>;
  /** Logs of runs beyond the newest, and of no release that is needed; one batch of runs, `more` when there are others. Heartbeats. */
  removeOldLogs(input: ProjectRetention): Promise<Removal>;
  /** Bills of materials, scans, statements, reports and pages of the same runs; what gates went by stays in the store. Heartbeats. */
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
  }): Promise<
    | { readonly kind: 'open'; readonly number: number; readonly url: string; readonly created: boolean }
    | { readonly kind: 'taken' | 'nothing-to-merge' }
  >;
  /**
   * Says that there is nothing left to do, and removes the branch, with which forges close the pull request; a branch that somebody has put
   * commits on stays. As `offerBase` for errors.
   */
  withdrawBase(input: {
    readonly project: string;
    readonly branch: string;
    /** Null where it is not known any more; then nothing is said. */
    readonly pullRequest: number | null;
  }): Promise<{ readonly withdrawn: boolean }>;
}

export interface BaseReading {
  readonly commit: string;
  /** When it was made. */
  readonly at: string;
  /** The release branch. */
  readonly into: string;
  readonly files: number;
  readonly bases: readonly {
    readonly base: PinnedBase;
    /** Digest that the tag names now; absent where it could not be found out. */
    readonly newest?: string;
    readonly problem?: string;
  }[];
  /** Branches that Slipway has offered before. */
  readonly offered: readonly { readonly branch: string; readonly pullRequest: number | null }[];
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
   * release that a backup belongs to names; with their signatures and attestations. Ends where somebody builds or deploys. Heartbeats.
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

/** All that runs and deployments are made of; beside it workers register {@link UpkeepActivities}. */
export interface Activities
  extends
    SourceActivities,
    StageActivities,
    ImageActivities,
    RunFactActivities,
    PollActivities,
    StartActivities,
    ScheduleActivities,
    ForgeActivities,
    FindingActivities,
    PlanActivities,
    InfrastructureActivities,
    TurnActivities,
    FactActivities,
    NoticeActivities,
    ReleaseActivities,
    TrafficActivities,
    DataActivities,
    WatchActivities {}
