import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  type ProvableDecision,
  type ProvenDecision,
  canonicalDecision,
  proofLastsMs,
} from '../../../src/domain/decision-proof.ts';
import { createDecisionProofs } from '../../../src/effects/decision-proofs.ts';
import { foreignProofs, testProofs } from '../../support/proofs.ts';

const at = '2026-11-26T12:00:00.000Z';
const decision: ProvableDecision = {
  workflowId: 'deployment/hello/production/7',
  verb: 'approve',
  about: 'a'.repeat(64),
  by: 'ada',
  groups: ['tech-lead'],
  comment: 'fine',
};
const genuine: ProvenDecision = { ...decision, proof: testProofs.prove(decision, at), receivedAt: at };

function later(ms: number): string {
  return new Date(Date.parse(at) + ms).toISOString();
}

describe('a proof', () => {
  test('holds for the decision it was made for, on every machine that has the key', () => {
    expect(testProofs.whyNot(genuine)).toBeUndefined();
    expect(createDecisionProofs('the key of this installation').whyNot(genuine)).toBeUndefined();
    // As it comes out of a history.
    expect(testProofs.whyNot(JSON.parse(JSON.stringify(genuine)) as ProvenDecision)).toBeUndefined();
  });

  test.each<[string, Partial<ProvenDecision>]>([
    ['deployment', { workflowId: 'deployment/hello/production/8' }],
    ['environment', { workflowId: 'deployment/hello/staging/7' }],
    ['project', { workflowId: 'deployment/other/production/7' }],
    ['verdict', { verb: 'reject' }],
    ['plan', { about: 'b'.repeat(64) }],
    ['plan, cut', { about: 'a'.repeat(8) }],
    ['person', { by: 'eve' }],
    ['group', { groups: ['devops'] }],
    ['group more', { groups: ['tech-lead', 'devops'] }],
    ['group less', { groups: [] }],
    ['comment', { comment: 'not fine' }],
    ['comment, left out', { comment: undefined }],
    ['moment', { proof: { ...genuine.proof, at: later(1) } }],
    ['nonce', { proof: { ...genuine.proof, nonce: 'another' } }],
    ['code', { proof: { ...genuine.proof, mac: 'a'.repeat(64) } }],
    ['code, cut', { proof: { ...genuine.proof, mac: genuine.proof.mac.slice(0, 32) } }],
    ['code, none', { proof: { ...genuine.proof, mac: '' } }],
  ])('does not hold for another %s', (_, other) => {
    expect(testProofs.whyNot({ ...genuine, ...other })).toMatch(/not of this decision/);
  });

  test('does not hold where it was made with another key, or with the key that it was derived from', () => {
    expect(testProofs.whyNot({ ...genuine, proof: foreignProofs.prove(decision, at) })).toMatch(/another key/);
    const text = canonicalDecision(decision, genuine.proof);
    const mac = createHmac('sha256', 'the key of this installation').update(text).digest('hex');
    expect(testProofs.whyNot({ ...genuine, proof: { ...genuine.proof, mac } })).toMatch(/another key/);
  });

  test.each([
    [proofLastsMs, true],
    [-proofLastsMs, true],
    [proofLastsMs + 1, false],
    [-proofLastsMs - 1, false],
  ])('that comes in %i ms after it was made holds: %s', (ms, holds) => {
    const why = testProofs.whyNot({ ...genuine, receivedAt: later(ms) });
    if (holds) expect(why).toBeUndefined();
    else expect(why).toMatch(/at most 5 minutes/);
  });

  test('is one of its kind', () => {
    expect(testProofs.prove(decision, at).nonce).not.toBe(genuine.proof.nonce);
  });
});

test('no two decisions are signed as the same text, whatever people write', () => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.constantFrom('', '"', '\\', ',', '","', '[]', 'null'),
  );
  const decisions = fc.record({
    workflowId: texts,
    verb: fc.constantFrom('approve' as const, 'reject' as const, 'allow' as const),
    about: texts,
    by: texts,
    groups: fc.array(texts, { maxLength: 3 }),
    comment: fc.option(texts, { nil: undefined }),
  });
  const made = fc.record({ at: texts, nonce: texts });
  fc.assert(
    fc.property(decisions, made, decisions, made, (one, oneMade, other, otherMade) => {
      const read = JSON.parse(canonicalDecision(one, oneMade)) as unknown[];
      const { workflowId, verb, about, by, groups, comment = null } = one;
      expect(read).toEqual([
        'slipway decision 1',
        workflowId,
        verb,
        about,
        by,
        groups,
        comment,
        oneMade.at,
        oneMade.nonce,
      ]);
      const same = JSON.stringify([one, oneMade]) === JSON.stringify([other, otherMade]);
      if (!same) expect(canonicalDecision(other, otherMade)).not.toBe(canonicalDecision(one, oneMade));
    }),
    { numRuns: 2_000 },
  );
});
