/** The findings of a run that count, whole: a verdict of a gate shows only the first of them. */
import type { GatedReport } from './evidence.ts';
import type { GateName, GatePolicy } from './gate.ts';
import { createSieve } from './gate-findings.ts';
import { type Finding, type ReportKind, type ReportTool, type Severity, rankOf } from './report.ts';

/** A finding that counts, with where it comes from. */
export interface CountedFinding {
  readonly finding: Finding;
  readonly gate: GateName;
  readonly kind: ReportKind;
  readonly tool: ReportTool;
}

/** What one run found, and what it looked at: only what was looked at can be gone. */
export interface CountedFindings {
  readonly findings: readonly CountedFinding[];
  /** `gate/kind` of which every report was read, and keeps every finding of the severity. */
  readonly lookedAt: ReadonlySet<string>;
}

/**
 * What counts by the policies of a run, of a severity or graver. A finding of the last release counts like any other: it is still there.
 *
 * @param at - ISO 8601; suppressions end by it.
 */
export function countFindings(
  reports: readonly GatedReport[],
  policies: readonly GatePolicy[],
  least: Severity,
  at: string,
): CountedFindings {
  const findings: CountedFinding[] = [];
  const whole = new Map<string, boolean>();
  for (const report of reports) {
    const { gate, kind } = report;
    const policy = policies.find((one) => one.gate === gate);
    const source = `${gate}/${kind}`;
    if (report.state === 'errored' || policy === undefined || policy.mode === 'off') {
      whole.set(source, false);
      continue;
    }
    const { ratings, suppressions } = policy;
    const sieve = createSieve({ least, ratings, suppressions, known: new Set(), at });
    const { findings: counted } = sieve.sift(report.findings, report.counts, report.findings.length);
    for (const finding of counted) {
      if (rankOf(finding.severity) <= rankOf(least)) findings.push({ finding, gate, kind, tool: report.tool });
    }
    // The gravest are kept, so only where even these were too many is something missing.
    const total = Object.values(report.counts).reduce((sum, count) => sum + count, 0);
    const lost =
      total > report.findings.length && report.findings.every(({ severity }) => rankOf(severity) <= rankOf(least));
    whole.set(source, (whole.get(source) ?? true) && !lost);
  }
  return { findings, lookedAt: new Set([...whole].flatMap(([source, all]) => (all ? [source] : []))) };
}
