import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import {
  type Component,
  type Finding,
  type Severity,
  type SeverityCounts,
  longestMessage,
  type PutAside,
  mostFindings,
  mostPutAside,
  noCounts,
  rankOf,
  severities,
} from '../../domain/report.ts';
import { type ReportSource, UnreadableReport } from './port.ts';

/** A finding as a reader has it. */
export interface RawFinding {
  readonly rule: string;
  readonly severity: Severity;
  readonly message: string;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly component?: Component | undefined;
  /** Other names of the rule. */
  readonly aliases?: readonly string[] | undefined;
  /** What the tool itself recognises the finding by, where that stays the same when lines move; instead of the message. */
  readonly identity?: string | undefined;
}

/** Collects findings: counts all of them, keeps the most severe. */
export interface FindingSet {
  add(finding: RawFinding): void;
  /** One that the tool was told not to count, or several alike. @param reason - where it was told to, and why. */
  putAside(finding: RawFinding, reason: string, count?: number): void;
  done(): {
    readonly findings: readonly Finding[];
    readonly counts: SeverityCounts;
    readonly putAside?: readonly PutAside[];
  };
}

const longestName = 300;
const longestFile = 1_000;

/** @param tool - part of every fingerprint: two tools may mean different things by one rule. */
export function createFindings(tool: string): FindingSet {
  const counts = { ...noCounts };
  const kept = new Map<Severity, RawFinding[]>();
  const aside = new Map<string, PutAside>();
  return {
    add(raw) {
      counts[raw.severity] += 1;
      const alike = kept.get(raw.severity) ?? [];
      if (alike.length === 0) kept.set(raw.severity, alike);
      if (alike.length < mostFindings) alike.push({ ...raw, message: oneLine(raw.message, longestMessage) });
    },
    putAside({ rule, severity, file, component }, reason, count = 1) {
      const one = {
        rule: oneLine(rule, longestName),
        severity,
        ...(file === undefined || file === '' ? {} : { file: file.slice(0, longestFile) }),
        ...(component === undefined ? {} : { component: tidy(component) }),
        reason: oneLine(reason, longestMessage),
      };
      const key = JSON.stringify(one);
      const before = aside.get(key)?.found ?? 0;
      // Twice as many as are kept in the end, so that late grave ones have their place; what is beyond that is more of the same.
      if (before > 0 || aside.size < 2 * mostPutAside) aside.set(key, { ...one, found: before + count });
    },
    done() {
      const seen = new Map<string, number>();
      const all = severities.flatMap((severity) => kept.get(severity) ?? []).slice(0, mostFindings);
      const put = [...aside.values()].sort((a, b) => rankOf(a.severity) - rankOf(b.severity)).slice(0, mostPutAside);
      return {
        counts,
        findings: all.map((raw) => finish(tool, raw, seen)),
        ...(put.length === 0 ? {} : { putAside: put }),
      };
    },
  };
}

function finish(tool: string, raw: RawFinding, seen: Map<string, number>): Finding {
  const { severity, line, component, aliases = [], identity } = raw;
  const file = raw.file === undefined || raw.file === '' ? undefined : raw.file.slice(0, longestFile);
  const rule = oneLine(raw.rule, longestName);
  const what = identity ?? raw.message.replace(/\d+/g, '#');
  const base = createHash('sha256')
    .update(JSON.stringify([tool, rule, file ?? '', component?.name ?? '', component?.version ?? '', what]))
    .digest('hex');
  const count = (seen.get(base) ?? 0) + 1;
  seen.set(base, count);
  const fingerprint = count === 1 ? base : createHash('sha256').update(`${base}/${count}`).digest('hex');
  return {
    rule,
    severity,
    message: raw.message,
    ...(file === undefined ? {} : { file }),
    ...(line === undefined || !Number.isSafeInteger(line) || line < 1 ? {} : { line }),
    ...(component === undefined ? {} : { component: tidy(component) }),
    ...(aliases.length === 0 ? {} : { aliases: aliases.slice(0, 20).map((one) => oneLine(one, longestName)) }),
    fingerprint: fingerprint.slice(0, 32),
  };
}

function tidy({ name, version, fixedIn }: Component): Component {
  return {
    name: oneLine(name, longestName),
    ...(version === undefined ? {} : { version: oneLine(version, longestName) }),
    ...(fixedIn === undefined ? {} : { fixedIn: fixedIn.slice(0, 20).map((one) => oneLine(one, longestName)) }),
  };
}

/** A text as it can stand in a table and a terminal: one line, nothing that moves a cursor or turns the direction of reading. */
export function oneLine(text: string, longest: number): string {
  // Cut before it is looked through, for it may be long.
  const clean = text
    .slice(0, longest * 4)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
  return clean.length > longest ? `${clean.slice(0, longest - 1)}…` : clean;
}

/**
 * A file as a report names it, from the root of the repository. What lies elsewhere by an absolute path (a library that was checked too)
 * keeps that; it is only shown, never opened.
 *
 * @throws {@link UnreadableReport}: the path leads out of the repository, or is no path.
 */
export function fileOf(named: string, { roots = [], base = '.' }: Pick<ReportSource, 'roots' | 'base'>): string {
  if (/\p{Cc}/u.test(named))
    throw new UnreadableReport(`names the file ${JSON.stringify(named.slice(0, 60))}, which is no path`);
  const path = posix.normalize(named.replaceAll('\\', '/'));
  if (posix.isAbsolute(path)) {
    for (const root of roots) {
      const inside = posix.relative(root, path);
      if (inside !== '' && inside !== '..' && !inside.startsWith('../')) return inside;
    }
    return path;
  }
  if (/^[a-z]:\//i.test(path)) return path;
  const inside = posix.normalize(posix.join(base, path));
  if (inside === '..' || inside.startsWith('../')) {
    throw new UnreadableReport(
      `names the file ${JSON.stringify(named.slice(0, 60))}, which lies outside of the repository`,
      {
        remedy: 'Run the tool from a folder of the repository, on its files only.',
      },
    );
  }
  return inside;
}

/** Severity from the words that tools use for it. */
export function severityOf(word: string | null | undefined): Severity {
  switch (word?.trim().toLowerCase()) {
    case 'critical':
    case 'defcon1':
    case 'blocker':
      return 'critical';
    case 'high':
    case 'important':
    case 'major':
    case 'error':
      return 'high';
    case 'medium':
    case 'moderate':
    case 'warning':
      return 'medium';
    case 'low':
    case 'minor':
    case 'note':
      return 'low';
    case 'negligible':
    case 'info':
    case 'informational':
    case 'none':
    case 'style':
      return 'info';
    default:
      return 'unknown';
  }
}

/** By the bands of CVSS v3 (first.org/cvss/v3.1/specification-document, section 5). */
export function severityOfScore(score: number | undefined): Severity {
  if (score === undefined || !Number.isFinite(score) || score < 0 || score > 10) return 'unknown';
  if (score >= 9) return 'critical';
  if (score >= 7) return 'high';
  if (score >= 4) return 'medium';
  return score > 0 ? 'low' : 'info';
}
