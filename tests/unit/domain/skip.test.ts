import { describe, expect, test } from '@jest/globals';
import { asksToSkip, whySkipped } from '../../../src/domain/skip.ts';
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

describe('an accepted run', () => {
  const push = { event: { kind: 'push' } } as const;
  const asks = { message: 'fix [skip ci]' };
  const nothing = { kind: 'ignored', reason: 'no-path', why: 'Nothing that a route looks at has changed.' } as const;
  const elsewhere = { kind: 'ignored', reason: 'no-route', why: 'No route is for it.' } as const;

  test('runs nothing where its commit asks for that, or nothing has changed that a route looks at', () => {
    expect(whySkipped(push, elsewhere, asks)).toBe('The commit asks to be skipped.');
    expect(whySkipped(push, nothing, { message: 'fix' })).toBe('Nothing that a route looks at has changed.');
  });

  test('runs nothing where no route is for its parameters, but for what is to be checked only', () => {
    const other = { kind: 'ignored', reason: 'no-parameter', why: 'No route is for these parameters.' } as const;
    const manual = { event: { kind: 'manual' } } as const;
    expect(whySkipped(manual, other, { message: 'fix' })).toBe('No route is for these parameters.');
    expect(whySkipped({ ...manual, checksOnly: true }, other, { message: 'fix' })).toBeUndefined();
  });

  test('runs its checks where it only goes nowhere', () => {
    expect(whySkipped(push, elsewhere, { message: 'fix' })).toBeUndefined();
  });

  test('runs where a person asked for it, or for a release that is there', () => {
    expect(whySkipped({ event: { kind: 'manual' } }, elsewhere, asks)).toBeUndefined();
    expect(whySkipped({ ...push, release: '1.4.0' }, nothing, asks)).toBeUndefined();
  });
});
