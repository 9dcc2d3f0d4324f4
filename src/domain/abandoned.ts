import type { DeploymentPhase, DeploymentRef, DeploymentResult } from './deployment.ts';
import type { RunOutcome } from './outcome.ts';

/** A workflow that will say nothing more. `unknown`: Temporal has none of that id (any more). */
export interface ClosedWorkflow {
  readonly workflowId: string;
  readonly status: 'completed' | 'failed' | 'terminated' | 'cancelled' | 'timed-out' | 'unknown';
  /** ISO 8601; absent where it is not known. */
  readonly closedAt?: string;
}

/** A run without an outcome whose workflow is over. */
export interface AbandonedRun {
  readonly kind: 'run';
  readonly project: string;
  readonly key: string;
  readonly number: number;
  readonly phase: string;
  readonly workflow: ClosedWorkflow;
  /** What the workflow returned, where it did. */
  readonly returned?: { readonly outcome: RunOutcome; readonly reason: string };
}

/** A deployment or rollback without an outcome, when every workflow that could still give it one is over. */
export interface AbandonedDeployment extends DeploymentRef {
  readonly kind: 'deployment';
  readonly rollback: boolean;
  readonly version: string;
  readonly phase: DeploymentPhase;
  /** `deployRelease`, or `rollbackRelease` of a rollback. */
  readonly workflow: ClosedWorkflow;
  /** The last roll-out that had the turn for it; absent when it never had the turn. */
  readonly turn?: ClosedWorkflow;
  /** What the last of them to know returned. */
  readonly returned?: DeploymentResult;
}

export type Abandoned = AbandonedRun | AbandonedDeployment;

/** How a run ends that nobody is left to end. */
export function endOfRun(run: AbandonedRun): { readonly outcome: RunOutcome; readonly reason: string } {
  if (run.returned !== undefined) return run.returned;
  const { project, number, phase, workflow } = run;
  return {
    outcome: 'errored',
    reason: `Its workflow ${whatBecameOf(workflow)} while it was ${phase}, so nobody was left to end it. \`slipway rerun ${project}#${number}\` does it again.`,
  };
}

/** Phases in which the environment has been, or may have been, changed. */
const changing: readonly DeploymentPhase[] = [
  'rolling-out',
  'migrating',
  'probing',
  'switching',
  'watching',
  'settling',
  'rolling-back',
];

/**
 * How a deployment ends that nobody is left to end. `held` when it may have changed something, for then only a person can say what is
 * live; else `errored`.
 */
export function endOfDeployment(deployment: AbandonedDeployment): DeploymentResult {
  if (deployment.returned !== undefined) return deployment.returned;
  const { project, environment, number, version, phase, rollback, workflow, turn } = deployment;
  const end = (outcome: 'errored' | 'held', reason: string): DeploymentResult => {
    return { project, environment, number, outcome, reason, steps: [] };
  };
  const place = `${project}/${environment}`;
  const begun = rollback ? workflow.status !== 'unknown' : turn !== undefined;
  const what = rollback ? 'rollback' : 'workflow';
  if (changing.includes(phase) || (rollback && begun)) {
    const last = turn ?? workflow;
    return end(
      'held',
      `Its ${turn === undefined ? what : 'roll-out'} ${whatBecameOf(last)} while it was ${phase}, after changes and without a word of what is live. Look at ${place}, then \`slipway reconcile ${place} --reason …\` takes what runs as the truth, or \`slipway unlock ${place} --state-is <version> --reason …\` says it.`,
    );
  }
  const again = rollback
    ? `slipway rollback ${place} --to-version ${version} --reason …`
    : `slipway deploy ${place} ${version}`;
  return end(
    'errored',
    `Its ${what} ${whatBecameOf(workflow)} while it was ${phase}; nothing was changed in ${environment}. \`${again}\` asks for it again.`,
  );
}

/** `(run/hello/abc) was terminated at 2026-…`. */
function whatBecameOf({ workflowId, status, closedAt }: ClosedWorkflow): string {
  const at = closedAt === undefined ? '' : ` at ${closedAt}`;
  return `(${workflowId}) ${words[status]}${at}`;
}

const words: Readonly<Record<ClosedWorkflow['status'], string>> = {
  completed: 'ended without a result',
  failed: 'failed',
  terminated: 'was terminated',
  cancelled: 'was cancelled',
  'timed-out': 'ran out of time',
  unknown: 'is not known to Temporal any more',
};
