/** What runs and deployments leave behind: pages, logs, artifacts, packages, caches. Their content is in the blobs. */
import type { Generated } from 'kysely';
import type { PackageKind } from '../../domain/packages.ts';
import type { Instant, Json } from './columns.ts';

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
