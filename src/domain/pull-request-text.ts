/** What a pull request reads of its newest run: how it ended, what it found that is new, and what a merge would deploy. */
import type { RunOutcome } from './outcome.ts';
import type { MigrationRef } from './migration.ts';
import type { Risk } from './plan.ts';
import { type Finding, type SeverityCounts, type TestFigures, countOf, severities } from './report.ts';
import type { StageTime } from './build-report.ts';
import type { GateVerdict } from './gate-verdict.ts';
import { code, percent, seconds, text } from './markdown.ts';

export interface PullRequestReport {
  readonly run: number;
  readonly commit: string;
  readonly outcome: RunOutcome;
  readonly reason: string;
  /** Page of the run. */
  readonly url?: string;
  readonly stages: readonly Pick<StageTime, 'name' | 'verdict' | 'durationMs'>[];
  readonly tests: TestFigures | null;
  /** Share of lines, 0 to 1; null where nothing was measured. */
  readonly coverage: number | null;
  /** What it is compared with; null where the target branch has no run that showed anything, and there is no release. */
  readonly base: { readonly name: string; readonly coverage: number | null } | null;
  readonly gates: readonly GateNews[];
  readonly preview: MergePreview | null;
}

/** A gate, and what it found that the base does not have. */
export interface GateNews extends Pick<GateVerdict, 'gate' | 'verdict' | 'blocks' | 'reason'> {
  readonly fresh: SeverityCounts;
  /** The most severe first. */
  readonly findings: readonly Finding[];
  readonly known: number;
  readonly suppressed: number;
}

/** What a merge into a branch leads to. */
export interface MergePreview {
  readonly into: string;
  /** Why nothing would be run; null where a route takes it. */
  readonly ignored: string | null;
  readonly environments: readonly EnvironmentPreview[];
}

export interface EnvironmentPreview {
  readonly name: string;
  /** Version that is live; null where nothing is. */
  readonly live: string | null;
  readonly approval: boolean;
  /** Why a person has to say first what is true there; null where nothing is held. */
  readonly held: string | null;
  /** What it would change; null where that could not be found out. */
  readonly change: {
    readonly commits: number;
    readonly filesChanged: number;
    readonly linesChanged: number;
    /** Those that the live release does not have. */
    readonly migrations: readonly Pick<MigrationRef, 'name' | 'kind'>[];
  } | null;
  /** As of now, by what is known before the merge. */
  readonly risk: Risk | null;
}

/** Bitbucket takes 32,768 characters of a comment, the others more. */
const longestComment = 30_000;
/** Shown of each list. Judgement: two screens. */
const mostRows = 15;
/** Characters of one foreign text. Judgement. */
const longestText = 300;

/** As Markdown, at most {@link longestComment} characters; what repositories and tools wrote is no markup in it and mentions nobody. */
export function renderPullRequest(report: PullRequestReport): string {
  const { run, commit, outcome, reason, url } = report;
  const page = url === undefined ? '' : ` ([page](${url}))`;
  const sections = [
    [`**${outcome}**: run ${run} of ${code(commit.slice(0, 12))}${page}`, '', foreign(reason)],
    section('Stages', stageLines(report)),
    section('Tests and coverage', [...testLines(report), ...coverageLines(report)]),
    section('Findings', gateLines(report)),
    section('What a merge would deploy', previewLines(report.preview)),
  ];
  let comment = '';
  for (const lines of sections) {
    const next = `${comment}${comment === '' || lines.length === 0 ? '' : '\n\n'}${lines.join('\n')}`;
    // Whole sections are left out, so that no table and no fence is cut in its middle.
    if (next.length > longestComment)
      return `${comment}\n\nThe rest is too long for a comment: the page of the run has it.`;
    comment = next;
  }
  return comment;
}

function foreign(words: string): string {
  return text(words.length > longestText ? `${words.slice(0, longestText - 1)}…` : words);
}

function short(name: string): string {
  return code(name.slice(0, longestText));
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`### ${title}`, '', ...lines];
}

function stageLines({ stages }: PullRequestReport): readonly string[] {
  if (stages.length === 0) return [];
  return [
    '| stage | verdict | took |',
    '| --- | --- | --- |',
    ...stages
      .slice(0, mostRows * 2)
      .map(
        ({ name, verdict, durationMs }) =>
          `| ${foreign(name)} | ${verdict ?? 'not finished'} | ${durationMs === null ? '' : seconds(durationMs)} |`,
      ),
    ...more(stages.length, mostRows * 2, '\n'),
  ];
}

function testLines({ tests }: PullRequestReport): readonly string[] {
  if (tests === null) return [];
  const { total, failed, errored, skipped, failures } = tests;
  const bad = [
    ...(failed === 0 ? [] : [`${failed} failed`]),
    ...(errored === 0 ? [] : [`${errored} ended by an error`]),
    ...(skipped === 0 ? [] : [`${skipped} skipped`]),
  ];
  return [
    `- ${total} tests${bad.length === 0 ? ', all passed' : `: ${bad.join(', ')}`}.`,
    ...failures.slice(0, mostRows).map(({ name, message }) => `  - ${short(name)}: ${foreign(message)}`),
    ...more(failures.length, mostRows, '  '),
  ];
}

function coverageLines({ coverage, base }: PullRequestReport): readonly string[] {
  const before = base?.coverage ?? null;
  if (coverage === null) {
    if (base === null || before === null) return [];
    return [`- Coverage was not measured; ${text(base.name)} has ${percent(before)} of the lines.`];
  }
  if (base === null || before === null)
    return [`- ${percent(coverage)} of the lines are covered; there is nothing to compare with.`];
  const points = (coverage - before) * 100;
  const change =
    Math.abs(points) < 0.005 ? 'as in' : `${points > 0 ? '+' : '−'}${Math.abs(points).toFixed(2)} points against`;
  return [`- ${percent(coverage)} of the lines are covered, ${change} ${text(base.name)} (${percent(before)}).`];
}

function gateLines({ gates, base }: PullRequestReport): readonly string[] {
  if (gates.length === 0) return [];
  const rows = gates.map(({ gate, verdict, blocks, reason, fresh, known, suppressed }) => {
    const silent = [
      ...(known === 0 ? [] : [`${known} known`]),
      ...(suppressed === 0 ? [] : [`${suppressed} suppressed`]),
    ];
    return `| ${text(gate)} | ${verdict}${blocks ? ', stops it' : ''} | ${bySeverity(fresh)} | ${silent.join(', ')} | ${foreign(reason)} |`;
  });
  const found = gates.flatMap(({ gate, findings }) => findings.map((finding) => `- ${gate}: ${findingLine(finding)}`));
  return [
    base === null
      ? 'There is nothing to compare with: every finding counts as new.'
      : `New is what ${text(base.name)} does not have.`,
    '',
    '| gate | verdict | new | else | why |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    ...(found.length === 0 ? [] : ['', ...found.slice(0, mostRows)]),
    ...more(found.length, mostRows, ''),
  ];
}

function bySeverity(counts: SeverityCounts): string {
  if (countOf(counts) === 0) return 'nothing';
  return severities
    .filter((severity) => counts[severity] > 0)
    .map((severity) => `${counts[severity]} ${severity}`)
    .join(', ');
}

function findingLine({ severity, rule, message, file, line, component }: Finding): string {
  const where = file === undefined ? '' : ` ${short(line === undefined ? file : `${file}:${line}`)}`;
  const what =
    component === undefined ? '' : ` ${short([component.name, component.version].filter(Boolean).join(' '))}`;
  return `**${severity}** ${short(rule)}${where}${what} ${foreign(message)}`;
}

function previewLines(preview: MergePreview | null): readonly string[] {
  if (preview === null) return [];
  const { into, ignored, environments } = preview;
  if (ignored !== null) return [`Nothing: ${foreign(ignored)}`];
  if (environments.length === 0) return [`Nothing: a push of ${short(into)} is checked and goes to no environment.`];
  return environments.flatMap(({ name, live, approval, held, change, risk }) => [
    `- **${text(name)}**: the next build of ${short(into)}, ${live === null ? 'as its first release' : `instead of ${short(live)}`}${approval ? ', after approval' : ''}.`,
    ...(held === null ? [] : [`  - It takes nothing now: ${foreign(held)}`]),
    ...(change === null ? ['  - What it would change there could not be found out.'] : changeLines(change)),
    ...(risk === null
      ? []
      : [
          `  - Risk ${risk.level} (${risk.score}) as of now${risk.reasons.length === 0 ? '' : `: ${foreign(risk.reasons.slice(0, 5).join(' '))}`}`,
        ]),
  ]);
}

function changeLines(change: NonNullable<EnvironmentPreview['change']>): readonly string[] {
  const { commits, filesChanged, linesChanged, migrations } = change;
  const shown = migrations.slice(0, mostRows).map(({ name, kind }) => `${short(name)} (${kind})`);
  return [
    `  - ${commits === 200 ? '200 or more' : commits} commits, ${filesChanged} files, ${linesChanged} lines.`,
    migrations.length === 0
      ? '  - No migrations.'
      : `  - Migrations: ${shown.join(', ')}${migrations.length > mostRows ? ` and ${migrations.length - mostRows} more` : ''}.`,
  ];
}

function more(count: number, most: number, indent: string): readonly string[] {
  return count > most ? [`${indent}- and ${count - most} more`] : [];
}
