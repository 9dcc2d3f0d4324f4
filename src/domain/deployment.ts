import type { Outcome } from './outcome.ts';
import type { LiveRelease } from './release.ts';
import type { Verdict } from './verdict.ts';

/** A deployment as every activity and message knows it. */
export interface DeploymentRef {
  readonly project: string;
  readonly environment: string;
  /** Counted per environment from 1, allotted by the store; rollbacks take numbers of the same series. */
  readonly number: number;
}

export type Priority = 'rollback' | 'hotfix' | 'routine';

/** Input of `deployRelease`. */
export interface DeploymentInput extends DeploymentRef {
  readonly version: string;
  /** Key of the run that built the release; absent for a deployment asked for by hand. */
  readonly runKey?: string;
  /** Number of the run that asked for it, as people name it (`shop#12`); absent where somebody has named a release to deploy. */
  readonly runNumber?: number;
  /** Who asked for it: by a push, a run started by hand, or by naming the release. */
  readonly requestedBy: string;
  /** Author of the change, as its commit says. */
  readonly author: string;
  /**
   * Whoever else has had a hand in it, as the forge or the API knows them: who pushed the commit, who started its run, who asked for the
   * deployment. Where the author may not approve, neither may they: the author of a commit is whatever was written into it.
   */
  readonly involved?: readonly string[];
  readonly priority: Priority;
  readonly requestedAt: string;
  /** Goes on only when this one has succeeded: the environment before it in its route. */
  readonly after?: DeploymentRef;
  /** Outside production it is not watched beyond its probes; approvals stay. */
  readonly emergency?: true;
  /**
   * By the definition that its run went by, nobody has to approve it, so that it may be planned with the turn in hand where the turn is free.
   * A hint: where its plan says otherwise, people are asked.
   */
  readonly waitsForNobody?: true;
}

/** What to do about a deployment that ended before its first change and was only too late; the command can be typed as it stands. */
export function askAgain({
  project,
  environment,
  version,
  runNumber,
}: Pick<DeploymentInput, 'project' | 'environment' | 'version' | 'runNumber'>): string {
  const command =
    runNumber === undefined
      ? `slipway deploy ${project}/${environment} ${version}`
      : `slipway rerun ${project}#${runNumber} --from-approval`;
  return `Nothing was changed: \`${command}\` asks again, and nothing has to be built again.`;
}

/** The state of one thing that a commit goes through, as a forge is told it. */
export interface ForgeStatus {
  /** `slipway`, `slipway/<stage>`, `slipway/deploy/<environment>`. */
  readonly context: string;
  readonly state: 'pending' | 'success' | 'failure' | 'error';
  readonly description: string;
  /** Nothing was looked at: what other runs of the commit say holds, where there are any. */
  readonly abstains?: true;
}

/** How a deployment stands, as a forge is told it. */
export interface ForgeDeployment {
  readonly deployment: DeploymentRef;
  readonly version: string;
  readonly commit: string;
  /** Run that built the release, where one did. */
  readonly runKey?: string;
  /** `waiting`: for people or for its turn. `inactive`: nothing of it is live any more, and nothing is wrong. */
  readonly state: 'waiting' | 'running' | 'success' | 'failure' | 'inactive';
  readonly description: string;
}

/** What a deployment is doing; shown in lists, search attributes and the status page. */
export type DeploymentPhase =
  | 'planning'
  | 'awaiting-approval'
  | 'queued'
  | 'preparing'
  | 'backing-up'
  | 'rolling-out'
  | 'migrating'
  | 'probing'
  | 'switching'
  | 'watching'
  | 'settling'
  | 'rolling-back'
  | 'closed';

/** One recorded step of a roll-out or rollback, as the timeline shows it. */
export interface StepRecord {
  readonly name: string;
  readonly verdict: Verdict;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly detail?: string;
}

/** How a deployment ended. */
export interface DeploymentResult extends DeploymentRef {
  readonly outcome: Outcome;
  /** One sentence: why, and what to do where there is something to do. */
  readonly reason: string;
  /** What is live now; absent when nothing is, or when it is not known. */
  readonly live?: LiveRelease;
  readonly steps: readonly StepRecord[];
  readonly rollback?: RollbackReport;
  /** Verdict of the watch: `inconclusive` when no user traffic was seen. */
  readonly watch?: Verdict;
}

/** The seven headings of a rollback report, in this order whatever order they ran in. */
export const rollbackSteps = [
  'detect',
  'initiate',
  'stop-current',
  'restore-data',
  'deploy-previous',
  'verify',
  'clean-up',
] as const;
export type RollbackStepName = (typeof rollbackSteps)[number];

/** Target durations of the steps, ms (upper values of the specification); a whole rollback past 12 minutes is an alert. */
export const rollbackTargetsMs: Record<RollbackStepName, number> = {
  detect: 0,
  initiate: 30_000,
  'stop-current': 60_000,
  'restore-data': 180_000,
  'deploy-previous': 180_000,
  verify: 180_000,
  'clean-up': 60_000,
};
export const rollbackAlertMs = 720_000;
/** A start that takes longer is told, ms (specification, S4-100); it is no limit. */
export const startAlertMs = 300_000;

export interface RollbackStep extends StepRecord {
  readonly name: RollbackStepName;
  readonly targetMs: number;
}

export interface RollbackReport {
  readonly trigger: string;
  readonly to?: string;
  readonly steps: readonly RollbackStep[];
  /** From the verdict or signal until the previous version served, ms. */
  readonly servingAfterMs?: number;
  readonly totalMs: number;
  readonly data?: DataRollback;
  readonly incident?: string;
}

/** What happened to the data. */
export interface DataRollback {
  readonly action: 'none' | 'swapped' | 'down' | 'left' | 'held';
  readonly detail: string;
  /** Database that keeps the damaged state, for 14 days. */
  readonly damagedDatabase?: string;
  readonly laterWrites?: LaterWrites;
  /** Why they are not exported, though the data is back. */
  readonly unexported?: string;
  readonly refusedWritesMs?: number;
}

/** Writes made after the backup, counted and exported. */
export interface LaterWrites {
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  /** Blob that holds them. */
  readonly blob?: string;
}
