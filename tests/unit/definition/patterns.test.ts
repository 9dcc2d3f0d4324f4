import { describe, expect, test } from '@jest/globals';
import { compilePattern, patternProblem } from '../../../src/definition/patterns.ts';
import { fc } from '../../support/property.ts';

const ninety = 'abcdefghi '.repeat(9);

describe('patterns for log lines', () => {
  test.each([
    ['FATAL', 'FATAL: no', 'fatal: no'],
    ['\\b(?:CRITICAL|FATAL|PANIC)\\b', 'a PANIC!', 'PANICKED'],
    ['panic: .*', 'panic: x', 'panic'],
    ['^\\[error\\] .+ failed$', '[error] it failed', 'an [error] it failed'],
    ['(?<code>E[0-9]+)', 'E12', 'E'],
    ['a{2,5}', 'aa', 'a'],
    ['[(+*]+', '(', 'x'],
    ['\\(a+\\)+', '(aa)', 'aa'],
    ['\\(?=x', '=x', '(x'],
    // As JavaScript writes them.
    ['^\\u00e9\\u{1F600}\\cI\\/$', 'é😀\t/', 'e'],
    // Were refused: what another engine would try out for ever.
    ['(a+)+$', 'aaa', 'aab'],
    ['(?:a|ab)+c', 'abac', 'ab'],
    ['.*.*.*x', 'ax', 'a'],
    ['(a*){20}b', 'ab', 'a'],
    // RE2's own.
    ['(?i)fatal|außer', 'FATAL', 'fata'],
    ['(?i)AUSSER|außer', 'AUßER', 'auser'],
    ['[[:digit:]]{3}', '123', '12'],
    ['^\\p{Greek}+$', 'λόγος', 'logos'],
  ])('%s finds %j and not %j', (source, line, other) => {
    expect(patternProblem(source)).toBeUndefined();
    const pattern = compilePattern(source);
    expect([pattern.test(line), pattern.test(other)]).toEqual([true, false]);
  });

  test.each([
    ['(?=a)', 'looks ahead or behind (`(?=`), which RE2 does not do; write it without'],
    ['(?!a)b', 'looks ahead or behind (`(?!`), which RE2 does not do; write it without'],
    ['a(?<=a)b', 'looks ahead or behind (`(?<=`), which RE2 does not do; write it without'],
    ['(?<!a)b', 'looks ahead or behind (`(?<!`), which RE2 does not do; write it without'],
    ['(a)\\1', 'refers back to a group (`\\1`), which RE2 does not do; write it without'],
    ['(?<n>a)\\k<n>', 'refers back to a group (`\\k`), which RE2 does not do; write it without'],
    ['(', 'is no regular expression of RE2: missing closing )'],
    ['[z-a]', 'is no regular expression of RE2: invalid character class range: `z-a`'],
    ['a**', 'is no regular expression of RE2: invalid nested repetition operator: `**`'],
    ['a{300}', expect.stringMatching(/^repeats too much: .* more than 256 parts; lower the numbers/)],
    // Compiling them would take seconds by itself.
    [`(?:(?:${ninety}){31}){32}`, expect.stringMatching(/^repeats too much/)],
    ['x{999}'.repeat(33), expect.stringMatching(/^repeats too much/)],
    ['((((((a{9}){9}){9}){9}){9}){9})', expect.stringMatching(/^repeats too much/)],
  ])('%s is refused', (source, message) => {
    expect(patternProblem(source)).toEqual(message);
  });

  test('find what they found before', () => {
    const atom = fc.constantFrom('a', 'b', '.', '\\d', '\\w', '[ab]', '[^a]', '\\b', '^', '$', 'A', '-');
    const repeated = fc
      .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}', '*?'))
      .map(([one, how]) => (/^[\^$]|\\b/.test(one) ? one : one + how));
    const sequence = fc.array(repeated, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''));
    const source = fc.oneof(
      sequence,
      fc.tuple(sequence, sequence).map(([one, other]) => `${one}|${other}`),
      fc.tuple(sequence, sequence, sequence).map(([one, other, last]) => `(?:${one}|${other})${last}`),
      fc.tuple(sequence, sequence).map(([one, other]) => `(${one})?${other}`),
    );
    const line = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '1', '-', ' ', 'é'), maxLength: 8 });
    fc.assert(
      fc.property(source, line, (pattern, text) => {
        // The engine of before, which small lines and patterns do no harm to.
        expect([pattern, text, compilePattern(pattern).test(text)]).toEqual([
          pattern,
          text,
          new RegExp(pattern).test(text),
        ]);
      }),
      { numRuns: 500 },
    );
  });

  /** Letters in an order of which no part repeats soon, the same each time. */
  function mixed(length: number, letters: string): string {
    let state = 7;
    return Array.from({ length }, () => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return letters[Math.floor(state / 65_536) % letters.length];
    }).join('');
  }

  /** The work of one line, with all that the pattern has to find out anew; the least of some, for the machine does other things too. */
  function workOf(source: string, line: string, times: number): number {
    let least = Infinity;
    for (let round = 0; round < 5; round += 1) {
      const patterns = Array.from({ length: times }, () => compilePattern(source));
      const began = performance.now();
      for (const pattern of patterns) expect(pattern.test(line)).toBe(false);
      least = Math.min(least, performance.now() - began);
    }
    return least;
  }

  test.each<[string, (length: number) => string]>([
    ['.*x.*y', (length) => 'x'.repeat(length)],
    ['(a+)+$', (length) => `${'a'.repeat(length - 1)}!`],
    [`${'x?'.repeat(66)}${'x'.repeat(66)}!`, (length) => 'x'.repeat(length)],
    // Each of the last hundred letters may be the one it began with: as many states as there are lines.
    ['[ab]*a[ab]{100}c', (length) => mixed(length, 'ab')],
    ['\\ba[ab ]{200}c\\b', (length) => mixed(length, 'ab ')],
    ['(?:.{1,10}a){1,10}\\bc', (length) => mixed(length, 'ab ')],
  ])('%s takes four times as long for a line four times as long, and not sixteen', (source, line) => {
    // Short work is measured by doing it more than once.
    const once = workOf(source, line(2_048), 1);
    const times = Math.min(100, Math.max(1, Math.ceil(4 / once)));
    const ratio = workOf(source, line(8_192), times) / workOf(source, line(2_048), times);
    expect(ratio).toBeLessThan(9);
  });
});
