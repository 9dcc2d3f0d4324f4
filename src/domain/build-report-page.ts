import type { BuildReport, StageTime } from './build-report.ts';
import { coverageLine, megabytes, points, signed } from './build-report-text.ts';
import { securityGates } from './gate.ts';
import { type Html, type HtmlPart, markup } from './html.ts';
import { percent, seconds } from './markdown.ts';
import type { Finding, TestFigures } from './report.ts';
import type { ImageEvidence } from './run.ts';
import type { Trend } from './run-trend.ts';

/** Shown of each list; the data have all of it. Judgement: more than the Markdown shows, for a page can be searched, and still one to scroll. */
const mostRows = 200;

/**
 * The report of a run as a page for browsers, of the same data as the Markdown. Whatever tools and repositories wrote stands in it as text, and every
 * link is to an address of ours.
 *
 * @param linkTo - where a browser finds what lies at an address of the API.
 */
export function renderBuildReportPage(report: BuildReport, linkTo: (address: string) => string): Html {
  const { project, run, version, ref, commit, author, outcome, reason } = report;
  const link = (address: string, name: string): Html => markup`<a href="${linkTo(address)}"><code>${name}</code></a>`;
  return markup`<h1>${project} #${run}${version === null ? '' : `, ${version}`}: ${state(outcome ?? 'running')}</h1>
<p><code>${commit.slice(0, 12)}</code> of <code>${ref}</code> by ${author}. ${reason ?? ''}</p>
${section('Tests', report.tests === null ? [] : [tests(report.tests)])}
${section('Coverage', report.coverage === null ? [] : [markup`<p>${coverageLine(report.coverage)}</p>`])}
${section('Trend', trend(report.trend, run))}
${section('Gates', gates(report))}
${section('Findings', findings(report))}
${list(
  'Could not be read',
  report.errored.map(
    ({ stage, path, reason: why, remedy }) =>
      markup`${stage}: <code>${path}</code> ${sentence(why)} ${sentence(remedy)}`,
  ),
)}
${list('Suppressed', suppressed(report))}
${list(
  'Images',
  report.images.map(
    ({ repository, digest, sizeBytes, reused, evidence }) =>
      markup`<code>${repository}@${digest}</code>, ${megabytes(sizeBytes)}${reused ? ', built before' : ''}; ${known(evidence)}`,
  ),
)}
${list(
  'Bills of materials, scans and provenance',
  report.evidence.map(({ image, file, address }) => markup`${image}: ${link(address, file)}`),
)}
${list(
  'Packages',
  report.packages.map(
    ({ name, version: of, file, index, sha256, alreadyThere }) =>
      markup`<code>${name} ${of}</code> at ${index}: <code>${file}</code>, <code>sha256:${sha256}</code>${alreadyThere ? ', there before' : ''}`,
  ),
)}
${list(
  'Pages',
  report.pages.map(({ stage, path, address }) => markup`${stage}: ${link(address, path)}`),
)}
${list(
  'Documentation',
  report.documentation.map(({ stage, name, address }) => markup`${stage}: ${link(address, name)}`),
)}
${section('Times', times(report.stages))}`;
}

const nothing = markup``;

/** A word of a closed list, which is the name of its colour too. */
function state(word: string): Html {
  return markup`<span class="state ${word}">${word}</span>`;
}

function section(title: string, parts: readonly Html[]): Html {
  return parts.length === 0 ? nothing : markup`<h2>${title}</h2>\n${parts}`;
}

function list(title: string, items: readonly Html[]): Html {
  return section(title, items.length === 0 ? [] : [bullets(items)]);
}

function bullets(items: readonly Html[]): Html {
  const rest = items.length > mostRows ? [markup`and ${items.length - mostRows} more`] : [];
  return markup`<ul>\n${[...items.slice(0, mostRows), ...rest].map((item) => markup`<li>${item}</li>`)}\n</ul>`;
}

/** As wide as it is; what is wider than the screen is moved by itself. */
function table(head: readonly string[], rows: readonly (readonly HtmlPart[])[]): Html {
  const line = (cells: readonly Html[]): Html => markup`<tr>${cells}</tr>`;
  return markup`<div class="scroll"><table>
<thead>${line(head.map((cell) => markup`<th scope="col">${cell}</th>`))}</thead>
<tbody>
${rows.map((cells) => line(cells.map((cell) => markup`<td>${cell}</td>`)))}
</tbody>
</table></div>`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function tests({ total, failed, errored, skipped, durationMs, failures }: TestFigures): Html {
  const bad = [
    ...(failed === 0 ? [] : [`${failed} failed`]),
    ...(errored === 0 ? [] : [`${errored} ended by an error`]),
    ...(skipped === 0 ? [] : [`${skipped} skipped`]),
  ];
  const told = markup`<p>${total} tests in ${seconds(durationMs)}${bad.length === 0 ? ', all passed' : `: ${bad.join(', ')}`}.</p>`;
  if (failures.length === 0) return told;
  const each = failures.map(({ name, message }) => markup`<code>${name}</code>: ${message.slice(0, 500)}`);
  return markup`${told}\n${bullets(each)}`;
}

/** Nothing of a run that has none before it: all of it stands above. */
function trend({ ref, steps }: Trend, run: number): readonly Html[] {
  if (steps.length < 2) return [];
  const cell = (value: string | null, change: string | null): string =>
    value === null ? '' : change === null ? value : `${value} (${change})`;
  return [
    markup`<p>Runs of <code>${ref}</code>, newest first; in brackets what is different from the run before.</p>`,
    table(
      ['run', 'outcome', 'coverage', 'tests', 'failed', 'findings', 'took'],
      steps.map(({ change, ...step }) => [
        `#${step.run}${step.run === run ? ', this one' : ''}`,
        state(step.outcome ?? 'running'),
        cell(
          step.coverage === null ? null : percent(step.coverage),
          change.coverage === null ? null : points(change.coverage),
        ),
        cell(step.tests === null ? null : String(step.tests), signed(change.tests, String)),
        step.testsFailed === null ? '' : step.testsFailed,
        cell(String(step.findings), signed(change.findings, String)),
        cell(step.durationMs === null ? null : seconds(step.durationMs), signed(change.durationMs, seconds)),
      ]),
    ),
  ];
}

function gates({ gates: all }: BuildReport): readonly Html[] {
  if (all.length === 0) return [];
  const rows = all.map(({ gate, stage, mode, verdict, blocks, reports, reason }): readonly HtmlPart[] => {
    const number = securityGates[gate];
    return [
      `${gate}${number === undefined ? '' : ` (${number})`}`,
      stage,
      markup`${state(verdict)}${blocks ? ', stops it' : ''}`,
      mode,
      reports.map(({ tool, lookedAt }) => `${tool} (${lookedAt})`).join('; '),
      reason,
    ];
  });
  return [table(['gate', 'stage', 'verdict', 'mode', 'looked at by', 'found'], rows)];
}

/** By gate, in the order of the gates. */
function findings({ gates: all }: BuildReport): readonly Html[] {
  return all
    .filter((gate) => gate.findings.length > 0)
    .map((gate) => markup`<h3>${gate.gate}, ${gate.stage}</h3>\n${bullets(gate.findings.map(finding))}`);
}

function finding({ severity, rule, message, file, line, component }: Finding): Html {
  const where = file === undefined ? nothing : markup` <code>${line === undefined ? file : `${file}:${line}`}</code>`;
  const fixed = component?.fixedIn?.[0] === undefined ? '' : `, fixed in ${component.fixedIn[0]}`;
  const what =
    component === undefined
      ? nothing
      : markup` <code>${[component.name, component.version].filter(Boolean).join(' ')}${fixed}</code>`;
  return markup`${state(severity)} <code>${rule}</code>${where}${what} ${message}`;
}

function suppressed({ suppressions, putAside }: BuildReport): readonly Html[] {
  return [
    ...suppressions.map(
      ({ rule, file, reason, expires, matched, expired }) =>
        markup`<code>${[rule, file].filter(Boolean).join(' in ')}</code> until ${expires}, ${matched} found: ${reason}${expired ? markup` <strong>Expired: it counts again.</strong>` : nothing}`,
    ),
    ...putAside.map(
      ({ rule, file, component, severity, found, reason }) =>
        markup`<code>${[rule, file ?? component?.name].filter(Boolean).join(' in ')}</code> (${severity}) by its own tool, ${found} found: ${reason}`,
    ),
  ];
}

/** What was looked for in an image and not found out is said too: silence would be taken for a pass. */
function known(evidence: ImageEvidence | undefined): Html {
  const { packages, unlisted, scan } = evidence ?? {};
  const why = unlisted === undefined ? '' : ` (${unlisted})`;
  const listed = packages === undefined ? `no bill of materials${why}` : `${packages} packages listed`;
  if (scan === undefined) return markup`${listed}, never scanned`;
  return markup`${listed}, scan ${state(scan.verdict)}: ${scan.reason}`;
}

function times(stages: readonly StageTime[]): readonly Html[] {
  if (stages.length === 0) return [];
  const rows = stages.map(({ name, verdict, durationMs, nominalMs }): readonly HtmlPart[] => {
    const over = nominalMs !== null && durationMs !== null && durationMs > nominalMs[1];
    const nominal =
      nominalMs === null ? '' : `${nominalMs[0] / 60_000}–${nominalMs[1] / 60_000} min${over ? ', exceeded' : ''}`;
    return [
      name,
      verdict === null ? 'not finished' : state(verdict),
      durationMs === null ? '' : seconds(durationMs),
      nominal,
    ];
  });
  return [table(['stage', 'verdict', 'took', 'nominal'], rows)];
}
