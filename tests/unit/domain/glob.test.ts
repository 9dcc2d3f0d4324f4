import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import picomatch from 'picomatch';
import { matchesPath } from '../../../src/domain/glob.ts';

describe('a glob', () => {
  test.each([
    ['src/**', 'src/a/b.ts', true],
    ['src/**', 'srcs/a', false],
    ['**/*.lock', 'yarn.lock', true],
    ['**/*.lock', 'a/b/yarn.lock', true],
    ['src/**/test.ts', 'src/test.ts', true],
    ['src/**/test.ts', 'src/a/b/test.ts', true],
    ['requirements*.txt', 'requirements-dev.txt', true],
    ['requirements*.txt', 'app/requirements.txt', false],
    ['*.{js,ts}', 'a.ts', true],
    ['*.{js,ts}', 'a.py', false],
    ['{src,test}/**/{a,b}.ts', 'test/a.ts', true],
    ['{src,test}/**/{a,b}.ts', 'test/x/y/b.ts', true],
    ['{src,test}/**/{a,b}.ts', 'docs/a.ts', false],
    ['a{,b}c', 'ac', true],
    ['a{b,c', 'a{b,c', true],
    ['a{b}c}', 'abc}', true],
    // What stands between two stars makes no other star of them.
    ['*{a,}*', 'b/a', false],
    ['*{a,}*', 'bab', true],
    ['a/**/**/b', 'a/b', true],
    ['**', '', true],
    ['?', '', false],
  ])('%s of %s is %s', (glob, path, expected) => {
    expect(matchesPath(glob, path)).toBe(expected);
  });

  test('matches what picomatch says it does', () => {
    const part = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '**');
    const glob = fc
      .array(part, { minLength: 1, maxLength: 4 })
      // A last `**` is told apart: there it stands for at least one thing in the folder.
      .map((parts) => [...parts.filter((one, index) => one !== '**' || parts[index - 1] !== '**'), 'a'].join('/'));
    const path = fc
      .array(fc.constantFrom('a', 'b', 'ab', 'ba'), { minLength: 1, maxLength: 5 })
      .map((parts) => parts.join('/'));
    fc.assert(
      fc.property(glob, path, (pattern, file) => {
        expect({ pattern, file, is: matchesPath(pattern, file) }).toEqual({
          pattern,
          file,
          is: picomatch.isMatch(file, pattern),
        });
      }),
      { numRuns: 2_000 },
    );
  });

  test('takes no longer for having choices', () => {
    const choice = `{${'*a,'.repeat(40)}b}`;
    const glob = `**/${choice.repeat(8)}!`;
    expect(matchesPath(glob, `a/${'a'.repeat(1_000)}`)).toBe(false);
    expect(matchesPath(glob, `a/${'a'.repeat(1_000)}!`)).toBe(true);
  });

  test('takes no longer for being nasty', () => {
    const began = performance.now();
    matchesPath(`**/**/**/${'*a'.repeat(90)}b`, 'a'.repeat(1_000));
    expect(performance.now() - began).toBeLessThan(500);
  });
});
