import type { RollbackReport } from '../../domain/deployment.ts';
import type { DeploymentRecord } from '../../store/deployments.ts';
import type { NextCommand } from '../exit.ts';
import { nameOf } from '../names.ts';
import { duration, relative } from '../time.ts';
import { type TimelineRow, indented } from '../timeline.ts';
import { indent } from './run.ts';
import type { Screen } from './screen.ts';

/** A deployment as a person reads it: outcome and reason first, then its steps over time, then what became of the data. */
export function deploymentPage(deployment: DeploymentRecord, screen: Screen): string {
  const { paint, nowMs } = screen;
  const lines = [
    `${paint.bold(nameOf(deployment))}  ${paint.state(deployment.outcome ?? deployment.phase)}  ${paint.dim(deployment.version)}`,
    `  ${deployment.kind === 'rollback' ? 'rollback' : 'release'} asked for by ${deployment.requestedBy}, ${relative(deployment.requestedAt, nowMs)}`,
    ...(deployment.outcome === null && deployment.phaseDetail !== null
      ? [`  ${deployment.phase}: ${spoken(deployment.phaseDetail, nowMs)}`]
      : []),
    ...(deployment.reason === null || isPlainSuccess(deployment) ? [] : [indent(deployment.reason).slice(2)]),
    ...approvalLines(deployment, screen),
  ];
  const rows = deploymentRows(deployment);
  if (rows.length > 0) lines.push('', ...indented(rows, screen));
  const rollback = deployment.result?.rollback;
  if (rollback !== undefined)
    lines.push('', ...rollbackLines(rollback, deployment.outcome === 'rollback-failed', screen));
  return lines.join('\n');
}

/** Moments as a person counts them: `until in 5 min` would be read twice, so the word before goes. */
function spoken(detail: string, nowMs: number): string {
  return detail.replaceAll(/(?:until )?(\d{4}-\d\d-\d\dT[\d:.]+Z)/g, (all, instant: string) => {
    const when = relative(instant, nowMs);
    return all.startsWith('until') ? `ends ${when}` : when;
  });
}

/** Recorded steps, and the phase it is in as the last one. */
export function deploymentRows(deployment: DeploymentRecord): TimelineRow[] {
  const rows: TimelineRow[] = deployment.steps.map((step) => ({
    name: step.name,
    state: step.verdict,
    startedAt: step.startedAt,
    durationMs: step.durationMs,
    ...(step.detail === undefined ? {} : { detail: step.detail }),
  }));
  if (deployment.outcome === null) {
    rows.push({ name: 'now', state: deployment.phase, startedAt: deployment.phaseAt });
  }
  return rows;
}

/** What can be done about it, with the names to paste. */
export function deploymentNext(deployment: DeploymentRecord): NextCommand[] {
  const name = nameOf(deployment);
  const environment = `${deployment.project}/${deployment.environment}`;
  const hash = (deployment.plan?.hash ?? deployment.planHash ?? '').slice(0, 8);
  if (deployment.outcome === null) {
    if (deployment.phase !== 'awaiting-approval') {
      return [{ command: `slipway abort ${name} --reason "…"`, when: 'to stop it; what it has changed is taken back' }];
    }
    return [
      { command: `slipway plan ${name}`, when: 'to read what would change' },
      { command: `slipway approve ${name} --plan ${hash}`, when: 'to let it go' },
      { command: `slipway reject ${name} --plan ${hash} --comment "…"`, when: 'to end it' },
    ];
  }
  switch (deployment.outcome) {
    case 'held':
    case 'rollback-failed':
      return [
        undone(deployment)
          ? {
              command: `slipway retry ${environment} --reason "…"`,
              when: 'to try the undoing again, once its cause is gone, or to bring back the data',
            }
          : { command: `slipway rollback ${environment} --reason "…"`, when: 'to go back to the version before' },
        { command: `slipway reconcile ${environment} --reason "…"`, when: 'to take what runs now as the truth' },
        {
          command: `slipway unlock ${environment} --state-is <version> --reason "…"`,
          when: 'to say yourself what is live',
        },
      ];
    case 'rollback-unavailable':
      return [
        { command: `slipway unlock ${environment} --state-is none --reason "…"`, when: 'to let the next release in' },
      ];
    case 'failed':
    case 'errored':
    case 'rolled-back':
      return [
        { command: `slipway logs ${name}`, when: 'to read what its steps said' },
        { command: `slipway environments ${environment}`, when: 'to see what is live now' },
      ];
    case 'expired':
    case 'rejected':
    case 'superseded':
    case 'aborted':
    case 'succeeded':
      return [];
  }
}

/** Whether it had begun to go back: what waits then is the rest of that, and otherwise whether to go back at all. */
function undone({ outcome, result }: DeploymentRecord): boolean {
  return outcome === 'rollback-failed' || result?.rollback !== undefined;
}

/** A success by a watch that had nothing to judge by is one that a person should know the reason of. */
function isPlainSuccess({ outcome, result }: DeploymentRecord): boolean {
  return outcome === 'succeeded' && result?.watch !== 'inconclusive';
}

function approvalLines(deployment: DeploymentRecord, { paint }: Screen): string[] {
  return deployment.decisions.map(({ by, verdict, counted, why, comment, proven }) => {
    const word = verdict === 'approve' ? 'approved' : 'rejected';
    const said = comment === null ? '' : `: ${comment}`;
    const mark = proven ? '' : ' (unproven)';
    if (counted) return `  ${paint.icon(verdict === 'approve' ? 'good' : 'stopped')} ${word} by ${by}${mark}${said}`;
    return paint.dim(`  · ${by} ${word}, which did not count: ${why ?? ''}`);
  });
}

function rollbackLines(report: RollbackReport, gaveUp: boolean, screen: Screen): string[] {
  const { paint } = screen;
  const serving =
    report.servingAfterMs === undefined
      ? ''
      : `, the previous version serving after ${duration(report.servingAfterMs)}`;
  const { data } = report;
  const to = report.to === undefined ? '' : ` to ${report.to}`;
  return [
    gaveUp
      ? `  ${paint.icon('bad')} ${paint.bold(`going back${to} was given up`)} after ${duration(report.totalMs)}${serving}`
      : `  ${paint.icon('back')} ${paint.bold(`rolled back${to}`)} in ${duration(report.totalMs)}${serving}`,
    `    because: ${report.trigger}`,
    ...report.steps.map((step) => {
      const late = step.targetMs > 0 && step.durationMs > step.targetMs ? paint.paint('bad', ' over its target') : '';
      const target = step.targetMs > 0 ? paint.dim(` of ${duration(step.targetMs)}`) : '';
      if (step.detail === 'not needed') return paint.dim(`    · ${step.name}: not needed`);
      return `    ${paint.state(step.verdict)} ${step.name.padEnd(16)} ${duration(step.durationMs)}${target}${late}`;
    }),
    ...(data === undefined ? [] : [`    data ${data.action}: ${data.detail}`]),
    ...(data?.damagedDatabase === undefined ? [] : [`    the damaged state is kept in ${data.damagedDatabase}`]),
    ...(data?.laterWrites === undefined
      ? []
      : [
          `    writes after the backup: ${data.laterWrites.inserted} inserted, ${data.laterWrites.updated} updated, ${data.laterWrites.deleted} deleted${data.laterWrites.blob === undefined ? '' : `, kept in ${data.laterWrites.blob}`}`,
        ]),
    ...(report.incident === undefined ? [] : [`    ${report.incident}`]),
  ];
}
