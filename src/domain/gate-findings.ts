import {
  type Finding,
  type PutAside,
  type Severity,
  type SeverityCounts,
  noCounts,
  rankOf,
  severities,
} from './report.ts';

/** A finding that somebody has decided to live with, until a day. */
export interface Suppression {
  /** As the tool calls it, or a part of it with `*` at its end. */
  readonly rule: string;
  /** Only in this file, or this folder with `/**` at its end. Default: everywhere. */
  readonly file?: string | undefined;
  /** Only of this package. Default: any. */
  readonly component?: string | undefined;
  readonly reason: string;
  /** Last day on which it holds, `2026-12-31`, to its end in UTC. */
  readonly expires: string;
}

/** A suppression with what it did; an expired one does nothing and is named so that somebody looks again. */
export interface AppliedSuppression extends Suppression {
  readonly matched: number;
  readonly expired: boolean;
}

/** Severity of a rule, by its name or a part of it with `*` at its end. */
export interface Rating {
  readonly rule: string;
  readonly severity: Severity;
  /** Of the repository: it can only make a finding more severe. */
  readonly raiseOnly: boolean;
}

export interface Adjustments {
  readonly least: Severity;
  readonly ratings: readonly Rating[];
  readonly suppressions: readonly Suppression[];
  /** Fingerprints that do not count as new. */
  readonly known: ReadonlySet<string>;
  readonly at: string;
}

export interface Sifted {
  readonly counted: SeverityCounts;
  readonly findings: readonly Finding[];
  readonly known: number;
  readonly suppressed: number;
}

/** Tells findings that count from those that do not. */
export interface Sieve {
  /**
   * @param counts - of all findings of the report, also of those that were not kept: these count, for nobody can say that they are known.
   * @param kept - how many of `findings`, from the first, are in `counts` too.
   */
  sift(findings: readonly Finding[], counts: SeverityCounts, kept: number): Sifted;
  /** Those that would count if their tool had not been told to put them aside. */
  wouldCount(aside: readonly PutAside[]): readonly PutAside[];
  applied(): readonly AppliedSuppression[];
}

export function createSieve({ least, ratings, suppressions, known, at }: Adjustments): Sieve {
  const applied = suppressions.map((suppression) => ({
    ...suppression,
    matched: 0,
    expired: isExpired(suppression, at),
  }));
  const counts = (severity: Severity): boolean => rankOf(severity) <= rankOf(least);

  return {
    sift(findings, all, kept) {
      const counted = { ...noCounts };
      const shown: Finding[] = [];
      let knownCount = 0;
      let suppressed = 0;
      for (const given of findings) {
        const finding = rated(given, ratings);
        if (!counts(finding.severity)) continue;
        const matching = applied.filter((suppression) => matches(suppression, finding));
        for (const suppression of matching) suppression.matched += 1;
        if (matching.some(({ expired }) => !expired)) suppressed += 1;
        else if (known.has(finding.fingerprint)) knownCount += 1;
        else {
          counted[finding.severity] += 1;
          shown.push(finding);
        }
      }
      for (const severity of severities) {
        const listed = findings.slice(0, kept).filter((finding) => finding.severity === severity).length;
        if (counts(severity)) counted[severity] += Math.max(0, all[severity] - listed);
      }
      return { counted, findings: shown, known: knownCount, suppressed };
    },
    wouldCount: (aside) => aside.filter((one) => counts(rated(one, ratings).severity)),
    applied: () => applied,
  };
}

/** Ends with its day: what is written is what a person reads. */
function isExpired({ expires }: Suppression, at: string): boolean {
  const end = Date.parse(`${expires}T23:59:59.999Z`);
  // A day that is none never held.
  return !(Date.parse(at) <= end);
}

function matches({ rule, file, component }: Suppression, finding: Finding): boolean {
  return (
    [finding.rule, ...(finding.aliases ?? [])].some((name) => matchesName(rule, name)) &&
    (file === undefined || matchesFile(file, finding.file)) &&
    (component === undefined || component === finding.component?.name)
  );
}

function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function matchesFile(pattern: string, file: string | undefined): boolean {
  if (file === undefined) return false;
  return pattern.endsWith('/**') ? file.startsWith(pattern.slice(0, -2)) : file === pattern;
}

/** Of several ratings of a rule the last holds; one of the repository only where it makes the finding more severe. */
function rated<Rated extends Pick<Finding, 'rule' | 'severity'>>(finding: Rated, ratings: readonly Rating[]): Rated {
  let { severity } = finding;
  for (const rating of ratings) {
    if (!matchesName(rating.rule, finding.rule)) continue;
    if (!rating.raiseOnly || rankOf(rating.severity) < rankOf(severity)) severity = rating.severity;
  }
  return severity === finding.severity ? finding : { ...finding, severity };
}
