import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  accept,
  isRequest,
  isSettled,
  namesNumber,
  readAbort,
  readAllow,
  readClosed,
  readDecision,
  readFreeze,
  readRollback,
  readUnlock,
  readWord,
  unprovenDecision,
} from '../../../src/workflows/inbound.ts';
import { twoPeople } from '../../support/fake-activities.ts';

describe('a message of which anything may be expected', () => {
  test('never throws, whatever it is', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (raw) => {
        for (const read of [readDecision, readAllow, readRollback, readUnlock, readFreeze, readWord]) {
          const message = read(raw);
          if (!message.ok) expect(message.problem).not.toBe('');
        }
        expect(readAbort(raw).by).not.toBe('');
        expect(typeof readClosed(raw).reason).toBe('string');
        for (const check of [namesNumber, isRequest, isSettled]) expect(typeof check(raw)).toBe('boolean');
      }),
    );
  });

  test('is cut to what a history should carry', () => {
    const message = readRollback({ by: 'x'.repeat(9_999), reason: 'y'.repeat(9_999) });
    expect(message.ok && [message.value.by.length, message.value.reason.length]).toEqual([200, 2_000]);
  });

  test.each([
    [{ by: 'ops', reason: 'r', until: 'tomorrow' }, /no ISO 8601/],
    [{ by: 'ops' }, /no reason/],
  ])('is refused with the field that is wrong: %j', (raw, problem) => {
    expect(() => accept(readFreeze(raw))).toThrow(problem);
  });
});

describe('a proof', () => {
  const proof = { at: '2026-11-26T12:00:00.000Z', nonce: 'n', mac: 'a'.repeat(64) };
  const words = { by: 'max', plan: 'abcdefgh' };

  test('is read with the decision it comes with', () => {
    expect(readDecision({ ...words, proof: { ...proof, more: 1 } })).toEqual({ ok: true, value: { ...words, proof } });
    expect(readAllow({ by: 'max', commit: 'aaaaaaaa', proof })).toMatchObject({ ok: true, value: { proof } });
  });

  test.each([
    ['nothing', null],
    ['a yes', true],
    ['no moment', { ...proof, at: 'now' }],
    ['no nonce', { ...proof, nonce: '' }],
    ['a nonce without end', { ...proof, nonce: 'n'.repeat(65) }],
    ['no code', { ...proof, mac: 'A'.repeat(64) }],
    ['a code that is too short', { ...proof, mac: 'a'.repeat(63) }],
  ])('that is %s is none, and is not passed over', (_, given) => {
    for (const read of [
      readDecision({ ...words, proof: given }),
      readAllow({ by: 'max', commit: 'aaaaaaaa', proof: given }),
    ]) {
      expect(read).toMatchObject({ ok: false, by: 'max', problem: expect.stringContaining('proof') });
    }
  });
});

describe('a raw message', () => {
  test.each([
    ['states no groups and speaks for any one', undefined, ['tech-lead', 'devops']],
    ['is believed the groups it states', ['devops'], ['devops']],
  ])('%s, and is never proven', (_, groups, believed) => {
    const message = { by: 'max', plan: 'abcdefgh', proven: true, ...(groups === undefined ? {} : { groups }) };
    expect(unprovenDecision(message, 'approve', twoPeople)).toMatchObject({ groups: believed, proven: false });
  });
});

test('what another workflow returned counts as far as it says something', () => {
  expect(readClosed({ outcome: 'succeeded', reason: 'It is live.' })).toEqual({
    outcome: 'succeeded',
    reason: 'It is live.',
  });
  // Terminated, it returned nothing.
  expect(readClosed(null)).toEqual({ outcome: undefined, reason: 'look at it there.' });
  expect(readClosed({ outcome: 7, reason: ['no'] })).toEqual({ outcome: undefined, reason: 'look at it there.' });
});
