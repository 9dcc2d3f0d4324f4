import { type Verdict, worst } from './verdict.ts';

/** `unknown`: the advisory gives none. It is never taken for a low one. */
export const vulnerabilitySeverities = ['critical', 'high', 'medium', 'low', 'unknown'] as const;
export type VulnerabilitySeverity = (typeof vulnerabilitySeverities)[number];

/** When a bill of materials of an image is made: wherever it can be, always or the image goes nowhere, only for a scan. */
export const sbomModes = ['auto', 'required', 'off'] as const;
export type SbomMode = (typeof sbomModes)[number];

/** One advisory about one package of an image. */
export interface Vulnerability {
  /** As the database names it: `CVE-2026-1234`, `GHSA-…`. */
  readonly id: string;
  /** Other names of the same. */
  readonly aliases: readonly string[];
  readonly severity: VulnerabilitySeverity;
  readonly package: string;
  readonly version: string;
  /** Versions without it; empty where there is none yet. */
  readonly fixedIn: readonly string[];
}

/** What a scanner said of one image. */
export interface ImageScan {
  readonly scanner: { readonly name: string; readonly version: string };
  /** When the advisories it used were last renewed, ISO 8601; of several parts the oldest. */
  readonly databaseAt: string;
  readonly scannedAt: string;
  /** How many packages were looked up. */
  readonly packages: number;
  /** What the image has besides, of which the scanner has no advisories. Absent in scans of an older Slipway. */
  readonly notLookedUp?: readonly NotLookedUp[];
  readonly vulnerabilities: readonly Vulnerability[];
}

/** Packages of one kind that a scanner knows nothing of. */
export interface NotLookedUp {
  /** `rpm/amzn`, `conda`. */
  readonly kind: string;
  readonly packages: number;
  /** They are the system's own, so that nothing is known of the image itself. */
  readonly system: boolean;
}

/** Somebody has looked at an advisory and decided to live with it for a while. */
export interface ScanException {
  /** Its id, or one of its aliases. */
  readonly id: string;
  /** Default: any package. */
  readonly package?: string;
  readonly reason: string;
  /** Last day it holds, `2026-12-31`. */
  readonly until: string;
}

/** What is judged by. */
export interface ScanRules {
  readonly severities: readonly VulnerabilitySeverity[];
  readonly exceptions: readonly ScanException[];
}

export type ScanMode = 'block' | 'warn' | 'off';

/** The judgement on an image, small enough to travel. */
export interface ScanVerdict {
  readonly verdict: Verdict;
  /** One sentence. */
  readonly reason: string;
  /** What was looked at and by what. Absent where the scanner could not say anything. */
  readonly scanner?: { readonly name: string; readonly version: string };
  readonly databaseAt?: string;
  readonly scannedAt: string;
  readonly packages: number;
  readonly counts: Readonly<Record<VulnerabilitySeverity, number>>;
  /** The worst ones that count, one line each, at most {@link mostShown}. */
  readonly lines: readonly string[];
  /** Exceptions that were made use of, one line each. */
  readonly excepted: readonly string[];
}

/** Lines of a verdict that go into a history. Judgement. */
export const mostShown = 20;

const none: ScanVerdict['counts'] = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0 };

/**
 * Judges what a scanner found. An advisory without a severity counts whenever `high` does: nobody has said that it is harmless. An image in which
 * nothing could be looked up, or not the packages of its system, is `inconclusive`, never passed.
 *
 * @param at - ISO 8601; exceptions hold that hold on that day. Default: when it was scanned.
 */
export function judgeScan(scan: ImageScan, rules: ScanRules, at = scan.scannedAt): ScanVerdict {
  const today = at.slice(0, 10);
  const wanted = wantedBy(rules);
  const counts = { ...none };
  const lines: string[] = [];
  const excepted: string[] = [];
  for (const found of [...scan.vulnerabilities].sort(bySeverity)) {
    counts[found.severity] += 1;
    if (!wanted.has(found.severity)) continue;
    const exception = rules.exceptions.find((each) => isAbout(each, found));
    if (exception !== undefined && exception.until >= today) {
      excepted.push(`${found.id} in ${found.package} until ${exception.until}: ${exception.reason}`);
      continue;
    }
    const over = exception === undefined ? '' : `; its exception ended on ${exception.until}`;
    lines.push(`${describeVulnerability(found)}${over}`);
  }
  const looked = {
    scanner: scan.scanner,
    databaseAt: scan.databaseAt,
    scannedAt: scan.scannedAt,
    packages: scan.packages,
    counts,
    lines: lines.slice(0, mostShown),
    excepted: excepted.slice(0, mostShown),
  };
  if (lines.length > 0) {
    return {
      ...looked,
      verdict: 'failed',
      reason: `${lines.length} of ${scan.packages} packages' advisories count: ${lines.slice(0, 3).join('; ')}`,
    };
  }
  if (scan.packages === 0) {
    return {
      ...looked,
      verdict: 'inconclusive',
      reason: 'the image has no package that the database knows the kind of',
    };
  }
  const left = scan.notLookedUp ?? [];
  const told = left.map(({ kind, packages }) => `${packages} of ${kind}`).join(', ');
  if (left.some(({ system }) => system)) {
    return {
      ...looked,
      verdict: 'inconclusive',
      reason: `${told} were not looked up, for ${scan.scanner.name} has no advisories of that system; of ${scan.packages} other packages none has one that counts`,
    };
  }
  const besides = left.length === 0 ? '' : `; not looked up: ${told}`;
  return {
    ...looked,
    verdict: 'passed',
    reason: `${scan.packages} packages, none with an advisory that counts${besides}`,
  };
}

/**
 * Judges a scan of before by the rules and on the day of now. What was bad then is bad still; that nothing was known says nothing once the
 * advisories are older than they may be.
 */
export function judgeAgain(scan: ImageScan, rules: ScanRules & { readonly maxAgeMs: number }, at: string): ScanVerdict {
  const verdict = judgeScan(scan, rules, at);
  if (verdict.verdict === 'failed' || !isScanOld(scan, rules.maxAgeMs, at)) return verdict;
  const hours = Math.round(rules.maxAgeMs / 3_600_000);
  return {
    ...verdict,
    verdict: 'errored',
    reason: `its scan knows the advisories of ${scan.databaseAt}, older than the ${hours} hours they may be`,
  };
}

/** Whether its advisories are older than they may be; those of a time that cannot be read are. */
export function isScanOld({ databaseAt }: Pick<ImageScan, 'databaseAt'>, maxAgeMs: number, at: string): boolean {
  return !(Date.parse(at) - Date.parse(databaseAt) <= maxAgeMs);
}

/** What a scan found that counts by the rules, worst first. */
export function countedBy(scan: ImageScan, rules: ScanRules): readonly Vulnerability[] {
  const today = scan.scannedAt.slice(0, 10);
  const wanted = wantedBy(rules);
  return [...scan.vulnerabilities]
    .sort(bySeverity)
    .filter(
      (found) =>
        wanted.has(found.severity) && !rules.exceptions.some((each) => isAbout(each, found) && each.until >= today),
    );
}

function wantedBy(rules: ScanRules): ReadonlySet<VulnerabilitySeverity> {
  const wanted = new Set<VulnerabilitySeverity>(rules.severities);
  if (wanted.has('high')) wanted.add('unknown');
  return wanted;
}

/** The scanner is not there, broke, or its advisories are too old: nothing is known of the image. */
export function erroredScan(reason: string, scannedAt: string): ScanVerdict {
  return { verdict: 'errored', reason, scannedAt, packages: 0, counts: none, lines: [], excepted: [] };
}

/** Whether an image with this verdict may go where scans are taken so seriously. Without a verdict nothing is known, which is no pass. */
export function allowsImage(mode: ScanMode, verdict: ScanVerdict | undefined): boolean {
  return mode !== 'block' || verdict?.verdict === 'passed';
}

/**
 * Whether a run goes on to push: not when no environment of its route could take the image. A run that leads nowhere goes by the project's own mode.
 */
export function stopsPush(modes: readonly ScanMode[], verdicts: readonly ScanVerdict[]): boolean {
  if (modes.length === 0 || verdicts.length === 0) return false;
  return modes.every((mode) => verdicts.some((verdict) => !allowsImage(mode, verdict)));
}

/** The worst of several, `inconclusive` for none. */
export function worstScan(verdicts: readonly ScanVerdict[]): Verdict {
  return worst(verdicts.map(({ verdict }) => verdict));
}

/**
 * What was found in several platforms of one image, as one: an advisory about a package that is in two of them is there once.
 *
 * @param scans - at least one.
 */
export function mergeScans(scans: readonly ImageScan[]): ImageScan {
  const [first, ...others] = scans;
  if (first === undefined) throw new TypeError('nothing was scanned');
  if (others.length === 0) return first;
  const found = new Map<string, Vulnerability>();
  for (const each of scans.flatMap(({ vulnerabilities }) => vulnerabilities)) {
    const key = JSON.stringify([each.id, each.package, each.version]);
    if (!found.has(key)) found.set(key, each);
  }
  return {
    scanner: first.scanner,
    databaseAt: scans.map(({ databaseAt }) => databaseAt).sort()[0] ?? first.databaseAt,
    scannedAt: first.scannedAt,
    packages: scans.reduce((sum, { packages }) => sum + packages, 0),
    ...(scans.every(({ notLookedUp }) => notLookedUp === undefined) ? {} : { notLookedUp: mergeLeft(scans) }),
    vulnerabilities: [...found.values()],
  };
}

function mergeLeft(scans: readonly ImageScan[]): readonly NotLookedUp[] {
  const left = new Map<string, NotLookedUp>();
  for (const { kind, packages, system } of scans.flatMap(({ notLookedUp = [] }) => notLookedUp)) {
    left.set(kind, { kind, packages: packages + (left.get(kind)?.packages ?? 0), system });
  }
  return [...left.values()];
}

/** The verdict on an image of several platforms: that of the worst, and each line says of which. */
export function worstOf(
  scans: readonly { readonly platform?: string | undefined; readonly scan: ScanVerdict }[],
): ScanVerdict {
  const [first, ...others] = scans;
  if (first === undefined) throw new TypeError('nothing was scanned');
  if (others.length === 0 && first.platform === undefined) return first.scan;
  const verdict = worstScan(scans.map(({ scan }) => scan));
  const of = (platform: string | undefined, line: string): string =>
    platform === undefined ? line : `${platform}: ${line}`;
  const each = (pick: (scan: ScanVerdict) => readonly string[]): readonly string[] =>
    scans.flatMap(({ platform, scan }) => pick(scan).map((line) => of(platform, line))).slice(0, mostShown);
  const known = scans.map(({ scan }) => scan).filter(({ scanner }) => scanner !== undefined);
  const oldest = known.flatMap(({ databaseAt }) => databaseAt ?? []).sort()[0];
  const counts = { ...none };
  for (const { scan } of scans)
    for (const severity of vulnerabilitySeverities) counts[severity] += scan.counts[severity];
  return {
    verdict,
    reason: scans
      .filter(({ scan }) => scan.verdict === verdict)
      .map(({ platform, scan }) => of(platform, scan.reason))
      .join('; '),
    ...(known[0]?.scanner === undefined ? {} : { scanner: known[0].scanner }),
    ...(oldest === undefined ? {} : { databaseAt: oldest }),
    scannedAt: first.scan.scannedAt,
    packages: scans.reduce((sum, { scan }) => sum + scan.packages, 0),
    counts,
    lines: each((scan) => scan.lines),
    excepted: each((scan) => scan.excepted),
  };
}

function isAbout(exception: ScanException, found: Vulnerability): boolean {
  if (exception.package !== undefined && exception.package !== found.package) return false;
  return exception.id === found.id || found.aliases.includes(exception.id);
}

/** One line. */
export function describeVulnerability({ id, severity, package: name, version, fixedIn }: Vulnerability): string {
  const cure = fixedIn.length === 0 ? 'no version without it' : `gone in ${fixedIn.join(', ')}`;
  return `${severity} ${id} in ${name} ${version} (${cure})`;
}

function bySeverity(a: Vulnerability, b: Vulnerability): number {
  return (
    vulnerabilitySeverities.indexOf(a.severity) - vulnerabilitySeverities.indexOf(b.severity) ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}
