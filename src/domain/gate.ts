/** Gates: what the reports of a run must show. What each asks for is put together here; `gate-verdict.ts` judges. */
import type { Rating, Suppression } from './gate-findings.ts';
import { type LicencePolicy, stricterLicences } from './licence.ts';
import { type ReportKind, type Severity, rankOf } from './report.ts';

/** The security gates are numbered as in the diagrams of S1; the others go before them. */
export const gateNames = [
  'tests',
  'coverage',
  'quality',
  'data',
  'code-security',
  'dependencies',
  'container',
  'infrastructure',
  'access-control',
  'compliance',
] as const;

export type GateName = (typeof gateNames)[number];

/** Number of a security gate (S1-58 to S1-62); the others have none. */
export const securityGates: Readonly<Partial<Record<GateName, number>>> = {
  'code-security': 1,
  dependencies: 2,
  container: 3,
  'access-control': 4,
  compliance: 5,
};

/** `block`: what is not passed stops the run, or the deployment. `warn`: it is told. `off`: it is not judged. */
export type GateMode = 'block' | 'warn' | 'off';

const strictness = { off: 0, warn: 1, block: 2 } as const satisfies Record<GateMode, number>;

/** Which gate a form of report goes to, where the definition names none. */
export const gateOfKind: Readonly<Record<ReportKind, GateName>> = {
  junit: 'tests',
  cobertura: 'coverage',
  lcov: 'coverage',
  'coverage-py': 'coverage',
  flake8: 'quality',
  pylint: 'quality',
  black: 'quality',
  isort: 'quality',
  mypy: 'quality',
  eslint: 'quality',
  sonarqube: 'quality',
  sarif: 'code-security',
  bandit: 'code-security',
  semgrep: 'code-security',
  gitleaks: 'code-security',
  safety: 'dependencies',
  'pip-audit': 'dependencies',
  'pip-licenses': 'dependencies',
  cyclonedx: 'dependencies',
  spdx: 'dependencies',
  'pip-outdated': 'dependencies',
  'osv-scanner': 'dependencies',
  'dependency-check': 'dependencies',
  trivy: 'container',
  grype: 'container',
  clair: 'container',
  checkov: 'infrastructure',
  'great-expectations': 'data',
};

/** What one gate asks for, as it is in force. */
export interface GatePolicy {
  readonly gate: GateName;
  readonly mode: GateMode;
  /** Whether a document names it: then a run without any report for it is errored. */
  readonly demanded: boolean;
  /** The least severity that counts; `unknown` ones count wherever `high` ones do. Default `high`, of quality `low`. */
  readonly least: Severity;
  /** So many findings that count are let pass. Default 0. */
  readonly allowed: number;
  /** Share of lines: at least `min`, else the gate fails; below `critical` it blocks whatever its mode. Defaults 0.7 and 0.5. */
  readonly coverage: { readonly min: number; readonly critical: number };
  /** Least score of pylint, of 10. Default 7 (S0-37). */
  readonly score: number;
  /** Forms of report without which it is errored. */
  readonly reports: readonly ReportKind[];
  /** `last-release`: only findings that the last release does not have count. Default `none`. */
  readonly baseline: 'none' | 'last-release';
  /** Severities by rule, over those of the tools. */
  readonly ratings: readonly Rating[];
  readonly suppressions: readonly Suppression[];
  readonly licences: LicencePolicy;
  /** Oldest base of an image, days; and oldest database of a scanner. Defaults 90 and 7; judgement. */
  readonly imageAgeDays: number;
  readonly databaseAgeDays: number;
  /** Oldest verified backup, hours. Default 24. */
  readonly backupAgeHours: number;
  /** What could not be found out blocks whatever the mode, but for `off`: gates 4 and 5 in production (B-16). */
  readonly erroredBlocks: boolean;
}

/** What a document says of a gate; what it leaves out is as it was. */
export type GateWish = {
  readonly [Key in Exclude<keyof GatePolicy, 'gate' | 'demanded' | 'coverage' | 'erroredBlocks'>]?:
    GatePolicy[Key] | undefined;
} & { readonly coverage?: { readonly min?: number | undefined; readonly critical?: number | undefined } | undefined };

/**
 * Modes and severities where no document says anything: A-01 warns, A-03 counts HIGH and CRITICAL, a failed test stops the run (S0-57). Gates 4 and
 * 5 are judged before every change of production, and what is not known there is as bad as what fails.
 */
export function defaultGate(gate: GateName, production = false): GatePolicy {
  const guardsProduction = (gate === 'access-control' || gate === 'compliance') && production;
  return {
    gate,
    mode: gate === 'tests' || guardsProduction ? 'block' : 'warn',
    demanded: guardsProduction,
    least: gate === 'quality' ? 'low' : 'high',
    allowed: 0,
    coverage: { min: 0.7, critical: 0.5 },
    score: 7,
    reports: [],
    baseline: 'none',
    ratings: [],
    suppressions: [],
    licences: { allow: null, deny: [] },
    imageAgeDays: 90,
    databaseAgeDays: 7,
    backupAgeHours: 24,
    erroredBlocks: guardsProduction,
  };
}

/** What the project says: over what it was, in any direction. */
export function withWish(policy: GatePolicy, wish: GateWish | undefined): GatePolicy {
  if (wish === undefined) return policy;
  const given = Object.fromEntries(Object.entries(wish).filter(([, value]) => value !== undefined)) as GateWish;
  const { min = policy.coverage.min, critical = policy.coverage.critical } = wish.coverage ?? {};
  return { ...policy, ...(given as Partial<GatePolicy>), coverage: { min, critical }, demanded: true };
}

/** What the repository says: only what makes the gate stricter. */
export function madeStricter(floor: GatePolicy, wish: GateWish | undefined): GatePolicy {
  if (wish === undefined) return floor;
  const { mode = floor.mode, coverage = {} } = wish;
  return {
    ...floor,
    mode: strictness[mode] > strictness[floor.mode] ? mode : floor.mode,
    demanded: true,
    least: rankOf(wish.least ?? 'critical') > rankOf(floor.least) ? (wish.least ?? floor.least) : floor.least,
    allowed: Math.min(floor.allowed, wish.allowed ?? floor.allowed),
    coverage: {
      min: Math.max(floor.coverage.min, coverage.min ?? 0),
      critical: Math.max(floor.coverage.critical, coverage.critical ?? 0),
    },
    score: Math.max(floor.score, wish.score ?? 0),
    reports: [...new Set([...floor.reports, ...(wish.reports ?? [])])],
    baseline: wish.baseline === 'none' ? 'none' : floor.baseline,
    ratings: [...floor.ratings, ...(wish.ratings ?? []).map((rating) => ({ ...rating, raiseOnly: true }))],
    suppressions: [...floor.suppressions, ...(wish.suppressions ?? [])],
    licences: stricterLicences(floor.licences, wish.licences),
    imageAgeDays: Math.min(floor.imageAgeDays, wish.imageAgeDays ?? Infinity),
    databaseAgeDays: Math.min(floor.databaseAgeDays, wish.databaseAgeDays ?? Infinity),
    backupAgeHours: Math.min(floor.backupAgeHours, wish.backupAgeHours ?? Infinity),
  };
}
