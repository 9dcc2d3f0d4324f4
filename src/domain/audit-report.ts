import type { RunOutcome } from './outcome.ts';
import type { Outcome } from './outcome.ts';
import type { Verdict } from './verdict.ts';

/** What happened in a period, as somebody asks who has to answer for it: a page of facts, without a judgement. */
export interface AuditReport {
  /** Absent: the whole installation. */
  readonly project?: string;
  /** ISO 8601; from then on … */
  readonly since: string;
  /** … and before this. */
  readonly until: string;
  /** Deployments and rollbacks that were asked for in the period. */
  readonly deployments: readonly AuditedDeployment[];
  readonly rollbacks: readonly {
    readonly name: string;
    readonly at: string;
    readonly trigger: string;
    readonly toVersion: string | null;
    readonly servingAfterMs: number | null;
    readonly totalMs: number;
    /** What became of the data. */
    readonly data: string | null;
  }[];
  /** What operators said is live. */
  readonly operatorWords: readonly {
    readonly name: string;
    readonly at: string;
    readonly how: 'unlock' | 'reconcile';
    readonly by: string;
    readonly reason: string;
    readonly version: string | null;
  }[];
  readonly incidents: readonly {
    readonly name: string;
    readonly openedAt: string;
    readonly trigger: string;
    readonly postMortemDueAt: string;
    readonly closedAt: string | null;
  }[];
  /** Findings of gates that somebody has decided to live with, by gate and rule. */
  readonly suppressions: readonly {
    readonly project: string;
    readonly gate: string;
    readonly rule: string;
    readonly reason: string;
    /** Its last day; null where a tool was told to put it aside, which has no end. */
    readonly until: string | null;
    /** Runs in which it was made use of. */
    readonly runs: number;
    /** It had ended by the last of them. */
    readonly expired: boolean;
  }[];
  /** Advisories about images that somebody has decided to live with. */
  readonly exceptions: readonly { readonly project: string; readonly line: string; readonly runs: number }[];
  /** Gates that did not pass and did not stop the run. */
  readonly gatesPassedOver: readonly {
    readonly project: string;
    readonly gate: string;
    readonly verdict: string;
    readonly runs: number;
  }[];
  /** Scans of what was live, each time that it changed. */
  readonly scans: readonly {
    readonly subject: string;
    readonly at: string;
    readonly verdict: Verdict;
    readonly summary: string;
  }[];
  readonly runs: readonly { readonly outcome: RunOutcome; readonly count: number }[];
  /** Documents of projects that were put in force. */
  readonly documents: readonly {
    readonly project: string;
    readonly revision: number;
    readonly by: string;
    readonly at: string;
  }[];
  /** Everything in the audit, counted. */
  readonly actions: readonly { readonly actor: string; readonly action: string; readonly count: number }[];
  /** Lists that are longer than what is shown of them, by name; the rest is in the audit itself. */
  readonly cut: readonly string[];
}

export interface AuditedDeployment {
  readonly name: string;
  readonly kind: 'rollout' | 'rollback';
  readonly version: string;
  readonly requestedBy: string;
  readonly author: string;
  readonly requestedAt: string;
  /** Null: not over yet. */
  readonly outcome: Outcome | null;
  readonly decisions: readonly {
    readonly by: string;
    readonly verdict: 'approve' | 'reject';
    readonly counted: boolean;
    /** Why it did not count. */
    readonly why: string | null;
    readonly comment: string | null;
    /** Whether a token showed who it was; a raw signal does not. */
    readonly proven: boolean;
    readonly at: string;
  }[];
}

/** Of each list. Judgement: a quarter of a busy project; the audit itself has all of it. */
export const mostAudited = 1_000;
