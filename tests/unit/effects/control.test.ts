import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { createControlFilter, withoutControls } from '../../../src/effects/control.ts';

const ESC = '\u001b';

function inPieces(bytes: Buffer, cuts: readonly number[]): string {
  const filter = createControlFilter();
  const out: Buffer[] = [];
  let from = 0;
  for (const cut of [...new Set(cuts.map((at) => at % (bytes.length + 1)))].sort((one, other) => one - other)) {
    out.push(Buffer.from(filter.push(Buffer.from(bytes.subarray(from, cut)))));
    from = cut;
  }
  out.push(Buffer.from(filter.push(Buffer.from(bytes.subarray(from)))), filter.end());
  return Buffer.concat(out).toString('latin1');
}

describe('output that is shown', () => {
  test.each([
    ['plain text, tabs\tand lines\r\n', 'plain text, tabs\tand lines\r\n'],
    [`${ESC}[1;31mred${ESC}[0m`, `${ESC}[1;31mred${ESC}[0m`],
    [`${ESC}[38:5:208morange`, `${ESC}[38:5:208morange`],
    [`a${ESC}[2J${ESC}[1;1Hb`, 'ab'],
    [`a${ESC}]0;title\u0007b`, 'ab'],
    [`a${ESC}]8;;http://evil${ESC}\\link${ESC}]8;;${ESC}\\b`, 'alinkb'],
    [`a${ESC}P+q544e${ESC}\\b`, 'ab'],
    [`a${ESC}cb${ESC}7c`, 'abc'],
    ['a\bb\u0007c\u0000d\u007f', 'abcd'],
    ['\u009b31mx', '31mx'],
    ['æøå ↵ 漢字 🙂', 'æøå ↵ 漢字 🙂'],
    [`open ${ESC}`, 'open '],
    [`open ${ESC}[3`, 'open [3'],
  ])('%j', (given, expected) => {
    expect(withoutControls(given)).toBe(expected);
  });

  test('is the same in whatever pieces it comes, and has nothing in it that a terminal obeys', () => {
    const part = fc.oneof(
      fc.constantFrom(
        ESC,
        '[',
        ']',
        '0',
        ';',
        'm',
        'H',
        '\u0007',
        '\\',
        '\n',
        '\r',
        '\u009b',
        'ü',
        '🙂',
        'text',
        '\b',
        'P',
      ),
      fc.string({ maxLength: 5 }),
    );
    const text = fc.array(part, { maxLength: 40 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { maxLength: 6 }), (given, cuts) => {
        const bytes = Buffer.from(given);
        const whole = inPieces(bytes, []);
        expect(inPieces(bytes, cuts)).toBe(whole);
        const left = whole.replaceAll(/\u001b\[[0-9;:]*m/g, '');
        expect(left).not.toMatch(/[\0-\b\v\f\x0e-\x1f\x7f]|\xc2[\x80-\x9f]/);
      }),
      { numRuns: 2_000 },
    );
  });

  test('that pretends to be one endless sequence is not kept back for ever', () => {
    const filter = createControlFilter();
    let out = 0;
    for (let piece = 0; piece < 100; piece += 1)
      out += filter.push(Buffer.from(`${piece === 0 ? `${ESC}]` : ''}${'x'.repeat(1_000)}`)).length;
    expect(out).toBeGreaterThan(90_000);
  });
});
