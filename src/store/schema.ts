/** The tables as TypeScript sees them, names in camel case; each is in the file of what it is about in `tables/`. */

import type { Insertable, Kysely, Selectable } from 'kysely';
import type {
  DecisionsTable,
  DeploymentStepsTable,
  DeploymentsTable,
  EnvironmentsTable,
  IncidentsTable,
  OperatorWordsTable,
  PlansTable,
  ReleasesTable,
  RollbacksTable,
  SamplesTable,
} from './tables/deployment.ts';
import type {
  AuditTable,
  EventsTable,
  FactsTable,
  MachinesTable,
  NoticesTable,
  TokensTable,
  UpkeepRoundsTable,
} from './tables/engine.ts';
import type { BuildsTable, BuiltImagesTable, ImagesTable, RegistryClaimsTable } from './tables/image.ts';
import type {
  ArtifactsTable,
  CacheUsesTable,
  CachesTable,
  LogSegmentsTable,
  LogStreamsTable,
  PagesTable,
  PublishedPackagesTable,
} from './tables/kept.ts';
import type {
  DefinitionsTable,
  DeliveriesTable,
  ProjectRevisionsTable,
  ProjectsTable,
  RefsSeenTable,
} from './tables/project.ts';
import type { FindingsTable, GatesTable, ReportsTable, RunsTable, StagesTable, StepsTable } from './tables/run.ts';

/** Every table, by its name in camel case. */
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
