import type { GateMode, GateName } from './gate.ts';
import type { GateOutcome, GateVerdict } from './gate-verdict.ts';
import type { Report } from './report.ts';

/** The verdict of a gate as a report of a stage and a plan carry it: without findings, which stay in the evidence. */
export interface GateLine {
  readonly gate: GateName;
  readonly mode: GateMode;
  readonly verdict: GateOutcome;
  readonly blocks: boolean;
  /** At most {@link longestReason} characters. */
  readonly reason: string;
}

/** Judgement: two lines of a terminal. A stage has up to ten gates, and its report lies in the history. */
export const longestReason = 300;

/** A report with the gate that it was for. */
export type GatedReport = Report & { readonly gate: GateName };

/** Pages for people that were kept as they are. */
export interface KeptPages {
  /** In the workspace. */
  readonly path: string;
  /** Blobs of the pages begin with this and a slash. */
  readonly prefix: string;
  /** The page to begin with, below the prefix. */
  readonly entry: string;
  readonly files: number;
  readonly sizeBytes: number;
}

/** Everything that a stage showed: what its reports say, what that meant, and pages. Kept as a blob, for it is too large for a history. */
export interface StageEvidence {
  readonly reports: readonly GatedReport[];
  readonly gates: readonly GateVerdict[];
  readonly pages: readonly KeptPages[];
  /** Pages that could not be kept, each with the reason. */
  readonly lost: readonly string[];
}

export function lineOf({ gate, mode, verdict, blocks, reason }: GateVerdict): GateLine {
  const short = reason.length > longestReason ? `${reason.slice(0, longestReason - 1)}…` : reason;
  return { gate, mode, verdict, blocks, reason: short };
}

/** What gates mean to the stage that they belong to: the worst of those that block, with the reason. */
export function blockedBy(
  gates: readonly GateLine[],
): { readonly verdict: 'failed' | 'errored'; readonly detail: string } | undefined {
  const blocking = gates.filter(({ blocks }) => blocks);
  if (blocking.length === 0) return undefined;
  const verdict = blocking.some((gate) => gate.verdict === 'failed') ? 'failed' : 'errored';
  return { verdict, detail: blocking.map((gate) => `Gate ${gate.gate} ${gate.verdict}: ${gate.reason}`).join('\n') };
}
