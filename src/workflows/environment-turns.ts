import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { condition, log, startChild } from '@temporalio/workflow';
import { type DeploymentInput, askAgain } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import { brief, call } from './call.ts';
import { type Current, type EnvironmentCore, holdFor, nextTurn, scheduleRetirement } from './environment-core.ts';
import { keepRetirement } from './environment-retirement.ts';
import { type Rollbacks, noWay } from './environment-rollbacks.ts';
import type { PendingRollback } from './environment-state.ts';
import { type TakeTurn, type TurnRequest, deploymentId, rollbackId, rolloutId, turnGrantedSignal } from './messages.ts';
import { attributesOf, isoNow } from './progress.ts';
import { following } from './proxies/record.ts';
import { rollOutRelease } from './roll-out-release.ts';
import { rollbackRelease } from './rollback-release.ts';
import { type TurnReport, isTurnReport } from './turn.ts';

/** Added to the approval's time before a turn that is held for a decision is taken back, ms. */
const graceMs = 120_000;
/** A turn that is held is confirmed so often, ms. */
const askAgainMs = 600_000;

/** How an environment gives a turn, follows it to its end, and what it takes from how that was. */
export class Turns {
  readonly #core: EnvironmentCore;
  readonly #rollbacks: Rollbacks;

  constructor(core: EnvironmentCore, rollbacks: Rollbacks) {
    this.#core = core;
    this.#rollbacks = rollbacks;
  }

  /** One turn of a deployment, to its end. */
  async rollOut(entry: TurnRequest | TakeTurn): Promise<void> {
    const { deployment } = entry;
    const { number } = deployment;
    const ask = entry.ask ?? 1;
    const current = this.begin('rollout', deployment, rolloutId(deployment, ask), ask);
    let planHash: string | undefined;
    if ('policy' in entry) {
      this.#core.state.policy = entry.policy;
      planHash = entry.planHash;
    }
    if ('policy' in entry && entry.policy.approval.turn === 'hold' && !entry.approved) {
      const plan = await this.#holdForDecision(current, entry.policy);
      if (plan === undefined) return;
      planHash = plan;
    } else if ('policy' in entry) {
      this.#core.answers.background(
        this.#core.answers.signal(deploymentId(deployment), turnGrantedSignal, { number, ask }),
      );
    }
    // Whoever took the turn at once hears of it with its plan. The release before the live one makes room: its slot is the one that is replaced.
    this.#core.state.retire = null;
    const planned = planHash === undefined ? {} : { planHash };
    const args = [{ deployment, ...planned, turn: nextTurn(this.#core.state), ask }] as const;
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollOutRelease, { ...childOptions(current), args: [...args] });
      return await child.result();
    });
    await this.takeReport(current, report);
  }

  /** @returns the plan to roll out; undefined when the turn was given back. */
  async #holdForDecision(current: Current, policy: PlanPolicy): Promise<string | undefined> {
    const { deployment, ask } = current;
    const { number } = deployment;
    current.asking = true;
    const decided = (): boolean => current.proceed !== undefined || current.aborting !== undefined;
    const deadline = Date.now() + policy.approval.timeoutMs + graceMs;
    const again = policy.queue.askAgainMs ?? askAgainMs;
    // Told again from time to time: who does not exist any more can neither decide nor give the turn back.
    while (!decided() && Date.now() < deadline) {
      if (!(await this.#core.answers.signal(deploymentId(deployment), turnGrantedSignal, { number, ask }))) break;
      const pause = Math.max(1, Math.min(again, deadline - Date.now()));
      await condition(decided, pause, { summary: 'turn held while people decide' });
    }
    current.asking = false;
    if (current.proceed?.go === true && current.aborting === undefined) return current.proceed.plan;
    this.#core.current = null;
    if (current.proceed?.go === false) {
      // It has settled itself.
      this.#core.answers.remember(number);
      return undefined;
    }
    const kind = current.aborting === undefined ? 'expired' : 'withdrawn';
    const undecided = `It was not approved while it held the turn. ${askAgain(deployment)}`;
    const reason = current.aborting?.reason ?? undecided;
    this.#core.answers.answer(deployment, { kind, number, reason });
    return undefined;
  }

  /** One turn that a person asked for, to its end. */
  async rollBack(pending: PendingRollback): Promise<void> {
    const { live, previous, policy } = this.#core.state;
    const { deployment, data, ...asked } = pending;
    const current = this.begin('rollback', deployment, rollbackId(deployment), 1);
    // Its first act is a change, without asking: nothing may stand between a person's word and the traffic.
    current.changing = true;
    this.#core.state.retire = null;
    const standby = previous !== null && previous.version === deployment.version ? previous : null;
    const known = { ...(policy === null ? {} : { policy }), ...(data === undefined ? {} : { data }) };
    const args = [{ deployment, ...asked, live, standby, turn: nextTurn(this.#core.state), ...known }] as const;
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollbackRelease, { ...childOptions(current), args: [...args] });
      return await child.result();
    });
    await this.takeReport(current, report);
  }

  /** @returns null when it closed without a report. */
  async #runChild(current: Current, work: () => Promise<TurnReport>): Promise<TurnReport | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return await this.follow(current);
      const { message } = describeFailure(error);
      log.warn('a turn closed without a report', { workflowId: current.workflowId, message });
      return null;
    }
  }

  /** Waits for the end of a turn that this workflow has not begun itself. @returns null when it closed without a report. */
  async follow(current: Current): Promise<TurnReport | null> {
    current.changing = true;
    const { workflowId } = current;
    const report = await call(following.awaitTurnClosed, `follows ${workflowId}`, { workflowId });
    return isTurnReport(report) ? report : null;
  }

  /** Takes what a turn has come to as what holds, answers for it, and is free for the next. @param report - null: it closed without one. */
  async takeReport(current: Current, report: TurnReport | null): Promise<void> {
    const { deployment, kind } = current;
    if (report === null) this.#takeSilence(current);
    else if (report.kind === 'plan-changed') {
      this.#core.state.answered[deployment.number] = current.ask;
      keepRetirement(this.#core.state, current);
      this.#core.answers.tell(deployment, { kind: 'plan-changed', number: deployment.number, plan: report.plan });
    } else {
      this.#takeResult(current, report);
      this.#core.answers.settle(kind, deployment, report);
    }
    this.#core.current = null;
    const { forwarded } = current;
    if (forwarded !== undefined && !tookItselfBack(report)) await this.#rollbacks.accept(forwarded).catch(noWay);
  }

  #takeResult(current: Current, report: Extract<TurnReport, { kind: 'result' }>): void {
    const { state } = this.#core;
    const { result, live, previous, hold, data, policy } = report;
    if (policy !== undefined) state.policy = policy;
    if (report.untouched === true) {
      const kept = keepRetirement(this.#core.state, current);
      if (!kept && state.previous !== null) scheduleRetirement(state, state.previous);
      return;
    }
    state.live = live;
    state.previous = previous;
    state.retire = null;
    if (hold === undefined) {
      state.hold = null;
      state.unfinished = null;
      state.retryTo = null;
      if (previous !== null) scheduleRetirement(state, previous);
    } else {
      holdFor(state, result.outcome === 'held' ? 'held' : 'incident', hold);
      state.unfinished = data ?? null;
      state.retryTo = result.rollback?.to ?? null;
    }
  }

  #takeSilence(current: Current): void {
    const { deployment, changing, kind, workflowId } = current;
    const reason = changing
      ? `Its workflow (${workflowId}) ended without a report after it had begun to change things: \`reconcile\` the environment, or \`unlock\` it with what is live.`
      : `Its workflow (${workflowId}) was ended before it changed anything.`;
    if (changing) holdFor(this.#core.state, 'unknown', reason);
    else keepRetirement(this.#core.state, current);
    const { project, environment, number } = deployment;
    const result = { project, environment, number, outcome: 'errored' as const, reason, steps: [] };
    this.#core.answers.settle(kind, deployment, { result });
  }

  /** From here on it has the turn. */
  begin(kind: Current['kind'], deployment: DeploymentInput, workflowId: string, ask: number): Current {
    const { retire } = this.#core.state;
    const current = { kind, deployment, workflowId, ask, since: isoNow(), retire, changing: false, asking: false };
    this.#core.current = current;
    // Asked for again before it was known that it has its turn already.
    this.#core.state.queue = this.#core.state.queue.filter(
      (entry) => entry.deployment.number !== deployment.number || (entry.ask ?? 1) > ask,
    );
    this.#core.show();
    return current;
  }
}

function childOptions(current: Current): {
  workflowId: string;
  workflowIdReusePolicy: 'REJECT_DUPLICATE';
  parentClosePolicy: 'ABANDON';
  cancellationType: 'ABANDON';
  staticSummary: string;
  typedSearchAttributes: ReturnType<typeof attributesOf>;
} {
  const { project, environment, version, number } = current.deployment;
  return {
    workflowId: current.workflowId,
    // Once in a lifetime: should this workflow have lost its memory, the id is what keeps a turn from being taken twice.
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
    // Terminated in the middle of a change, an environment leaves the one behind that can still undo it.
    parentClosePolicy: 'ABANDON',
    cancellationType: 'ABANDON',
    staticSummary: brief(`${current.kind === 'rollout' ? '' : 'back to '}${version} → ${environment} #${number}`),
    typedSearchAttributes: attributesOf({ project, environment, phase: 'preparing', version }),
  };
}

/** Whether a rollback that was asked for during a roll-out was done by it: it had begun to change things, and took them back. */
function tookItselfBack(report: TurnReport | null): boolean {
  return report?.kind === 'result' && report.untouched !== true && report.result.outcome !== 'succeeded';
}
