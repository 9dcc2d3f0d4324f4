import { describe, expect, test } from '@jest/globals';
import { outcomeOfRollback, sayFailed, sayStopped } from '../../../src/domain/rollback-ending.ts';

const word = { by: 'ann', reason: 'orders fail' };

describe('a rollback that was stopped', () => {
  test.each([
    ['target', /^ann stopped the rollback to 1\.4\.0: orders fail\. 1\.4\.0 serves, and the rest is left/],
    ['as-before', /What serves is as before, and the rest is left: `retry`, `reconcile` or `unlock`\.$/],
    ['unknown', /What serves now must be looked at, and the rest is left/],
  ] as const)('says what serves: %s', (serving, reason) => {
    expect(sayStopped(word, '1.4.0', serving)).toMatch(reason);
  });
});

test('a rollback that did not work says whether everything was taken back', () => {
  expect(sayFailed('1.4.0', 'it does not start', true)).toBe(
    'The rollback to 1.4.0 did not work: it does not start. What serves is as before: `retry`, `reconcile` or `unlock`.',
  );
  expect(sayFailed('1.4.0', 'it does not start', false)).toContain('What serves now must be looked at');
});

describe('a rollback whose release serves', () => {
  test('has worked, and says what is left over', () => {
    expect(outcomeOfRollback(word, '1.4.0', [], false, undefined)).toEqual({
      outcome: 'rolled-back',
      reason: 'ann rolled back to 1.4.0: orders fail.',
    });
    expect(outcomeOfRollback(word, '1.4.0', ['green still runs'], false, undefined)).toEqual({
      outcome: 'rolled-back',
      reason: 'ann rolled back to 1.4.0: orders fail. Not everything is done: green still runs.',
    });
  });

  test.each([
    ['nothing was done about it', undefined, /its data is not back/],
    ['it waits for a word', { action: 'held', detail: 'writes' }, /its data is not back/],
    [
      'what was written since is lost',
      { action: 'swapped', detail: 'back', unexported: 'the disk is full' },
      /written since is not kept/,
    ],
  ] as const)('has failed where data is owed and %s', (_, data, reason) => {
    expect(outcomeOfRollback(word, '1.4.0', [], true, data)).toEqual({
      outcome: 'rollback-failed',
      reason: expect.stringMatching(reason),
    });
  });

  test('has worked where the data that was owed is back', () => {
    const back = { action: 'swapped', detail: 'back' } as const;
    expect(outcomeOfRollback(word, '1.4.0', [], true, back).outcome).toBe('rolled-back');
  });
});
