import { defineSearchAttributeKey } from '@temporalio/common';
import type { SearchAttributePair } from '@temporalio/common';
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { ApprovalState } from '../domain/approval.ts';
import type { StepRecord } from '../domain/deployment.ts';
import type { Verdict } from '../domain/verdict.ts';

/** What workflows can be found by. Plain text in the visibility store: never a message, an address or a secret. */
export const searchAttributes = {
  project: defineSearchAttributeKey('SlipwayProject', 'KEYWORD'),
  environment: defineSearchAttributeKey('SlipwayEnvironment', 'KEYWORD'),
  phase: defineSearchAttributeKey('SlipwayPhase', 'KEYWORD'),
  version: defineSearchAttributeKey('SlipwayVersion', 'KEYWORD'),
} as const;

export interface Whereabouts {
  readonly project: string;
  readonly environment?: string;
  readonly phase: string;
  readonly version?: string;
}

/** The attributes for starting a workflow with, or for {@link enterPhase}. */
export function attributesOf(where: Whereabouts): SearchAttributePair[] {
  return [
    { key: searchAttributes.project, value: where.project },
    ...(where.environment === undefined ? [] : [{ key: searchAttributes.environment, value: where.environment }]),
    { key: searchAttributes.phase, value: where.phase },
    ...(where.version === undefined ? [] : [{ key: searchAttributes.version, value: where.version }]),
  ];
}

/** One event in the history each time, so only where the phase really changes. */
export function enterPhase(phase: string): void {
  upsertSearchAttributes([{ key: searchAttributes.phase, value: phase }]);
}

/** What a stranger reads first in the Temporal UI. Costs no event. */
export function showPage(
  title: string,
  facts: readonly (string | undefined)[],
  steps: readonly StepRecord[] = [],
): void {
  const lines = [`### ${title}`, '', ...facts.filter((fact) => fact !== undefined).map((fact) => `- ${fact}`)];
  if (steps.length > 0) {
    lines.push('', '| step | verdict | took | |', '| --- | --- | --- | --- |');
    for (const step of steps) {
      lines.push(
        `| ${step.name} | ${marks[step.verdict]} ${step.verdict} | ${took(step.durationMs)} | ${cell(step.detail)} |`,
      );
    }
  }
  // The server takes 20,000 bytes; a long table is cut rather than refused.
  setCurrentDetails(lines.join('\n').slice(0, 8_000));
}

/** Who has decided, in one line. */
export function approvalLine(approval: ApprovalState, until: string): string {
  const wanted = approval.policy.rules.map((rule) => `${rule.count} of ${rule.group}`).join(' and ');
  const counted = approval.counted
    .map((decision) => `${decision.by}${decision.proven ? '' : ' (unproven)'}`)
    .join(', ');
  const plan = approval.planHash.slice(0, 8);
  return `Waiting until ${until} for ${wanted}; agreed so far: ${counted || 'nobody'}. Signal \`approve\` or \`reject\` with \`{"by": "…", "plan": "${plan}"}\``;
}

/** ISO 8601 of the workflow's clock. */
export function isoNow(): string {
  return new Date(Date.now()).toISOString();
}

/** Milliseconds from one ISO 8601 instant to another; 0 when that makes no sense. */
export function between(from: string, to: string): number {
  const ms = Date.parse(to) - Date.parse(from);
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

/** Milliseconds as people say them. */
export function took(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

const marks: Record<Verdict, string> = { passed: '✅', inconclusive: '❔', errored: '⚠️', failed: '❌' };

function cell(text: string | undefined): string {
  return (text ?? '').replaceAll('|', '\\|').replaceAll('\n', ' ').slice(0, 200);
}
