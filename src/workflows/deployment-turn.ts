import { condition, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import type { DeploymentResult } from '../domain/deployment.ts';
import { tellFailure } from '../domain/failures.ts';
import type { Plan } from '../domain/plan.ts';
import { sentences } from '../domain/sentences.ts';
import type { DeploymentCore } from './deployment-core.ts';
import { isSettled, namesNumber, namesPlan } from './inbound.ts';
import {
  type AbortMessage,
  type TurnSettled,
  abortSignal,
  environmentId,
  plannedSignal,
  proceedSignal,
  rolloutId,
  takeTurnSignal,
  turnBusySignal,
  turnGrantedSignal,
  turnSettledSignal,
  withdrawTurnSignal,
} from './messages.ts';
import { isoNow, took } from './progress.ts';
import { record } from './proxies/record.ts';

/** While it waits it asks again, should the environment have lost its memory: after this, three times this, and then every six times. */
const askAgainMs = 600_000;
/** Who has taken the turn at once hears within this that it is planned, or asks as everybody does, ms. Judgement: fifty times what a plan takes. */
const firstAnswerMs = 20_000;

/** What a deployment and its environment say to each other about the turn. */
export class DeploymentTurn {
  readonly #core: DeploymentCore;
  /** From when the longest wait for the turn is counted. */
  #askedAt = '';
  /** The turn that it wanted at once was not free. */
  #busy = false;
  #settled: TurnSettled | undefined;

  constructor(core: DeploymentCore) {
    this.#core = core;
    setHandler(turnSettledSignal, (settled) => {
      if (!isSettled(settled)) return;
      this.#settled ??= settled;
    });
    setHandler(turnBusySignal, (busy) => {
      if (namesNumber(busy) && busy.ask === core.ask) this.#busy = true;
    });
    setHandler(plannedSignal, (planned) => {
      // One that people have to approve comes back as the answer, and counts only then.
      if (!namesPlan(planned) || planned.plan.policy.approval.required) return;
      core.plan ??= planned.plan;
      core.granted = true;
      if (core.journal.phase === 'planning') core.journal.pass('rolling-out');
      core.show();
    });
    setHandler(turnGrantedSignal, (granted) => {
      if (!namesNumber(granted) || (granted.ask ?? 1) !== core.ask) return;
      core.granted = true;
      // Told by whoever has the turn.
      if (core.journal.phase === 'queued' && !core.holds) core.journal.pass('rolling-out');
    });
  }

  /** The environment's answer, as long as it holds. */
  get settled(): TurnSettled | undefined {
    return this.#settled;
  }

  /** From here on the longest wait for the turn is counted. */
  countFromNow(): void {
    this.#askedAt = isoNow();
  }

  /** Another plan: what was said of the last one does not count. @param all - nor does an outcome, which counts whenever it comes otherwise. */
  forget(all: boolean): void {
    if (this.#settled?.kind === 'plan-changed' || all) this.#settled = undefined;
    this.#core.granted = false;
  }

  /**
   * Takes the turn if it is free, and is planned with it in hand.
   *
   * @returns the result, or the plan that has to be approved after all; undefined when it has to plan and to wait as everybody does.
   */
  async takeFirst(): Promise<DeploymentResult | Plan | undefined> {
    const core = this.#core;
    const { project, environment } = core.input;
    this.countFromNow();
    const taking = { deployment: core.input, ask: core.ask };
    const told = await this.#signal(environmentId(project, environment), (handle) =>
      handle.signal(takeTurnSignal, taking),
    );
    const known = (): boolean => this.#settled !== undefined || core.plan !== undefined || core.stop !== undefined;
    // An environment that lost its memory before the roll-out began knows nothing of it: then it is asked as by everybody.
    const answered = told && (await condition(() => known() || this.#busy, firstAnswerMs, { summary: 'turn' }));
    if (answered && !this.#busy) return await this.awaitOutcome();
    if (core.stop !== undefined) return core.aborted(core.stop);
    core.journal.enter('planning', 'reads what would change');
    return undefined;
  }

  /** @param again - it has been asked for before: nobody waits for this word longer than for the next. */
  async request(approved: boolean, again = false): Promise<void> {
    const core = this.#core;
    const { plan } = core;
    if (plan === undefined) return;
    const input = { deployment: core.input, plan, approved, ask: core.ask, requestedAt: this.#askedAt };
    const { timeoutMs } = plan.policy.queue;
    const scheduleToCloseTimeout = again ? this.#pause(0) : timeoutMs;
    try {
      await core.journal.call(record.requestTurn, 'asks for the turn', input, { scheduleToCloseTimeout });
    } catch (error) {
      // Who answers has heard it.
      if (again || core.granted || this.#settled !== undefined) return;
      if (core.stop === undefined) {
        core.unasked = sentences(`The turn could not be asked for within ${took(timeoutMs)}: ${tellFailure(error)}`);
      }
      // It may have been asked for all the same, so the environment has the last word, as with every abort.
      core.abort({ by: 'Slipway', reason: 'the turn could not be asked for' });
    }
  }

  /** Says, with the turn in hand, whether people want it. @returns false when the environment does not run. */
  proceed(go: boolean): Promise<boolean> {
    const { project, environment, number } = this.#core.input;
    const plan = this.#core.plan?.hash ?? '';
    return this.#signal(environmentId(project, environment), (handle) =>
      handle.signal(proceedSignal, { number, go, plan }),
    );
  }

  async awaitOutcome(): Promise<DeploymentResult | Plan> {
    const settled = await this.awaitEnvironment(() => false, true);
    return settled ?? this.#core.end('errored', 'The environment did not answer.');
  }

  /**
   * Waits for the environment's answer, or for `enough`; asks again from time to time, should the environment have lost its memory.
   *
   * @returns what the answer means; undefined when `enough` came first.
   */
  async awaitEnvironment(enough: () => boolean, approved: boolean): Promise<DeploymentResult | Plan | undefined> {
    const core = this.#core;
    const awake = (): boolean => this.#settled !== undefined || enough() || core.stop !== undefined;
    for (let round = 0; this.#settled === undefined; round += 1) {
      if (!(await condition(awake, this.#pause(round), { summary: 'turn' }))) await this.request(approved, true);
      else if (core.stop !== undefined) return await this.#withdraw(core.stop);
      else if (enough()) return undefined;
    }
    return this.read(this.#settled);
  }

  /** What the environment's answer means: the result, or the plan that has to be approved instead. */
  read(settled: TurnSettled): DeploymentResult | Plan {
    const core = this.#core;
    switch (settled.kind) {
      case 'result':
        return settled.result;
      case 'plan-changed':
        if (core.stop !== undefined) return core.aborted(core.stop);
        return settled.plan;
      case 'superseded':
        return core.end('superseded', settled.reason);
      case 'expired':
        return core.end('expired', settled.reason);
      case 'withdrawn':
        return core.unasked === undefined ? core.end('aborted', settled.reason) : core.end('expired', core.unasked);
      case 'refused':
        return core.end('errored', settled.reason);
    }
  }

  #pause(round: number): number {
    const first = this.#core.plan?.policy.queue.askAgainMs ?? askAgainMs;
    return first * ([1, 3][round] ?? 6);
  }

  /** Aborted after the turn was asked for: the environment has the last word, or a roll-out that outlived it, or nobody. */
  async #withdraw(abort: AbortMessage): Promise<DeploymentResult | Plan> {
    const core = this.#core;
    const { project, environment, number } = core.input;
    let word = abort;
    for (let round = 0; this.#settled === undefined; round += 1) {
      const said = word;
      const { by, reason = 'no reason given', noRollback } = said;
      const words = { number, by, reason, ...(noRollback === undefined ? {} : { noRollback }) };
      const told =
        (await this.#signal(environmentId(project, environment), (handle) =>
          handle.signal(withdrawTurnSignal, words),
        )) || (await this.#signal(rolloutId(core.input, core.ask), (handle) => handle.signal(abortSignal, said)));
      if (!told) return core.aborted(said);
      // A later word to leave everything as it is goes out at once.
      const awake = (): boolean => this.#settled !== undefined || core.stop !== said;
      await condition(awake, this.#pause(round), { summary: 'being aborted' });
      word = core.stop ?? said;
    }
    return this.read(this.#settled);
  }

  async #signal(
    workflowId: string,
    send: (handle: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<boolean> {
    try {
      await send(getExternalWorkflowHandle(workflowId));
      return true;
    } catch {
      return false;
    }
  }
}
