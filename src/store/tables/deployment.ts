/** Releases, environments, and deployments with everything that was planned, decided and measured of them. */
import type { Generated } from 'kysely';
import type {
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  Priority,
  RollbackReport,
} from '../../domain/deployment.ts';
import type { MigrationRef } from '../../domain/migration.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { Plan } from '../../domain/plan.ts';
import type { LiveRelease, ReleaseImage } from '../../domain/release.ts';
import type { Verdict } from '../../domain/verdict.ts';
import type { Identity, Instant, Json } from './columns.ts';

export interface ReleasesTable {
  id: Identity;
  project: string;
  version: string;
  build: number;
  commit: string;
  images: Json<readonly ReleaseImage[]>;
  definition: string;
  migrations: Json<readonly MigrationRef[]>;
  runKey: string | null;
  author: string;
  createdAt: Instant;
}

export interface EnvironmentsTable {
  project: string;
  name: string;
  lastNumber: Generated<number>;
  live: Json<LiveRelease> | null;
  previous: Json<LiveRelease> | null;
  hold: Json<StoredHold> | null;
  /** When its backup was proved last, and how long that took; null before the first. */
  provedAt: string | null;
  proofMs: number | null;
  updatedAt: Instant;
}

/** What operators have said is live; see `operator-words.ts`. */
export interface OperatorWordsTable {
  project: string;
  environment: string;
  at: string;
  how: 'unlock' | 'reconcile';
  by: string;
  reason: string;
  live: Json<LiveRelease> | null;
}

/** Why an environment takes no deployment, as lists show it; the workflow has the truth. */
export interface StoredHold {
  readonly outcome: Outcome;
  readonly reason: string;
  readonly since: string;
  readonly number: number;
}

export interface DeploymentsTable {
  id: Identity;
  project: string;
  environment: string;
  number: number;
  kind: 'rollout' | 'rollback';
  request: string;
  version: string;
  runKey: string | null;
  requestedBy: string;
  author: string;
  priority: Priority;
  requestedAt: string;
  input: Json<DeploymentInput>;
  startedBy: 'run' | 'environment' | 'api';
  startedAt: string | null;
  phase: Generated<DeploymentPhase>;
  phaseDetail: string | null;
  phaseAt: Instant;
  planHash: string | null;
  outcome: Outcome | null;
  reason: string | null;
  result: Json<DeploymentResult> | null;
  settledAt: string | null;
}

export interface PlansTable extends DeploymentRef {
  hash: string;
  plan: Json<Plan>;
  plannedAt: string;
}

export interface DeploymentStepsTable extends DeploymentRef {
  key: string;
  name: string;
  verdict: Verdict;
  detail: string | null;
  startedAt: string;
  durationMs: number;
}

export interface DecisionsTable extends DeploymentRef {
  id: Identity;
  by: string;
  verdict: 'approve' | 'reject';
  counted: boolean;
  why: string | null;
  plan: string;
  comment: string | null;
  proven: boolean;
  at: string;
}

export interface RollbacksTable extends DeploymentRef {
  trigger: string;
  toVersion: string | null;
  report: Json<RollbackReport>;
  servingAfterMs: number | null;
  totalMs: number;
  at: string;
}

export interface IncidentsTable extends DeploymentRef {
  id: string;
  trigger: string;
  summary: string;
  openedAt: string;
  postMortemDueAt: string;
  closedAt: string | null;
}

export interface SamplesTable extends DeploymentRef {
  at: string;
  figures: Json<Readonly<Record<string, number | null>>>;
}
