import { condition, getExternalWorkflowHandle, setHandler, workflowInfo } from '@temporalio/workflow';
import type { DeploymentRef } from '../../domain/deployment.ts';
import { namesNumber } from '../inbound.ts';
import { changeGrantedSignal, changingSignal, environmentId } from '../messages.ts';

/** How long the environment may take to say whether the turn is still ours before it is asked again, ms; and how often it is asked. */
const grantMs = 2_000;
const grantRounds = 30;

/** The environment's word that a roll-out may change things now; asked for once, right before its first change. */
export class Grant {
  #word: { readonly go: boolean; readonly reason: string } | undefined;

  constructor() {
    setHandler(changeGrantedSignal, (word) => {
      if (!namesNumber(word)) return;
      this.#word ??= { go: word.go, reason: word.reason ?? 'the turn went to another deployment' };
    });
  }

  /**
   * Asks the environment, whose turn it is; one that was ended and begun anew may know nothing of this roll-out, or not yet.
   *
   * @returns why nothing may be changed; undefined when it may.
   */
  async ask({ project, environment, number }: DeploymentRef): Promise<string | undefined> {
    const handle = getExternalWorkflowHandle(environmentId(project, environment));
    const from = workflowInfo().workflowId;
    for (let round = 1; this.#word === undefined && round <= grantRounds; round += 1) {
      try {
        await handle.signal(changingSignal, { number, from });
      } catch {
        return 'the workflow of the environment does not run';
      }
      await condition(() => this.#word !== undefined, grantMs, { summary: 'asks whether the turn is still ours' });
    }
    if (this.#word === undefined) return 'the environment did not answer';
    return this.#word.go ? undefined : this.#word.reason;
  }
}
