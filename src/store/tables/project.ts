/** Projects, their documents, and what was seen and delivered of their repositories. */
import type { Generated } from 'kysely';
import type { Instant } from './columns.ts';

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
