import type { KeptAuditReport } from '../activities/contracts.ts';
import { describeFailure } from '../domain/failures.ts';
import type { UpkeepRound } from '../domain/upkeep.ts';
import { call } from './call.ts';
import { auditing, rounds } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/** Makes and keeps the audit report of a project, from where the last one ended until now. */
export async function reportAudit({ project }: { readonly project: string }): Promise<UpkeepRound> {
  const round = await roundOf(project);
  await call(rounds.recordRound, `${project}: ${round.verdict}`, round);
  showPage(`audit of ${project}`, [round.summary, ...round.lines]);
  return round;
}

async function roundOf(project: string): Promise<UpkeepRound> {
  const common = { kind: 'audit' as const, subject: project, project };
  const until = new Date(Date.now()).toISOString();
  try {
    const kept = await call(auditing.keepAuditReport, `audit of ${project}`, { project, until });
    const lines = kept.files.map((file) => `/v1/projects/${project}/audit-reports/${file}`);
    return { ...common, verdict: 'passed', summary: summaryOf(kept), lines, detail: { ...kept } };
  } catch (error) {
    // It has no end, so the next one begins where this one should have.
    return { ...common, verdict: 'errored', summary: describeFailure(error).message, lines: [], detail: {} };
  }
}

function summaryOf({ since, until, deployments, rollbacks, operatorWords, unproven }: KeptAuditReport): string {
  return [
    `${since.slice(0, 10)} to ${until.slice(0, 10)}: ${deployments} deployments and rollbacks asked for`,
    `${rollbacks} rolled back`,
    `${operatorWords} words of operators`,
    ...(unproven === 0 ? [] : [`${unproven} decisions that no token proves`]),
  ].join(', ');
}
