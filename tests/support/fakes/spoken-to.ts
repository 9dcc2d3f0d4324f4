import { ApplicationFailure, condition, defineQuery, setHandler } from '@temporalio/workflow';
import {
  type AllowMessage,
  type DecisionMessage,
  abortRunUpdate,
  allowRunUpdate,
  abortUpdate,
  approveUpdate,
  deploymentQuery,
  environmentQuery,
  freezeUpdate,
  rejectUpdate,
  rollbackUpdate,
  thawUpdate,
  unlockUpdate,
  withdrawTurnSignal,
} from '../../../src/workflows/messages.ts';
import type { ApprovalState } from '../../../src/domain/approval.ts';
import type { EnvironmentHold, EnvironmentView, UnlockMessage, WithdrawTurn } from '../../../src/workflows/messages.ts';

/** Refuses what has `refuse:<type>` in its comment, and the first proof that comes with `doubt`; gives back what it heard. */
export async function deployRelease(): Promise<void> {
  const heard: DecisionMessage[] = [];
  const state = (): ApprovalState => ({ planHash: 'x', status: 'pending', counted: heard }) as unknown as ApprovalState;
  const validator = ({ comment }: DecisionMessage): void => {
    const type = /^refuse:(.*)/.exec(comment ?? '')?.[1];
    if (type !== undefined) throw ApplicationFailure.create({ type, message: `refused as ${type}` });
  };
  let doubted = false;
  for (const update of [approveUpdate, rejectUpdate]) {
    setHandler(
      update,
      (message) => {
        if (message.comment === 'doubt' && !doubted) {
          doubted = true;
          const details = [{ nonce: message.proof?.nonce }];
          throw ApplicationFailure.create({ type: 'ProofRefused', message: 'not proven', details, nonRetryable: true });
        }
        heard.push(message);
        return state();
      },
      { validator },
    );
  }
  setHandler(abortUpdate, () => ({ accepted: true as const }));
  setHandler(defineQuery<DecisionMessage[]>('heard'), () => heard);
  setHandler(deploymentQuery, () => ({
    deployment: {} as never,
    phase: 'awaiting-approval' as const,
    approval: state(),
    approvalUntil: '2099-01-01T00:00:00.000Z',
    steps: [],
  }));
  await condition(() => false, '1 minute');
}

export async function environment(of: { readonly project: string; readonly environment: string }): Promise<void> {
  let hold: EnvironmentHold | null = null;
  const view = (): EnvironmentView => ({
    ...of,
    live: {
      version: '1.1.0',
      commit: 'c'.repeat(40),
      images: [],
      slot: 'green',
      deployment: 2,
      since: '2026-01-01T00:00:00.000Z',
    },
    previous: null,
    current: null,
    queue: [],
    hold,
    frozenUntil: null,
    retireAt: null,
  });
  setHandler(rollbackUpdate, () => ({ number: 42 }));
  setHandler(freezeUpdate, ({ by, reason }) => {
    hold = { state: 'frozen', since: '2026-01-01T00:00:00.000Z', reason, by };
    return view();
  });
  setHandler(thawUpdate, () => {
    hold = null;
    return view();
  });
  const notHeld = (): void => {
    throw ApplicationFailure.create({ type: 'Conflict', message: 'The environment is not held.' });
  };
  setHandler<EnvironmentView, [UnlockMessage], typeof unlockUpdate>(unlockUpdate, () => view(), { validator: notHeld });
  const withdrawn: WithdrawTurn[] = [];
  setHandler(withdrawTurnSignal, (message) => void withdrawn.push(message));
  setHandler(defineQuery<WithdrawTurn[]>('withdrawn'), () => withdrawn);
  setHandler(environmentQuery, view);
  await condition(() => false, '1 minute');
}

/** Gives back what it was told, as the reason of the failure that it ends with. */
export async function rollbackRelease(): Promise<void> {
  let told = '';
  setHandler(abortUpdate, ({ by, reason }) => {
    told = `${by}: ${reason ?? ''}`;
    return { accepted: true as const };
  });
  setHandler(defineQuery<string>('told'), () => told);
  await condition(() => false, '1 minute');
}

export async function runPipeline(): Promise<void> {
  setHandler(abortRunUpdate, () => ({ accepted: true as const }));
  const allowed: AllowMessage[] = [];
  setHandler(allowRunUpdate, (message) => {
    allowed.push(message);
    return { accepted: true as const };
  });
  setHandler(defineQuery<AllowMessage[]>('allowed'), () => allowed);
  await condition(() => false, '1 minute');
}
