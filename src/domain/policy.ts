/** The parts of project.yaml that workflows decide by, resolved (defaults filled in, durations in ms). */

/** A rule of the approval policy: so many distinct people of this group. */
export interface ApprovalRule {
  readonly group: string;
  readonly count: number;
}

/**
 * Who must agree before an environment is changed.
 *
 * Every rule must be met by people distinct from each other; one rejection by anyone who may approve ends it.
 */
export interface ApprovalPolicy {
  readonly required: boolean;
  readonly rules: readonly ApprovalRule[];
  /** Default false: the author of the change does not count. */
  readonly allowAuthor: boolean;
  /** Only decisions that the API proves count. Absent, as in plans of before 2026-11-26: raw ones do too, marked as unproven. */
  readonly requireProof?: boolean;
  /** From the moment the plan is recorded. Default 30 minutes (1_800_000). */
  readonly timeoutMs: number;
  /** `release` (default): waits without the turn and plans again; `hold`: keeps the turn while waiting. */
  readonly turn: 'release' | 'hold';
}

export interface QueuePolicy {
  /** `supersede`: the newest waits, older ones end `superseded`. Default `keep-all`. */
  readonly mode: 'keep-all' | 'supersede';
  /** Longest wait for the turn. Default 24 h. */
  readonly timeoutMs: number;
  /**
   * First pause before whoever waits asks whether the other side is still there; later ones are up to six times as long. Default 10 min.
   */
  readonly askAgainMs?: number;
}

/** One figure with its band; undefined bands are not judged. */
export interface WatchPolicy {
  /** Length of the watch. Defaults: production 30 min, staging 2 min, otherwise 0 = none. */
  readonly durationMs: number;
  /** How often figures are read. Default 10 s. */
  readonly intervalMs: number;
  /** Warn band, the thresholds a release is held to for 30 minutes: CPU 80 %, memory 85 %, P95 2 s, errors 1 %. Crossing it notifies, never rolls back. */
  readonly warn: {
    readonly cpuRatio: number;
    readonly memoryRatio: number;
    readonly p95Ms: number;
    readonly errorRatio: number;
  };
  /** Rollback band: errors above 5 % over a sliding 5 min; P95 above 5 s sustained for 1 min. */
  readonly rollback: {
    readonly errorRatio: number;
    readonly errorWindowMs: number;
    readonly p95Ms: number;
    readonly p95SustainedMs: number;
    /** Consecutive failed database probes. Default 3. */
    readonly databaseFailures: number;
    /** Matches of a critical log pattern in the window. Default 1. */
    readonly logMatches: number;
  };
  /** Regular expressions for critical log lines. */
  readonly logPatterns: readonly string[];
  /**
   * Fewest requests before errors and P95 are judged; where a window has fewer, so many of the newest are. Default 20 (judgement: below it one
   * error is 5 %).
   */
  readonly minSamples: number;
  /** What `inconclusive` costs. Default `succeed`. */
  readonly onInconclusive: 'succeed' | 'hold';
}

export interface BackupPolicy {
  readonly database: boolean;
  readonly configuration: boolean;
  /** Restores into a scratch database and compares before going on. Default true. */
  readonly prove: boolean;
}

export interface RollbackPolicy {
  /** Default true: a failed watch or probe rolls back by itself. */
  readonly automatic: boolean;
  /** `automatic`: the database is swapped back although writes are lost to the export. Default `ask`. */
  readonly restore: 'automatic' | 'ask';
}

/** How long the pieces of a replacement may take, ms. */
export interface DeployLimits {
  /** A container that was started must be healthy within this, by the platform. Default 30 s (B-19). */
  readonly readyMs: number;
  /**
   * From the first probe of a healthy release on, before it has traffic: failures of what is asked over the network do not count yet. Ends
   * with the first that passes, so a release that is well waits for nothing. Default 30 s (A-62, B-19).
   */
  readonly settleMs: number;
  /** SIGTERM to SIGKILL. Default 30 s. */
  readonly stopGraceMs: number;
  /** Longest drain of a slot's current sessions before it is stopped. Default 30 s. */
  readonly drainMs: number;
  /** How long the previous slot is kept after settling. Default 24 h. */
  readonly keepPreviousMs: number;
}

export type StrategyKind = 'recreate' | 'rolling' | 'blue-green' | 'canary' | 'a-b';

export interface BlueGreenSpec {
  readonly kind: 'blue-green';
}

/** The strategies that exist. A new kind here does not compile until src/workflows/strategies has its module. */
export type StrategySpec = BlueGreenSpec;
