import type { BackupReport } from '../activities/contracts.ts';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import type { Plan, PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { RollbackMessage } from './messages.ts';

/** Input of `rollOutRelease`: one turn of the environment. */
export interface RollOutInput {
  readonly deployment: DeploymentInput;
  /** The plan that was approved; the first act is to plan again. Absent: nobody has to approve, and this is the first plan. */
  readonly planHash?: string;
  /** Fencing token. */
  readonly turn: number;
  readonly ask: number;
}

/** Input of `rollbackRelease`. `deployment.version` is where to go back to. */
export interface RollbackInput {
  readonly deployment: DeploymentInput;
  readonly request: RollbackMessage;
  /** What the environment believes to be live; null when it does not know. */
  readonly live: LiveRelease | null;
  /** The release to go back to where it still runs, so that traffic can go there at once. */
  readonly standby: LiveRelease | null;
  readonly turn: number;
  readonly requestedAt: string;
  /** Of the last deployment; read anew when there was none. */
  readonly policy?: PlanPolicy;
  /** Data that an earlier rollback could not put back, now that a person has said to try again. */
  readonly data?: UnfinishedData;
}

export interface UnfinishedData {
  readonly to: string;
  readonly backup: BackupReport;
  readonly migrated: boolean;
}

/** What the environment is told by the child that had the turn. */
export type TurnReport =
  | {
      readonly kind: 'result';
      readonly result: DeploymentResult;
      readonly live: LiveRelease | null;
      /** The release before, still running beside the live one. */
      readonly previous: LiveRelease | null;
      /** Nothing was changed: what the environment knew of itself still holds. */
      readonly untouched?: boolean;
      /** Why a person has to look before the next deployment; absent when nobody has to. */
      readonly hold?: string;
      readonly data?: UnfinishedData;
      /** Under which the steps of the result were told (`settleDeployment`). */
      readonly stepsKey?: string;
      /** Of the plan that was made with the turn in hand, which the environment does not know. */
      readonly policy?: PlanPolicy;
    }
  | { readonly kind: 'plan-changed'; readonly plan: Plan };

/** For what comes from a workflow that is nobody's child, and so without a type. */
export function isTurnReport(value: unknown): value is TurnReport {
  const kind = typeof value === 'object' && value !== null ? (value as { readonly kind?: unknown }).kind : undefined;
  return kind === 'result' || kind === 'plan-changed';
}
