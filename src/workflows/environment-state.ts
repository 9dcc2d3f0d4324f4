import type { DeploymentInput, Priority } from '../domain/deployment.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import type { EnvironmentHold, RollbackMessage, TakeTurn, TurnRequest } from './messages.ts';
import type { UnfinishedData } from './turn.ts';

/** Everything an environment remembers when it continues as new. Plain data; grows by optional fields only. */
export interface EnvironmentState {
  readonly project: string;
  readonly environment: string;
  live: LiveRelease | null;
  previous: LiveRelease | null;
  queue: TurnRequest[];
  rollbacks: PendingRollback[];
  hold: EnvironmentHold | null;
  freeze: { readonly by: string; readonly reason: string; readonly since: string; readonly until?: string } | null;
  retire: Retirement | null;
  /** Data that a failed rollback owes, for `retry`. */
  unfinished: UnfinishedData | null;
  /** Version the failed rollback was to bring back, for `retry`. */
  retryTo: string | null;
  /** Fencing token of the last turn. */
  lastTurn: number;
  policy: PlanPolicy | null;
  /** Has taken the free turn, and plans with it in hand; begins before anything else does. */
  first?: TakeTurn;
  /** Numbers that have their answer. */
  settled: NumberRange[];
  /** Highest `ask` answered with a changed plan, by number; removed when the number is settled. */
  answered: Record<string, number>;
  /** Rollback requests taken, so that a repeated message is the same request. */
  requests: { readonly id: string; readonly number: number }[];
}

export interface PendingRollback {
  readonly deployment: DeploymentInput;
  readonly request: RollbackMessage;
  readonly requestedAt: string;
  readonly data?: UnfinishedData;
}

/** The slot that is stopped when its time has come. */
export interface Retirement {
  readonly at: string;
  readonly release: LiveRelease;
}

/** Inclusive. A history of numbers is nearly without gaps, so ranges keep it short for ever. */
export type NumberRange = readonly [from: number, to: number];

export function emptyState(project: string, environment: string): EnvironmentState {
  return {
    project,
    environment,
    live: null,
    previous: null,
    queue: [],
    rollbacks: [],
    hold: null,
    freeze: null,
    retire: null,
    unfinished: null,
    retryTo: null,
    lastTurn: 0,
    policy: null,
    settled: [],
    answered: {},
    requests: [],
  };
}

export function includesNumber(ranges: readonly NumberRange[], number: number): boolean {
  return ranges.some(([from, to]) => number >= from && number <= to);
}

/** Whether an ask of a deployment has had its answer: it is settled, or its plan was given back. */
export function hasAnswer(
  { settled, answered }: Pick<EnvironmentState, 'settled' | 'answered'>,
  number: number,
  ask: number,
): boolean {
  return includesNumber(settled, number) || ask <= (answered[String(number)] ?? 0);
}

/** Whether nothing is to be done or waited for before a release is rolled out. */
export function isClear(state: EnvironmentState, nowMs: number): boolean {
  const { queue, rollbacks, hold, freeze, retire, first } = state;
  const waiting = queue.length > 0 || rollbacks.length > 0 || first !== undefined;
  const retiring = retire !== null && Date.parse(retire.at) <= nowMs;
  return !waiting && !retiring && hold === null && freeze === null;
}

/** In how many ms something is due by the clock, at least 1; undefined when nothing is. */
export function nextDueMs(
  { retire, freeze }: Pick<EnvironmentState, 'retire' | 'freeze'>,
  nowMs: number,
): number | undefined {
  const moments: number[] = [];
  if (retire !== null) moments.push(Date.parse(retire.at));
  if (freeze?.until !== undefined) moments.push(Date.parse(freeze.until));
  return moments.length === 0 ? undefined : Math.max(1, Math.min(...moments) - nowMs);
}

export function withNumber(ranges: readonly NumberRange[], number: number): NumberRange[] {
  if (includesNumber(ranges, number)) return [...ranges];
  const sorted = [...ranges, [number, number] as const].sort((left, right) => left[0] - right[0]);
  const merged: NumberRange[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range[0] <= last[1] + 1)
      merged[merged.length - 1] = [last[0], Math.max(last[1], range[1])];
    else merged.push(range);
  }
  return merged;
}

const rank: Record<Priority, number> = { rollback: 0, hotfix: 1, routine: 2 };

/** Who is next: rollback before hotfix before the rest, and who asked first within those. */
export function nextInQueue(queue: readonly TurnRequest[]): TurnRequest | undefined {
  let best: TurnRequest | undefined;
  for (const entry of queue) {
    if (best === undefined || rank[entry.deployment.priority] < rank[best.deployment.priority]) best = entry;
  }
  return best;
}

/**
 * Puts a request into the queue. With `supersede` only the newest waits: older ones leave, and one that is older than what waits does not
 * enter. A request is never superseded by one of lower priority.
 */
export function enqueue(
  queue: readonly TurnRequest[],
  request: TurnRequest,
): { readonly queue: TurnRequest[]; readonly superseded: readonly TurnRequest[] } {
  const others = queue.filter((entry) => entry.deployment.number !== request.deployment.number);
  if (request.policy.queue.mode !== 'supersede') return { queue: [...others, request], superseded: [] };
  if (others.some((entry) => replaces(entry, request))) return { queue: others, superseded: [request] };
  return {
    queue: [...others.filter((entry) => !replaces(request, entry)), request],
    superseded: others.filter((entry) => replaces(request, entry)),
  };
}

function replaces(newer: TurnRequest, older: TurnRequest): boolean {
  return (
    newer.deployment.number > older.deployment.number &&
    rank[newer.deployment.priority] <= rank[older.deployment.priority]
  );
}

/** Takes out what has waited too long. */
export function splitOverdue(
  queue: readonly TurnRequest[],
  now: number,
): { readonly waiting: TurnRequest[]; readonly overdue: TurnRequest[] } {
  const isOverdue = (entry: TurnRequest): boolean => deadlineOf(entry) <= now;
  return { waiting: queue.filter((entry) => !isOverdue(entry)), overdue: queue.filter(isOverdue) };
}

/** When a request has waited long enough, ms. */
export function deadlineOf(entry: TurnRequest): number {
  return Date.parse(entry.requestedAt) + entry.policy.queue.timeoutMs;
}
