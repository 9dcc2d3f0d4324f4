import type { Outcome } from './outcome.ts';
import type { ApprovalPolicy } from './policy.ts';
import { sentences } from './sentences.ts';

/** A decision as it arrives, by signal or by update. */
export interface ApprovalDecision {
  readonly by: string;
  /** Groups of the person at the moment of the decision, as the API knows them; policy is judged then. */
  readonly groups: readonly string[];
  readonly verdict: 'approve' | 'reject';
  /** The plan's hash, or at least its first 8 characters. */
  readonly plan: string;
  readonly comment?: string;
  /** The API proves that this person decided this (`decision-proof.ts`); what else comes in is marked `unproven`. */
  readonly proven: boolean;
}

export interface CountedDecision extends ApprovalDecision {
  readonly at: string;
}

export interface IgnoredDecision {
  readonly by: string;
  readonly at: string;
  readonly why: string;
}

export interface ApprovalState {
  readonly policy: ApprovalPolicy;
  readonly planHash: string;
  readonly author: string;
  /** Whoever else has had a hand in it (`DeploymentInput.involved`). */
  readonly involved: readonly string[];
  readonly counted: readonly CountedDecision[];
  readonly ignored: readonly IgnoredDecision[];
  readonly status: 'pending' | 'approved' | 'rejected' | 'expired';
}

/** What the reducer says of one decision before anything is changed; `undefined` = it counts. */
export type Refusal = {
  readonly type: 'TooLate' | 'NotAllowed' | 'Conflict' | 'ProofRefused' | 'TimedOut';
  readonly why: string;
};

export function startApproval(
  policy: ApprovalPolicy,
  planHash: string,
  author: string,
  involved: readonly string[] = [],
): ApprovalState {
  const status = policy.required ? 'pending' : 'approved';
  return { policy, planHash, author, involved, counted: [], ignored: [], status };
}

/** Why `decision` would not count, for the validator of the update (409/403 with the reason) and the log of the signal. */
export function refuses(state: ApprovalState, decision: ApprovalDecision): Refusal | undefined {
  if (state.status !== 'pending') {
    return { type: 'TooLate', why: `This approval is ${state.status}; a decision no longer changes it.` };
  }
  if (decision.plan.length < 8 || !state.planHash.startsWith(decision.plan)) {
    return {
      type: 'Conflict',
      why: `The decision names plan ${decision.plan.slice(0, 8)}, the plan waiting is ${state.planHash.slice(0, 8)}. Look at the new plan and decide again.`,
    };
  }
  if (state.policy.requireProof === true && !decision.proven) {
    return {
      type: 'NotAllowed',
      why: `Here only decisions that the API proves count (\`requireProof\`), and nothing proves that ${decision.by} has made this one. Decide by \`slipway\` or the API.`,
    };
  }
  // Whoever approved may still see a reason to stop it; a rejection was the end, so nobody approves after one.
  if (decision.verdict === 'approve' && state.counted.some((earlier) => samePerson(earlier.by, decision.by))) {
    return { type: 'Conflict', why: `${decision.by} has decided already.` };
  }
  const groups = state.policy.rules.map((rule) => rule.group);
  if (!decision.groups.some((group) => groups.includes(group))) {
    return {
      type: 'NotAllowed',
      why: `${decision.by} is in none of the groups that decide here: ${groups.join(', ')}.`,
    };
  }
  if (decision.verdict === 'approve' && !state.policy.allowAuthor) {
    if (samePerson(decision.by, state.author)) {
      return { type: 'NotAllowed', why: `${decision.by} is the author of the change and cannot approve it.` };
    }
    if (state.involved.some((person) => samePerson(decision.by, person))) {
      return { type: 'NotAllowed', why: `${decision.by} has brought the change here and cannot approve it.` };
    }
  }
  return undefined;
}

/** Takes one decision: counted, or kept as ignored with the reason. Pure. */
export function decide(state: ApprovalState, decision: ApprovalDecision, at: string): ApprovalState {
  const refusal = refuses(state, decision);
  if (refusal !== undefined) return ignore(state, decision.by, refusal.why, at);
  const counted = [...state.counted, { ...decision, at }];
  if (decision.verdict === 'reject') return { ...state, counted, status: 'rejected' };
  return { ...state, counted, status: quorumMet(state.policy, counted) ? 'approved' : 'pending' };
}

/** Keeps a decision as ignored that is refused for another reason than the policy's. */
export function ignore(state: ApprovalState, by: string, why: string, at: string): ApprovalState {
  return { ...state, ignored: [...state.ignored, { by, at, why }] };
}

/** The time is up: a pending approval expires, any other stays as it is. */
export function expire(state: ApprovalState): ApprovalState {
  return state.status === 'pending' ? { ...state, status: 'expired' } : state;
}

/** Whether distinct people fill every place of every rule. */
export function quorumMet(policy: ApprovalPolicy, counted: readonly CountedDecision[]): boolean {
  return seat(policy, counted).takenBy.every((person) => person !== undefined);
}

/** Who has which place. */
interface Seating {
  /** Group of each place that the rules have. */
  readonly places: readonly string[];
  readonly people: readonly CountedDecision[];
  /** By place, whoever fills it; as many places as can be. */
  readonly takenBy: readonly (CountedDecision | undefined)[];
}

/**
 * A person in two groups may fill either place, so this is a matching of people to places (augmenting paths), not a count per group:
 * counting lets one person block the place that only they could fill.
 */
function seat(policy: ApprovalPolicy, counted: readonly CountedDecision[]): Seating {
  const people = counted.filter((decision) => decision.verdict === 'approve');
  const places = policy.rules.flatMap((rule) => Array.from({ length: rule.count }, () => rule.group));
  const takenBy = Array.from<CountedDecision | undefined>({ length: places.length });
  const place = (person: CountedDecision, seen: Set<number>): boolean => {
    for (const [index, group] of places.entries()) {
      if (seen.has(index) || !person.groups.includes(group)) continue;
      seen.add(index);
      const holder = takenBy[index];
      if (holder === undefined || place(holder, seen)) {
        takenBy[index] = person;
        return true;
      }
    }
    return false;
  };
  for (const person of people) place(person, new Set());
  return { places, people, takenBy };
}

/**
 * Whom an approval still waits for.
 *
 * @returns one entry for each place that nobody fills: the groups that can fill it, the first as the rules have it; more where somebody who
 * has approved could stand for either.
 */
export function missingApprovals({
  policy,
  counted,
}: Pick<ApprovalState, 'policy' | 'counted'>): readonly (readonly string[])[] {
  const { places, takenBy } = seat(policy, counted);
  return places.flatMap((group, index) => {
    if (takenBy[index] !== undefined) return [];
    const open = new Set([group]);
    // Whoever can move to it leaves another place open; a set that grows while it is walked is walked to its end.
    for (const each of open) {
      for (const [other, holder] of takenBy.entries()) {
        if (holder?.groups.includes(each) === true) open.add(places[other] ?? each);
      }
    }
    return [[...open]];
  });
}

/** `1 of devops and 2 of qa or security`. */
function tellMissing(state: ApprovalState): string {
  const counts = new Map<string, number>();
  for (const groups of missingApprovals(state)) {
    const name = groups.join(' or ');
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${count} of ${name}`).join(' and ');
}

/** Why nobody, or too few, have approved in time. */
function tellExpired(state: ApprovalState, waited: string): string {
  const { people } = seat(state.policy, state.counted);
  const missing = tellMissing(state);
  if (people.length > 0) {
    const asked = new Set(state.policy.rules.map(({ group }) => group));
    const who = people.map(({ by, groups }) => `${by} (${groups.filter((group) => asked.has(group)).join(', ')})`);
    return `Only ${who.join(' and ')} approved within ${waited}; what is missing is ${missing}.`;
  }
  const last = state.ignored.at(-1);
  return last === undefined
    ? `Nobody decided within ${waited}; what was asked for is ${missing}.`
    : sentences(`No decision that counts came within ${waited}; what was asked for is ${missing}`, last.why);
}

/**
 * How a deployment ends that people were asked about.
 *
 * @param waited - how long they had, as people say it.
 * @param again - what to do where it was only too late.
 * @returns undefined when it may go on.
 */
export function endOfApproval(
  state: ApprovalState,
  waited: string,
  again: string,
): { readonly outcome: Outcome; readonly reason: string } | undefined {
  switch (state.status) {
    case 'rejected': {
      const last = state.counted.at(-1);
      const why = last?.comment === undefined ? '' : `: ${last.comment}`;
      return { outcome: 'rejected', reason: sentences(`${last?.by ?? 'Somebody'} rejected it${why}`) };
    }
    case 'expired':
      return { outcome: 'expired', reason: sentences(tellExpired(state, waited), again) };
    case 'approved':
    case 'pending':
      return undefined;
  }
}

/**
 * A policy at least as strict as both: whoever either one asks for is asked for. One that requires no approval asks for nobody, whatever
 * rules stand in it.
 */
export function stricterApproval(one: ApprovalPolicy, other: ApprovalPolicy): ApprovalPolicy {
  const asking = [one, other].filter(({ required }) => required);
  const counts = new Map<string, number>();
  for (const policy of asking) {
    for (const [group, count] of peopleByGroup(policy)) counts.set(group, Math.max(counts.get(group) ?? 0, count));
  }
  return {
    required: asking.length > 0,
    rules: asking.length === 0 ? one.rules : [...counts].map(([group, count]) => ({ group, count })),
    allowAuthor: one.allowAuthor && other.allowAuthor,
    ...(asking.some(({ requireProof }) => requireProof === true) ? { requireProof: true } : {}),
    timeoutMs: Math.min(one.timeoutMs, other.timeoutMs),
    turn: one.turn,
  };
}

/** Two rules for one group ask for the people of both. */
function peopleByGroup({ rules }: ApprovalPolicy): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { group, count } of rules) counts.set(group, (counts.get(group) ?? 0) + count);
  return counts;
}

/** `Ada` and `ada ` are one person: whoever writes a raw signal must not become two by spelling. */
function samePerson(one: string, other: string): boolean {
  const plain = (name: string): string => name.normalize('NFKC').trim().toLowerCase();
  return plain(one) === plain(other);
}
