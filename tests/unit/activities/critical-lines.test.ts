import { describe, expect, test } from '@jest/globals';
import { createCriticalLines } from '../../../src/activities/critical-lines.ts';

const never = new AbortController().signal;

describe('critical lines', () => {
  test('are told with the first pattern that they match', async () => {
    const lines = createCriticalLines(['PANIC', '(?i)fatal', 'FATAL']);
    expect(await lines.find('it is Fatal', never)).toBe('(?i)fatal');
    expect(await lines.find('a FATAL PANIC', never)).toBe('PANIC');
    expect(await lines.find('well', never)).toBeUndefined();
    expect(await createCriticalLines([]).find('FATAL', never)).toBeUndefined();
  });

  test('are looked at no further than 4,096 characters', async () => {
    const lines = createCriticalLines(['FATAL']);
    expect(await lines.find(`${' '.repeat(4_091)}FATAL`, never)).toBe('FATAL');
    expect(await lines.find(`${' '.repeat(4_092)}FATAL`, never)).toBeUndefined();
    // What a cut line does not have cannot be found by its end.
    expect(await createCriticalLines(['x{4}$']).find('x'.repeat(65_536), never)).toBe('x{4}$');
  });

  test('that cost much let everything else have its turn, however many there are', async () => {
    /** A clock by which each match takes so long. */
    const took = (ms: number): (() => number) => {
      let at = 0;
      return () => (at += ms / 2);
    };
    async function turnsOf(now: () => number, count: number): Promise<number> {
      const lines = createCriticalLines(['a', 'b'], now);
      let turns = 0;
      let counting = true;
      const next = (): void => {
        turns += 1;
        if (counting) setImmediate(next);
      };
      setImmediate(next);
      for (let line = 0; line < count; line += 1) await lines.find('xyz', never);
      counting = false;
      return turns;
    }
    expect(await turnsOf(took(0), 1_000)).toBe(0);
    // A pause for each of the twenty matches, and one for every ten of the hundred.
    expect(await turnsOf(took(50), 10)).toBeGreaterThanOrEqual(20);
    expect(await turnsOf(took(4), 50)).toBeGreaterThanOrEqual(10);
  });

  test('are looked for no longer than the signal lets them be', async () => {
    const stop = new AbortController();
    let at = 0;
    const lines = createCriticalLines(['a'], () => (at += 600_000));
    const found = lines.find('x', stop.signal);
    stop.abort();
    await expect(found).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('by a pattern that another version took are a failure with a name, before any line is read', () => {
    expect(() => createCriticalLines(['ok', 'a(?=b)'])).toThrow(
      expect.objectContaining({
        type: 'DefinitionInvalid',
        retryable: false,
        message:
          'The pattern of log lines `a(?=b)` looks ahead or behind (`(?=`), which RE2 does not do; write it without.',
      }),
    );
  });
});
