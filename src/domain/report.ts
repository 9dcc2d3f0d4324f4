/** What checkers, scanners and test runs wrote, in one form for all of them. Readers are in `src/providers/reports`. */

/** Every form of report that can be read. The name is that of the format, which may come from many tools. */
export const reportKinds = [
  'junit',
  'cobertura',
  'lcov',
  'coverage-py',
  'sarif',
  'flake8',
  'pylint',
  'black',
  'isort',
  'mypy',
  'eslint',
  'sonarqube',
  'bandit',
  'semgrep',
  'gitleaks',
  'safety',
  'pip-audit',
  'pip-licenses',
  'cyclonedx',
  'spdx',
  'pip-outdated',
  'osv-scanner',
  'dependency-check',
  'trivy',
  'grype',
  'clair',
  'checkov',
  'great-expectations',
] as const;

export type ReportKind = (typeof reportKinds)[number];

/** Forms of report that name packages with their licences. */
export const licenceKinds: readonly ReportKind[] = ['pip-licenses', 'cyclonedx', 'spdx'];

/** `unknown`: the tool gives none. It is never taken for a low one. */
export const severities = ['critical', 'high', 'unknown', 'medium', 'low', 'info'] as const;

export type Severity = (typeof severities)[number];

/** How grave, 0 the gravest. What a tool does not rate may be as bad as most things are: it stands with `high`. */
export function rankOf(severity: Severity): number {
  return { critical: 0, high: 1, unknown: 1, medium: 2, low: 3, info: 4 }[severity];
}

/** One thing that a tool has to say about one place. */
export interface Finding {
  /** As the tool calls it: `E501`, `B602`, `CVE-2024-3094`. */
  readonly rule: string;
  readonly severity: Severity;
  /** One line, at most {@link longestMessage} characters. */
  readonly message: string;
  /** From the root of the repository, or a path inside of an image. */
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  readonly component?: Component;
  /** Other names of the same rule: an advisory has one in each database. */
  readonly aliases?: readonly string[];
  /**
   * The same for the same finding after its lines have moved: made of tool, rule, file, component and message without its numbers, and of a
   * count where several are alike. 32 hexadecimal characters.
   */
  readonly fingerprint: string;
}

/** A package that a finding is about. */
export interface Component {
  readonly name: string;
  readonly version?: string;
  /** Versions without the finding, oldest first; empty where there is none yet. */
  readonly fixedIn?: readonly string[];
}

/** Findings that a tool was told to put aside, by a comment in the source or in a file or service of its own; alike ones are one entry. */
export interface PutAside {
  readonly rule: string;
  readonly severity: Severity;
  readonly file?: string;
  readonly component?: Component;
  /** Where it was told to, and why, where the report says it; one line. */
  readonly reason: string;
  readonly found: number;
}

/** Of each report so many entries are kept, the most severe ones. Judgement. */
export const mostPutAside = 500;

export const longestMessage = 500;

/** Of each report so many findings are kept, the most severe ones; the others are counted only. Judgement. */
export const mostFindings = 2_000;

export interface TestFigures {
  readonly total: number;
  readonly failed: number;
  /** Ended by something else than what they test. */
  readonly errored: number;
  readonly skipped: number;
  readonly durationMs: number;
  /** Of failed and errored ones, the first {@link mostFailures}. */
  readonly failures: readonly TestFailure[];
}

export interface TestFailure {
  readonly name: string;
  readonly kind: 'failed' | 'errored';
  readonly message: string;
}

export const mostFailures = 100;

export interface Share {
  readonly covered: number;
  readonly total: number;
}

export interface CoverageFigures {
  readonly lines: Share;
  /** Absent where branches were not measured. */
  readonly branches?: Share;
  readonly files: number;
}

/** A mark that a tool gives to everything it looked at. */
export interface Score {
  readonly value: number;
  readonly best: number;
}

export interface LicensedPackage {
  readonly name: string;
  readonly version: string;
  /** As the package names it: an SPDX expression, or whatever else stands there. */
  readonly licence: string;
  /** It is of the distribution of an image, as its address says (`pkg:deb/…`). */
  readonly system?: true;
}

/** What a scanner tells of an image beside its findings. */
export interface ImageFacts {
  readonly name: string;
  /**
   * When the oldest layer, that of the base, was made; ISO 8601. Absent where the scanner does not say, or there is no base; null where it was
   * looked for and the layers do not tell.
   */
  readonly baseCreatedAt?: string | null;
  /** User that its process runs as; empty means root. */
  readonly user?: string;
  readonly layers: number;
  /** Names of variables and build arguments that look like secrets and stand in its layers. Absent where nobody looked. */
  readonly exposed?: readonly string[];
}

/** Why a report says nothing. */
export interface ReportProblem {
  readonly reason: string;
  /** File, and the line, byte or path in it where it is known. */
  readonly place: string;
  /** What to do. */
  readonly remedy: string;
}

export interface ReportTool {
  readonly name: string;
  /** Where the report says it. */
  readonly version?: string;
  /** When what it compares with (a database of advisories) was made, ISO 8601; where the report says it. */
  readonly databaseAt?: string;
}

/** Findings by severity, also of those that were not kept. */
export type SeverityCounts = Readonly<Record<Severity, number>>;

/** What one report says. */
export interface ReportContent {
  readonly tool: ReportTool;
  /** What the tool looked at: `12 files`, `84 packages`. Never empty. */
  readonly lookedAt: string;
  readonly findings: readonly Finding[];
  readonly counts: SeverityCounts;
  /** What the tool found and was told not to count; in neither of the two above. Absent where there is none. */
  readonly putAside?: readonly PutAside[];
  readonly tests?: TestFigures;
  readonly coverage?: CoverageFigures;
  readonly score?: Score;
  readonly packages?: readonly LicensedPackage[];
  /** Name of the image that the packages lie in; absent: they are those of the source. */
  readonly contentOf?: string;
  readonly image?: ImageFacts;
}

interface ReportBase {
  readonly kind: ReportKind;
  /** In the workspace. */
  readonly path: string;
}

/** A report that was read, or the reason why it says nothing. */
export type Report =
  | (ReportBase & ReportContent & { readonly state: 'read' })
  | (ReportBase & { readonly state: 'errored'; readonly problem: ReportProblem });

export const noCounts: SeverityCounts = { critical: 0, high: 0, medium: 0, low: 0, info: 0, unknown: 0 };

/** All findings of a report, kept or not. */
export function countOf(counts: SeverityCounts): number {
  return severities.reduce((sum, severity) => sum + counts[severity], 0);
}

/** 0 to 1; undefined where there was nothing to cover. */
export function ratioOf({ covered, total }: Share): number | undefined {
  return total > 0 ? covered / total : undefined;
}
