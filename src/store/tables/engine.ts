/** Slipway's own: who may do what, what was told and done, machines, rounds of upkeep, and events. */
import type { Generated } from 'kysely';
import type { Message } from '../../domain/notice.ts';
import type { NoticeLevel } from '../../domain/outcome.ts';
import type { UpkeepKind } from '../../domain/upkeep.ts';
import type { Verdict } from '../../domain/verdict.ts';
import type { Identity, Instant, Json } from './columns.ts';

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
  message: Json<Message> | null;
  tries: Generated<number>;
  /** When it is tried next; null where it is not. */
  retryAt: string | null;
  createdAt: Instant;
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
