import { log } from '@temporalio/workflow';
import type { DeploymentInput } from '../domain/deployment.ts';
import { describeFailure, failure } from '../domain/failures.ts';
import type { Current, EnvironmentCore } from './environment-core.ts';
import { type AbortMessage, type RollbackMessage, abortSignal, takeBackSignal } from './messages.ts';
import { callAnyway } from './call.ts';
import { record } from './proxies/record.ts';
import { isoNow } from './progress.ts';
import type { UnfinishedData } from './turn.ts';

const longestRequests = 50;
/** A rollback does not wait longer for the store to give it a number when the release to go back to still runs, ms. */
const openRollbackMs = 3_000;

/** Nor longer where that one has to be started anyway, ms: nothing else begins meanwhile, and who asked is told to ask again. Judgement. */
const openWithoutStandbyMs = 600_000;

/** How an environment takes a person's word to go back. */
export class Rollbacks {
  readonly #core: EnvironmentCore;
  #opening = 0;
  /** A word to go back, wherever that is, that is getting its number. */
  #taking: Promise<number> | undefined;

  constructor(core: EnvironmentCore) {
    this.#core = core;
  }

  /** A rollback is getting its number: nothing else may begin before it. */
  get opening(): boolean {
    return this.#opening > 0;
  }

  /** @returns the number under which it goes on: of the roll-out that takes itself back, or of a rollback of its own. */
  async accept(message: RollbackMessage): Promise<{ readonly number: number }> {
    const { state, current } = this.#core;
    if (current?.kind === 'rollout') {
      if (current.changing) {
        current.forwarded = message;
        this.#core.answers.background(this.#core.answers.signal(current.workflowId, takeBackSignal, message));
        if (message.to === undefined || message.to === state.live?.version)
          return { number: current.deployment.number };
      } else {
        stopCurrent(this.#core, current, { by: message.by, reason: `rollback: ${message.reason}` });
      }
    } else if (current === null && message.to !== undefined && message.to === state.live?.version) {
      throw failure('Conflict', `${message.to} is live already.`);
    }
    if (message.to !== undefined) return { number: await this.#take(message) };
    // Two people who want back at once want it once, not twice as far.
    const underWay = this.#underWay();
    if (underWay !== undefined) return { number: underWay };
    this.#taking ??= this.#take(message).finally(() => (this.#taking = undefined));
    return { number: await this.#taking };
  }

  async #take(message: RollbackMessage): Promise<number> {
    const { state } = this.#core;
    // The same message about the same live release is the same request; after it has worked, it is a new one.
    const about = state.live?.deployment ?? 0;
    const id = message.requestId ?? `${message.by}/${message.reason}/${message.to ?? ''}/${about}`;
    const known = state.requests.find((request) => request.id === id);
    if (known !== undefined) return known.number;
    const number = await this.#queue(message, id);
    state.requests = [...state.requests, { id, number }].slice(-longestRequests);
    return number;
  }

  /** The rollback that did not work, and the data it owes, once more. */
  async retry(message: { readonly by: string; readonly reason: string }): Promise<void> {
    const { retryTo, unfinished } = this.#core.state;
    const request = { ...message, ...(retryTo === null ? {} : { to: retryTo }) };
    await this.#queue(request, `retry/${message.by}/${message.reason}/${Date.now()}`, unfinished ?? undefined);
  }

  async #queue(request: RollbackMessage, id: string, data?: UnfinishedData): Promise<number> {
    const { state } = this.#core;
    const requestedAt = isoNow();
    const deployment = await this.#open(request, id, requestedAt);
    // Two messages that were the same request have got the same number.
    if (!state.rollbacks.some((pending) => pending.deployment.number === deployment.number)) {
      state.rollbacks.push({ deployment, request, requestedAt, ...(data === undefined ? {} : { data }) });
    }
    this.#core.wake();
    return deployment.number;
  }

  #underWay(): number | undefined {
    const { state, current } = this.#core;
    const pending = state.rollbacks.find((rollback) => rollback.request.to === undefined);
    if (pending !== undefined) return pending.deployment.number;
    return current?.kind === 'rollback' ? current.deployment.number : undefined;
  }

  async #open(message: RollbackMessage, requestId: string, requestedAt: string): Promise<DeploymentInput> {
    const { project, environment, previous } = this.#core.state;
    const { by, reason } = message;
    const to = message.to ?? previous?.version;
    const canFlip = previous !== null && previous.version === to;
    this.#opening += 1;
    try {
      const input = { project, environment, requestId, reason, by, ...(to === undefined ? {} : { to }) };
      const limits = { scheduleToCloseTimeout: canFlip ? openRollbackMs : openWithoutStandbyMs };
      return await callAnyway(
        record.openRollback,
        `rollback to ${to ?? 'the last good release'}: ${reason}`,
        input,
        limits,
      );
    } catch (error) {
      const { type, message: why } = describeFailure(error);
      if (!canFlip || type === 'ReleaseMissing') throw failure(type, why, { nonRetryable: true });
      // The store is away. Its numbers are small, so the clock gives one that will never be another's.
      const number = Date.now();
      const base = { project, environment, number, version: previous.version, requestedBy: by, author: by };
      return { ...base, priority: 'rollback', requestedAt };
    } finally {
      this.#opening -= 1;
      this.#core.wake();
    }
  }
}

/** Has the roll-out that has the turn stop; from here on no change is granted to it. */
export function stopCurrent(core: EnvironmentCore, current: Current, message: AbortMessage): void {
  current.aborting ??= message;
  if (!current.asking) core.answers.background(core.answers.signal(current.workflowId, abortSignal, message));
  core.wake();
}

/** For what comes by signal, whose sender gets no answer. */
export function noWay(error: unknown): void {
  log.warn('a message could not be followed', { message: describeFailure(error).message });
}
