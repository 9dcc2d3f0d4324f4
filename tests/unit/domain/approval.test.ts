import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  decide,
  endOfApproval,
  expire,
  missingApprovals,
  quorumMet,
  refuses,
  startApproval,
  stricterApproval,
} from '../../../src/domain/approval.ts';
import type { ApprovalDecision, ApprovalState, CountedDecision } from '../../../src/domain/approval.ts';
import { askAgain } from '../../../src/domain/deployment.ts';
import type { ApprovalPolicy, ApprovalRule } from '../../../src/domain/policy.ts';

const planHash = '0123456789abcdef'.repeat(4);
const at = '2026-11-17T10:00:00.000Z';
const policy: ApprovalPolicy = {
  required: true,
  rules: [
    { group: 'tech-lead', count: 1 },
    { group: 'devops', count: 1 },
  ],
  allowAuthor: false,
  timeoutMs: 1_800_000,
  turn: 'release',
};
const waiting = startApproval(policy, planHash, 'linus');

function decision(by: string, groups: readonly string[], rest: Partial<ApprovalDecision> = {}): ApprovalDecision {
  return { by, groups, verdict: 'approve', plan: planHash.slice(0, 8), proven: true, ...rest };
}

function after(state: ApprovalState, ...decisions: readonly ApprovalDecision[]): ApprovalState {
  return decisions.reduce((current, one) => decide(current, one, at), state);
}

describe('an approval', () => {
  test('is given when every rule is met by people distinct from each other', () => {
    expect(after(waiting, decision('ada', ['tech-lead'])).status).toBe('pending');
    expect(after(waiting, decision('ada', ['tech-lead']), decision('grace', ['devops'])).status).toBe('approved');
    expect(after(waiting, decision('ada', ['tech-lead', 'devops'])).status).toBe('pending');
  });

  test('does not depend on who takes which place', () => {
    const both = decision('ada', ['tech-lead', 'devops']);
    expect(after(waiting, both, decision('grace', ['tech-lead'])).status).toBe('approved');
    expect(after(waiting, both, decision('grace', ['devops'])).status).toBe('approved');
  });

  test('is there at once where none is required', () => {
    expect(startApproval({ ...policy, required: false }, planHash, 'linus').status).toBe('approved');
  });

  test('ends with one rejection, also of somebody who had approved', () => {
    expect(after(waiting, decision('ada', ['tech-lead'], { verdict: 'reject' })).status).toBe('rejected');
    const approved = decision('ada', ['tech-lead']);
    expect(after(waiting, approved, decision('ada', ['tech-lead'], { verdict: 'reject' })).status).toBe('rejected');
    expect(after(waiting, decision('linus', ['devops'], { verdict: 'reject' })).status).toBe('rejected');
  });

  test('expires only while it waits', () => {
    expect(expire(waiting).status).toBe('expired');
    const rejected = after(waiting, decision('ada', ['tech-lead'], { verdict: 'reject' }));
    expect(expire(rejected)).toBe(rejected);
  });
});

describe('a decision does not count', () => {
  test.each<[string, ApprovalDecision, string]>([
    ['for another plan', decision('ada', ['tech-lead'], { plan: 'ffffffff' }), 'Conflict'],
    ['for too little of the hash', decision('ada', ['tech-lead'], { plan: planHash.slice(0, 7) }), 'Conflict'],
    ['for more than the hash', decision('ada', ['tech-lead'], { plan: `${planHash}0` }), 'Conflict'],
    ['of somebody in no group that decides', decision('eve', ['management']), 'NotAllowed'],
    ['of somebody in no group at all', decision('eve', []), 'NotAllowed'],
    ['against it, of somebody who could not approve', decision('eve', ['qa'], { verdict: 'reject' }), 'NotAllowed'],
    ['of the author', decision('linus', ['tech-lead']), 'NotAllowed'],
    ['of the author, spelled otherwise', decision(' Linus', ['tech-lead']), 'NotAllowed'],
  ])('%s', (_name, one, type) => {
    expect(refuses(waiting, one)).toMatchObject({ type });
    const state = decide(waiting, one, at);
    expect(state).toMatchObject({ status: 'pending', counted: [] });
    expect(state.ignored).toEqual([{ by: one.by, at, why: refuses(waiting, one)?.why }]);
  });

  test('a second time, however the name is spelled', () => {
    const once = after(waiting, decision('ada', ['tech-lead', 'devops']));
    expect(refuses(once, decision('ada', ['tech-lead']))).toMatchObject({ type: 'Conflict' });
    expect(after(once, decision('ADA', ['devops'])).status).toBe('pending');
    expect(after(once, decision('a\uFF44a', ['devops'])).status).toBe('pending');
  });

  test.each(['approved', 'rejected', 'expired'] as const)('too late, when it is %s', (status) => {
    const closed: ApprovalState = { ...waiting, status };
    expect(refuses(closed, decision('ada', ['tech-lead']))).toMatchObject({ type: 'TooLate' });
    expect(decide(closed, decision('ada', ['tech-lead'], { verdict: 'reject' }), at).status).toBe(status);
  });

  test('of whoever pushed it or asked for it, though the commit names another author', () => {
    const state = startApproval(policy, planHash, 'Linus Torvalds', ['linus', 'oscar']);
    for (const by of ['linus', 'Oscar ', 'linus torvalds']) {
      expect(refuses(state, decision(by, ['tech-lead']))).toMatchObject({ type: 'NotAllowed' });
      // To stop it is always allowed.
      expect(refuses(state, decision(by, ['tech-lead'], { verdict: 'reject' }))).toBeUndefined();
    }
    expect(refuses(state, decision('linus', ['tech-lead']))?.why).toBe(
      'linus has brought the change here and cannot approve it.',
    );
    expect(refuses(state, decision('ada', ['tech-lead']))).toBeUndefined();
  });

  test('unless the policy says that the author counts', () => {
    const lax = startApproval({ ...policy, allowAuthor: true }, planHash, 'linus', ['oscar']);
    expect(refuses(lax, decision('linus', ['tech-lead']))).toBeUndefined();
    expect(refuses(lax, decision('oscar', ['tech-lead']))).toBeUndefined();
  });
});

const groupNames = ['a', 'b', 'c', 'd'];
const rules = fc.array(fc.record({ group: fc.constantFrom(...groupNames), count: fc.integer({ min: 1, max: 2 }) }), {
  minLength: 1,
  maxLength: 3,
});
const people = fc
  .array(fc.subarray(groupNames), { maxLength: 6 })
  .map((all) => all.map((groups, index): CountedDecision => ({ ...decision(`p${index}`, groups), at })));

/** Tries every way of giving places to people. */
function quorumByTrying(places: readonly string[], rest: readonly CountedDecision[]): boolean {
  const [place, ...others] = places;
  if (place === undefined) return true;
  return rest.some(
    (person, index) =>
      person.groups.includes(place) &&
      quorumByTrying(
        others,
        rest.filter((_, other) => other !== index),
      ),
  );
}

function placesOf(all: readonly ApprovalRule[]): readonly string[] {
  return all.flatMap(({ group, count }) => Array.from({ length: count }, () => group));
}

describe('the quorum', () => {
  test('is what trying every way of giving places to people says', () => {
    let met = 0;
    fc.assert(
      fc.property(rules, people, (asked, counted) => {
        const expected = quorumByTrying(placesOf(asked), counted);
        met += expected ? 1 : 0;
        expect(quorumMet({ ...policy, rules: asked }, counted)).toBe(expected);
      }),
      { numRuns: 3_000 },
    );
    // Both answers were tried, or the comparison would say nothing.
    expect(met).toBeGreaterThan(100);
    expect(met).toBeLessThan(2_900);
  });

  test('does not depend on the order of decisions, and is not lost by one more', () => {
    fc.assert(
      fc.property(rules, people, people, (asked, counted, more) => {
        const withRules = { ...policy, rules: asked };
        const met = quorumMet(withRules, counted);
        expect(quorumMet(withRules, counted.toReversed())).toBe(met);
        if (met) expect(quorumMet(withRules, [...counted, ...more])).toBe(true);
      }),
    );
  });

  test('never counts a rejection', () => {
    const against: CountedDecision = { ...decision('grace', ['devops'], { verdict: 'reject' }), at };
    expect(quorumMet(policy, [{ ...decision('ada', ['tech-lead']), at }, against])).toBe(false);
  });
});

describe('a policy that requires proof', () => {
  const strict = startApproval({ ...policy, requireProof: true }, planHash, 'linus');

  test.each(['approve', 'reject'] as const)('counts no %s that nothing proves, and says where to decide', (verdict) => {
    const raw = decision('ada', ['tech-lead'], { verdict, proven: false });
    expect(refuses(strict, raw)).toMatchObject({
      type: 'NotAllowed',
      why: expect.stringContaining('Decide by `slipway`'),
    });
    expect(after(strict, raw)).toMatchObject({ status: 'pending', counted: [], ignored: [{ by: 'ada' }] });
    expect(after(strict, decision('ada', ['tech-lead'], { verdict })).counted).toHaveLength(1);
  });

  test('is not the default', () => {
    expect(refuses(waiting, decision('ada', ['tech-lead'], { proven: false }))).toBeUndefined();
  });
});

describe('the stricter of two policies', () => {
  const policies = fc.record({
    required: fc.boolean(),
    rules,
    allowAuthor: fc.boolean(),
    requireProof: fc.boolean(),
    timeoutMs: fc.integer({ min: 1, max: 100 }),
    turn: fc.constant('release' as const),
  });

  test('is met only by what meets each of them', () => {
    fc.assert(
      fc.property(policies, policies, people, (one, other, counted) => {
        const both = stricterApproval(one, other);
        expect(both.required).toBe(one.required || other.required);
        expect(both.allowAuthor).toBe(one.allowAuthor && other.allowAuthor);
        const proof = (one.required && one.requireProof) || (other.required && other.requireProof);
        expect(both.requireProof ?? false).toBe(proof);
        expect(both.timeoutMs).toBe(Math.min(one.timeoutMs, other.timeoutMs));
        if (!both.required || !quorumMet(both, counted)) return;
        if (one.required) expect(quorumMet(one, counted)).toBe(true);
        if (other.required) expect(quorumMet(other, counted)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });

  test('asks for nobody on behalf of one that requires no approval', () => {
    const free = { ...policy, required: false };
    const asks = { ...policy, rules: [{ group: 'qa', count: 2 }] };
    expect(stricterApproval(free, asks).rules).toEqual([{ group: 'qa', count: 2 }]);
    expect(stricterApproval(free, free).required).toBe(false);
  });
});

describe('the end of a deployment that people were asked about', () => {
  const again = askAgain({ project: 'shop', environment: 'production', version: '1.0.0', runNumber: 12 });

  test('says who rejected it, and what they said', () => {
    const no = { verdict: 'reject' } as const;
    const said = after(waiting, decision('ada', ['tech-lead'], { ...no, comment: 'not on a Friday' }));
    expect(endOfApproval(said, '30 min', again)).toEqual({
      outcome: 'rejected',
      reason: 'ada rejected it: not on a Friday.',
    });
    const silent = after(waiting, decision('ada', ['tech-lead'], no));
    expect(endOfApproval(silent, '30 min', again)).toEqual({ outcome: 'rejected', reason: 'ada rejected it.' });
  });

  const reasonOf = (state: ApprovalState): string | undefined => endOfApproval(expire(state), '30 min', again)?.reason;

  test('says how long nobody decided, who was asked, and how it is asked for again', () => {
    expect(endOfApproval(expire(waiting), '30 min', again)).toEqual({
      outcome: 'expired',
      reason:
        'Nobody decided within 30 min; what was asked for is 1 of tech-lead and 1 of devops. ' +
        'Nothing was changed: `slipway rerun shop#12 --from-approval` asks again, and nothing has to be built again.',
    });
  });

  test('says who approved, as what, and what is missing', () => {
    const one = after(waiting, decision('ada', ['tech-lead', 'developers']));
    expect(reasonOf(one)).toMatch(
      /^Only ada \(tech-lead\) approved within 30 min; what is missing is 1 of devops\. Nothing was changed: /,
    );
    const many = startApproval({ ...policy, rules: [{ group: 'qa', count: 4 }] }, planHash, 'linus');
    const two = after(many, decision('ada', ['qa']), decision('grace', ['qa']));
    expect(reasonOf(two)).toMatch(
      /^Only ada \(qa\) and grace \(qa\) approved within 30 min; what is missing is 2 of qa\. /,
    );
  });

  test('says that either is missing where who approved could stand for either', () => {
    const both = after(waiting, decision('ada', ['tech-lead', 'devops']));
    expect(reasonOf(both)).toMatch(/; what is missing is 1 of devops or tech-lead\. /);
  });

  test('says why a decision did not count', () => {
    const own = after(waiting, decision('linus', ['devops']));
    expect(reasonOf(own)).toMatch(
      /^No decision that counts came within 30 min; .* linus is the author of the change and cannot approve it\. /,
    );
  });

  test('asks for whoever would make it whole, and for nobody more', () => {
    const group = fc.constantFrom('a', 'b', 'c');
    const person = fc.uniqueArray(group, { minLength: 1 });
    const rule = fc.record({ group, count: fc.integer({ min: 1, max: 3 }) });
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 4 }),
        fc.array(person, { maxLength: 6 }),
        (rules, people) => {
          const asked = { ...policy, rules };
          const counted = people.map((groups, index) => ({ ...decision(`p${index}`, groups), at }));
          const missing = missingApprovals({ policy: asked, counted });
          const join = (chosen: readonly (readonly string[])[]): CountedDecision[] => [
            ...counted,
            ...chosen.map((groups, index) => ({ ...decision(`n${index}`, groups), at })),
          ];
          // Each by the first of its groups fills every place; any one less does not; and the first by any other of its groups does as well.
          const first = missing.map(([name = '']) => [name]);
          expect(quorumMet(asked, join(first))).toBe(true);
          for (const index of first.keys()) expect(quorumMet(asked, join(first.toSpliced(index, 1)))).toBe(false);
          for (const [index, groups] of missing.entries()) {
            for (const other of groups) expect(quorumMet(asked, join(first.with(index, [other])))).toBe(true);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('names the release where somebody has asked for that, without a run', () => {
    expect(askAgain({ project: 'shop', environment: 'production', version: '1.0.0' })).toContain(
      '`slipway deploy shop/production 1.0.0`',
    );
  });

  test('is none where it was approved, or needs no approval', () => {
    const both = [decision('ada', ['tech-lead']), decision('grace', ['devops'])];
    expect(endOfApproval(after(waiting, ...both), '30 min', again)).toBeUndefined();
    expect(
      endOfApproval(startApproval({ ...policy, required: false }, planHash, 'linus'), '30 min', again),
    ).toBeUndefined();
  });
});
