import { describe, expect, test } from '@jest/globals';
import { failure, tellFailure } from '../../../src/domain/failures.ts';
import { sentences } from '../../../src/domain/sentences.ts';

describe('sentences', () => {
  test.each<[readonly (string | undefined)[], string]>([
    [['5.5 % failed (22 errors)', '3-23056ec serves again.'], '5.5 % failed (22 errors). 3-23056ec serves again.'],
    [['ada aborted it: it is late.'], 'ada aborted it: it is late.'],
    [['Is it well?', 'Nobody knows!', 'see its log'], 'Is it well? Nobody knows! see its log.'],
    [['Its last lines:', 'boom'], 'Its last lines: boom.'],
    [['it says `no.`', undefined, '', '  ', 'then'], 'it says `no.` then.'],
    [['the log has a critical line: FATAL  ', ' It is over'], 'the log has a critical line: FATAL. It is over.'],
    [[undefined, ''], ''],
  ])('%j', (parts, text) => {
    expect(sentences(...parts)).toBe(text);
  });

  test('lines of an output are not run into what follows', () => {
    expect(sentences('it failed:\nlast line', '1.0.0 serves again.')).toBe(
      'it failed:\nlast line\n1.0.0 serves again.',
    );
  });

  test('a failure is told in sentences', () => {
    expect(tellFailure(failure('ReleaseDegraded', 'it is slow'))).toMatch(/^it is slow\. [A-Z].*\.$/);
  });
});
