import type { ApprovalDecision } from '../domain/approval.ts';
import type { DecisionProof } from '../domain/decision-proof.ts';
import { failure } from '../domain/failures.ts';
import type { ApprovalPolicy } from '../domain/policy.ts';
import {
  type AbortMessage,
  type AllowMessage,
  type DecisionMessage,
  type FreezeMessage,
  type RollbackMessage,
  type UnlockMessage,
  toDecision,
} from './messages.ts';

/**
 * What comes in by signal may be any JSON: people type it into the Temporal UI. A handler that stumbles over a missing field would stop
 * its workflow for ever, so every message is read here first.
 */
export type Inbound<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly by: string; readonly problem: string };

const longestName = 200;
const longestText = 2_000;

export function readDecision(raw: unknown): Inbound<DecisionMessage> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  const plan = text(fields['plan'], 64);
  if (by === undefined) return wrong(by, 'it does not say who decides (`by`)');
  if (plan === undefined)
    return wrong(by, 'it does not name the plan it is about (`plan`: the first 8 characters of its hash)');
  const groups = Array.isArray(fields['groups'])
    ? fields['groups'].filter((group): group is string => typeof group === 'string')
    : undefined;
  const comment = text(fields['comment'], longestText);
  const proof = readProof(fields['proof']);
  if (proof === null) return wrong(by, noProof);
  return {
    ok: true,
    value: {
      by,
      plan: plan.toLowerCase(),
      ...(groups === undefined ? {} : { groups }),
      ...(comment === undefined ? {} : { comment }),
      ...(proof === undefined ? {} : { proof }),
      ...(fields['proven'] === true ? { proven: true } : {}),
    },
  };
}

/**
 * The one rule about raw messages, signals and updates alike: whoever can write to the namespace is root there, so their word is taken, and marked as unproven.
 * Groups they state are believed; who states none speaks for any one group of the policy.
 */
export function unprovenDecision(
  message: DecisionMessage,
  verdict: ApprovalDecision['verdict'],
  policy: ApprovalPolicy,
): ApprovalDecision {
  const groups = message.groups ?? policy.rules.map((rule) => rule.group);
  return toDecision({ ...message, groups, proven: false }, verdict);
}

export function readAbort(raw: unknown): AbortMessage {
  const fields = asRecord(raw);
  const reason = text(fields['reason'], longestText);
  return {
    by: text(fields['by'], longestName) ?? 'somebody',
    ...(reason === undefined ? {} : { reason }),
    ...(fields['noRollback'] === true ? { noRollback: true } : {}),
  };
}

export function readAllow(raw: unknown): Inbound<AllowMessage> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  const commit = text(fields['commit'], 64)?.toLowerCase();
  if (by === undefined) return wrong(by, 'it does not say who allows it (`by`)');
  if (commit === undefined || !/^[0-9a-f]{8,}$/.test(commit)) {
    return wrong(by, 'it does not name the commit that was looked at (`commit`: at least its first 8 digits)');
  }
  const proof = readProof(fields['proof']);
  if (proof === null) return wrong(by, noProof);
  return {
    ok: true,
    value: {
      by,
      commit,
      ...(proof === undefined ? {} : { proof }),
      ...(fields['proven'] === true ? { proven: true } : {}),
    },
  };
}

/** @returns the number of the run that takes the place; undefined where it is none. */
export function readSupersede(raw: unknown): number | undefined {
  const { by } = asRecord(raw);
  return Number.isSafeInteger(by) && Number(by) > 0 ? Number(by) : undefined;
}

export function readRollback(raw: unknown): Inbound<RollbackMessage> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  const reason = text(fields['reason'], longestText);
  if (by === undefined) return wrong(by, 'it does not say who asks (`by`)');
  if (reason === undefined) return wrong(by, 'it gives no reason (`reason`)');
  const to = text(fields['to'], longestName);
  const requestId = text(fields['requestId'], longestName);
  return {
    ok: true,
    value: { by, reason, ...(to === undefined ? {} : { to }), ...(requestId === undefined ? {} : { requestId }) },
  };
}

export function readUnlock(raw: unknown): Inbound<UnlockMessage> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  const reason = text(fields['reason'], longestText);
  const stateIs = text(fields['stateIs'], longestName);
  if (by === undefined) return wrong(by, 'it does not say who (`by`)');
  if (reason === undefined) return wrong(by, 'it gives no reason (`reason`)');
  if (stateIs === undefined) return wrong(by, 'it does not say what is live (`stateIs`: a version, or `none`)');
  return { ok: true, value: { by, reason, stateIs } };
}

export function readFreeze(raw: unknown): Inbound<FreezeMessage> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  const reason = text(fields['reason'], longestText);
  const until = text(fields['until'], 40);
  if (by === undefined) return wrong(by, 'it does not say who (`by`)');
  if (reason === undefined) return wrong(by, 'it gives no reason (`reason`)');
  if (until !== undefined && Number.isNaN(Date.parse(until))) return wrong(by, '`until` is no ISO 8601 time');
  return { ok: true, value: { by, reason, ...(until === undefined ? {} : { until }) } };
}

export function readWord(raw: unknown): Inbound<{ readonly by: string; readonly reason: string }> {
  const fields = asRecord(raw);
  const by = text(fields['by'], longestName);
  if (by === undefined) return wrong(by, 'it does not say who (`by`)');
  return { ok: true, value: { by, reason: text(fields['reason'], longestText) ?? 'no reason given' } };
}

/** Whether what came as a message between workflows is one; whoever may write to the namespace may send anything. */
export function namesNumber(raw: unknown): boolean {
  return Number.isInteger(asRecord(raw)['number']);
}

/** As {@link namesNumber}, for a request of the turn. */
export function isRequest(raw: unknown): boolean {
  const { deployment, policy, planHash, requestedAt } = asRecord(raw);
  return (
    namesNumber(deployment) &&
    typeof asRecord(asRecord(policy)['queue'])['timeoutMs'] === 'number' &&
    typeof planHash === 'string' &&
    typeof requestedAt === 'string'
  );
}

/** As {@link namesNumber}, for somebody who takes the turn if it is free. */
export function isTake(raw: unknown): boolean {
  const { deployment, ask } = asRecord(raw);
  const { project, environment, version } = asRecord(deployment);
  return (
    namesNumber(deployment) &&
    Number.isInteger(ask) &&
    [project, environment, version].every((each) => typeof each === 'string')
  );
}

/** As {@link namesNumber}, for a plan. */
export function namesPlan(raw: unknown): boolean {
  const { hash, policy } = asRecord(asRecord(raw)['plan']);
  return namesNumber(raw) && typeof hash === 'string' && typeof asRecord(policy)['approval'] === 'object';
}

/** As {@link namesNumber}, for an answer of the environment. */
export function isSettled(raw: unknown): boolean {
  const { kind, result, plan, reason } = asRecord(raw);
  if (!namesNumber(raw)) return false;
  if (kind === 'result') return typeof asRecord(result)['outcome'] === 'string';
  if (kind === 'plan-changed') return typeof asRecord(plan)['hash'] === 'string';
  return typeof reason === 'string' && ['superseded', 'expired', 'withdrawn', 'refused'].includes(String(kind));
}

/** What another workflow returned, of which nothing is certain: null when somebody terminated it. */
export function readClosed(closed: unknown): { readonly outcome: string | undefined; readonly reason: string } {
  const { outcome, reason } = asRecord(closed);
  return {
    outcome: typeof outcome === 'string' ? outcome : undefined,
    reason: typeof reason === 'string' ? reason : 'look at it there.',
  };
}

/** For the validators and handlers of updates, which answer the sender. */
export function accept<T>(message: Inbound<T>): T {
  if (message.ok) return message.value;
  throw failure('InvalidInput', `The message was not taken: ${message.problem}.`);
}

const noProof = 'its `proof` is none: the API makes them, and whoever has none leaves it out';

/** @returns undefined where there is none; null where what is there is none. */
function readProof(raw: unknown): DecisionProof | undefined | null {
  if (raw === undefined) return undefined;
  const { at, nonce, mac } = asRecord(raw);
  if (typeof at !== 'string' || at.length > 40 || Number.isNaN(Date.parse(at))) return null;
  if (typeof nonce !== 'string' || nonce === '' || nonce.length > 64) return null;
  return typeof mac === 'string' && /^[0-9a-f]{64}$/.test(mac) ? { at, nonce, mac } : null;
}

function wrong(by: string | undefined, problem: string): { ok: false; by: string; problem: string } {
  return { ok: false, by: by ?? 'somebody', problem };
}

function asRecord(raw: unknown): Record<string, unknown> {
  return typeof raw === 'object' && raw !== null ? (raw as Record<string, unknown>) : {};
}

function text(value: unknown, longest: number): string | undefined {
  if (typeof value !== 'string') return undefined;
  const trimmed = value.trim();
  return trimmed === '' ? undefined : trimmed.slice(0, longest);
}
