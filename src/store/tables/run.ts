/** Runs, and what their stages have shown. */
import type { Generated } from 'kysely';
import type { ToldStatus } from '../../domain/commit-status.ts';
import type { GatedReport } from '../../domain/evidence.ts';
import type { GateOutcome, GateVerdict } from '../../domain/gate-verdict.ts';
import type { GateMode, GateName } from '../../domain/gate.ts';
import type { RunOutcome } from '../../domain/outcome.ts';
import type { Component, ReportKind, Severity } from '../../domain/report.ts';
import type { RunMode } from '../../domain/run-turn.ts';
import type { RunInput, RunPhase, RunPlan, SourceEvent } from '../../domain/run.ts';
import type { Verdict } from '../../domain/verdict.ts';
import type { Identity, Json } from './columns.ts';

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
  /** What it has told its forge by context, and of which commit; null until it has. */
  toldCommit: string | null;
  told: Json<Readonly<Record<string, ToldStatus>>> | null;
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
