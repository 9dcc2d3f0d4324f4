/**
 * Names and shapes of everything that is said to a workflow. Wire names are short and never change; inputs grow by optional fields only.
 *
 * Signals work from the Temporal UI and CLI with small JSON; the API uses the Updates of the same names, which answer with the reason when
 * they refuse.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { ApprovalDecision, ApprovalState } from '../domain/approval.ts';
import type {
  DeploymentInput,
  DeploymentPhase,
  DeploymentRef,
  DeploymentResult,
  StepRecord,
} from '../domain/deployment.ts';
import type { DecisionProof, ProvableDecision } from '../domain/decision-proof.ts';
import type { Plan } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { RunPhase, RunPlan, StageReport } from '../domain/run.ts';
import type { QueuePlace } from '../domain/run-turn.ts';
import type { Verdict } from '../domain/verdict.ts';

/** What a person sends: `{"by": "ada", "plan": "1f3a…", "comment": "…"}`. Everything but `by` and `plan` is optional. */
export interface DecisionMessage {
  readonly by: string;
  readonly plan: string;
  readonly groups?: readonly string[];
  readonly comment?: string;
  /** Of the API, which has checked the token. Without one the decision is recorded as unproven; a signal's is not looked at. */
  readonly proof?: DecisionProof;
  /** What the API said before 2026-11-26, which anybody could say. Only the replay of what was told then looks at it. */
  readonly proven?: boolean;
}

export interface AbortMessage {
  readonly by: string;
  readonly reason?: string;
  /** Leave a half-done change as it is instead of undoing it; the environment is held. */
  readonly noRollback?: boolean;
}

export interface AllowMessage {
  readonly by: string;
  /** What was looked at: the commit, or at least its first 8 digits. */
  readonly commit: string;
  /** As those of {@link DecisionMessage}. */
  readonly proof?: DecisionProof;
  readonly proven?: boolean;
}

export interface RollbackMessage {
  readonly by: string;
  readonly reason: string;
  /** Version to go back to; the previous one when absent. */
  readonly to?: string;
  /** Makes a repeated message the same request. Default: derived from the message's own content. */
  readonly requestId?: string;
}

export interface UnlockMessage {
  readonly by: string;
  readonly reason: string;
  /** What a person has found to be live: a version, or `none`. */
  readonly stateIs: string;
}

export interface FreezeMessage {
  readonly by: string;
  readonly reason: string;
  /** ISO 8601; until lifted when absent. */
  readonly until?: string;
}

// deployRelease
export const approveSignal = defineSignal<[DecisionMessage]>('approve');
export const rejectSignal = defineSignal<[DecisionMessage]>('reject');
export const abortSignal = defineSignal<[AbortMessage]>('abort');
export const approveUpdate = defineUpdate<ApprovalState, [DecisionMessage]>('approve');
export const rejectUpdate = defineUpdate<ApprovalState, [DecisionMessage]>('reject');
export const abortUpdate = defineUpdate<{ readonly accepted: true }, [AbortMessage]>('abort');
export const deploymentQuery = defineQuery<DeploymentView>('deployment');
/** From the environment: how the turn ended. */
export const turnSettledSignal = defineSignal<[TurnSettled]>('turnSettled');
/** From the environment: the turn is yours; with `hold`, decide. */
export const turnGrantedSignal = defineSignal<[{ readonly number: number; readonly ask?: number }]>('turnGranted');

export interface DeploymentView {
  readonly deployment: DeploymentInput;
  readonly phase: DeploymentPhase;
  readonly plan?: Plan;
  readonly approval?: ApprovalState;
  /** ISO 8601; the approval's deadline while it waits. */
  readonly approvalUntil?: string;
  readonly steps: readonly StepRecord[];
  readonly result?: DeploymentResult;
}

export type TurnSettled =
  | {
      readonly kind: 'result';
      readonly number: number;
      readonly result: DeploymentResult;
      /** Under which the steps of the result were told (`settleDeployment`). */
      readonly stepsKey?: string;
    }
  /** Nothing was changed: the plan is another one now. */
  | { readonly kind: 'plan-changed'; readonly number: number; readonly plan: Plan }
  | {
      readonly kind: 'superseded' | 'expired' | 'withdrawn' | 'refused';
      readonly number: number;
      readonly reason: string;
    };

/** From the environment: the turn is not free; plan, and wait for it. */
export const turnBusySignal = defineSignal<[{ readonly number: number; readonly ask: number }]>('turnBusy');
/** From a roll-out that has planned with the turn in hand. */
export const plannedSignal = defineSignal<[{ readonly number: number; readonly plan: Plan }]>('planned');

// environment
/** From a deployment that waits for nobody: the turn, if it is free now and nobody waits for it. It is planned with it in hand. */
export const takeTurnSignal = defineSignal<[TakeTurn]>('takeTurn');
export const requestTurnSignal = defineSignal<[TurnRequest]>('requestTurn');
/** No longer wanted: leaves the queue, or aborts the roll-out that has the turn. */
export const withdrawTurnSignal = defineSignal<[WithdrawTurn]>('withdrawTurn');
/** From deployRelease, with `hold`: approved (go), or not (give the turn back). */
export const proceedSignal =
  defineSignal<[{ readonly number: number; readonly go: boolean; readonly plan: string }]>('proceed');
/** From a roll-out (`from` is its workflow id): the first change is about to be made, may it? A child that closes silently after this leaves the environment `unknown`. */
export const changingSignal = defineSignal<[{ readonly number: number; readonly from: string }]>('changing');
/** To a roll-out, in answer to `changing`: go on, or close without a change because the turn is not yours (any more). */
export const changeGrantedSignal =
  defineSignal<[{ readonly number: number; readonly go: boolean; readonly reason?: string }]>('changeGranted');
/** To a roll-out that has changed something: take it back now. */
export const takeBackSignal = defineSignal<[RollbackMessage]>('takeBack');
export const rollbackSignal = defineSignal<[RollbackMessage]>('rollback');
export const rollbackUpdate = defineUpdate<{ readonly number: number }, [RollbackMessage]>('rollback');
export const unlockUpdate = defineUpdate<EnvironmentView, [UnlockMessage]>('unlock');
export const unlockSignal = defineSignal<[UnlockMessage]>('unlock');
/** Reads the target and takes what it says as the truth; offered when the environment is `unknown`. */
export const reconcileUpdate = defineUpdate<EnvironmentView, [{ readonly by: string; readonly reason: string }]>(
  'reconcile',
);
export const retryUpdate = defineUpdate<EnvironmentView, [{ readonly by: string; readonly reason: string }]>('retry');
export const freezeUpdate = defineUpdate<EnvironmentView, [FreezeMessage]>('freeze');
export const thawUpdate = defineUpdate<EnvironmentView, [{ readonly by: string }]>('thaw');
export const environmentQuery = defineQuery<EnvironmentView>('environment');
/** Numbers of deployments and rollbacks whose end this environment will still see to: the turn, the queue, rollbacks asked for. */
export const owedQuery = defineQuery<readonly number[]>('owed');

export interface WithdrawTurn {
  readonly number: number;
  readonly reason: string;
  readonly by?: string;
  readonly noRollback?: boolean;
}

export interface TakeTurn {
  readonly deployment: DeploymentInput;
  /** As of {@link TurnRequest}. */
  readonly ask: number;
}

export interface TurnRequest {
  readonly deployment: DeploymentInput;
  /** 1 for the first time, one more after each plan that changed. Default 1. */
  readonly ask?: number;
  readonly planHash: string;
  readonly approved: boolean;
  readonly policy: Plan['policy'];
  readonly requestedAt: string;
}

export type EnvironmentHold = {
  readonly state: 'unknown' | 'incident' | 'held' | 'frozen';
  readonly since: string;
  readonly reason: string;
  readonly by: string;
};

export interface EnvironmentView {
  readonly project: string;
  readonly environment: string;
  readonly live: LiveRelease | null;
  /**
   * What was live before the live one, and what a rollback without a version goes to. The workflow knows the one that still runs in the
   * other slot; where it knows none, the API gives the one on record and says so in `previousStopped`.
   */
  readonly previous: LiveRelease | null;
  /** The previous one runs in no slot any more: a rollback starts it again first. */
  readonly previousStopped?: boolean;
  /** What the last scan of what is live here found; the API adds it. Null where there was none. */
  readonly scan?: {
    readonly verdict: Verdict;
    readonly summary: string;
    readonly at: string;
    readonly lines: readonly string[];
  } | null;
  readonly current: {
    readonly number: number;
    readonly kind: 'rollout' | 'rollback';
    readonly since: string;
    readonly changing: boolean;
  } | null;
  readonly queue: readonly {
    readonly number: number;
    readonly version: string;
    readonly priority: DeploymentInput['priority'];
    readonly since: string;
  }[];
  readonly hold: EnvironmentHold | null;
  readonly frozenUntil: string | null;
  /** When the previous slot is retired; null when there is none. */
  readonly retireAt: string | null;
}

// runPipeline
export const abortRunSignal = defineSignal<[AbortMessage]>('abort');
export const abortRunUpdate = defineUpdate<{ readonly accepted: true }, [AbortMessage]>('abort');
/** To a run that waits for its turn: look whether it has come. Nothing is granted by it. */
export const turnFreedSignal = defineSignal('turnFreed');
/** From a newer run of the ref: it takes the place of this one. */
export const supersedeSignal = defineSignal<[{ readonly by: number }]>('supersede');
/** The word for a pull request from a fork: `{"by": "ada", "commit": "6113728f"}`. */
export const allowRunSignal = defineSignal<[AllowMessage]>('allow');
export const allowRunUpdate = defineUpdate<{ readonly accepted: true }, [AllowMessage]>('allow');
export const runQuery = defineQuery<RunView>('run');

export interface RunView {
  readonly plan?: RunPlan;
  /** Who has allowed the commit of a fork to be run. */
  readonly allowed?: { readonly by: string; readonly proven: boolean; readonly at: string };
  readonly phase: Exclude<RunPhase, 'accepted'>;
  /** Where it stands while it waits for its turn; as of its last look. */
  readonly queue?: QueuePlace & { readonly since: string; readonly until: string };
  readonly stages: readonly StageReport[];
  /** Runs of other projects that its stages have started. */
  readonly starts: readonly { readonly stage: string; readonly project: string; readonly number: number }[];
  readonly deployments: readonly DeploymentRef[];
}

/** Ids of the workflows; people type them, so they are readable and stable. */
export function runId(project: string, key: string): string {
  return `run/${project}/${key}`;
}
export function deploymentId(ref: DeploymentRef): string {
  return `deployment/${ref.project}/${ref.environment}/${ref.number}`;
}
/** What brings the hotfix of a deployment back. */
export function mergeBackId(ref: DeploymentRef): string {
  return `merge-back/${ref.project}/${ref.environment}/${ref.number}`;
}
export function environmentId(project: string, environment: string): string {
  return `environment/${project}/${environment}`;
}
/** One look at a registry at a time. */
export function registryReviewId(project: string): string {
  return `registry/${project}`;
}
/** One recovery of an environment at a time. */
export function recoveryId(project: string, environment: string): string {
  return `recovery/${project}/${environment}`;
}
/** @param ask - after a plan that changed the same deployment is rolled out anew, under an id of its own: `…/7`, then `…/7.2`. */
export function rolloutId(ref: DeploymentRef, ask = 1): string {
  return `rollout/${ref.project}/${ref.environment}/${ref.number}${ask > 1 ? `.${ask}` : ''}`;
}
export function rollbackId(ref: DeploymentRef): string {
  return `rollback/${ref.project}/${ref.environment}/${ref.number}`;
}

/** A message as the reducer takes it. */
export function toDecision(message: DecisionMessage, verdict: ApprovalDecision['verdict']): ApprovalDecision {
  return {
    by: message.by,
    groups: message.groups ?? [],
    verdict,
    plan: message.plan,
    proven: message.proven ?? false,
    ...(message.comment === undefined ? {} : { comment: message.comment }),
  };
}

/** What of a decision is under its proof. */
export function provableDecision(
  workflowId: string,
  verb: ApprovalDecision['verdict'],
  { by, plan, groups = [], comment }: DecisionMessage,
): ProvableDecision {
  return { workflowId, verb, about: plan, by, groups, comment };
}

/** As {@link provableDecision}, of the word for a fork. */
export function provableWord(workflowId: string, { by, commit }: AllowMessage): ProvableDecision {
  return { workflowId, verb: 'allow', about: commit, by, groups: [] };
}

/** Of a scan that somebody asks for: of one environment, or of the whole project. */
export function liveScanId(project: string, environment?: string): string {
  return environment === undefined ? `scan/${project}` : `scan/${project}/${environment}`;
}
