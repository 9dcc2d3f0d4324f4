/** An environment as the release of one commit meets it: where it runs, what it runs, and on which data. */
import type { MigrationPhase } from '../../domain/migration.ts';
import type { PlanPolicy } from '../../domain/plan.ts';
import type { StrategySpec } from '../../domain/policy.ts';
import type { RegistrySpec } from './image.ts';
import type { InfrastructureSpec } from './infrastructure.ts';
import type { NotifierSpec } from './notifier.ts';
import type { ProbeSpec } from './probe.ts';
import type { SecretRef, SecretRefs } from './secret.ts';
import type { ResourceLimits } from './stage.ts';
import type { ImageTrustSpec } from './supply-chain.ts';

/** One environment as the release of one commit meets it. */
export interface EnvironmentSpec {
  readonly project: string;
  readonly name: string;
  readonly target: TargetSpec;
  readonly router: RouterSpec;
  /** Absent when the environment has no database. */
  readonly database?: DatabaseSpec;
  /** Absent when the environment or the repository has none. */
  readonly infrastructure?: InfrastructureSpec;
  readonly strategy: StrategySpec;
  readonly policy: PlanPolicy;
  readonly service: ServiceSpec;
  readonly probes: readonly ProbeSpec[];
  /** Absent when the repository has no migrations. */
  readonly migrations?: MigrationsSpec;
  /** Secrets of the running service, by variable. */
  readonly secrets: SecretRefs;
  readonly registry: RegistrySpec;
  readonly imageTrust: ImageTrustSpec;
  readonly notifications: readonly NotifierSpec[];
}

/** A container engine on one machine. */
export interface DockerTargetSpec {
  readonly kind: 'docker';
  /** Names containers and the lock of the target; `project-environment` by default. */
  readonly name: string;
  /** Path of the engine's socket; the worker's own engine when absent. */
  readonly socket?: string;
  /** Network of the engine that containers join; its bridge when absent. */
  readonly network?: string;
  /** Address that published ports of slots listen on. */
  readonly publishAddress: string;
}
export type TargetSpec = DockerTargetSpec;

export interface HaproxyRouterSpec {
  readonly kind: 'haproxy';
  readonly listen: { readonly address: string; readonly port: number };
  /** Fixed published port of each slot. */
  readonly slots: { readonly blue: number; readonly green: number };
}
export type RouterSpec = HaproxyRouterSpec;

export interface PostgresDatabaseSpec {
  readonly kind: 'postgres';
  /** Secret that holds the connection URL, as the worker reaches it. */
  readonly url: SecretRef;
  /** Folder of `pg_dump` and `pg_restore`; when absent they are found by the version that the server says. */
  readonly clientBin?: string;
  /** `lock_timeout` of migrations. */
  readonly lockTimeoutMs: number;
  /** `statement_timeout` of migrations. */
  readonly statementTimeoutMs: number;
}
export type DatabaseSpec = PostgresDatabaseSpec;

/** The long-running process that a release is. */
export interface ServiceSpec {
  /** Name of one of the images. */
  readonly image: string;
  /** Port inside the container. */
  readonly port: number;
  /** Arguments instead of those of the image. */
  readonly command?: readonly string[];
  /**
   * Settings of the repository that hold everywhere. The whole of a release's settings, with the environment's file and the project's
   * own on top, comes from `readConfiguration`.
   */
  readonly env: Readonly<Record<string, string>>;
  readonly health: HealthSpec;
  readonly resources: ResourceLimits;
  /** SIGTERM to SIGKILL; the limit of the environment applied. */
  readonly stopGraceMs: number;
}

/** When a release in a slot is ready for traffic, and stays so. */
export interface HealthSpec {
  /** GET of this path at the slot's port must answer 200, asked from outside. */
  readonly path: string;
  /** Run inside the container as its health check, instead of the image's own. */
  readonly command?: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row until it is unhealthy. */
  readonly retries: number;
}

export interface MigrationsSpec {
  /** `sql`: `NNN_name.sql`, beside it `NNN_name.down.sql` where it can be undone. */
  readonly runner: 'sql';
  /** Relative to the checkout. */
  readonly folder: string;
  readonly phase: MigrationPhase;
}
