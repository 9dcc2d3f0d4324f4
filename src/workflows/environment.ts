import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { askAgain } from '../domain/deployment.ts';
import { holdingOutcomes } from '../domain/outcome.ts';
import { call } from './call.ts';
import { Answers, refusal } from './environment-answers.ts';
import {
  type Current,
  type EnvironmentCore,
  holdFor,
  readFacts,
  showEnvironment,
  takeFacts,
} from './environment-core.ts';
import { listenToOperators } from './environment-operators.ts';
import { Requests } from './environment-requests.ts';
import { retireRelease } from './environment-retirement.ts';
import { Rollbacks } from './environment-rollbacks.ts';
import {
  type EnvironmentState,
  deadlineOf,
  emptyState,
  nextDueMs,
  nextInQueue,
  splitOverdue,
} from './environment-state.ts';
import { Turns } from './environment-turns.ts';
import { attributesOf } from './progress.ts';
import { readOwn } from './proxies/record.ts';

/** Input of `environment`; `signalWithStart` gives project and environment, the rest is its own when it continues as new. */
export interface EnvironmentInput {
  readonly project: string;
  readonly environment: string;
  readonly carried?: EnvironmentState;
  /** Continues as new when its history is longer than this and no turn is under way. Default 5,000 (half of what the server warns at). */
  readonly maxHistoryEvents?: number;
}

/**
 * One environment, for ever: who has the turn, what is live, what was before, who waits, and whether a person has to look first.
 *
 * Runs roll-outs and rollbacks as children, one at a time, so there is no lock that could be lost. Children are abandoned when it is
 * terminated; begun anew, it finds the open one and follows it before anybody else gets the turn.
 */
export async function environment(input: EnvironmentInput): Promise<void> {
  // A cancellation from the Temporal UI must not end what everything else relies on.
  await CancellationScope.nonCancellable(() => new Environment(input).run());
}

/** What is still being said when a new run is due has this long before the old one goes on instead, ms. */
const finishMs = 5_000;

/**
 * What an environment does next, and its memory. Giving turns is `environment-turns.ts`, what other workflows ask `environment-requests.ts`, what people
 * say `environment-operators.ts` and `environment-rollbacks.ts`.
 */
class Environment implements EnvironmentCore {
  readonly state: EnvironmentState;
  readonly answers: Answers;
  current: Current | null = null;
  /** It has nothing to do, and waits for something. */
  idle = false;
  readonly #rollbacks: Rollbacks;
  readonly #turns: Turns;
  readonly #requests: Requests;
  readonly #fresh: boolean;
  readonly #maxHistoryEvents: number;
  #awake = false;
  #shown = '';

  constructor(input: EnvironmentInput) {
    this.#fresh = input.carried === undefined;
    this.state = input.carried ?? emptyState(input.project, input.environment);
    this.#maxHistoryEvents = input.maxHistoryEvents ?? 5_000;
    this.answers = new Answers(this.state, () => this.wake());
    this.#rollbacks = new Rollbacks(this);
    this.#turns = new Turns(this, this.#rollbacks);
    this.#requests = new Requests(this, this.#rollbacks);
    listenToOperators(this, this.#rollbacks);
  }

  wake(): void {
    this.#awake = true;
  }

  async run(): Promise<never> {
    void this.#expireWaiting();
    if (this.#fresh) await this.#recall();
    for (;;) {
      this.#awake = false;
      this.show();
      await this.#continueWhenLong();
      if (await this.#takeStep()) continue;
      const dueMs = nextDueMs(this.state, Date.now());
      this.idle = true;
      if (dueMs === undefined) await condition(() => this.#awake);
      else await condition(() => this.#awake, dueMs, { summary: 'next thing due' });
      this.idle = false;
    }
  }

  /** @returns false when there is nothing to do now. */
  async #takeStep(): Promise<boolean> {
    const { state } = this;
    const now = Date.now();
    if (state.freeze?.until !== undefined && Date.parse(state.freeze.until) <= now) state.freeze = null;
    if (await this.#beginFirst()) return true;
    if (this.#rollbacks.opening) return false;
    const rollback = state.rollbacks.shift();
    if (rollback !== undefined) {
      await this.#turns.rollBack(rollback);
      return true;
    }
    if (state.retire !== null && Date.parse(state.retire.at) <= now) {
      await retireRelease(this, state.retire.release);
      return true;
    }
    if (state.hold !== null || state.freeze !== null) return false;
    const next = nextInQueue(state.queue);
    if (next === undefined) return false;
    state.queue = state.queue.filter((entry) => entry !== next);
    await this.#turns.rollOut(next);
    return true;
  }

  /** @returns true when somebody had taken the free turn and has had it. What came between is first: then it waits as everybody does. */
  async #beginFirst(): Promise<boolean> {
    const { first } = this.state;
    if (first === undefined) return false;
    delete this.state.first;
    if (!this.#requests.isFree()) {
      this.#requests.tellBusy(first);
      return false;
    }
    await this.#turns.rollOut(first);
    return true;
  }

  /** Beside the turns, for a turn may take longer than somebody is willing to wait for his. */
  async #expireWaiting(): Promise<never> {
    const { state } = this;
    for (;;) {
      const { waiting, overdue } = splitOverdue(state.queue, Date.now());
      state.queue = waiting;
      for (const entry of overdue) {
        const reason = `It waited too long for its turn. ${askAgain(entry.deployment)}`;
        this.answers.answer(entry.deployment, refusal(entry, 'expired', reason));
      }
      const queue = state.queue;
      const changed = (): boolean => state.queue !== queue;
      if (queue.length === 0) await condition(changed);
      else {
        const untilMs = Math.max(1, Math.min(...queue.map(deadlineOf)) - Date.now());
        await condition(changed, untilMs, { summary: 'longest wait for the turn' });
      }
    }
  }

  /** Begun without a memory: what is live is read, and a turn that went on without its parent is waited for. */
  async #recall(): Promise<void> {
    const { project, environment } = this.state;
    upsertSearchAttributes(attributesOf({ project, environment, phase: 'idle' }));
    this.#shown = 'idle';
    const [turns, facts] = await Promise.all([
      call(readOwn.readOpenTurns, 'looks for turns left open', { project, environment }),
      readFacts(this.state).catch(() => undefined),
    ]);
    if (facts !== undefined) takeFacts(this.state, facts);
    if (turns.last !== null && holdingOutcomes.includes(turns.last.outcome)) {
      const { number, outcome } = turns.last;
      holdFor(this.state, 'incident', `Deployment ${number} ended ${outcome}, and nobody has said since what is true.`);
    }
    for (const { deployment, kind, workflowId } of turns.open) {
      const current = this.#turns.begin(kind, deployment, workflowId, askOf(workflowId));
      await this.#turns.takeReport(current, await this.#turns.follow(current));
    }
  }

  async #continueWhenLong(): Promise<void> {
    const { historyLength, continueAsNewSuggested } = workflowInfo();
    if (!continueAsNewSuggested && historyLength < this.#maxHistoryEvents) return;
    const ready = (): boolean => allHandlersFinished() && this.answers.idle && !this.#rollbacks.opening;
    if (!ready() && !(await condition(ready, finishMs, { summary: 'finishes before a new run' }))) return;
    const { project, environment: name } = this.state;
    const maxHistoryEvents = this.#maxHistoryEvents;
    await continueAsNew<typeof environment>({ project, environment: name, carried: this.state, maxHistoryEvents });
  }

  show(): void {
    const phase = showEnvironment(this);
    if (phase === this.#shown) return;
    this.#shown = phase;
    upsertSearchAttributes(attributesOf({ project: this.state.project, phase }));
  }
}

function askOf(workflowId: string): number {
  const ask = Number(workflowId.split('/').at(-1)?.split('.')[1] ?? '1');
  return Number.isInteger(ask) ? ask : 1;
}
