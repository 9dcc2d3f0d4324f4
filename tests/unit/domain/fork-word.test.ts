import { describe, expect, test } from '@jest/globals';
import { type ForkWait, whyNoWord } from '../../../src/domain/fork-word.ts';

const commit = 'abcdef0123456789abcdef0123456789abcdef01';
const waiting: ForkWait = { event: { fork: true, after: commit }, allowedBy: undefined, waits: true };

describe('a word for the commit of a fork', () => {
  test('holds for the commit that waits, also by its first digits', () => {
    expect(whyNoWord({ by: 'ann', commit }, waiting)).toBeUndefined();
    expect(whyNoWord({ by: 'ann', commit: commit.slice(0, 8) }, waiting)).toBeUndefined();
  });

  test.each<[string, Partial<ForkWait>, string, string, RegExp]>([
    ['is not needed', { event: { after: commit } }, commit, 'Conflict', /needs no word/],
    ['was given before', { allowedBy: 'ben' }, commit, 'TooLate', /^ben has allowed it already$/],
    ['comes too late', { waits: false }, commit, 'TooLate', /^ann is too late/],
    [
      'is for another commit',
      {},
      'ffffffffffffffff',
      'Conflict',
      /^the word is for ffffffffffff, but the run is of abcdef012345$/,
    ],
  ])('%s', (_, difference, said, type, why) => {
    expect(whyNoWord({ by: 'ann', commit: said }, { ...waiting, ...difference })).toEqual({
      type,
      why: expect.stringMatching(why),
    });
  });
});
