/** What a run showed, on one page: for people as Markdown, for programs as the same data. */
import type { Documentation } from './documentation.ts';
import type { EvidenceFile } from './evidence-files.ts';
import type { GateName } from './gate.ts';
import type { GateVerdict } from './gate-verdict.ts';
import type { AppliedSuppression } from './gate-findings.ts';
import type { RunOutcome } from './outcome.ts';
import { type CoverageFigures, type PutAside, type TestFigures, mostFailures, ratioOf } from './report.ts';
import type { GatedReport, KeptPages } from './evidence.ts';
import type { PublishedPackage } from './packages.ts';
import type { ImageReport, StagePlan } from './run.ts';
import { type RunFigures, type Trend, trendOf } from './run-trend.ts';
import { definedAs } from './stage-graph.ts';
import type { Verdict } from './verdict.ts';

export interface BuildReport {
  readonly project: string;
  readonly run: number;
  readonly version: string | null;
  readonly ref: string;
  readonly commit: string;
  readonly author: string;
  readonly outcome: RunOutcome | null;
  readonly reason: string | null;
  readonly acceptedAt: string;
  readonly settledAt: string | null;
  /** All reports of tests together; null where there are none. */
  readonly tests: TestFigures | null;
  readonly coverage: CoverageChange | null;
  /** The run and the finished ones before it. */
  readonly trend: Trend;
  readonly gates: readonly (GateVerdict & { readonly stage: string })[];
  /** Reports that say nothing, each with the reason. */
  readonly errored: readonly {
    readonly stage: string;
    readonly path: string;
    readonly reason: string;
    readonly remedy: string;
  }[];
  readonly suppressions: readonly AppliedSuppression[];
  /** What would count and was put aside by its own tool. */
  readonly putAside: readonly (PutAside & { readonly gate: GateName })[];
  readonly images: readonly ImageReport[];
  readonly packages: readonly PublishedPackage[];
  readonly documentation: readonly Documentation[];
  /** Files that say what is known of the images, as long as they are kept; `address` is a path of the API. */
  readonly evidence: readonly (EvidenceFile & { readonly address: string })[];
  readonly stages: readonly StageTime[];
  readonly pages: readonly ReportPages[];
}

export interface CoverageChange {
  /** Share of lines, 0 to 1. */
  readonly lines: number;
  /** That of the last release before this run; null where there was none, or it measured nothing. */
  readonly before: number | null;
}

export interface StageTime {
  readonly name: string;
  readonly verdict: Verdict | null;
  readonly durationMs: number | null;
  /** What the specification gives for a stage that is defined by that name, for each stage of a matrix as well, ms; null for others. */
  readonly nominalMs: readonly [number, number] | null;
}

export interface ReportPages {
  readonly stage: string;
  readonly path: string;
  /** Path of the API. */
  readonly address: string;
}

/** Where a browser is shown the report of a run, a path of the API. */
export function reportPageAddress({ project, run }: { readonly project: string; readonly run: number }): string {
  return `/v1/projects/${project}/runs/${run}/report.html`;
}

const minuteMs = 60_000;

/** Nominal times of S0 (S0-31 to S0-82, A-05): a measure to compare with, never a limit. */
const nominalMinutes: Readonly<Record<string, readonly [number, number]>> = {
  install: [3, 5],
  quality: [5, 7],
  lint: [5, 7],
  security: [3, 5],
  test: [5, 10],
  tests: [5, 10],
  unit: [5, 10],
  build: [10, 15],
  scan: [5, 7],
  push: [3, 5],
};

export interface BuildReportInput {
  readonly run: Omit<
    BuildReport,
    'tests' | 'coverage' | 'gates' | 'errored' | 'suppressions' | 'putAside' | 'stages' | 'pages' | 'trend'
  > & {
    readonly startedAt: string | null;
  };
  readonly stages: readonly Omit<StageTime, 'nominalMs'>[];
  /** Stages as the run had planned them; none where it never got so far. */
  readonly planned: readonly Pick<StagePlan, 'name' | 'group'>[];
  readonly reports: readonly (GatedReport & { readonly stage: string })[];
  readonly gates: BuildReport['gates'];
  readonly pages: readonly (KeptPages & { readonly stage: string; readonly position: number })[];
  /** Coverage of the last release before. */
  readonly coverageBefore: number | null;
  /** Finished runs before it that showed something, newest first, and whose they are. */
  readonly earlier: { readonly ref: string; readonly runs: readonly RunFigures[] };
}

/** Puts the page of a run together. */
export function buildReport(input: BuildReportInput): BuildReport {
  const { stages, planned, reports, gates, pages, coverageBefore, earlier } = input;
  const { startedAt, ...run } = input.run;
  const lines = coverageOf(reports);
  const tests = testsOf(reports);
  const { version, outcome, settledAt } = run;
  const figures: RunFigures = {
    ...{ run: run.run, version, outcome, settledAt, coverage: lines },
    tests: tests?.total ?? null,
    testsFailed: tests === null ? null : tests.failed + tests.errored,
    findings: reports.reduce((sum, report) => sum + (report.state === 'read' ? report.findings.length : 0), 0),
    durationMs: startedAt === null || settledAt === null ? null : Date.parse(settledAt) - Date.parse(startedAt),
  };
  return {
    ...run,
    tests,
    trend: trendOf(earlier.ref, [figures, ...earlier.runs]),
    coverage: lines === null ? null : { lines, before: coverageBefore },
    gates,
    errored: reports.flatMap((report) =>
      report.state === 'errored'
        ? [{ stage: report.stage, path: report.path, reason: report.problem.reason, remedy: report.problem.remedy }]
        : [],
    ),
    suppressions: gates.flatMap(({ suppressions }) => suppressions),
    putAside: gates.flatMap(({ gate, putAside = [] }) => putAside.map((one) => ({ ...one, gate }))),
    stages: stages.map((stage) => {
      const defined = definedAs(planned.find(({ name }) => name === stage.name) ?? stage);
      const minutes = Object.hasOwn(nominalMinutes, defined) ? nominalMinutes[defined] : undefined;
      return { ...stage, nominalMs: minutes === undefined ? null : [minutes[0] * minuteMs, minutes[1] * minuteMs] };
    }),
    pages: pages.map(({ stage, path, position, entry }) => ({
      stage,
      path,
      address: `/v1/projects/${run.project}/runs/${run.run}/pages/${stage}/${position}/${entry}`,
    })),
  };
}

/** The lowest of several: each is judged by itself, and none makes up for another. Null where nothing was measured. */
export function coverageOf(reports: readonly GatedReport[]): number | null {
  const ratios = reports.flatMap((report) => (report.state === 'read' ? (shareOf(report.coverage) ?? []) : []));
  return ratios.length === 0 ? null : Math.min(...ratios);
}

function shareOf(coverage: CoverageFigures | undefined): number | undefined {
  return coverage === undefined ? undefined : ratioOf(coverage.lines);
}

/** All reports of tests together; null where there are none. */
export function testsOf(reports: readonly GatedReport[]): TestFigures | null {
  const all = reports.flatMap((report) => (report.state === 'read' ? (report.tests ?? []) : []));
  if (all.length === 0) return null;
  const sum = (figure: 'total' | 'failed' | 'errored' | 'skipped' | 'durationMs'): number =>
    all.reduce((total, one) => total + one[figure], 0);
  return {
    total: sum('total'),
    failed: sum('failed'),
    errored: sum('errored'),
    skipped: sum('skipped'),
    durationMs: sum('durationMs'),
    failures: all.flatMap(({ failures }) => failures).slice(0, mostFailures),
  };
}
