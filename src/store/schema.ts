/** The tables as TypeScript sees them: names in camel case, instants as ISO 8601 strings, bigint as number. */
import type { NoticeEvent } from '../domain/notice.ts';
import type { ColumnType, Generated, Insertable, Kysely, Selectable } from 'kysely';
import type {
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  Priority,
  RollbackReport,
} from '../domain/deployment.ts';
import type { GatedReport } from '../domain/evidence.ts';
import type { GateMode, GateName } from '../domain/gate.ts';
import type { GateOutcome, GateVerdict } from '../domain/gate-verdict.ts';
import type { MigrationRef } from '../domain/migration.ts';
import type { NoticeLevel, Outcome, RunOutcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import type { LiveRelease, ReleaseImage } from '../domain/release.ts';
import type { Component, ReportKind, Severity } from '../domain/report.ts';
import type { PackageKind } from '../domain/packages.ts';
import type { ImageEvidence, RunInput, RunPhase, RunPlan, SourceEvent } from '../domain/run.ts';
import type { RunMode } from '../domain/run-turn.ts';
import type { UpkeepKind } from '../domain/upkeep.ts';
import type { Verdict } from '../domain/verdict.ts';

/** jsonb: written as text, for the driver would make a PostgreSQL array of a JavaScript one. */
type Json<T> = ColumnType<T, string, string>;
type Identity = ColumnType<number, never, never>;
/** An instant with a default in the database. */
type Instant = ColumnType<string, string | undefined, string>;

export interface ProjectsTable {
  name: string;
  revision: number;
  lastRun: Generated<number>;
  createdAt: Instant;
  updatedAt: Instant;
}

export interface ProjectRevisionsTable {
  project: string;
  revision: number;
  hash: string;
  text: string;
  diff: string;
  by: string;
  createdAt: Instant;
}

export interface DefinitionsTable {
  hash: string;
  text: string;
  createdAt: Instant;
}

export interface RunsTable {
  id: Identity;
  project: string;
  number: number;
  key: string;
  kind: SourceEvent['kind'];
  ref: string;
  commit: string;
  author: string;
  message: string | null;
  input: Json<RunInput>;
  acceptedAt: string;
  startedAt: string | null;
  phase: Generated<RunPhase>;
  plan: Json<RunPlan> | null;
  version: string | null;
  definition: string | null;
  outcome: RunOutcome | null;
  reason: string | null;
  settledAt: string | null;
  /** How it comes to its turn; null until it was prepared. */
  turnMode: RunMode | null;
  /** Since when it waits, until when, and when it got its turn; null where it has not waited, or has none. */
  queuedAt: string | null;
  turnUntil: string | null;
  turnAt: string | null;
}

export interface DeliveriesTable {
  project: string;
  id: string;
  event: string;
  runKey: string | null;
  ignored: string | null;
  receivedAt: Instant;
}

export interface RefsSeenTable {
  project: string;
  ref: string;
  /** What the ref pointed at: a commit, or the object of an annotated tag. */
  value: string;
  seenAt: Instant;
}

export interface StagesTable {
  project: string;
  run: number;
  name: string;
  position: number;
  verdict: Verdict | null;
  detail: string | null;
  startedAt: string;
  durationMs: number | null;
}

export interface StepsTable {
  project: string;
  run: number;
  stage: string;
  name: string;
  position: number;
  verdict: Verdict | null;
  exitCode: number | null;
  detail: string | null;
  startedAt: string;
  durationMs: number | null;
}

export interface ImagesTable {
  project: string;
  run: number;
  name: string;
  repository: string;
  digest: string;
  tags: Json<readonly string[]>;
  sizeBytes: number;
  reused: boolean;
  durationMs: number;
  evidence: Json<ImageEvidence> | null;
}

export interface ReportsTable {
  project: string;
  run: number;
  stage: string;
  position: number;
  kind: ReportKind;
  gate: GateName;
  path: string;
  state: GatedReport['state'];
  content: Json<GatedReport>;
}

export interface FindingsTable {
  project: string;
  run: number;
  stage: string;
  report: number;
  position: number;
  rule: string;
  severity: Severity;
  message: string;
  file: string | null;
  line: number | null;
  component: Json<Component> | null;
  aliases: Json<readonly string[]> | null;
  fingerprint: string;
}

export interface GatesTable {
  project: string;
  run: number;
  stage: string;
  gate: GateName;
  mode: GateMode;
  verdict: GateOutcome;
  blocks: boolean;
  reason: string;
  verdictDocument: Json<GateVerdict>;
}

export interface PagesTable {
  project: string;
  run: number;
  stage: string;
  position: number;
  path: string;
  prefix: string;
  entry: string;
  files: number;
  sizeBytes: number;
}

export interface BuildsTable {
  project: string;
  key: string;
  name: string;
  repository: string;
  digest: string;
  sizeBytes: Generated<number>;
  createdAt: Instant;
  usedAt: Instant;
}

export interface BuiltImagesTable {
  project: string;
  key: string;
  name: string;
  id: string;
  builtAt: Instant;
  usedAt: Instant;
}

export interface RegistryClaimsTable {
  repository: string;
  /** Empty: whatever the repository comes to hold. */
  digest: string;
  purpose: 'use' | 'removal';
  holder: string;
  project: string;
  /** Of a run that claims. */
  run: number | null;
  /** Of a deployment that claims. */
  environment: string | null;
  deployment: number | null;
  expiresAt: string;
}

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

export interface LogStreamsTable {
  log: string;
  project: string;
  run: number | null;
  environment: string | null;
  number: number | null;
  stage: string;
  step: string;
  attempt: number;
  openedAt: string;
  closedAt: string | null;
  blob: string | null;
  sizeBytes: Generated<number>;
}

export interface LogSegmentsTable {
  log: string;
  sequence: number;
  blob: string;
  offsetBytes: number;
  sizeBytes: number;
  at: string;
}

export interface ArtifactsTable {
  project: string;
  run: number;
  stage: string;
  name: string;
  files: Json<
    readonly { readonly path: string; readonly sizeBytes: number; readonly sha256: string; readonly blob: string }[]
  >;
  entry: string | null;
  sizeBytes: number;
  createdAt: string;
  expiresAt: string;
  removedAt: string | null;
}

export interface PublishedPackagesTable {
  project: string;
  run: number;
  package: string;
  file: string;
  kind: PackageKind;
  indexName: string;
  name: string;
  version: string;
  sha256: string;
  sizeBytes: number;
  address: string;
  alreadyThere: boolean;
  at: string;
}

export interface CachesTable {
  project: string;
  /** The ref whose runs may write it. */
  scope: string;
  name: string;
  key: string;
  blob: string;
  sizeBytes: number;
  createdAt: Instant;
  usedAt: Instant;
}

export interface CacheUsesTable {
  project: string;
  run: number;
  stage: string;
  cache: string;
  hit: 'exact' | 'fallback' | 'miss';
  sizeBytes: number;
  durationMs: number;
  at: string;
}

/** What a token may do; each role may do what those before it may. */
export type Role = 'viewer' | 'developer' | 'approver' | 'operator' | 'admin';

export interface TokensTable {
  id: string;
  name: string;
  hash: Buffer;
  role: Role;
  groups: Json<readonly string[]>;
  createdAt: Instant;
  createdBy: string;
  expiresAt: string | null;
  revokedAt: string | null;
}

export interface NoticesTable {
  key: string;
  channel: string;
  event: string;
  level: NoticeLevel;
  project: string;
  environment: string | null;
  title: string;
  state: 'sending' | 'sent' | 'failed';
  error: string | null;
  /** When it was last tried, or delivered. */
  at: Instant;
  /** All of it, until it is delivered. */
  message: Json<KeptMessage> | null;
  tries: Generated<number>;
  /** When it is tried next; null where it is not. */
  retryAt: string | null;
  createdAt: Instant;
}

/** A notice as its channel is to get it. */
export interface KeptMessage {
  readonly event: NoticeEvent;
  readonly level: NoticeLevel;
  readonly project: string;
  readonly environment?: string | undefined;
  readonly title: string;
  readonly lines: readonly string[];
}

export interface AuditTable {
  id: Identity;
  at: Instant;
  actor: string;
  action: string;
  object: string;
  detail: Json<Readonly<Record<string, unknown>>>;
}

export interface MachinesTable {
  /** Task queue that only this machine takes work from. */
  queue: string;
  name: string;
  seenAt: Instant;
}

export interface UpkeepRoundsTable {
  id: Identity;
  kind: UpkeepKind;
  subject: string;
  project: string | null;
  environment: string | null;
  verdict: Verdict;
  summary: string;
  lines: Json<readonly string[]>;
  detail: Json<Readonly<Record<string, unknown>>>;
  at: Instant;
}

export interface FactsTable {
  key: string;
  at: Instant;
}

export interface EventsTable {
  id: Identity;
  at: Instant;
  kind: string;
  project: string;
  environment: string | null;
  number: number | null;
  run: number | null;
  data: Json<Readonly<Record<string, unknown>>>;
}

export interface Database {
  projects: ProjectsTable;
  projectRevisions: ProjectRevisionsTable;
  definitions: DefinitionsTable;
  runs: RunsTable;
  deliveries: DeliveriesTable;
  refsSeen: RefsSeenTable;
  stages: StagesTable;
  steps: StepsTable;
  images: ImagesTable;
  reports: ReportsTable;
  findings: FindingsTable;
  gates: GatesTable;
  pages: PagesTable;
  builds: BuildsTable;
  builtImages: BuiltImagesTable;
  registryClaims: RegistryClaimsTable;
  releases: ReleasesTable;
  environments: EnvironmentsTable;
  operatorWords: OperatorWordsTable;
  deployments: DeploymentsTable;
  plans: PlansTable;
  deploymentSteps: DeploymentStepsTable;
  decisions: DecisionsTable;
  rollbacks: RollbacksTable;
  incidents: IncidentsTable;
  samples: SamplesTable;
  logStreams: LogStreamsTable;
  logSegments: LogSegmentsTable;
  artifacts: ArtifactsTable;
  publishedPackages: PublishedPackagesTable;
  caches: CachesTable;
  cacheUses: CacheUsesTable;
  tokens: TokensTable;
  notices: NoticesTable;
  audit: AuditTable;
  machines: MachinesTable;
  upkeepRounds: UpkeepRoundsTable;
  facts: FactsTable;
  events: EventsTable;
}

/** What every function of the store takes first: the pool, or a transaction in it. */
export type Db = Kysely<Database>;

export type Row<T extends keyof Database> = Selectable<Database[T]>;
export type NewRow<T extends keyof Database> = Insertable<Database[T]>;
