import { describe, expect, test } from '@jest/globals';
import {
  closingMs,
  nextLookMs,
  overdueSentence,
  placeSentence,
  supersededSentence,
} from '../../../src/domain/run-turn.ts';

const waits = { kind: 'waits', waitsFor: 41, position: 1 } as const;

describe('a run that waits for its turn', () => {
  test('looks after 2 s, then ever later, and at least every 5 minutes', () => {
    const after = [0, 2_000, 4_000, 8_000, 299_000, 300_001, 86_400_000];
    expect(after.map((waitedMs) => nextLookMs(waitedMs, waits))).toEqual([
      2_000, 2_000, 4_000, 8_000, 299_000, 300_000, 300_000,
    ]);
  });

  test('looks again soon once the one before it has closed a moment ago', () => {
    expect(nextLookMs(0, { ...waits, closing: true })).toBe(closingMs);
    expect(nextLookMs(86_400_000, { ...waits, closing: true })).toBe(closingMs);
  });

  test('a day of waiting is few enough looks for one history', () => {
    let ms = 0;
    let looks = 0;
    for (; ms < 86_400_000; looks += 1) ms += nextLookMs(ms, waits);
    expect(looks).toBeLessThan(300);
  });

  test('says for whom, and who else stands before it', () => {
    expect(placeSentence(waits)).toBe('Waits for run 41.');
    expect(placeSentence({ waitsFor: 41, position: 3 })).toBe('Waits for run 41, with 2 more before it.');
  });

  test('says what held it when it ends', () => {
    expect(overdueSentence(waits, '1440 min')).toBe(
      'Its turn did not come within 1440 min: run 41 of the same ref had not ended.',
    );
    expect(overdueSentence({ waitsFor: 41, position: 2 }, '5 min')).toBe(
      'Its turn did not come within 5 min: run 41 of the same ref had not ended. 1 more stood before it.',
    );
    expect(supersededSentence(43)).toBe('Run 43 of the same ref took its place.');
  });
});
