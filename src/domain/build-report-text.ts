import type { ImageEvidence } from './run.ts';
import type { BuildReport, CoverageChange, StageTime } from './build-report.ts';
import type { Trend } from './run-trend.ts';
import { securityGates } from './gate.ts';
import { code, percent, seconds, text } from './markdown.ts';
import type { Finding, TestFigures } from './report.ts';

/** Shown of each list; the data have all of it. Judgement: a comment on a pull request may have 65,536 characters. */
const mostRows = 20;

/** The page as Markdown. Whatever tools and repositories wrote stands in it as text: it makes no links, images or HTML. */
export function renderBuildReport(report: BuildReport): string {
  const { project, run, version, ref, commit, author, outcome, reason } = report;
  return [
    `# ${text(project)} #${run}${version === null ? '' : `, ${text(version)}`}: ${outcome ?? 'running'}`,
    `${code(commit.slice(0, 12))} of ${code(ref)} by ${text(author)}.${reason === null ? '' : ` ${text(reason)}`}`,
    ...section('Tests', report.tests === null ? [] : testLines(report.tests)),
    ...section('Coverage', report.coverage === null ? [] : [coverageLine(report.coverage)]),
    ...section('Trend', trendLines(report.trend, run)),
    ...section('Gates', gateLines(report)),
    ...section(
      'Could not be read',
      report.errored
        .slice(0, mostRows)
        .map(({ stage, path, reason: why, remedy }) => `- ${text(stage)}: ${code(path)} ${text(why)}. ${text(remedy)}`),
    ),
    ...section('Suppressed', suppressionLines(report)),
    ...section(
      'Images',
      report.images.map(
        ({ repository, digest, sizeBytes, reused, evidence }) =>
          `- ${code(`${repository}@${digest}`)}, ${megabytes(sizeBytes)}${reused ? ', built before' : ''}; ${knownOf(evidence)}`,
      ),
    ),
    ...section(
      'Packages',
      report.packages.map(
        ({ name, version, file, index, sha256, alreadyThere }) =>
          `- ${code(`${name} ${version}`)} at ${text(index)}: ${code(file)}, ${code(`sha256:${sha256}`)}${alreadyThere ? ', there before' : ''}`,
      ),
    ),
    ...section(
      'Evidence',
      report.evidence.map(({ image, file, address }) => `- ${text(image)}: ${code(file)} at ${code(address)}`),
    ),
    ...section(
      'Documentation',
      report.documentation.map(({ stage, name, address }) => `- ${text(stage)}: ${code(name)} at ${code(address)}`),
    ),
    ...section('Times', timeLines(report.stages)),
    ...section(
      'Pages',
      report.pages.map(({ stage, path, address }) => `- ${text(stage)}: ${code(path)} at ${code(address)}`),
    ),
    '',
  ].join('\n');
}

/** What was looked for in an image and not found out is said too: silence would be taken for a pass. */
function knownOf(evidence: ImageEvidence | undefined): string {
  const { packages, unlisted, scan } = evidence ?? {};
  const why = unlisted === undefined ? '' : ` (${text(unlisted)})`;
  const list = packages === undefined ? `no bill of materials${why}` : `${packages} packages listed`;
  return `${list}, ${scan === undefined ? 'never scanned' : `scan ${scan.verdict}: ${text(scan.reason)}`}`;
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines];
}

function testLines({ total, failed, errored, skipped, durationMs, failures }: TestFigures): readonly string[] {
  const bad = [
    ...(failed === 0 ? [] : [`${failed} failed`]),
    ...(errored === 0 ? [] : [`${errored} ended by an error`]),
    ...(skipped === 0 ? [] : [`${skipped} skipped`]),
  ];
  return [
    `${total} tests in ${seconds(durationMs)}${bad.length === 0 ? ', all passed' : `: ${bad.join(', ')}`}.`,
    ...(failures.length === 0 ? [] : ['']),
    ...failures.slice(0, mostRows).map(({ name, message }) => `- ${code(name)}: ${text(message.slice(0, 200))}`),
    ...more(failures.length),
  ];
}

/** What was measured, and how it differs from the last release. */
export function coverageLine({ lines, before }: CoverageChange): string {
  if (before === null) return `${percent(lines)} of the lines.`;
  const points = (lines - before) * 100;
  const change =
    Math.abs(points) < 0.005
      ? 'as the last release'
      : `${points > 0 ? '+' : '−'}${Math.abs(points).toFixed(2)} points against the last release`;
  return `${percent(lines)} of the lines, ${change} (${percent(before)}).`;
}

/** Nothing of a run that has none before it: all of it stands above. */
function trendLines({ ref, steps }: Trend, run: number): readonly string[] {
  if (steps.length < 2) return [];
  const cell = (value: string | null, change: string | null): string =>
    value === null ? '' : change === null ? value : `${value} (${change})`;
  return [
    `Runs of ${code(ref)}, newest first; in brackets what is different from the run before.`,
    '',
    '| run | outcome | coverage | tests | failed | findings | took |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...steps.map((step) => {
      const { coverage, tests, testsFailed, findings, durationMs, change } = step;
      const cells = [
        `#${step.run}${step.run === run ? ', this one' : ''}`,
        step.outcome ?? 'running',
        cell(coverage === null ? null : percent(coverage), change.coverage === null ? null : points(change.coverage)),
        cell(tests === null ? null : String(tests), signed(change.tests, String)),
        testsFailed === null ? '' : String(testsFailed),
        cell(String(findings), signed(change.findings, String)),
        cell(durationMs === null ? null : seconds(durationMs), signed(change.durationMs, seconds)),
      ];
      return `| ${cells.join(' | ')} |`;
    }),
  ];
}

/** A difference of shares in points: `+1.25`. */
export function points(change: number): string {
  return signed(Math.round(change * 10_000), (hundredths) => (hundredths / 100).toFixed(2)) ?? '';
}

export function signed(change: number | null, write: (size: number) => string): string | null {
  if (change === null) return null;
  return change === 0 ? '=' : `${change > 0 ? '+' : '−'}${write(Math.abs(change))}`;
}

function gateLines({ gates }: BuildReport): readonly string[] {
  if (gates.length === 0) return [];
  const rows = gates.map(({ gate, stage, mode, verdict, blocks, reports, reason }) => {
    const number = securityGates[gate];
    const tools = reports.map(({ tool, lookedAt }) => `${tool} (${lookedAt})`).join('; ');
    return `| ${text(gate)}${number === undefined ? '' : ` (${number})`} | ${text(stage)} | ${verdict}${blocks ? ', stops it' : ''} | ${mode} | ${text(tools)} | ${text(reason)} |`;
  });
  const found = gates.flatMap(({ gate, findings }) => findings.map((finding) => `- ${gate}: ${findingLine(finding)}`));
  return [
    '| gate | stage | verdict | mode | looked at by | found |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    ...(found.length === 0 ? [] : ['', ...found.slice(0, mostRows)]),
    ...more(found.length),
  ];
}

function findingLine({ severity, rule, message, file, line, component }: Finding): string {
  const where = file === undefined ? '' : ` ${code(line === undefined ? file : `${file}:${line}`)}`;
  const fixed = component?.fixedIn?.[0] === undefined ? '' : `, fixed in ${component.fixedIn[0]}`;
  const what =
    component === undefined ? '' : ` ${code([component.name, component.version].filter(Boolean).join(' ') + fixed)}`;
  return `**${severity}** ${code(rule)}${where}${what} ${text(message)}`;
}

function suppressionLines({ suppressions, putAside }: BuildReport): readonly string[] {
  const byTools = putAside.map(
    ({ rule, file, component, severity, found, reason }) =>
      `- ${code([rule, file ?? component?.name].filter(Boolean).join(' in '))} (${severity}) by its own tool, ${found} found: ${text(reason)}`,
  );
  const own = suppressions.map(
    ({ rule, file, reason, expires, matched, expired }) =>
      `- ${code([rule, file].filter(Boolean).join(' in '))} until ${text(expires)}, ${matched} found: ${text(reason)}${expired ? ' **Expired: it counts again.**' : ''}`,
  );
  return [...own, ...byTools];
}

function timeLines(stages: readonly StageTime[]): readonly string[] {
  if (stages.length === 0) return [];
  return [
    '| stage | verdict | took | nominal |',
    '| --- | --- | --- | --- |',
    ...stages.map(({ name, verdict, durationMs, nominalMs }) => {
      const over = nominalMs !== null && durationMs !== null && durationMs > nominalMs[1];
      const nominal =
        nominalMs === null ? '' : `${nominalMs[0] / 60_000}–${nominalMs[1] / 60_000} min${over ? ', exceeded' : ''}`;
      return `| ${text(name)} | ${verdict ?? 'not finished'} | ${durationMs === null ? '' : seconds(durationMs)} | ${nominal} |`;
    }),
  ];
}

function more(count: number): readonly string[] {
  return count > mostRows ? [`- and ${count - mostRows} more`] : [];
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
