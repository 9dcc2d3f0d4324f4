import { patched, setHandler } from '@temporalio/workflow';
import { sentences } from '../domain/sentences.ts';
import { refusal } from './environment-answers.ts';
import { type EnvironmentCore, viewOf } from './environment-core.ts';
import { type Rollbacks, stopCurrent } from './environment-rollbacks.ts';
import { enqueue, hasAnswer, includesNumber, isClear } from './environment-state.ts';
import { isRequest, isTake, namesNumber } from './inbound.ts';
import {
  type AbortMessage,
  type TakeTurn,
  type TurnRequest,
  changeGrantedSignal,
  changingSignal,
  deploymentId,
  environmentQuery,
  owedQuery,
  proceedSignal,
  requestTurnSignal,
  takeTurnSignal,
  turnBusySignal,
  turnSettledSignal,
  withdrawTurnSignal,
} from './messages.ts';

/** Before, a word to stop a rollback reached nobody. */
const rollbacksCanStop = '2026-11-25-rollbacks-can-stop';

/** What other workflows ask of an environment: the turn, to be let go, and whether they may change things now. */
export class Requests {
  readonly #core: EnvironmentCore;
  readonly #rollbacks: Rollbacks;

  constructor(core: EnvironmentCore, rollbacks: Rollbacks) {
    this.#core = core;
    this.#rollbacks = rollbacks;
    setHandler(environmentQuery, () => viewOf(core), { description: 'What is live, who has the turn, who waits' });
    setHandler(owedQuery, () => this.#owed(), { description: 'Numbers whose end this environment will still see to' });
    setHandler(takeTurnSignal, (take) => {
      if (isTake(take)) this.#takeIfFree(take);
    });
    setHandler(requestTurnSignal, (request) => {
      if (isRequest(request)) this.#takeRequest(request);
    });
    setHandler(withdrawTurnSignal, (message) => {
      if (!namesNumber(message)) return;
      const { number, reason, by = 'somebody', noRollback } = message;
      this.#withdraw(number, { by, reason, ...(noRollback === undefined ? {} : { noRollback }) });
    });
    setHandler(proceedSignal, (message) => {
      const { current } = core;
      if (!namesNumber(message) || current?.deployment.number !== message.number || !current.asking) return;
      current.proceed = { go: message.go, plan: message.plan };
      core.wake();
    });
    setHandler(changingSignal, (message) => {
      if (namesNumber(message)) this.#grantChange(message.number, message.from);
    });
  }

  /** Whether a release may be rolled out at once, and nobody waits for it. */
  isFree(): boolean {
    const { state, current } = this.#core;
    return current === null && !this.#rollbacks.opening && isClear(state, Date.now());
  }

  /** To somebody who wanted the turn only if it is free. */
  tellBusy({ deployment, ask }: TakeTurn): void {
    const { answers } = this.#core;
    const { number } = deployment;
    answers.background(answers.signal(deploymentId(deployment), turnBusySignal, { number, ask }));
  }

  /** Numbers whose end this environment will still see to. */
  #owed(): readonly number[] {
    const { state, current } = this.#core;
    const { queue, rollbacks, first } = state;
    const underWay = current === null ? [] : [current.deployment.number];
    const waiting = [...(first === undefined ? [] : [first]), ...queue, ...rollbacks];
    return [...underWay, ...waiting.map(({ deployment }) => deployment.number)];
  }

  /** Only while nothing else is to be done or waited for: who has a plan must not be overtaken by one that may have none. */
  #takeIfFree(take: TakeTurn): void {
    const { state, current } = this.#core;
    const { number } = take.deployment;
    if (hasAnswer(state, number, take.ask)) return;
    if (current?.deployment.number === number || state.first?.deployment.number === number) return;
    if (!this.#core.idle || !this.isFree()) {
      this.tellBusy(take);
      return;
    }
    state.first = { deployment: take.deployment, ask: take.ask };
    this.#core.wake();
  }

  #takeRequest(request: TurnRequest): void {
    const { state, current } = this.#core;
    const { number } = request.deployment;
    const ask = request.ask ?? 1;
    // It has been told, or is gone: a signal that was taken is never lost.
    if (hasAnswer(state, number, ask)) return;
    if (current?.kind === 'rollout' && current.deployment.number === number && ask <= current.ask) return;
    const queued = state.queue.find((entry) => entry.deployment.number === number);
    if (queued !== undefined && ask <= (queued.ask ?? 1)) return;
    const { queue, superseded } = enqueue(state.queue, request);
    state.queue = queue;
    for (const entry of superseded) {
      const why = 'A newer deployment waits for this environment.';
      this.#core.answers.answer(entry.deployment, refusal(entry, 'superseded', why));
    }
    this.#core.wake();
  }

  #withdraw(number: number, message: AbortMessage): void {
    const { state, current, answers } = this.#core;
    const queued = state.queue.find((entry) => entry.deployment.number === number);
    const reason = sentences(`${message.by} aborted it: ${message.reason ?? 'no reason given'}`);
    const rollback = state.rollbacks.find((pending) => pending.deployment.number === number);
    if (rollback !== undefined && patched(rollbacksCanStop)) {
      state.rollbacks = state.rollbacks.filter((pending) => pending !== rollback);
      const { project, environment } = state;
      const result = { project, environment, number, outcome: 'aborted' as const, reason, steps: [] };
      answers.settle('rollback', rollback.deployment, { result });
    } else if (state.first?.deployment.number === number) {
      const { deployment } = state.first;
      delete state.first;
      answers.answer(deployment, { kind: 'withdrawn', number, reason });
    } else if (queued !== undefined) {
      state.queue = state.queue.filter((entry) => entry !== queued);
      answers.answer(queued.deployment, { kind: 'withdrawn', number, reason });
    } else if (current?.kind === 'rollout' && current.deployment.number === number) {
      stopCurrent(this.#core, current, message);
    } else if (current?.deployment.number === number && patched(rollbacksCanStop)) {
      stopCurrent(this.#core, current, message);
    } else if (!includesNumber(state.settled, number)) {
      const { project, environment } = state;
      answers.remember(number);
      const requester = deploymentId({ project, environment, number });
      answers.background(answers.signal(requester, turnSettledSignal, { kind: 'withdrawn', number, reason }));
    }
    this.#core.wake();
  }

  /** Only the workflow that has the turn, and only while nobody wants it stopped. */
  #grantChange(number: number, from: string): void {
    const { current, answers } = this.#core;
    const own = current?.workflowId === from;
    const go = own && current.aborting === undefined;
    if (go) current.changing = true;
    const reason = own ? 'it is being aborted' : 'the turn is not its own';
    answers.background(answers.signal(from, changeGrantedSignal, { number, go, ...(go ? {} : { reason }) }));
  }
}
