import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  log,
  patched,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { DeploymentInput } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import { holdingOutcomes } from '../domain/outcome.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import { sentences } from '../domain/sentences.ts';
import type { LiveRelease } from '../domain/release.ts';
import { Answers, refusal } from './environment-answers.ts';
import {
  type Current,
  type EnvironmentCore,
  holdFor,
  readFacts,
  scheduleRetirement,
  showEnvironment,
  takeFacts,
  viewOf,
} from './environment-core.ts';
import { listenToOperators } from './environment-operators.ts';
import { Rollbacks, noWay, stopCurrent } from './environment-rollbacks.ts';
import {
  type EnvironmentState,
  type PendingRollback,
  deadlineOf,
  emptyState,
  enqueue,
  includesNumber,
  nextInQueue,
  splitOverdue,
} from './environment-state.ts';
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
  rollbackId,
  rolloutId,
  takeTurnSignal,
  turnBusySignal,
  turnGrantedSignal,
  turnSettledSignal,
  withdrawTurnSignal,
} from './messages.ts';
import { brief, call } from './call.ts';
import { following, readOwn } from './proxies/record.ts';
import { compensation, undoLimits } from './proxies/undo.ts';
import { attributesOf, isoNow } from './progress.ts';
import { rollOutRelease } from './roll-out-release.ts';
import { rollbackRelease } from './rollback-release.ts';
import { type TurnReport, isTurnReport } from './turn.ts';

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

/** Added to the approval's time before a turn that is held for a decision is taken back, ms. */
const graceMs = 120_000;
/** What to do where it was only too late. The run is on the deployment's page. */
const againFromApproval =
  'Nothing was changed: `slipway rerun <run> --from-approval` asks again, and nothing has to be built again.';
/** A turn that is held is confirmed so often, ms. */
const askAgainMs = 600_000;
/** Before, a word to stop a rollback reached nobody. */
const rollbacksCanStop = '2026-11-25-rollbacks-can-stop';
/** What is still being said when a new run is due has this long before the old one goes on instead, ms. */
const finishMs = 5_000;

class Environment implements EnvironmentCore {
  readonly state: EnvironmentState;
  readonly answers: Answers;
  current: Current | null = null;
  readonly #rollbacks: Rollbacks;
  readonly #fresh: boolean;
  readonly #maxHistoryEvents: number;
  #awake = false;
  /** It has nothing to do, and waits for something. */
  #idle = false;
  #shown = '';

  constructor(input: EnvironmentInput) {
    this.#fresh = input.carried === undefined;
    this.state = input.carried ?? emptyState(input.project, input.environment);
    this.#maxHistoryEvents = input.maxHistoryEvents ?? 5_000;
    this.answers = new Answers(this.state, () => this.wake());
    this.#rollbacks = new Rollbacks(this);
    this.#listen();
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
      this.#show();
      await this.#continueWhenLong();
      if (await this.#takeStep()) continue;
      const dueMs = this.#nextDueMs();
      this.#idle = true;
      if (dueMs === undefined) await condition(() => this.#awake);
      else await condition(() => this.#awake, dueMs, { summary: 'next thing due' });
      this.#idle = false;
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
      await this.#rollBack(rollback);
      return true;
    }
    if (state.retire !== null && Date.parse(state.retire.at) <= now) {
      await this.#retire(state.retire.release);
      return true;
    }
    if (state.hold !== null || state.freeze !== null) return false;
    const next = nextInQueue(state.queue);
    if (next === undefined) return false;
    state.queue = state.queue.filter((entry) => entry !== next);
    await this.#rollOut(next);
    return true;
  }

  /** @returns true when somebody had taken the free turn and has had it. What came between is first: then it waits as everybody does. */
  async #beginFirst(): Promise<boolean> {
    const { first } = this.state;
    if (first === undefined) return false;
    delete this.state.first;
    if (!this.#isFree()) {
      this.#tellBusy(first);
      return false;
    }
    await this.#rollOut(first);
    return true;
  }

  /** Whether a release may be rolled out at once, and nobody waits for it. */
  #isFree(): boolean {
    const { queue, rollbacks, hold, freeze, retire, first } = this.state;
    const waiting = queue.length > 0 || rollbacks.length > 0 || first !== undefined || this.#rollbacks.opening;
    const retiring = retire !== null && Date.parse(retire.at) <= Date.now();
    return this.current === null && !waiting && !retiring && hold === null && freeze === null;
  }

  #tellBusy({ deployment, ask }: TakeTurn): void {
    const { number } = deployment;
    this.answers.background(this.answers.signal(deploymentId(deployment), turnBusySignal, { number, ask }));
  }

  /** Beside the turns, for a turn may take longer than somebody is willing to wait for his. */
  async #expireWaiting(): Promise<never> {
    const { state } = this;
    for (;;) {
      const { waiting, overdue } = splitOverdue(state.queue, Date.now());
      state.queue = waiting;
      for (const entry of overdue) {
        const reason = `It waited too long for its turn. ${againFromApproval}`;
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

  #nextDueMs(): number | undefined {
    const { retire, freeze } = this.state;
    const moments: number[] = [];
    if (retire !== null) moments.push(Date.parse(retire.at));
    if (freeze?.until !== undefined) moments.push(Date.parse(freeze.until));
    return moments.length === 0 ? undefined : Math.max(1, Math.min(...moments) - Date.now());
  }

  // ─── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #rollOut(entry: TurnRequest | TakeTurn): Promise<void> {
    const { deployment } = entry;
    const { number } = deployment;
    const ask = entry.ask ?? 1;
    const current = this.#begin('rollout', deployment, rolloutId(deployment, ask), ask);
    let planHash: string | undefined;
    if ('policy' in entry) {
      this.state.policy = entry.policy;
      planHash = entry.planHash;
    }
    if ('policy' in entry && entry.policy.approval.turn === 'hold' && !entry.approved) {
      const plan = await this.#holdForDecision(current, entry.policy);
      if (plan === undefined) return;
      planHash = plan;
    } else if ('policy' in entry) {
      this.answers.background(this.answers.signal(deploymentId(deployment), turnGrantedSignal, { number, ask }));
    }
    // Whoever took the turn at once hears of it with its plan. The release before the live one makes room: its slot is the one that is replaced.
    this.state.retire = null;
    const planned = planHash === undefined ? {} : { planHash };
    const args = [{ deployment, ...planned, turn: this.#nextTurn(), ask }] as const;
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollOutRelease, { ...childOptions(current), args: [...args] });
      return await child.result();
    });
    await this.#takeReport(current, report);
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
      if (!(await this.answers.signal(deploymentId(deployment), turnGrantedSignal, { number, ask }))) break;
      const pause = Math.max(1, Math.min(again, deadline - Date.now()));
      await condition(decided, pause, { summary: 'turn held while people decide' });
    }
    current.asking = false;
    if (current.proceed?.go === true && current.aborting === undefined) return current.proceed.plan;
    this.current = null;
    if (current.proceed?.go === false) {
      // It has settled itself.
      this.answers.remember(number);
      return undefined;
    }
    const kind = current.aborting === undefined ? 'expired' : 'withdrawn';
    const undecided = `Nobody decided while it held the turn. ${againFromApproval}`;
    const reason = current.aborting?.reason ?? undecided;
    this.answers.answer(deployment, { kind, number, reason });
    return undefined;
  }

  async #rollBack(pending: PendingRollback): Promise<void> {
    const { live, previous, policy } = this.state;
    const { deployment, data, ...asked } = pending;
    const current = this.#begin('rollback', deployment, rollbackId(deployment), 1);
    // Its first act is a change, without asking: nothing may stand between a person's word and the traffic.
    current.changing = true;
    this.state.retire = null;
    const standby = previous !== null && previous.version === deployment.version ? previous : null;
    const known = { ...(policy === null ? {} : { policy }), ...(data === undefined ? {} : { data }) };
    const args = [{ deployment, ...asked, live, standby, turn: this.#nextTurn(), ...known }] as const;
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollbackRelease, { ...childOptions(current), args: [...args] });
      return await child.result();
    });
    await this.#takeReport(current, report);
  }

  /** @returns null when it closed without a report. */
  async #runChild(current: Current, work: () => Promise<TurnReport>): Promise<TurnReport | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return await this.#follow(current);
      const { message } = describeFailure(error);
      log.warn('a turn closed without a report', { workflowId: current.workflowId, message });
      return null;
    }
  }

  async #follow(current: Current): Promise<TurnReport | null> {
    current.changing = true;
    const { workflowId } = current;
    const report = await call(following.awaitTurnClosed, `follows ${workflowId}`, { workflowId });
    return isTurnReport(report) ? report : null;
  }

  async #takeReport(current: Current, report: TurnReport | null): Promise<void> {
    const { deployment, kind } = current;
    if (report === null) this.#takeSilence(current);
    else if (report.kind === 'plan-changed') {
      this.state.answered[deployment.number] = current.ask;
      this.#keepRetirement(current);
      this.answers.tell(deployment, { kind: 'plan-changed', number: deployment.number, plan: report.plan });
    } else {
      this.#takeResult(current, report);
      this.answers.settle(kind, deployment, report);
    }
    this.current = null;
    const { forwarded } = current;
    if (forwarded !== undefined && !tookItselfBack(report)) await this.#rollbacks.accept(forwarded).catch(noWay);
  }

  #takeResult(current: Current, report: Extract<TurnReport, { kind: 'result' }>): void {
    const { state } = this;
    const { result, live, previous, hold, data, policy } = report;
    if (policy !== undefined) state.policy = policy;
    if (report.untouched === true) {
      const kept = this.#keepRetirement(current);
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

  /** After a turn that changed nothing: the release before goes when it was to go. @returns false when nothing was planned for it. */
  #keepRetirement({ retire }: Current): boolean {
    if (retire === null || !patched('2026-11-26-retirement-goes-on')) return false;
    this.state.retire = retire;
    return true;
  }

  #takeSilence(current: Current): void {
    const { deployment, changing, kind, workflowId } = current;
    const reason = changing
      ? `Its workflow (${workflowId}) ended without a report after it had begun to change things: \`reconcile\` the environment, or \`unlock\` it with what is live.`
      : `Its workflow (${workflowId}) was ended before it changed anything.`;
    if (changing) holdFor(this.state, 'unknown', reason);
    else this.#keepRetirement(current);
    const { project, environment, number } = deployment;
    const result = { project, environment, number, outcome: 'errored' as const, reason, steps: [] };
    this.answers.settle(kind, deployment, { result });
  }

  async #retire(release: LiveRelease): Promise<void> {
    const { state } = this;
    const { project, environment, policy, live } = state;
    state.retire = null;
    // Whatever went wrong before, what serves is never stopped from here.
    if (release.slot === live?.slot) return;
    state.previous = null;
    const { drainMs, stopGraceMs: graceMs } = policy?.limits ?? { drainMs: 30_000, stopGraceMs: 30_000 };
    const { version, slot } = release;
    const change = { project, environment, number: live?.deployment ?? release.deployment, turn: this.#nextTurn() };
    const stop = { slot, drainMs, graceMs, remove: true };
    try {
      const waits = undoLimits(drainMs + graceMs);
      const how = { ...change, step: 1, ...stop };
      await call(compensation.ensureReleaseStopped, `retires ${version} in ${slot}`, how, waits);
    } catch (error) {
      // It serves nobody; the next release takes its slot and with it what is left.
      log.warn('a retired release was not removed', { version, message: describeFailure(error).message });
    }
  }

  #begin(kind: Current['kind'], deployment: DeploymentInput, workflowId: string, ask: number): Current {
    const { retire } = this.state;
    const current = { kind, deployment, workflowId, ask, since: isoNow(), retire, changing: false, asking: false };
    this.current = current;
    // Asked for again before it was known that it has its turn already.
    this.state.queue = this.state.queue.filter(
      (entry) => entry.deployment.number !== deployment.number || (entry.ask ?? 1) > ask,
    );
    this.#show();
    return current;
  }

  /** Strictly rising, also across a lost memory, since the clock goes on. */
  #nextTurn(): number {
    this.state.lastTurn = Math.max(Date.now(), this.state.lastTurn + 1);
    return this.state.lastTurn;
  }

  // ─── messages of other workflows ───────────────────────────────────────────────────────────────────────────────────────────────

  #listen(): void {
    setHandler(environmentQuery, () => viewOf(this), { description: 'What is live, who has the turn, who waits' });
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
      const { current } = this;
      if (!namesNumber(message) || current?.deployment.number !== message.number || !current.asking) return;
      current.proceed = { go: message.go, plan: message.plan };
      this.wake();
    });
    setHandler(changingSignal, (message) => {
      if (namesNumber(message)) this.#grantChange(message.number, message.from);
    });
  }

  #owed(): readonly number[] {
    const { queue, rollbacks, first } = this.state;
    const current = this.current === null ? [] : [this.current.deployment.number];
    const waiting = [...(first === undefined ? [] : [first]), ...queue, ...rollbacks];
    return [...current, ...waiting.map(({ deployment }) => deployment.number)];
  }

  /** Only while nothing else is to be done or waited for: who has a plan must not be overtaken by one that may have none. */
  #takeIfFree(take: TakeTurn): void {
    const { state, current } = this;
    const { number } = take.deployment;
    if (includesNumber(state.settled, number) || take.ask <= (state.answered[String(number)] ?? 0)) return;
    if (current?.deployment.number === number || state.first?.deployment.number === number) return;
    if (!this.#idle || !this.#isFree()) {
      this.#tellBusy(take);
      return;
    }
    state.first = { deployment: take.deployment, ask: take.ask };
    this.wake();
  }

  #takeRequest(request: TurnRequest): void {
    const { state, current } = this;
    const { number } = request.deployment;
    const ask = request.ask ?? 1;
    // It has been told, or is gone: a signal that was taken is never lost.
    if (includesNumber(state.settled, number)) return;
    if (ask <= (state.answered[String(number)] ?? 0)) return;
    if (current?.kind === 'rollout' && current.deployment.number === number && ask <= current.ask) return;
    const queued = state.queue.find((entry) => entry.deployment.number === number);
    if (queued !== undefined && ask <= (queued.ask ?? 1)) return;
    const { queue, superseded } = enqueue(state.queue, request);
    state.queue = queue;
    for (const entry of superseded) {
      const why = 'A newer deployment waits for this environment.';
      this.answers.answer(entry.deployment, refusal(entry, 'superseded', why));
    }
    this.wake();
  }

  #withdraw(number: number, message: AbortMessage): void {
    const { state, current, answers } = this;
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
      stopCurrent(this, current, message);
    } else if (current?.deployment.number === number && patched(rollbacksCanStop)) {
      stopCurrent(this, current, message);
    } else if (!includesNumber(state.settled, number)) {
      const { project, environment } = state;
      answers.remember(number);
      const requester = deploymentId({ project, environment, number });
      answers.background(answers.signal(requester, turnSettledSignal, { kind: 'withdrawn', number, reason }));
    }
    this.wake();
  }

  /** Only the workflow that has the turn, and only while nobody wants it stopped. */
  #grantChange(number: number, from: string): void {
    const { current, answers } = this;
    const own = current?.workflowId === from;
    const go = own && current.aborting === undefined;
    if (go) current.changing = true;
    const reason = own ? 'it is being aborted' : 'the turn is not its own';
    answers.background(answers.signal(from, changeGrantedSignal, { number, go, ...(go ? {} : { reason }) }));
  }

  // ─── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

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
      const current = this.#begin(kind, deployment, workflowId, askOf(workflowId));
      await this.#takeReport(current, await this.#follow(current));
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

  #show(): void {
    const phase = showEnvironment(this);
    if (phase === this.#shown) return;
    this.#shown = phase;
    upsertSearchAttributes(attributesOf({ project: this.state.project, phase }));
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

function askOf(workflowId: string): number {
  const ask = Number(workflowId.split('/').at(-1)?.split('.')[1] ?? '1');
  return Number.isInteger(ask) ? ask : 1;
}
