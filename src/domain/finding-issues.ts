/** Which issues a forge should have for the critical findings of a project, and what has to be done for it. One issue a finding, for ever. */
import type { CountedFinding, CountedFindings } from './counted-findings.ts';

/** An issue of ours as the forge has it. */
export interface MarkedIssue {
  readonly number: number;
  readonly open: boolean;
  readonly title: string;
  readonly body: string;
}

export type IssueChange =
  | { readonly kind: 'create'; readonly title: string; readonly body: string }
  | {
      readonly kind: 'update';
      readonly number: number;
      readonly title: string;
      readonly body: string;
      readonly reopen: boolean;
    }
  | {
      readonly kind: 'close';
      readonly number: number;
      readonly title: string;
      readonly body: string;
      readonly comment: string;
    };

/** What an issue is about, hidden in its first line. `gone`: we closed it ourselves, and open it again when the finding is back. */
interface Mark {
  readonly project: string;
  /** The fingerprint, or `summary`. */
  readonly about: string;
  /** `gate/kind`. */
  readonly source: string;
  readonly state: 'open' | 'gone';
}

const markForm = /^<!-- slipway:finding ([a-z0-9-]+) ([0-9a-f]{32}|[\w./-]+) ([a-z-]+\/[a-z-]+) (open|gone) -->/;

/** @returns undefined for an issue that is not ours. */
export function readMark(body: string): Mark | undefined {
  const [, project, about, source, state] = markForm.exec(body) ?? [];
  if (project === undefined || about === undefined || source === undefined) return undefined;
  return { project, about, source, state: state === 'gone' ? 'gone' : 'open' };
}

function written({ project, about, source, state }: Mark, text: string): string {
  return `<!-- slipway:finding ${project} ${about} ${source} ${state} -->\n${text}`;
}

const summary = { about: 'summary', source: 'all/all' } as const;

/** Of the summary; more are only counted. Judgement. */
const mostListed = 100;
/** GitHub takes 256 characters, GitLab 255. */
const longestTitle = 200;

/**
 * @param known - all issues of ours, of any project that looks at the same repository.
 * @param most - findings that have an issue of their own; what is beyond goes into one summary.
 * @returns changes in the order in which they should be made; none where everything is as it should be.
 */
export function changesOf(
  project: string,
  { findings, lookedAt }: CountedFindings,
  known: readonly MarkedIssue[],
  most: number,
): readonly IssueChange[] {
  const byFingerprint = new Map<string, MarkedIssue & { readonly mark: Mark }>();
  const doubles: IssueChange[] = [];
  // The first of several holds: another one was made by an attempt whose answer was lost.
  for (const issue of [...known].sort((a, b) => a.number - b.number)) {
    const mark = readMark(issue.body);
    if (mark?.project !== project) continue;
    const first = byFingerprint.get(mark.about);
    if (first === undefined) byFingerprint.set(mark.about, { ...issue, mark });
    else if (issue.open) doubles.push(closed(issue, `It says the same as #${first.number}.`));
  }
  const unique = [...new Map(findings.map((one) => [one.finding.fingerprint, one])).values()];
  const open = [...byFingerprint.values()].filter((issue) => issue.open && issue.mark.about !== summary.about);
  const present = new Set(unique.map(({ finding }) => finding.fingerprint));
  const stays = open.filter(({ mark }) => present.has(mark.about) || !lookedAt.has(mark.source));
  let free = Math.max(0, most - stays.length);
  const changes: IssueChange[] = [];
  const beyond: CountedFinding[] = [];
  for (const one of unique) {
    const issue = byFingerprint.get(one.finding.fingerprint);
    const body = written({ ...markOf(project, one), state: 'open' }, textOf(one));
    const title = titleOf(one);
    if (issue === undefined || (!issue.open && issue.mark.state === 'gone')) {
      if (free === 0) beyond.push(one);
      else {
        free -= 1;
        changes.push(
          issue === undefined
            ? { kind: 'create', title, body }
            : { kind: 'update', number: issue.number, title, body, reopen: true },
        );
      }
      // What a person has closed stays closed.
    } else if (issue.open && (!same(issue.body, body) || issue.title !== title)) {
      changes.push({ kind: 'update', number: issue.number, title, body, reopen: false });
    }
  }
  for (const issue of open) {
    if (stays.includes(issue)) continue;
    changes.push(closed(issue, 'The newest run of the release branch does not have it any more, or it is suppressed.'));
  }
  return [...doubles, ...changes, ...summaryOf(project, beyond, byFingerprint.get(summary.about))];
}

function closed({ number, title, body }: MarkedIssue, comment: string): IssueChange {
  return { kind: 'close', number, title, body: body.replace(/ open -->/, ' gone -->'), comment };
}

function summaryOf(
  project: string,
  beyond: readonly CountedFinding[],
  issue: MarkedIssue | undefined,
): readonly IssueChange[] {
  const mark = { project, ...summary } as const;
  if (beyond.length === 0) {
    if (issue?.open !== true) return [];
    return [closed(issue, 'Nothing is beyond the single issues any more.')];
  }
  const title = `${beyond.length} more critical findings in ${project}`;
  const lines = beyond.slice(0, mostListed).map((one) => `- ${titleOf(one, false)}`);
  const rest = beyond.length > mostListed ? [`- and ${beyond.length - mostListed} more`] : [];
  const text = ['Beyond those that have an issue of their own:', '', ...lines, ...rest].join('\n');
  const body = written({ ...mark, state: 'open' }, text);
  if (issue === undefined) return [{ kind: 'create', title, body }];
  if (issue.open && same(issue.body, body) && issue.title === title) return [];
  return [{ kind: 'update', number: issue.number, title, body, reopen: !issue.open }];
}

function markOf(project: string, { finding, gate, kind }: CountedFinding): Omit<Mark, 'state'> {
  return { project, about: finding.fingerprint, source: `${gate}/${kind}` };
}

function titleOf({ finding }: CountedFinding, asTitle = true): string {
  const { rule, component, file } = finding;
  const where =
    component === undefined
      ? file
      : `${component.name}${component.version === undefined ? '' : ` ${component.version}`}`;
  const words = `${rule}${where === undefined ? '' : ` in ${where}`}`;
  return asTitle ? plain(`Critical: ${words}`, longestTitle) : code(words);
}

function textOf({ finding, gate, tool }: CountedFinding): string {
  const { message, file, line, component, aliases = [] } = finding;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['gate', gate],
    ['tool', tool.version === undefined ? tool.name : `${tool.name} ${tool.version}`],
    ['file', file === undefined ? undefined : `${file}${line === undefined ? '' : `:${line}`}`],
    ['package', component === undefined ? undefined : `${component.name} ${component.version ?? ''}`],
    [
      'gone in',
      component?.fixedIn === undefined || component.fixedIn.length === 0 ? undefined : component.fixedIn.join(', '),
    ],
    ['also', aliases.length === 0 ? undefined : aliases.join(', ')],
  ];
  return [
    code(message),
    '',
    ...rows.flatMap(([name, value]) => (value === undefined ? [] : [`- ${name}: ${code(value)}`])),
    '',
    'It is closed when a run of the release branch does not have it any more. To live with it for a while, suppress it in the definition.',
  ].join('\n');
}

/** What a tool wrote is no markup and mentions nobody. */
function code(text: string): string {
  return `\`${plain(text.replaceAll('`', "'"), 500)}\``;
}

function plain(text: string, longest: number): string {
  const line = text.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim();
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}

/** Forges turn line ends and cut blanks at the end. */
function same(a: string, b: string): boolean {
  const tidy = (text: string): string => text.replaceAll('\r\n', '\n').trimEnd();
  return tidy(a) === tidy(b);
}
