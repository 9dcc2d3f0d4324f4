import { describe, expect, test } from '@jest/globals';
import { failures } from '../../../src/domain/failure-kinds.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { headline, lastWords, readLastWords } from '../../../src/domain/last-words.ts';

const line = '{"level":30,"msg":"BuildRefused: said by a step"}\n';

describe('last words', () => {
  test('what a process writes is what is read of it, message and type, without what to do', () => {
    const message =
      '2 of 7 open workflows cannot go on with this build:\n  run/hello/1 (a): other order\n  run/hello/2 (b): other order';
    const written = lastWords(new ProviderError('BuildRefused', message));
    expect(written).toContain(failures.BuildRefused.sentence);
    const words = readLastWords(`${line}${written}`);
    expect(words).toEqual({ type: 'BuildRefused', message });
    expect(headline(words!)).toBe('BuildRefused: 2 of 7 open workflows cannot go on with this build');
  });

  test.each([
    ['nothing', ''],
    ['lines of the log, whatever they quote', line],
    ['a fault of the program', 'file:///app/main.js:3\nTypeError: x is not a function\n    at main\n'],
    ['a name that is in no table', 'toString: here\nNoSuchFailure: there\n'],
  ])('%s has none', (_, written) => {
    expect(readLastWords(written)).toBeUndefined();
  });

  test('what a message quotes is not taken for the word of the process', () => {
    const quoting = lastWords(new ProviderError('StoreUnavailable', 'the store said\nBuildRefused: nothing works'));
    expect(readLastWords(quoting)).toMatchObject({ type: 'StoreUnavailable' });
  });

  test('an error that is none of ours is said as Internal', () => {
    expect(readLastWords(lastWords(new TypeError('x is undefined')))).toEqual({
      type: 'Internal',
      message: 'x is undefined',
    });
  });
});
