import type { BackupReport, Change } from '../../activities/contracts.ts';
import type { DeploymentInput } from '../../domain/deployment.ts';
import type { Plan } from '../../domain/plan.ts';
import type { StrategyKind } from '../../domain/policy.ts';
import type { LiveRelease, Slot } from '../../domain/release.ts';
import type { Journal } from '../journal.ts';
import type { Saga } from '../saga.ts';

/** A way of replacing the live release by another. Only the order of moves: every effect goes through `stages/roll-out.ts`. */
export interface DeploymentStrategy {
  readonly kind: StrategyKind;
  /** Brings the new release to full traffic, or throws; never undoes. Safe to stop between any two moves. */
  rollOut(run: Rollout): Promise<void>;
  /** Why going back would put traffic on something that cannot work; undefined while the way back is open. */
  pointOfNoReturn(run: Rollout): string | undefined;
}

/** One replacement while it happens. */
export interface Rollout {
  readonly deployment: DeploymentInput;
  readonly plan: Plan;
  /** What serves until traffic is moved; null for the first release. */
  readonly live: LiveRelease | null;
  /** Where the new release goes. */
  readonly slot: Slot;
  readonly saga: Saga;
  readonly journal: Journal;
  readonly backup: BackupReport | undefined;
  readonly done: Done;
  /** The next mutating call. @param back - part of going back, allowed while the store is down. */
  nextChange(back?: boolean): Change;
  /** A person has said to leave things as they are. */
  givenUp(): boolean;
}

/** What has been begun, for the undos and the report. */
export interface Done {
  started: boolean;
  migrated: boolean;
  /** Traffic may have been moved. */
  moved: boolean;
  /** When traffic was back on the release before, ISO 8601. */
  backAt?: string;
}
