import type { EnvironmentFacts } from '../activities/contracts.ts';
import type { DeploymentInput, DeploymentRef } from '../domain/deployment.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { Answers } from './environment-answers.ts';
import type { EnvironmentState, Retirement } from './environment-state.ts';
import type { AbortMessage, EnvironmentHold, EnvironmentView, RollbackMessage } from './messages.ts';
import { callAnyway } from './call.ts';
import { read } from './proxies/deployment.ts';
import { isoNow, showPage } from './progress.ts';

/** Who has the turn. */
export interface Current {
  readonly kind: 'rollout' | 'rollback';
  readonly deployment: DeploymentInput;
  readonly workflowId: string;
  readonly ask: number;
  readonly since: string;
  /** What was to be retired, and when, as it began: a turn that changes nothing leaves that as it was. */
  readonly retire: Retirement | null;
  changing: boolean;
  /** With `hold`: the turn is kept while people decide. */
  asking: boolean;
  proceed?: { readonly go: boolean; readonly plan: string };
  /** Somebody wants it stopped; no change is granted any more. */
  aborting?: AbortMessage;
  /** Rollback asked for while it changed things; done by itself unless it had settled by then. */
  forwarded?: RollbackMessage;
}

/** What the parts of an environment share. */
export interface EnvironmentCore {
  readonly state: EnvironmentState;
  readonly answers: Answers;
  current: Current | null;
  /** It has nothing to do, and waits for something. */
  readonly idle: boolean;
  /** Has the environment look again for what to do. */
  wake(): void;
  /** Has the page and the phase say what holds now. */
  show(): void;
}

/** What the target says of itself. */
export function readFacts(state: EnvironmentState): Promise<EnvironmentFacts> {
  const { project, environment, live } = state;
  const ref: DeploymentRef = { project, environment, number: live?.deployment ?? 0 };
  return callAnyway(read.readEnvironment, 'reads what is live', ref, { scheduleToCloseTimeout: 15_000 });
}

/** Takes what the target says as the truth. */
export function takeFacts(state: EnvironmentState, facts: EnvironmentFacts): void {
  state.live = facts.live;
  const beside = facts.slots.find((slot) => slot.slot !== facts.live?.slot && slot.healthy);
  state.previous =
    beside === undefined || facts.live === null || facts.previous?.version !== beside.version
      ? null
      : { ...facts.previous, slot: beside.slot, deployment: beside.deployment, since: isoNow() };
  if (state.previous === null) state.retire = null;
  else scheduleRetirement(state, state.previous);
}

export function scheduleRetirement(state: EnvironmentState, release: LiveRelease): void {
  const keepMs = state.policy?.limits.keepPreviousMs ?? 86_400_000;
  state.retire = { release, at: new Date(Date.now() + keepMs).toISOString() };
}

/** The next fencing token. Strictly rising, also across a lost memory, since the clock goes on. */
export function nextTurn(state: EnvironmentState): number {
  state.lastTurn = Math.max(Date.now(), state.lastTurn + 1);
  return state.lastTurn;
}

export function holdFor(state: EnvironmentState, kind: EnvironmentHold['state'], reason: string): void {
  state.hold = { state: kind, reason, by: 'Slipway', since: isoNow() };
}

export function viewOf({ state, current }: Pick<EnvironmentCore, 'state' | 'current'>): EnvironmentView {
  const { project, environment, live, previous, queue, hold, freeze, retire } = state;
  const frozen: EnvironmentHold | null =
    freeze === null ? null : { state: 'frozen', since: freeze.since, reason: freeze.reason, by: freeze.by };
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

/** The page of the Temporal UI. @returns the phase for its search attribute. */
export function showEnvironment(core: Pick<EnvironmentCore, 'state' | 'current'>): string {
  const { environment, live, previous, queue, hold } = viewOf(core);
  const phase = core.current === null ? (hold?.state ?? 'idle') : 'busy';
  const waiting = queue.map((entry) => `${entry.version} (#${entry.number})`).join(', ');
  showPage(`${environment} · ${phase}`, [
    live === null ? 'nothing is known to be live' : `live: ${live.version} in ${live.slot} since ${live.since}`,
    previous === null ? undefined : `before: ${previous.version} in ${previous.slot}`,
    core.current === null ? undefined : `turn: \`${core.current.workflowId}\``,
    waiting === '' ? undefined : `waiting: ${waiting}`,
    hold === null ? undefined : `**held** by ${hold.by} since ${hold.since}: ${hold.reason}`,
  ]);
  return phase;
}
