/** Images: of a run, as they were built before, and who holds what of them in a registry. */
import type { Generated } from 'kysely';
import type { ImageEvidence } from '../../domain/run.ts';
import type { Instant, Json } from './columns.ts';

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
