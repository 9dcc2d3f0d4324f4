/** How runs of one ref have gone, one after the other. */
import type { RunOutcome } from './outcome.ts';

/** What a run showed, in figures. */
export interface RunFigures {
  readonly run: number;
  readonly version: string | null;
  /** Null while it runs. */
  readonly outcome: RunOutcome | null;
  readonly settledAt: string | null;
  /** Share of lines, 0 to 1: the lowest of its reports. Null where nothing was measured. */
  readonly coverage: number | null;
  /** Null where no report of tests was read. */
  readonly tests: number | null;
  readonly testsFailed: number | null;
  /** In all its reports, whatever a gate made of them. */
  readonly findings: number;
  /** From its start to its end; null while it runs. */
  readonly durationMs: number | null;
}

/** The same, and how it differs from the nearest run before that has the figure; null where there is none. */
export interface TrendStep extends RunFigures {
  readonly change: {
    readonly coverage: number | null;
    readonly tests: number | null;
    readonly findings: number | null;
    readonly durationMs: number | null;
  };
}

export interface Trend {
  /** Whose runs they are: that of the run, or the release branch where the run is the first of its ref. */
  readonly ref: string;
  /** The run itself and those before it, newest first. */
  readonly steps: readonly TrendStep[];
}

/** Runs before it that are shown. Judgement: two weeks of a branch that is pushed to daily. */
export const trendRuns = 10;
/** The most that may be asked for. Judgement: a page of a terminal. */
export const mostTrendRuns = 50;

/** @param runs - newest first. */
export function trendOf(ref: string, runs: readonly RunFigures[]): Trend {
  const steps = runs.map((run, index): TrendStep => {
    const before = runs.slice(index + 1);
    const change = (figure: 'coverage' | 'tests' | 'findings' | 'durationMs'): number | null => {
      const own = run[figure];
      const other = before.find((each) => each[figure] !== null)?.[figure] ?? null;
      return own === null || other === null ? null : own - other;
    };
    return {
      ...run,
      change: {
        coverage: change('coverage'),
        tests: change('tests'),
        findings: change('findings'),
        durationMs: change('durationMs'),
      },
    };
  });
  return { ref, steps };
}
