import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { Duration, Ratio, Size } from '../../../src/definition/scalars.ts';
import { suggest, suggestion } from '../../../src/definition/suggest.ts';

describe('small values', () => {
  test.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['24h', 86_400_000],
    ['14d', 1_209_600_000],
    ['0s', 0],
  ])('%s is %i ms', (text, ms) => {
    expect(Duration.parse(text)).toBe(ms);
  });

  test.each(['30', 30, '30 s', '-1s', '1m30s', '', 's', '1e3s', '１s'])('%j is no duration', (value) => {
    expect(Duration.safeParse(value).success).toBe(false);
  });

  test.each([
    ['512Mi', 536_870_912],
    ['2Gi', 2_147_483_648],
    ['500M', 500_000_000],
  ])('%s is %i bytes', (text, bytes) => {
    expect(Size.parse(text)).toBe(bytes);
  });

  test.each([
    ['5%', 0.05],
    ['0.5%', 0.005],
    [0.05, 0.05],
    ['100%', 1],
    [0, 0],
  ])('%j is the ratio %d', (value, ratio) => {
    expect(Ratio.parse(value)).toBeCloseTo(ratio, 10);
  });

  test.each(['101%', 5, '5', -0.1, NaN])('%j is no ratio', (value) => {
    expect(Ratio.safeParse(value).success).toBe(false);
  });
});

describe('did you mean', () => {
  const known = ['stages', 'stallAfter', 'timeout', 'run', 'env'];

  test.each([
    ['stges', 'stages'],
    ['Stages', 'stages'],
    ['stall_after', 'stallAfter'],
    ['timeuot', 'timeout'],
    ['runn', 'run'],
    ['rnu', 'run'],
  ])('%s finds %s', (written, meant) => {
    expect(suggest(written, known)).toBe(meant);
  });

  test.each(['image', 'cat', '', 'x'.repeat(10_000)])('%j finds nothing', (written) => {
    expect(suggest(written, known)).toBeUndefined();
    expect(suggestion(written, ['a', 'b'])).toBe('There is: `a`, `b`.');
  });

  test('finds every known word after one slip', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('stages', 'stallAfter', 'timeout', 'onFailure'),
        fc.nat(),
        fc.nat(2),
        (word, where, slip) => {
          const at = where % word.length;
          const slips = [
            word.slice(0, at) + word.slice(at + 1),
            `${word.slice(0, at)}x${word.slice(at)}`,
            `${word.slice(0, at)}x${word.slice(at + 1)}`,
          ];
          expect(suggest(slips[slip] ?? word, ['stages', 'stallAfter', 'timeout', 'onFailure'])).toBe(word);
        },
      ),
    );
  });
});
