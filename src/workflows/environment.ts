import { type SignalDefinition, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  log,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { EnvironmentFacts } from '../activities/contracts.ts';
import type { DeploymentInput, DeploymentRef, DeploymentResult } from '../domain/deployment.ts';
import { describeFailure, failure } from '../domain/failures.ts';
import { type Outcome, holdingOutcomes } from '../domain/outcome.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import {
  type EnvironmentState,
  deadlineOf,
  emptyState,
  enqueue,
  includesNumber,
  nextInQueue,
  splitOverdue,
  withNumber,
} from './environment-state.ts';
import { accept, readFreeze, readRollback, readUnlock, readWord } from './inbound.ts';
import {
  type AbortMessage,
  type EnvironmentHold,
  type EnvironmentView,
  type RollbackMessage,
  type TurnRequest,
  type TurnSettled,
  type UnlockMessage,
  abortSignal,
  changeGrantedSignal,
  changingSignal,
  deploymentId,
  environmentQuery,
  freezeUpdate,
  proceedSignal,
  reconcileUpdate,
  requestTurnSignal,
  retryUpdate,
  rollbackId,
  rollbackSignal,
  rollbackUpdate,
  rolloutId,
  takeBackSignal,
  thawUpdate,
  turnGrantedSignal,
  turnSettledSignal,
  unlockSignal,
  unlockUpdate,
  withdrawTurnSignal,
} from './messages.ts';
import { call, compensation, following, read, readOwn, record } from './options.ts';
import { attributesOf, isoNow, showPage } from './progress.ts';
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

interface Current {
  readonly kind: 'rollout' | 'rollback';
  readonly deployment: DeploymentInput;
  readonly workflowId: string;
  readonly ask: number;
  readonly since: string;
  changing: boolean;
  /** With `hold`: the turn is kept while people decide. */
  asking: boolean;
  proceed?: { readonly go: boolean; readonly plan: string };
  /** Somebody wants it stopped; no change is granted any more. */
  aborting?: AbortMessage;
  /** Rollback asked for while it changed things; done by itself unless it had settled by then. */
  forwarded?: RollbackMessage;
}

const longestRequests = 50;
/** Added to the approval's time before a turn that is held for a decision is taken back, ms. */
const graceMs = 120_000;
/** A turn that is held is confirmed so often, ms. */
const askAgainMs = 600_000;
/** A rollback does not wait longer for the store to give it a number when the release to go back to still runs, ms. */
const openRollbackMs = 3_000;

class Environment {
  readonly #state: EnvironmentState;
  readonly #fresh: boolean;
  readonly #maxHistoryEvents: number;
  #current: Current | null = null;
  #awake = false;
  #telling = 0;
  #opening = 0;
  #shown = '';

  constructor(input: EnvironmentInput) {
    this.#fresh = input.carried === undefined;
    this.#state = input.carried ?? emptyState(input.project, input.environment);
    this.#maxHistoryEvents = input.maxHistoryEvents ?? 5_000;
    this.#listen();
  }

  async run(): Promise<never> {
    void this.#expireWaiting();
    if (this.#fresh) await this.#recall();
    for (;;) {
      this.#awake = false;
      this.#show();
      if (await this.#takeStep()) continue;
      await this.#continueWhenLong();
      const dueMs = this.#nextDueMs();
      if (dueMs === undefined) await condition(() => this.#awake);
      else await condition(() => this.#awake, dueMs, { summary: 'next thing due' });
    }
  }

  /** @returns false when there is nothing to do now. */
  async #takeStep(): Promise<boolean> {
    const state = this.#state;
    const now = Date.now();
    if (state.freeze?.until !== undefined && Date.parse(state.freeze.until) <= now) state.freeze = null;
    // A rollback that is getting its number goes before whatever else could begin in the meantime.
    if (this.#opening > 0) return false;
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

  /** Beside the turns, for a turn may take longer than somebody is willing to wait for his. */
  async #expireWaiting(): Promise<never> {
    const state = this.#state;
    for (;;) {
      const { waiting, overdue } = splitOverdue(state.queue, Date.now());
      state.queue = waiting;
      for (const entry of overdue) {
        this.#answer(entry.deployment, refusal(entry, 'expired', 'It waited too long for its turn.'));
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
    const { retire, freeze } = this.#state;
    const moments: number[] = [];
    if (retire !== null) moments.push(Date.parse(retire.at));
    if (freeze?.until !== undefined) moments.push(Date.parse(freeze.until));
    return moments.length === 0 ? undefined : Math.max(1, Math.min(...moments) - Date.now());
  }

  // ─── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #rollOut(entry: TurnRequest): Promise<void> {
    const { deployment, policy } = entry;
    const ask = entry.ask ?? 1;
    const current = this.#begin('rollout', deployment, rolloutId(deployment, ask), ask);
    this.#state.policy = policy;
    let { planHash } = entry;
    if (policy.approval.turn === 'hold' && !entry.approved) {
      const plan = await this.#holdForDecision(current, policy);
      if (plan === undefined) return;
      planHash = plan;
    } else {
      this.#background(
        this.#signal(deploymentId(deployment), turnGrantedSignal, { number: deployment.number, ask: current.ask }),
      );
    }
    // The release before the live one makes room: its slot is the one that is replaced.
    this.#state.retire = null;
    const turn = this.#nextTurn();
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollOutRelease, {
        ...this.#childOptions(current),
        args: [{ deployment, planHash, turn, ask }],
      });
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
      if (!(await this.#signal(deploymentId(deployment), turnGrantedSignal, { number, ask }))) break;
      const pause = Math.max(1, Math.min(again, deadline - Date.now()));
      await condition(decided, pause, { summary: 'turn held while people decide' });
    }
    current.asking = false;
    if (current.proceed?.go === true && current.aborting === undefined) return current.proceed.plan;
    this.#current = null;
    if (current.proceed?.go === false) {
      // It has settled itself.
      this.#remember(deployment.number);
      return undefined;
    }
    const kind = current.aborting === undefined ? 'expired' : 'withdrawn';
    const reason = current.aborting?.reason ?? 'Nobody decided while it held the turn.';
    this.#answer(deployment, { kind, number: deployment.number, reason });
    return undefined;
  }

  async #rollBack(pending: EnvironmentState['rollbacks'][number]): Promise<void> {
    const { deployment, request, requestedAt, data } = pending;
    const { live, previous, policy } = this.#state;
    const current = this.#begin('rollback', deployment, rollbackId(deployment), 1);
    // Its first act is a change, without asking: nothing may stand between a person's word and the traffic.
    current.changing = true;
    this.#state.retire = null;
    const standby = previous !== null && previous.version === deployment.version ? previous : null;
    const turn = this.#nextTurn();
    const report = await this.#runChild(current, async () => {
      const child = await startChild(rollbackRelease, {
        ...this.#childOptions(current),
        args: [
          {
            deployment,
            request,
            live,
            standby,
            turn,
            requestedAt,
            ...(policy === null ? {} : { policy }),
            ...(data === undefined ? {} : { data }),
          },
        ],
      });
      return await child.result();
    });
    await this.#takeReport(current, report);
  }

  #childOptions(current: Current): {
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
      staticSummary: `${current.kind === 'rollout' ? '' : 'back to '}${version} → ${environment} #${number}`,
      typedSearchAttributes: attributesOf({ project, environment, phase: 'preparing', version }),
    };
  }

  /** @returns null when it closed without a report. */
  async #runChild(current: Current, work: () => Promise<TurnReport>): Promise<TurnReport | null> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return await this.#follow(current);
      log.warn('a turn closed without a report', {
        workflowId: current.workflowId,
        message: describeFailure(error).message,
      });
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
      this.#state.answered[deployment.number] = current.ask;
      this.#tell(deployment, { kind: 'plan-changed', number: deployment.number, plan: report.plan });
    } else {
      this.#takeResult(report);
      this.#settle(kind, deployment, report.result);
    }
    this.#current = null;
    const { forwarded } = current;
    const settledFirst = report === null || (report.kind === 'result' && report.result.outcome === 'succeeded');
    if (forwarded !== undefined && settledFirst) await this.#acceptRollback(forwarded).catch(noWay);
  }

  #takeResult(report: Extract<TurnReport, { kind: 'result' }>): void {
    const state = this.#state;
    const { result } = report;
    if (report.untouched === true) {
      if (state.previous !== null && state.policy !== null) this.#scheduleRetirement(state.previous);
      return;
    }
    state.live = report.live;
    state.previous = report.previous;
    if (report.previous !== null && report.hold === undefined) this.#scheduleRetirement(report.previous);
    if (report.hold !== undefined) {
      this.#hold(result.outcome === 'held' ? 'held' : 'incident', report.hold, 'Slipway');
      state.unfinished = report.data ?? null;
      state.retryTo = result.rollback?.to ?? null;
    } else {
      state.hold = null;
      state.unfinished = null;
      state.retryTo = null;
    }
  }

  #takeSilence(current: Current): void {
    const { deployment, changing, kind } = current;
    const reason = changing
      ? `Its workflow (${current.workflowId}) ended without a report after it had begun to change things: \`reconcile\` the environment, or \`unlock\` it with what is live.`
      : `Its workflow (${current.workflowId}) was ended before it changed anything.`;
    if (changing) this.#hold('unknown', reason, 'Slipway');
    const { project, environment, number } = deployment;
    this.#settle(kind, deployment, { project, environment, number, outcome: 'errored', reason, steps: [] });
  }

  #scheduleRetirement(release: LiveRelease): void {
    const { policy } = this.#state;
    const keepMs = policy?.limits.keepPreviousMs ?? 86_400_000;
    this.#state.retire = { release, at: new Date(Date.now() + keepMs).toISOString() };
  }

  async #retire(release: LiveRelease): Promise<void> {
    const state = this.#state;
    state.retire = null;
    state.previous = null;
    const { project, environment, policy, live } = state;
    const limits = policy?.limits ?? { drainMs: 30_000, stopGraceMs: 30_000 };
    const change = {
      project,
      environment,
      number: live?.deployment ?? release.deployment,
      turn: this.#nextTurn(),
      step: 1,
    };
    const stop = { slot: release.slot, drainMs: limits.drainMs, graceMs: limits.stopGraceMs, remove: true };
    try {
      await call(compensation.ensureReleaseStopped, `retires ${release.version} in ${release.slot}`, {
        ...change,
        ...stop,
      });
    } catch (error) {
      // It serves nobody; the next release takes its slot and with it what is left.
      log.warn('a retired release was not removed', {
        version: release.version,
        message: describeFailure(error).message,
      });
    }
  }

  // ─── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #settle(kind: Current['kind'], deployment: DeploymentInput, result: DeploymentResult): void {
    if (kind === 'rollout') this.#answer(deployment, { kind: 'result', number: deployment.number, result });
    else {
      this.#remember(deployment.number);
      this.#background(this.#record(deployment, result));
    }
  }

  #answer(deployment: DeploymentInput, settled: TurnSettled): void {
    this.#remember(deployment.number);
    this.#tell(deployment, settled);
  }

  #remember(number: number): void {
    this.#state.settled = withNumber(this.#state.settled, number);
    this.#state.answered = Object.fromEntries(
      Object.entries(this.#state.answered).filter(([answered]) => answered !== String(number)),
    );
  }

  /** Tells the requester; when it is gone, nobody but this workflow is left to write the outcome down. */
  #tell(deployment: DeploymentInput, settled: TurnSettled): void {
    this.#background(
      this.#signal(deploymentId(deployment), turnSettledSignal, settled).then(async (told) => {
        if (told) return;
        this.#remember(deployment.number);
        await this.#record(deployment, settled.kind === 'result' ? settled.result : orphan(deployment, settled));
      }),
    );
  }

  async #record(deployment: DeploymentInput, result: DeploymentResult): Promise<void> {
    await call(record.settleDeployment, `${result.outcome}: ${result.reason}`, { result, version: deployment.version });
  }

  #background(work: Promise<unknown>): void {
    this.#telling += 1;
    void work
      .catch((error: unknown) => log.error('not told', { message: describeFailure(error).message }))
      .finally(() => {
        this.#telling -= 1;
        this.#awake = true;
      });
  }

  /** @returns false when there is no such workflow any more. */
  async #signal<Message>(workflowId: string, signal: SignalDefinition<[Message]>, message: Message): Promise<boolean> {
    try {
      await getExternalWorkflowHandle(workflowId).signal(signal, message);
      return true;
    } catch {
      return false;
    }
  }

  // ─── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #listen(): void {
    setHandler(environmentQuery, () => this.#view(), { description: 'What is live, who has the turn, who waits' });
    setHandler(requestTurnSignal, (request) => this.#takeRequest(request));
    setHandler(withdrawTurnSignal, ({ number, reason, by = 'somebody', noRollback }) => {
      this.#withdraw(number, { by, reason, ...(noRollback === undefined ? {} : { noRollback }) });
    });
    setHandler(proceedSignal, ({ number, go, plan }) => {
      if (this.#current?.deployment.number === number && this.#current.asking) this.#current.proceed = { go, plan };
      this.#awake = true;
    });
    setHandler(changingSignal, ({ number, from }) => this.#grantChange(number, from));
    setHandler(
      rollbackSignal,
      async (raw) => {
        const message = readRollback(raw);
        if (message.ok) await this.#acceptRollback(message.value).catch(noWay);
        else log.warn('a rollback was not taken', { by: message.by, problem: message.problem });
      },
      { description: 'Goes back at once: {"by": "…", "reason": "…", "to": "version, or none for the previous"}' },
    );
    setHandler(rollbackUpdate, (raw) => this.#acceptRollback(accept(readRollback(raw))), {
      validator: (raw: RollbackMessage) => void accept(readRollback(raw)),
    });
    this.#listenToOperators();
  }

  #listenToOperators(): void {
    setHandler(unlockUpdate, (raw) => this.#unlock(accept(readUnlock(raw))), {
      validator: (raw: UnlockMessage) => {
        accept(readUnlock(raw));
        this.#mustBeHeld();
      },
    });
    setHandler(
      unlockSignal,
      async (raw) => {
        const message = readUnlock(raw);
        if (message.ok && this.#state.hold !== null) await this.#unlock(message.value).catch(noWay);
      },
      { description: 'Ends a hold: {"by": "…", "reason": "…", "stateIs": "the version that is live, or none"}' },
    );
    setHandler(reconcileUpdate, (raw) => this.#reconcile(accept(readWord(raw)).by), {
      validator: (raw: { by: string; reason: string }) => void accept(readWord(raw)),
    });
    setHandler(retryUpdate, (raw) => this.#retry(accept(readWord(raw))), {
      validator: (raw: { by: string; reason: string }) => {
        accept(readWord(raw));
        this.#mustBeHeld();
        if (this.#state.retryTo === null) {
          throw failure('Conflict', 'There is no rollback to try again: `reconcile`, or `unlock` with what is live.');
        }
      },
    });
    setHandler(
      freezeUpdate,
      (raw) => {
        const { by, reason, until } = accept(readFreeze(raw));
        this.#state.freeze = { by, reason, since: isoNow(), ...(until === undefined ? {} : { until }) };
        this.#awake = true;
        return this.#view();
      },
      { validator: (raw: unknown) => void accept(readFreeze(raw)) },
    );
    setHandler(thawUpdate, () => {
      this.#state.freeze = null;
      this.#awake = true;
      return this.#view();
    });
  }

  #takeRequest(request: TurnRequest): void {
    const { deployment } = request;
    const { number } = deployment;
    const ask = request.ask ?? 1;
    const state = this.#state;
    // It has been told, or is gone: a signal that was taken is never lost.
    if (includesNumber(state.settled, number)) return;
    if (ask <= (state.answered[String(number)] ?? 0)) return;
    if (this.#current?.kind === 'rollout' && this.#current.deployment.number === number && ask <= this.#current.ask)
      return;
    const queued = state.queue.find((entry) => entry.deployment.number === number);
    if (queued !== undefined && ask <= (queued.ask ?? 1)) return;
    const { queue, superseded } = enqueue(state.queue, request);
    state.queue = queue;
    for (const entry of superseded) {
      this.#answer(entry.deployment, refusal(entry, 'superseded', 'A newer deployment waits for this environment.'));
    }
    this.#awake = true;
  }

  #withdraw(number: number, message: AbortMessage): void {
    const state = this.#state;
    const queued = state.queue.find((entry) => entry.deployment.number === number);
    const reason = `${message.by} aborted it: ${message.reason ?? 'no reason given'}.`;
    if (queued !== undefined) {
      state.queue = state.queue.filter((entry) => entry !== queued);
      this.#answer(queued.deployment, { kind: 'withdrawn', number, reason });
    } else if (this.#current?.kind === 'rollout' && this.#current.deployment.number === number) {
      this.#stopCurrent(this.#current, message);
    } else if (!includesNumber(state.settled, number)) {
      const { project, environment } = state;
      this.#remember(number);
      const requester = deploymentId({ project, environment, number });
      this.#background(this.#signal(requester, turnSettledSignal, { kind: 'withdrawn', number, reason }));
    }
    this.#awake = true;
  }

  #stopCurrent(current: Current, message: AbortMessage): void {
    current.aborting ??= message;
    if (!current.asking) this.#background(this.#signal(current.workflowId, abortSignal, message));
    this.#awake = true;
  }

  /** Only the workflow that has the turn, and only while nobody wants it stopped. */
  #grantChange(number: number, from: string): void {
    const current = this.#current;
    const go = current?.workflowId === from && current.aborting === undefined;
    if (go) current.changing = true;
    const reason = current?.workflowId === from ? 'it is being aborted' : 'the turn is not its own';
    this.#background(this.#signal(from, changeGrantedSignal, { number, go, ...(go ? {} : { reason }) }));
  }

  /** @returns the number under which it goes on: of the roll-out that takes itself back, or of a rollback of its own. */
  async #acceptRollback(message: RollbackMessage): Promise<{ readonly number: number }> {
    const state = this.#state;
    const requestedAt = isoNow();
    const current = this.#current;
    if (current?.kind === 'rollout') {
      if (current.changing) {
        current.forwarded = message;
        this.#background(this.#signal(current.workflowId, takeBackSignal, message));
        if (message.to === undefined || message.to === state.live?.version)
          return { number: current.deployment.number };
      } else {
        this.#stopCurrent(current, { by: message.by, reason: `rollback: ${message.reason}` });
      }
    }
    const merged = message.to === undefined ? this.#rollbackUnderWay() : undefined;
    if (merged !== undefined) return { number: merged };
    // The same message about the same live release is the same request; after it has worked, it is a new one.
    const id =
      message.requestId ?? `${message.by}/${message.reason}/${message.to ?? ''}/${state.live?.deployment ?? 0}`;
    const known = state.requests.find((request) => request.id === id);
    if (known !== undefined) return { number: known.number };
    const deployment = await this.#openRollback(message, id, requestedAt);
    const { number } = deployment;
    if (!state.requests.some((request) => request.number === number)) {
      state.requests = [...state.requests, { id, number }].slice(-longestRequests);
      state.rollbacks.push({ deployment, request: message, requestedAt });
    }
    this.#awake = true;
    return { number };
  }

  #rollbackUnderWay(): number | undefined {
    const pending = this.#state.rollbacks.find((rollback) => rollback.request.to === undefined);
    if (pending !== undefined) return pending.deployment.number;
    return this.#current?.kind === 'rollback' ? this.#current.deployment.number : undefined;
  }

  async #openRollback(message: RollbackMessage, requestId: string, requestedAt: string): Promise<DeploymentInput> {
    const { project, environment, previous } = this.#state;
    const { by, reason } = message;
    const to = message.to ?? previous?.version;
    const canFlip = previous !== null && previous.version === to;
    this.#opening += 1;
    try {
      const input = { project, environment, requestId, reason, by, ...(to === undefined ? {} : { to }) };
      const limits = canFlip ? { scheduleToCloseTimeout: openRollbackMs } : {};
      return await call(record.openRollback, `rollback to ${to ?? 'the last good release'}: ${reason}`, input, limits);
    } catch (error) {
      const { type, message: why } = describeFailure(error);
      if (!canFlip || type === 'ReleaseMissing') throw failure(type, why, { nonRetryable: true });
      // The store is away. Its numbers are small, so the clock gives one that will never be another's.
      const number = Date.now();
      const base = { project, environment, number, version: previous.version, requestedBy: by, author: by };
      return { ...base, priority: 'rollback', requestedAt };
    } finally {
      this.#opening -= 1;
      this.#awake = true;
    }
  }

  #mustBeHeld(): void {
    if (this.#state.hold === null) throw failure('Conflict', 'The environment is not held.');
  }

  async #unlock(message: UnlockMessage): Promise<EnvironmentView> {
    const { by, reason, stateIs } = message;
    const facts = await this.#readFacts().catch(() => undefined);
    const state = this.#state;
    if (stateIs === 'none') state.live = null;
    else {
      const found = this.#findRelease(stateIs, facts);
      if (found === undefined) {
        const known = [
          state.live?.version,
          state.previous?.version,
          ...(facts?.slots.map((slot) => slot.version) ?? []),
        ];
        const names = [...new Set(known.filter((version) => version !== undefined))].join(', ') || 'none';
        throw failure('Conflict', `${stateIs} runs in no slot of this environment; there are: ${names}.`);
      }
      state.live = found;
    }
    if (state.previous?.slot === state.live?.slot) state.previous = null;
    log.info('unlocked', { by, reason, stateIs });
    this.#release();
    return this.#view();
  }

  #findRelease(version: string, facts: EnvironmentFacts | undefined): LiveRelease | undefined {
    const { live, previous } = this.#state;
    const known = [facts?.live, live, previous].find((release) => release?.version === version);
    if (known !== undefined && known !== null) return known;
    const slot = facts?.slots.find((one) => one.version === version);
    if (slot === undefined) return undefined;
    return { version, commit: '', images: [], slot: slot.slot, deployment: slot.deployment, since: isoNow() };
  }

  async #reconcile(by: string): Promise<EnvironmentView> {
    const facts = await this.#readFacts();
    this.#takeFacts(facts);
    log.info('reconciled', { by, live: facts.live?.version ?? 'none' });
    this.#release();
    return this.#view();
  }

  async #retry(message: { readonly by: string; readonly reason: string }): Promise<EnvironmentView> {
    const { retryTo, unfinished } = this.#state;
    const to = retryTo ?? undefined;
    const request: RollbackMessage = { ...message, ...(to === undefined ? {} : { to }) };
    const requestedAt = isoNow();
    const id = `retry/${message.by}/${message.reason}/${Date.now()}`;
    const deployment = await this.#openRollback(request, id, requestedAt);
    this.#state.rollbacks.push({
      deployment,
      request,
      requestedAt,
      ...(unfinished === null ? {} : { data: unfinished }),
    });
    this.#awake = true;
    return this.#view();
  }

  #release(): void {
    this.#state.hold = null;
    this.#state.unfinished = null;
    this.#state.retryTo = null;
    if (this.#state.previous !== null) this.#scheduleRetirement(this.#state.previous);
    this.#awake = true;
  }

  #hold(state: EnvironmentHold['state'], reason: string, by: string): void {
    this.#state.hold = { state, reason, by, since: isoNow() };
  }

  // ─── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begun without a memory: what is live is read, and a turn that went on without its parent is waited for. */
  async #recall(): Promise<void> {
    const { project, environment } = this.#state;
    upsertSearchAttributes(attributesOf({ project, environment, phase: 'idle' }));
    const [turns, facts] = await Promise.all([
      call(readOwn.readOpenTurns, 'looks for turns left open', { project, environment }),
      this.#readFacts().catch(() => undefined),
    ]);
    if (facts !== undefined) this.#takeFacts(facts);
    if (turns.last !== null && holdingOutcomes.includes(turns.last.outcome)) {
      const reason = `Deployment ${turns.last.number} ended ${turns.last.outcome}, and nobody has said since what is true.`;
      this.#hold('incident', reason, 'Slipway');
    }
    for (const { deployment, kind, workflowId } of turns.open) {
      const current = this.#begin(kind, deployment, workflowId, askOf(workflowId));
      await this.#takeReport(current, await this.#follow(current));
    }
  }

  #readFacts(): Promise<EnvironmentFacts> {
    const { project, environment, live } = this.#state;
    const ref: DeploymentRef = { project, environment, number: live?.deployment ?? 0 };
    return call(read.readEnvironment, 'reads what is live', ref, { scheduleToCloseTimeout: 15_000 });
  }

  #takeFacts(facts: EnvironmentFacts): void {
    const state = this.#state;
    state.live = facts.live;
    const beside = facts.slots.find((slot) => slot.slot !== facts.live?.slot && slot.healthy);
    state.previous =
      beside === undefined || facts.live === null || facts.previous?.version !== beside.version
        ? null
        : { ...facts.previous, slot: beside.slot, deployment: beside.deployment, since: isoNow() };
  }

  #begin(kind: Current['kind'], deployment: DeploymentInput, workflowId: string, ask: number): Current {
    const current = { kind, deployment, workflowId, ask, since: isoNow(), changing: false, asking: false };
    this.#current = current;
    // Asked for again before it was known that it has its turn already.
    this.#state.queue = this.#state.queue.filter(
      (entry) => entry.deployment.number !== deployment.number || (entry.ask ?? 1) > ask,
    );
    this.#show();
    return current;
  }

  /** Strictly rising, also across a lost memory, since the clock goes on. */
  #nextTurn(): number {
    this.#state.lastTurn = Math.max(Date.now(), this.#state.lastTurn + 1);
    return this.#state.lastTurn;
  }

  async #continueWhenLong(): Promise<void> {
    const { historyLength, continueAsNewSuggested } = workflowInfo();
    if (!continueAsNewSuggested && historyLength < this.#maxHistoryEvents) return;
    await condition(() => allHandlersFinished() && this.#telling === 0);
    const { project, environment: name } = this.#state;
    await continueAsNew<typeof environment>({
      project,
      environment: name,
      carried: this.#state,
      maxHistoryEvents: this.#maxHistoryEvents,
    });
  }

  #view(): EnvironmentView {
    const { project, environment, live, previous, queue, hold, freeze, retire } = this.#state;
    const frozen: EnvironmentHold | null =
      freeze === null ? null : { state: 'frozen', since: freeze.since, reason: freeze.reason, by: freeze.by };
    const current = this.#current;
    return {
      project,
      environment,
      live,
      previous,
      current:
        current === null
          ? null
          : { number: current.deployment.number, kind: current.kind, since: current.since, changing: current.changing },
      queue: queue.map(({ deployment, requestedAt }) => ({
        number: deployment.number,
        version: deployment.version,
        priority: deployment.priority,
        since: requestedAt,
      })),
      hold: hold ?? frozen,
      frozenUntil: freeze?.until ?? null,
      retireAt: retire?.at ?? null,
    };
  }

  #show(): void {
    const { environment, live, previous, queue, hold } = this.#view();
    const phase = this.#current === null ? (hold?.state ?? 'idle') : 'busy';
    if (phase !== this.#shown) {
      if (this.#shown !== '') upsertSearchAttributes(attributesOf({ project: this.#state.project, phase }));
      this.#shown = phase;
    }
    const current = this.#current;
    showPage(`${environment} · ${phase}`, [
      live === null ? 'nothing is known to be live' : `live: ${live.version} in ${live.slot} since ${live.since}`,
      previous === null ? undefined : `before: ${previous.version} in ${previous.slot}`,
      current === null ? undefined : `turn: \`${current.workflowId}\``,
      queue.length === 0
        ? undefined
        : `waiting: ${queue.map((entry) => `${entry.version} (#${entry.number})`).join(', ')}`,
      hold === null ? undefined : `**held** by ${hold.by} since ${hold.since}: ${hold.reason}`,
    ]);
  }
}

type Refusal = Extract<TurnSettled, { readonly reason: string }>;

function refusal(entry: TurnRequest, kind: Refusal['kind'], reason: string): Refusal {
  return { kind, number: entry.deployment.number, reason };
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
  const why =
    settled.kind === 'plan-changed'
      ? 'The plan changed, and its workflow was ended before it could ask again.'
      : settled.reason;
  return { project, environment, number, outcome: outcomes[settled.kind], reason: why, steps: [] };
}

function askOf(workflowId: string): number {
  const ask = Number(workflowId.split('/').at(-1)?.split('.')[1] ?? '1');
  return Number.isInteger(ask) ? ask : 1;
}

function noWay(error: unknown): void {
  log.warn('a message could not be followed', { message: describeFailure(error).message });
}
