import type { AuditReport, AuditedDeployment } from './audit-report.ts';
import { code, text } from './markdown.ts';

/** The report as Markdown. Whatever people and repositories wrote stands in it as text. */
export function renderAuditReport(report: AuditReport): string {
  const { deployments, rollbacks, operatorWords, incidents, suppressions, exceptions, gatesPassedOver } = report;
  const unproven = deployments.flatMap(({ decisions }) => decisions).filter(({ proven }) => !proven).length;
  return [
    `# Audit of ${report.project === undefined ? 'all projects' : text(report.project)}`,
    `${day(report.since)} to ${day(report.until)}, UTC.`,
    '',
    `- ${deployments.length} deployments and rollbacks asked for, ${rollbacks.length} rolled back`,
    `- ${report.runs.reduce((sum, { count }) => sum + count, 0)} runs${report.runs.length === 0 ? '' : `: ${report.runs.map(({ outcome, count }) => `${count} ${outcome}`).join(', ')}`}`,
    `- ${operatorWords.length} times an operator said what is live`,
    ...(unproven === 0 ? [] : [`- **${unproven} decisions that no token proves**`]),
    ...report.cut.map((name) => `- **not all ${text(name)} are shown**; the audit has them`),
    ...section('Who decided what', deploymentLines(deployments)),
    ...section(
      'Rollbacks',
      rollbacks.map(({ name, at, trigger, toVersion, servingAfterMs, data }) =>
        [
          `- ${when(at)} ${code(name)}: ${text(trigger)}`,
          toVersion === null ? 'to nothing' : `to ${code(toVersion)}`,
          servingAfterMs === null ? 'not serving again' : `serving after ${(servingAfterMs / 1000).toFixed(1)} s`,
          ...(data === null ? [] : [`data: ${text(data)}`]),
        ].join('; '),
      ),
    ),
    ...section(
      'Operators’ words',
      operatorWords.map(
        ({ name, at, how, by, reason, version }) =>
          `- ${when(at)} ${code(name)}: ${how} by ${text(by)}: ${version === null ? 'nothing' : code(version)} is live. ${text(reason)}`,
      ),
    ),
    ...section(
      'Incidents',
      incidents.map(
        ({ name, openedAt, trigger, postMortemDueAt, closedAt }) =>
          `- ${when(openedAt)} ${code(name)}: ${text(trigger)}; ${closedAt === null ? `**open**, post-mortem due ${day(postMortemDueAt)}` : `closed ${day(closedAt)}`}`,
      ),
    ),
    ...section('What was lived with', [
      ...suppressions.map(
        ({ project, gate, rule, reason, until, runs, expired }) =>
          `- ${text(project)}, gate ${text(gate)}: ${code(rule)} ${until === null ? 'by its own tool' : `until ${text(until)}`}${expired ? ' (**over**)' : ''}, in ${runs} runs: ${text(reason)}`,
      ),
      ...exceptions.map(({ project, line, runs }) => `- ${text(project)}, images: ${text(line)}; in ${runs} runs`),
      ...gatesPassedOver.map(
        ({ project, gate, verdict, runs }) =>
          `- ${text(project)}, gate ${text(gate)}: ${verdict} in ${runs} runs, which went on`,
      ),
    ]),
    ...section(
      'Scans of what was live',
      report.scans.map(
        ({ subject, at, verdict, summary }) => `- ${when(at)} ${code(subject)}: ${verdict}, ${text(summary)}`,
      ),
    ),
    ...section(
      'Documents put in force',
      report.documents.map(
        ({ project, revision, by, at }) => `- ${when(at)} ${text(project)}, revision ${revision}, by ${text(by)}`,
      ),
    ),
    ...section(
      'Everything in the audit',
      report.actions.length === 0
        ? []
        : [
            '| who | what | times |',
            '| --- | --- | --- |',
            ...report.actions.map(({ actor, action, count }) => `| ${text(actor)} | ${text(action)} | ${count} |`),
          ],
    ),
    '',
  ].join('\n');
}

function deploymentLines(deployments: readonly AuditedDeployment[]): readonly string[] {
  return deployments.flatMap(({ name, kind, version, requestedBy, author, requestedAt, outcome, decisions }) => [
    `- ${when(requestedAt)} ${code(name)}: ${kind === 'rollback' ? 'back to ' : ''}${code(version)} by ${text(author)}, asked for by ${text(requestedBy)}: ${outcome ?? 'not over'}`,
    ...decisions.map(({ by, verdict, counted, why, comment, proven, at }) =>
      [
        `  - ${when(at)} ${verdict} by ${text(by)}`,
        ...(proven ? [] : ['**no token proves it**']),
        ...(counted ? [] : [`did not count: ${text(why ?? 'no reason')}`]),
        ...(comment === null ? [] : [`“${text(comment)}”`]),
      ].join(', '),
    ),
  ]);
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return ['', `## ${title}`, '', ...(lines.length === 0 ? ['None.'] : lines)];
}

function when(at: string): string {
  return at.slice(0, 16).replace('T', ' ');
}

function day(at: string): string {
  return at.slice(0, 10);
}
