/**
 * What workflows may ask for. Workflows see only these types; the implementations lie beside this file, one per interface.
 *
 * Every activity may run twice. `ensure…` brings about a state named by its input and is a no-op when it holds; `read…` only looks;
 * `run…` may be repeated from a clean start; `send…` never fails the caller for being refused.
 */
import type {
  DataRollback,
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  LaterWrites,
  StepRecord,
} from '../domain/deployment.ts';
import type { ProvenDecision } from '../domain/decision-proof.ts';
import type { NoticeEvent } from '../domain/notice.ts';
import type { NoticeLevel, Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import type { WatchPolicy } from '../domain/policy.ts';
import type { RunRef } from '../domain/run.ts';
import type { LiveRelease, ReleaseRef, Slot } from '../domain/release.ts';
import type { Verdict } from '../domain/verdict.ts';
import type {
  FindingActivities,
  ForgeActivities,
  ImageActivities,
  PackageActivities,
  PollActivities,
  RunFactActivities,
  RunTurnActivities,
  ScheduleActivities,
  SourceActivities,
  StageActivities,
  StartActivities,
} from './run-contracts.ts';
import type { Removal } from './upkeep-contracts.ts';

export type * from './run-contracts.ts';
export type * from './upkeep-contracts.ts';

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

// ─── Plan, turn, facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Input of `planDeployment`. */
export interface PlanInput extends DeploymentInput {
  /** Who asks has `scansDue` of the plan looked up again, and plans again: a scan that is too old stops nothing yet. Default: it does. */
  readonly renewsScans?: boolean;
  /** Why images could not be looked up again, by their name. */
  readonly scanProblems?: Readonly<Record<string, string>>;
}

export interface PlanActivities {
  /**
   * Makes the plan from the release, the definitions and what is live now; records it by its hash. Looks, changes nothing. Verifies what the
   * images of the release are signed and attested as, where the environment demands it.
   *
   * @throws `ImageNotSigned`, `AttestationInvalid`, `ImageVulnerable`, `ScanErrored` (not retried)
   * @throws `GateBlocked`, `GateErrored` (not retried): a gate stops the release; the plan is recorded. Never for a rollback.
   */
  planDeployment(input: PlanInput): Promise<Plan>;
}

/** Scans of what is about to be deployed. */
export interface ScanRenewalActivities {
  /**
   * Looks images of a release up again, of every platform of which a list is kept, and keeps what was found beside the evidence of its run. Those
   * whose advisories are of now already are passed over. Heartbeats.
   *
   * @returns why images could not be looked up, by their name; empty where all could.
   * @throws `NotFound`, `DefinitionInvalid` (not retried), `StoreUnavailable` (retried)
   */
  renewScans(input: {
    readonly project: string;
    readonly version: string;
    readonly images: readonly string[];
  }): Promise<Readonly<Record<string, string>>>;
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

/** Saved plans that nobody will apply any more. */
export interface InfrastructureLeftoverActivities {
  /**
   * Removes all that is kept of the plans of a deployment that has ended, and what they have left elsewhere, such as a change set. Twice is
   * once. Heartbeats.
   *
   * @throws as `ensureInfrastructurePlan`: then all of it stays, for retention to try again
   */
  ensurePlansDiscarded(input: DeploymentRef): Promise<void>;
  /** The same of every deployment of an environment that ended an hour ago and could not do it. After a week without its leftovers. Heartbeats. */
  removeOldPlans(input: Omit<DeploymentRef, 'number'>): Promise<Removal>;
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

/**
 * Facts that a workflow tells beside a call: whichever worker takes the call spools them while it works (activities/told.ts), and they are on
 * its disk when the call ends. Told again by a second attempt, they are the same facts.
 */
export interface Told {
  readonly deployment: DeploymentRef;
  readonly facts: readonly (
    | {
        readonly kind: 'phase';
        /** Unique among all phases that are told. */
        readonly key: string;
        readonly phase: DeploymentPhase;
        readonly detail?: string;
        /** ISO 8601. */
        readonly at: string;
      }
    | {
        readonly kind: 'step';
        /** Unique within the deployment. */
        readonly key: string;
        readonly step: StepRecord;
      }
  )[];
}

/** What needs the installation's key, which no workflow has. */
export interface ProofActivities {
  /** Whether the API has let somebody decide this: by its proof, and whether that is of now. */
  readProof(input: ProvenDecision): Promise<{ readonly holds: true } | { readonly holds: false; readonly why: string }>;
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
  /** Both of these, for what has no call to ride with. */
  recordFacts(input: Told): Promise<void>;
  /** The machine of a run was lost, for lists and pages; spooled. */
  recordLostMachine(input: { readonly run: RunRef; readonly at: string; readonly why: string }): Promise<void>;
  /** A decision that counted or was ignored; fails closed (retried until the store has it). */
  recordDecision(input: {
    readonly deployment: DeploymentRef;
    readonly by: string;
    readonly verdict: 'approve' | 'reject';
    readonly counted: boolean;
    readonly why?: string;
    readonly plan: string;
    readonly comment?: string;
    /** The workflow's word; what goes on record is whether `proof` holds. */
    readonly proven: boolean;
    readonly proof?: ProvenDecision;
    readonly at: string;
  }): Promise<void>;
  /**
   * The outcome of a deployment or rollback, its report, and the notice that belongs to it. Idempotent.
   *
   * @param input.stepsKey - under which the steps of the result were told; those that were not are told with it.
   */
  settleDeployment(input: {
    readonly result: DeploymentResult;
    readonly version: string;
    readonly stepsKey?: string;
  }): Promise<void>;
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
  /**
   * At most 10 s. One message per (key, channel). What a channel does not take is written down, and sent again for an hour by the workers.
   *
   * @throws `NotifierFailed` (retried): it was not delivered, and that could not be written down either
   */
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
   * whoever starts the router next. `ReleaseMissing` (not retried): nothing is in the slot, or, on the way back, it does not run.
   * `ReleaseDegraded` (not retried), only where it `settles`: engine or router say that the release does not serve; nothing was moved.
   */
  ensureTraffic(
    input: Change & {
      readonly slot: Slot | null;
      readonly backup: Slot | null;
      /** The release was watched and loses its backup, which it does only while it serves. Default: nobody is asked. */
      readonly settles?: boolean;
    },
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
   * @param input.exportsLater - the caller has what was written since exported by {@link DataActivities.ensureLaterWritesExported}. Without
   *   it that is done in here, as workflows expect that were begun before 2026-11-26.
   * @throws `RestoreFailed` (not retried), `DatabaseUnreachable` (retried)
   */
  ensureDataRolledBack(
    input: Change & {
      readonly to: string;
      readonly backup: BackupReport;
      readonly restore: 'automatic' | 'ask';
      readonly migrated: boolean;
      readonly exportsLater?: boolean;
    },
  ): Promise<DataRollback>;
  /**
   * Exports and counts what is in the database that a swap put aside and not in the backup. Takes as long as a restore and a comparison.
   * Heartbeats.
   *
   * @throws `RestoreFailed`, `DatabaseUnreachable`, `BlobsUnavailable` (retried), `DiskFull` (not retried)
   */
  ensureLaterWritesExported(
    input: Change & { readonly backup: BackupReport },
  ): Promise<{ readonly laterWrites: LaterWrites; readonly detail: string }>;
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
  /**
   * Runs the probes of the definition against a slot, each with its retries; failures of the first `settleMs` (default 0) do not count yet.
   * Heartbeats.
   */
  runProbes(
    input: DeploymentRef & {
      readonly slot: Slot;
      readonly version: string;
      readonly through: 'slot' | 'router';
      readonly settleMs?: number;
    },
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

/** All that runs and deployments are made of; beside it workers register {@link UpkeepActivities}. */
export interface Activities
  extends
    SourceActivities,
    StageActivities,
    ImageActivities,
    PackageActivities,
    RunFactActivities,
    RunTurnActivities,
    PollActivities,
    StartActivities,
    ScheduleActivities,
    ForgeActivities,
    FindingActivities,
    PlanActivities,
    ScanRenewalActivities,
    InfrastructureActivities,
    InfrastructureLeftoverActivities,
    TurnActivities,
    FactActivities,
    ProofActivities,
    NoticeActivities,
    ReleaseActivities,
    TrafficActivities,
    DataActivities,
    WatchActivities {}
