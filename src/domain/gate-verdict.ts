/** The judgement of a gate: what was looked at, by which tool, what was found, and whether that stops anything. */
import type { GateMode, GateName, GatePolicy } from './gate.ts';
import { type Adjustments, type AppliedSuppression, createSieve } from './gate-findings.ts';
import { isRoot } from './image-user.ts';
import { asksForLicences, judgeLicences } from './licence.ts';
import {
  type Finding,
  type PutAside,
  type Report,
  type ReportKind,
  type Severity,
  type SeverityCounts,
  countOf,
  licenceKinds,
  noCounts,
  rankOf,
  ratioOf,
  severities,
} from './report.ts';
import { type Verdict, worst } from './verdict.ts';

/** What one report meant to a gate. */
export interface ReportJudgement {
  readonly kind: ReportKind;
  readonly path: string;
  readonly verdict: GateOutcome;
  /** Name, and the version where it is known. */
  readonly tool: string;
  readonly lookedAt: string;
  readonly reason: string;
}

export type GateOutcome = Exclude<Verdict, 'inconclusive'>;

export interface GateVerdict {
  readonly gate: GateName;
  readonly mode: GateMode;
  readonly verdict: GateOutcome;
  /** Whether it stops what it was asked for: not passed where it blocks, or coverage under its critical floor. */
  readonly blocks: boolean;
  /** One sentence. */
  readonly reason: string;
  readonly reports: readonly ReportJudgement[];
  /** Of gates that look at facts instead of reports. */
  readonly checks?: readonly { readonly name: string; readonly verdict: GateOutcome; readonly detail: string }[];
  /** Findings that count, by severity. */
  readonly counted: SeverityCounts;
  /** Those that count and are worth showing, the most severe first; at most {@link mostShown}. */
  readonly findings: readonly Finding[];
  /** Findings that the last release has too. */
  readonly known: number;
  readonly suppressed: number;
  readonly suppressions: readonly AppliedSuppression[];
  /** What would count and was put aside by its own tool, the most severe first; at most {@link mostAside} entries. Absent where there is none. */
  readonly putAside?: readonly PutAside[];
}

export const mostShown = 20;
export const mostAside = 100;

export interface GateInput {
  readonly policy: GatePolicy;
  readonly reports: readonly Report[];
  /** Fingerprints of the last release; undefined where there is none, `unreadable` where they could not be had. */
  readonly baseline?: ReadonlySet<string> | 'unreadable';
  /** ISO 8601; suppressions end by it, and databases and images are so old. */
  readonly at: string;
}

/**
 * Judges one gate.
 *
 * @returns undefined where it is off, or nobody asked for it: no report, and no document names it.
 */
export function judgeGate(input: GateInput): GateVerdict | undefined {
  const { policy, reports } = input;
  if (policy.mode === 'off') return judgeFloor(input);
  const missing = policy.reports.filter((kind) => !reports.some((report) => report.kind === kind));
  if (reports.length === 0 && missing.length === 0 && !policy.demanded) return undefined;

  const sieve = createSieve(adjustmentsOf(input));
  const judged = reports.map((report) => judgeReport(report, input, sieve));
  const absent = [...absentReports(policy, reports, missing), ...absentLicences(policy, reports)];
  const all = [...judged.map(({ judgement }) => judgement), ...absent];
  const verdict = worst(all.map((one) => one.verdict)) as GateOutcome;
  const critical = judged.some((one) => one.critical);
  const counted = judged.reduce((sum, one) => add(sum, one.counted), noCounts);
  const decisive = all.filter((one) => one.verdict === verdict);
  const aside = judged
    .flatMap(({ putAside }) => putAside)
    .sort((a, b) => rankOf(a.severity) - rankOf(b.severity))
    .slice(0, mostAside);
  return {
    gate: policy.gate,
    mode: policy.mode,
    verdict,
    blocks: critical || (policy.mode === 'block' && verdict !== 'passed'),
    reason: decisive.map(({ reason }) => reason).join(' '),
    reports: all,
    counted,
    findings: judged
      .flatMap(({ findings }) => findings)
      .sort((a, b) => rankOf(a.severity) - rankOf(b.severity))
      .slice(0, mostShown),
    known: judged.reduce((sum, one) => sum + one.known, 0),
    suppressed: judged.reduce((sum, one) => sum + one.suppressed, 0),
    suppressions: sieve.applied(),
    ...(aside.length === 0 ? {} : { putAside: aside }),
  };
}

/** Coverage under its critical floor blocks whatever the mode is, so a gate that is off still says that, and nothing else. */
function judgeFloor(input: GateInput): GateVerdict | undefined {
  const { policy, reports } = input;
  const low = reports.some((report) => report.state === 'read' && coveragePart(report, policy)?.critical === true);
  const verdict = low ? judgeGate({ ...input, policy: { ...policy, mode: 'warn' } }) : undefined;
  return verdict === undefined ? undefined : { ...verdict, mode: policy.mode };
}

function adjustmentsOf({ policy, baseline, at }: GateInput): Adjustments {
  return {
    least: policy.least,
    ratings: policy.ratings,
    suppressions: policy.suppressions,
    // Without those of the last release every finding is a new one.
    known: policy.baseline === 'last-release' && baseline instanceof Set ? baseline : new Set(),
    at,
  };
}

/** What is asked for and not there: never a pass. */
function absentReports(
  { gate }: GatePolicy,
  reports: readonly Report[],
  missing: readonly ReportKind[],
): readonly ReportJudgement[] {
  const line = (kind: ReportKind | undefined, what: string): ReportJudgement => ({
    kind: kind ?? 'sarif',
    path: '',
    verdict: 'errored',
    tool: kind ?? gate,
    lookedAt: 'nothing',
    reason: what,
  });
  if (missing.length > 0) return missing.map((kind) => line(kind, `There is no report of the kind ${kind}.`));
  return reports.length > 0 ? [] : [line(undefined, `There is no report for ${gate}.`)];
}

/** A policy of licences that no report names the licences for has looked at none. One that could not be read is errored by itself. */
function absentLicences({ licences }: GatePolicy, reports: readonly Report[]): readonly ReportJudgement[] {
  if (!asksForLicences(licences) || reports.length === 0) return [];
  if (reports.some((report) => licenceKinds.includes(report.kind))) return [];
  return [
    {
      ...{ kind: 'cyclonedx', path: '', verdict: 'errored', tool: 'licences', lookedAt: 'nothing' },
      reason: `There is a policy of licences and no report that names any; ${licenceKinds.join(', ')} do.`,
    },
  ];
}

interface Judged {
  readonly judgement: ReportJudgement;
  /** Coverage under its floor. */
  readonly critical: boolean;
  readonly counted: SeverityCounts;
  readonly findings: readonly Finding[];
  readonly known: number;
  readonly suppressed: number;
  readonly putAside: readonly PutAside[];
}

type ReadReport = Extract<Report, { state: 'read' }>;

function judgeReport(report: Report, input: GateInput, sieve: ReturnType<typeof createSieve>): Judged {
  const nothing = { critical: false, counted: noCounts, findings: [], known: 0, suppressed: 0, putAside: [] };
  const { kind, path } = report;
  if (report.state === 'errored') {
    const { reason, place, remedy } = report.problem;
    const judgement = {
      kind,
      path,
      verdict: 'errored',
      tool: kind,
      lookedAt: 'nothing',
      reason: `${place} ${reason}. ${remedy}`,
    } as const;
    return { ...nothing, judgement };
  }
  const sifted = sieve.sift(
    [...report.findings, ...extraFindings(report, input)],
    report.counts,
    report.findings.length,
  );
  const aside = sieve.wouldCount(report.putAside ?? []);
  const parts = [
    testsPart(report),
    coveragePart(report, input.policy),
    scorePart(report, input.policy),
    agePart(report, input),
    findingsPart(report, sifted.counted, sifted.known, input),
  ].filter((part) => part !== undefined);
  const verdict = worst(parts.map((part) => part.verdict)) as GateOutcome;
  const { name, version } = report.tool;
  return {
    judgement: {
      kind,
      path,
      verdict,
      tool: version === undefined ? name : `${name} ${version}`,
      lookedAt: report.lookedAt,
      reason: `${name}: ${parts
        .filter((part) => part.verdict === verdict)
        .map((part) => part.reason)
        .join('; ')}.`,
    },
    critical: parts.some((part) => part.critical === true),
    ...sifted,
    suppressed: sifted.suppressed + aside.reduce((sum, { found }) => sum + found, 0),
    putAside: aside,
  };
}

interface Part {
  readonly verdict: GateOutcome;
  readonly reason: string;
  readonly critical?: boolean;
}

function testsPart({ tests }: ReadReport): Part | undefined {
  if (tests === undefined) return undefined;
  const { total, failed, errored, skipped } = tests;
  if (total - skipped === 0) {
    return { verdict: 'errored', reason: total === 0 ? 'no test was run' : `all ${total} tests were skipped` };
  }
  if (failed + errored === 0) {
    return {
      verdict: 'passed',
      reason: `${total - skipped} of ${total} tests passed${skipped === 0 ? '' : `, ${skipped} were skipped`}`,
    };
  }
  return {
    verdict: 'failed',
    reason: `${failed} of ${total} tests failed${errored === 0 ? '' : `, ${errored} ended by an error`}`,
  };
}

function coveragePart({ coverage }: ReadReport, { coverage: floor }: GatePolicy): Part | undefined {
  if (coverage === undefined) return undefined;
  const ratio = ratioOf(coverage.lines);
  if (ratio === undefined) return { verdict: 'errored', reason: 'no line was measured' };
  const words = `${percent(ratio)} of the lines are covered`;
  if (ratio < floor.critical) {
    return {
      verdict: 'failed',
      critical: true,
      reason: `${words}, under the critical floor of ${percent(floor.critical)}`,
    };
  }
  if (ratio < floor.min) return { verdict: 'failed', reason: `${words}, ${percent(floor.min)} are asked for` };
  return { verdict: 'passed', reason: words };
}

function scorePart({ kind, score }: ReadReport, policy: GatePolicy): Part | undefined {
  if (score === undefined) {
    if (kind !== 'pylint') return undefined;
    return { verdict: 'errored', reason: 'this form of the report has no score; write `json2` or text' };
  }
  const words = `the score is ${score.value.toFixed(2)} of ${score.best}`;
  return score.value >= policy.score
    ? { verdict: 'passed', reason: words }
    : { verdict: 'failed', reason: `${words}, ${policy.score} is asked for` };
}

/** A scanner whose database is out of date has not looked for what is newer. */
function agePart({ tool: { databaseAt } }: ReadReport, { policy, at }: GateInput): Part | undefined {
  if (databaseAt === undefined) return undefined;
  const days = ageDays(databaseAt, at);
  if (days === undefined) {
    return { verdict: 'errored', reason: `its database is of \`${databaseAt.slice(0, 40)}\`, which is no time` };
  }
  if (days <= policy.databaseAgeDays) return undefined;
  return {
    verdict: 'errored',
    reason: `its database is ${Math.floor(days)} days old, at most ${policy.databaseAgeDays} are allowed; update it`,
  };
}

/** Scanners that compare with a copy of a database on their machine and do not say in this form of report how old that is. */
const comparesSilently: ReadonlySet<ReportKind> = new Set(['trivy', 'clair', 'osv-scanner']);

function findingsPart(
  { kind, tool, tests, coverage, score }: ReadReport,
  counted: SeverityCounts,
  known: number,
  { policy, baseline }: GateInput,
): Part | undefined {
  // pylint is judged by its score.
  if (score !== undefined || kind === 'pylint') return undefined;
  const total = countOf(counted);
  if (total === 0 && (tests !== undefined || coverage !== undefined)) return undefined;
  if (total <= policy.allowed) {
    const beside = [
      total > 0 ? `${total} findings are allowed` : 'no finding counts',
      ...(known > 0 ? [`${known} are of the last release`] : []),
      ...(comparesSilently.has(kind) && tool.databaseAt === undefined
        ? ['how old what it compares with is its report does not say']
        : []),
    ];
    return { verdict: 'passed', reason: beside.join(', ') };
  }
  const words = severities
    .filter((one) => counted[one] > 0)
    .map((one) => `${counted[one]} ${one}`)
    .join(', ');
  const fresh = policy.baseline === 'last-release' ? ' new' : '';
  if (policy.baseline === 'last-release' && baseline === 'unreadable') {
    return {
      verdict: 'errored',
      reason: `${words} findings, and which of them the last release has could not be found out`,
    };
  }
  return {
    verdict: 'failed',
    reason: `${total}${fresh} ${total === 1 ? 'finding counts' : 'findings count'}: ${words}`,
  };
}

/** Findings that only the policy makes of what a report says. */
function extraFindings(report: ReadReport, { policy, at }: GateInput): readonly Finding[] {
  const { packages, image, contentOf } = report;
  const found = packages === undefined ? [] : judgeLicences(packages, policy.licences, contentOf);
  if (image === undefined) return found;
  const days = ageDays(image.baseCreatedAt ?? undefined, at);
  const of = (rule: string, severity: Severity, message: string): Finding => ({
    rule,
    severity,
    message,
    file: image.name,
    fingerprint: `${rule}/${image.name.replace(/[:@][^/]*$/, '')}`,
  });
  const { exposed = [] } = image;
  return [
    ...found,
    ...(days !== undefined && days > policy.imageAgeDays
      ? [
          of(
            'base-image-age',
            'high',
            `The base of the image is ${Math.floor(days)} days old; ${policy.imageAgeDays} are allowed.`,
          ),
        ]
      : []),
    // A suppression can say that somebody knows: reproducible bases have no date at all.
    ...(image.baseCreatedAt === null || (image.baseCreatedAt !== undefined && days === undefined)
      ? [of('base-image-age-unknown', 'unknown', 'The layers of the image do not say when its base was made.')]
      : []),
    ...(exposed.length > 0
      ? [of('secret-in-image', 'high', `Looks like secrets in its layers: ${exposed.slice(0, 10).join(', ')}.`)]
      : []),
    ...(isRoot(image.user ?? '') ? [of('runs-as-root', 'medium', 'The image runs as root.')] : []),
    ...(image.layers > mostLayers ? [of('layers', 'low', `The image has ${image.layers} layers.`)] : []),
  ];
}

/** More are slow to pull and near the 127 that overlayfs takes. Judgement. */
const mostLayers = 60;

function ageDays(since: string | undefined, at: string): number | undefined {
  if (since === undefined) return undefined;
  const days = (Date.parse(at) - Date.parse(since)) / 86_400_000;
  return Number.isFinite(days) ? days : undefined;
}

/** Never rounded up over a threshold: 69.99 % is not 70 %. */
function percent(ratio: number): string {
  return `${Math.floor(ratio * 10_000) / 100} %`;
}

function add(a: SeverityCounts, b: SeverityCounts): SeverityCounts {
  return {
    critical: a.critical + b.critical,
    high: a.high + b.high,
    medium: a.medium + b.medium,
    low: a.low + b.low,
    info: a.info + b.info,
    unknown: a.unknown + b.unknown,
  };
}
