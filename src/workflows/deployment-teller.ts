import { condition } from '@temporalio/workflow';
import type { DeploymentInput, DeploymentPhase, DeploymentResult, ForgeDeployment } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Plan } from '../domain/plan.ts';
import { say } from './call.ts';
import { telling } from './proxies/word.ts';

type State = ForgeDeployment['state'];

const ended: Readonly<Record<Outcome, State>> = {
  succeeded: 'success',
  failed: 'failure',
  errored: 'failure',
  rejected: 'failure',
  expired: 'failure',
  'rollback-failed': 'failure',
  'rollback-unavailable': 'failure',
  held: 'failure',
  // Nothing of it is live, and nothing is wrong.
  'rolled-back': 'inactive',
  superseded: 'inactive',
  aborted: 'inactive',
};

const waiting: readonly DeploymentPhase[] = ['planning', 'awaiting-approval', 'queued'];

/**
 * Tells the forge of a project how a deployment goes: one call at a time, each with what holds by then, so that nothing is told backwards. Does
 * nothing for a plan that does not ask for it, which is how deployments of before stay as they were.
 */
export class DeploymentTeller {
  readonly #input: DeploymentInput;
  #commit: string | undefined;
  #wanted: Pick<ForgeDeployment, 'state' | 'description'> | undefined;
  #told = '';
  #busy = false;

  constructor(input: DeploymentInput) {
    this.#input = input;
  }

  update(plan: Plan | undefined, phase: DeploymentPhase, result: DeploymentResult | undefined): void {
    if (plan?.tellsDeployments !== true) return;
    this.#commit = plan.identity.release.commit;
    this.#wanted =
      result === undefined
        ? { state: waiting.includes(phase) ? 'waiting' : 'running', description: words[phase] ?? 'It is under way.' }
        : { state: ended[result.outcome], description: `${result.outcome}: ${result.reason}` };
    if (!this.#busy) void this.#tell();
  }

  /** Waits until the last word was said or given up. */
  async drained(): Promise<void> {
    if (this.#busy) await condition(() => !this.#busy);
  }

  async #tell(): Promise<void> {
    this.#busy = true;
    for (;;) {
      const [wanted, commit] = [this.#wanted, this.#commit];
      if (wanted === undefined || commit === undefined || this.#told === textOf(wanted)) break;
      // Said or given up, it is not said again: what comes later says more.
      this.#told = textOf(wanted);
      const { project, environment, number, version, runKey } = this.#input;
      const deployment = { project, environment, number };
      const input = { ...{ deployment, version, commit, ...wanted }, ...(runKey === undefined ? {} : { runKey }) };
      await say(telling.tellDeployment, input);
    }
    this.#busy = false;
  }
}

const words: Partial<Readonly<Record<DeploymentPhase, string>>> = {
  'awaiting-approval': 'Waits for people to approve it.',
  queued: 'Waits for its turn.',
};

function textOf({ state, description }: Pick<ForgeDeployment, 'state' | 'description'>): string {
  return `${state} ${description}`;
}
