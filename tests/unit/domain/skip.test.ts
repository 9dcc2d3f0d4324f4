import { describe, expect, test } from '@jest/globals';
import { asksToSkip } from '../../../src/domain/skip.ts';
import { isStorable, storableText } from '../../../src/domain/storable-text.ts';

describe('a commit asks to be skipped', () => {
  test.each([
    ['fix [skip ci]', true],
    ['[ci skip] fix', true],
    ['fix\n\nbody with [NO CI] in it', true],
    ['fix [skip actions]', true],
    ['fix [actions skip]', true],
    ['fix\n\nskip-checks: true', true],
    ['fix\n\nbody\n\nSigned-off-by: a\nSkip-Checks: True', true],
    ['skip-checks: true', false],
    ['fix\n\nskip-checks: true\n\nlater', false],
    ['fix\n\nskip-checks: false', false],
    ['skip ci', false],
    ['[skip  ci]', false],
    ['', false],
  ])('%j: %s', (message, expected) => {
    expect(asksToSkip('push', message)).toBe(expected);
    expect(asksToSkip('pull-request', message)).toBe(expected);
    expect(asksToSkip('tag', message)).toBe(false);
    expect(asksToSkip('manual', message)).toBe(false);
  });

  test('only where it says something', () => {
    expect(asksToSkip('push', undefined)).toBe(false);
  });
});

test.each([
  ['plain é 😀', 'plain é 😀'],
  ['nul\0', 'nul\uFFFD'],
  ['half \ud83d', 'half \uFFFD'],
])('%j is kept as %j', (text, kept) => {
  expect(storableText(text)).toBe(kept);
  expect(isStorable(text)).toBe(text === kept);
});
