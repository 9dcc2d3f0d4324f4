import { nameOf } from '../../src/cli/names.ts';
import { deploymentRows } from '../../src/cli/pages/deployment.ts';
import { duration } from '../../src/cli/time.ts';
import { type TimelineRow, drawTimeline } from '../../src/cli/timeline.ts';
import type { Painter } from '../../src/cli/words.ts';
import type { Check } from './narrator.ts';
import type { Findings } from './story.ts';

/** The end of the story: every run and deployment over time, what was measured, and what was not as it had to be. */
export function closingReport(findings: Findings, checks: readonly Check[], paint: Painter, columns: number): string {
  const options = { paint, nowMs: Date.now(), columns };
  const lines: string[] = [];
  const timeline = (title: string, rows: readonly TimelineRow[]): void => {
    lines.push('', title, ...drawTimeline(rows, options).map((line) => `  ${line}`));
  };
  for (const run of findings.runs) {
    const total = run.settledAt === null ? '' : duration(Date.parse(run.settledAt) - Date.parse(run.acceptedAt));
    const rows = run.stages.map((stage) => ({
      name: stage.name,
      state: stage.verdict ?? 'running',
      startedAt: stage.startedAt,
      ...(stage.durationMs === null ? {} : { durationMs: stage.durationMs }),
    }));
    timeline(
      `${paint.bold(`${run.project}#${run.number}`)}  ${paint.state(run.outcome ?? run.phase)}  ${total}  ${paint.dim(run.message ?? '')}`,
      rows,
    );
  }
  for (const deployment of findings.deployments) {
    const total =
      deployment.settledAt === null
        ? ''
        : duration(Date.parse(deployment.settledAt) - Date.parse(deployment.requestedAt));
    const rows = deploymentRows(deployment).map((row) => ({ ...row, detail: '' }));
    timeline(
      `${paint.bold(nameOf(deployment))}  ${paint.state(deployment.outcome ?? deployment.phase)}  ${total}  ${paint.dim(deployment.version)}`,
      rows,
    );
  }
  lines.push('', paint.bold('Measured'));
  const width = Math.max(0, ...findings.figures.map(({ name }) => name.length));
  for (const { name, value } of findings.figures) lines.push(`  ${name.padEnd(width)}  ${value}`);
  const wrong = checks.filter(({ held }) => !held);
  lines.push(
    '',
    wrong.length === 0
      ? paint.paint('good', `${paint.icon('good')} all ${checks.length} checks held`)
      : paint.paint('bad', `${wrong.length} of ${checks.length} checks did not hold:`),
  );
  for (const { act, what, seen } of wrong)
    lines.push(`  ${paint.icon('bad')} ${act}: ${what}${seen === '' ? '' : ` (${seen})`}`);
  return lines.join('\n');
}
