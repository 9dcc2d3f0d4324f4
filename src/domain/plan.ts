import type { DeploymentRef } from './deployment.ts';
import type { GateLine } from './evidence.ts';
import type { InfrastructurePlan } from './infrastructure.ts';
import type { MigrationPhase, MigrationRef } from './migration.ts';
import type {
  ApprovalPolicy,
  BackupPolicy,
  DeployLimits,
  QueuePolicy,
  RollbackPolicy,
  StrategySpec,
  WatchPolicy,
} from './policy.ts';
import type { LiveRelease, ReleaseRef } from './release.ts';

/**
 * What approval is asked for.
 *
 * `hash` is SHA-256 over the RFC 8785 form of {@link PlanIdentity}; risk, changes and estimates are shown and never hashed. A decision
 * names the hash, a signal its first 8 characters.
 */
/** How people name a plan: its hash, or at least the first 8 characters of it. */
export const planNamePattern = /^[0-9a-f]{8,64}$/i;

export interface Plan {
  readonly deployment: DeploymentRef;
  /** 64 hexadecimal characters. */
  readonly hash: string;
  readonly identity: PlanIdentity;
  readonly policy: PlanPolicy;
  readonly changes: PlanChanges;
  readonly risk: Risk;
  readonly estimate: BackupEstimate;
  /** What the checks of the run said, one line each. */
  readonly checks: readonly string[];
  /** What the gates say of the release going to this environment; absent where there are none. */
  readonly gates?: readonly GateLine[];
  /** Absent where nothing is applied. It is never taken back by itself. */
  readonly infrastructure?: InfrastructurePlan;
  /** Images of the release whose scan is too old or gone: they are looked up again, and then it is planned again. Absent where there are none. */
  readonly scansDue?: readonly string[];
  readonly plannedAt: string;
  /** What serves, and in which slot, by the target as the plan was made of it; shown to nobody. Absent in plans of before 2026-11-26. */
  readonly serving?: LiveRelease | null;
  /** The change is a hotfix of a branch, and the forge can be asked to bring it back once it is live. */
  readonly mergesBack?: true;
  /** The project wants its forge to be told how this deployment goes. */
  readonly tellsDeployments?: true;
  /** The project wants a release at its forge once this is live. */
  readonly releases?: true;
}

/** Everything that, when it changes, makes an approval void. */
export interface PlanIdentity {
  readonly release: ReleaseRef;
  readonly definition: string;
  /** Hash of the configuration (.env files and settings) of this environment. */
  readonly configuration: string;
  /** Versions of the secrets it uses, by name; never values. */
  readonly secrets: Readonly<Record<string, string>>;
  /** The saved plan of the infrastructure; absent where there is none. */
  readonly infrastructure?: { readonly kind: string; readonly plan: string };
  /** Pending migrations, in order. */
  readonly migrations: readonly MigrationRef[];
  readonly strategy: StrategySpec;
  readonly target: { readonly kind: string; readonly name: string };
  /** Version and digests of what is live; null for the first release. */
  readonly live: ReleaseRef | null;
}

/** The policy in force, resolved; never laxer than the revision that the run started with. */
export interface PlanPolicy {
  readonly approval: ApprovalPolicy;
  readonly queue: QueuePolicy;
  readonly watch: WatchPolicy;
  readonly backup: BackupPolicy;
  readonly rollback: RollbackPolicy;
  readonly limits: DeployLimits;
  readonly migrationPhase: MigrationPhase;
  /** Incidents are opened for manual rollbacks too, and notices are critical. */
  readonly production: boolean;
}

export interface PlanChanges {
  readonly fromVersion: string | null;
  readonly commits: readonly { readonly sha: string; readonly author: string; readonly subject: string }[];
  readonly filesChanged: number;
  readonly linesChanged: number;
  readonly configurationKeys: readonly string[];
  readonly definitionChanged: boolean;
}

export interface Risk {
  readonly level: 'low' | 'medium' | 'high';
  /** 0 to 100. */
  readonly score: number;
  readonly reasons: readonly string[];
}

/** Sizes before the backup; everything 0 when the environment has no database. */
export interface BackupEstimate {
  readonly databaseBytes: number;
  /** Null where no disk of it can be seen from the worker. */
  readonly freeDiskBytes: number | null;
  readonly connectionsNeeded: number;
  readonly connectionsFree: number;
  /** Duration of the last proof of this environment, ms; 0 when there was none. */
  readonly lastProofMs: number;
  /** Empty when it fits; else what is too small and what to do. */
  readonly problems: readonly string[];
}
