import { describe, expect, test } from '@jest/globals';
import { createForgeTurns } from '../../../src/activities/forge-turns.ts';

/** Work that goes on until it is let. */
function held() {
  let isBegun = false;
  const begun = Promise.withResolvers<undefined>();
  const ended = Promise.withResolvers<undefined>();
  return {
    work: (): Promise<undefined> => {
      isBegun = true;
      begun.resolve(undefined);
      return ended.promise;
    },
    begun: begun.promise,
    isBegun: (): boolean => isBegun,
    end: (): void => ended.resolve(undefined),
  };
}

const longMs = 60_000;

describe('turns at a forge', () => {
  test('are so many at once, in the order in which they were asked for', async () => {
    const turns = createForgeTurns(1, longMs);
    const [first, second, third] = [held(), held(), held()];
    const ends = [first, second, third].map(({ work }) => turns.take('one', work));
    const begun = (): readonly boolean[] => [first, second, third].map(({ isBegun }) => isBegun());
    await first.begun;
    expect(begun()).toEqual([true, false, false]);
    first.end();
    await second.begun;
    expect(begun()).toEqual([true, true, false]);
    second.end();
    await third.begun;
    third.end();
    await Promise.all(ends);
  });

  test('are waited for so long, and do not come any more after that', async () => {
    const turns = createForgeTurns(1, 5);
    const [slow, tired] = [held(), held()];
    const going = turns.take('one', slow.work);
    await expect(turns.take('one', tired.work)).rejects.toMatchObject({ type: 'ForgeUnavailable' });
    slow.end();
    await going;
    expect(tired.isBegun()).toBe(false);
    // The turn was left to nobody who is gone.
    await expect(turns.take('one', () => Promise.resolve('mine'))).resolves.toBe('mine');
  });

  test('of one forge are none of another', async () => {
    const turns = createForgeTurns(1, longMs);
    const slow = held();
    const going = turns.take('one', slow.work);
    await expect(turns.take('two', () => Promise.resolve('said'))).resolves.toBe('said');
    slow.end();
    await going;
  });

  test('come back from what fails', async () => {
    const turns = createForgeTurns(1, longMs);
    await expect(turns.take('one', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(turns.take('one', () => Promise.resolve('said'))).resolves.toBe('said');
  });
});
