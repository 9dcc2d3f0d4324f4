import type { SignalDefinition } from '@temporalio/common';
import { CancellationScope, getExternalWorkflowHandle, log } from '@temporalio/workflow';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import type { Outcome } from '../domain/outcome.ts';
import { type EnvironmentState, withNumber } from './environment-state.ts';
import { type TurnRequest, type TurnSettled, deploymentId, turnSettledSignal } from './messages.ts';
import { callAnyway } from './call.ts';
import { record } from './proxies/record.ts';

/** What an environment says to others. Nobody waits for it but a new run, which must not begin with something half said. */
export class Answers {
  readonly #state: EnvironmentState;
  readonly #wake: () => void;
  #underWay = 0;

  constructor(state: EnvironmentState, wake: () => void) {
    this.#state = state;
    this.#wake = wake;
  }

  get idle(): boolean {
    return this.#underWay === 0;
  }

  /** The last word about a deployment. A rollback has no workflow of its own that would settle it. */
  settle(kind: 'rollout' | 'rollback', deployment: DeploymentInput, ended: Ended): void {
    const { number } = deployment;
    const { result, stepsKey } = ended;
    const told = { result, ...(stepsKey === undefined ? {} : { stepsKey }) };
    if (kind === 'rollout') this.answer(deployment, { kind: 'result', number, ...told });
    else {
      this.remember(number);
      this.background(recordResult(deployment, told));
    }
  }

  /** A last word; told once, for a signal that was taken is never lost. */
  answer(deployment: DeploymentInput, settled: TurnSettled): void {
    this.remember(deployment.number);
    this.tell(deployment, settled);
  }

  /** When the requester is gone, nobody but this workflow is left to write its outcome down. */
  tell(deployment: DeploymentInput, settled: TurnSettled): void {
    const told = this.signal(deploymentId(deployment), turnSettledSignal, settled);
    this.background(
      told.then(async (reached) => {
        if (reached) return;
        this.remember(deployment.number);
        await recordResult(deployment, settled.kind === 'result' ? settled : { result: orphan(deployment, settled) });
      }),
    );
  }

  remember(number: number): void {
    this.#state.settled = withNumber(this.#state.settled, number);
    this.#state.answered = Object.fromEntries(
      Object.entries(this.#state.answered).filter(([answered]) => answered !== String(number)),
    );
  }

  /** @returns false when there is no such workflow any more. */
  async signal<Message>(workflowId: string, signal: SignalDefinition<[Message]>, message: Message): Promise<boolean> {
    try {
      // Shielded, as everything that is said from a handler (call.ts `callAnyway`).
      await CancellationScope.nonCancellable(() => getExternalWorkflowHandle(workflowId).signal(signal, message));
      return true;
    } catch {
      return false;
    }
  }

  background(work: Promise<unknown>): void {
    this.#underWay += 1;
    void work
      .catch((error: unknown) => log.error('not told', { message: describeFailure(error).message }))
      .finally(() => {
        this.#underWay -= 1;
        this.#wake();
      });
  }
}

/** How a turn ended. */
type Ended = Pick<Extract<TurnSettled, { kind: 'result' }>, 'result' | 'stepsKey'>;
type Refusal = Extract<TurnSettled, { readonly reason: string }>;

export function refusal(entry: TurnRequest, kind: Refusal['kind'], reason: string): Refusal {
  return { kind, number: entry.deployment.number, reason };
}

async function recordResult(deployment: DeploymentInput, { result, stepsKey }: Ended): Promise<void> {
  await callAnyway(record.settleDeployment, `${result.outcome}: ${result.reason}`, {
    result,
    version: deployment.version,
    ...(stepsKey === undefined ? {} : { stepsKey }),
  });
}

/** The outcome of a deployment whose workflow is gone. */
function orphan(deployment: DeploymentInput, settled: Exclude<TurnSettled, { kind: 'result' }>): DeploymentResult {
  const { project, environment, number } = deployment;
  const outcomes: Record<typeof settled.kind, Outcome> = {
    superseded: 'superseded',
    expired: 'expired',
    withdrawn: 'aborted',
    refused: 'errored',
    'plan-changed': 'aborted',
  };
  const reason =
    settled.kind === 'plan-changed'
      ? 'The plan changed, and its workflow was ended before it could ask again.'
      : settled.reason;
  return { project, environment, number, outcome: outcomes[settled.kind], reason, steps: [] };
}
