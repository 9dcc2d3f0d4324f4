import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { createHead, createLines, createTail } from '../../../src/effects/tail.ts';

describe('tail', () => {
  test('is the end of everything pushed, for all pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c') })),
        fc.integer({ min: 1, max: 20 }),
        (parts, max) => {
          const tail = createTail(max);
          for (const part of parts) tail.push(Buffer.from(part));
          expect(tail.text()).toBe(parts.join('').slice(-max));
        },
      ),
    );
  });

  test('begins with a whole character', () => {
    const tail = createTail(4);
    tail.push(Buffer.from('aüöx'));
    expect(tail.text()).toBe('öx');
  });

  test('keeps nothing when nothing may be kept', () => {
    const tail = createTail(0);
    tail.push(Buffer.from('abc'));
    expect(tail.text()).toBe('');
  });
});

test('head keeps the beginning and says that there was more', () => {
  const head = createHead(5);
  head.push(Buffer.from('abc'));
  expect(head.truncated()).toBe(false);
  head.push(Buffer.from('defg'));
  expect([head.text(), head.truncated()]).toEqual(['abcde', true]);
});

describe('lines', () => {
  function linesOf(parts: readonly Buffer[]): readonly string[] {
    const found: string[] = [];
    const lines = createLines((line) => void found.push(line));
    for (const part of parts) lines.push(part);
    lines.end();
    return found;
  }

  test('come whole, whatever the pieces, with characters cut in two', () => {
    const text = Buffer.from('eins\r\nzwölf\n\nlast');
    for (let at = 0; at <= text.length; at += 1) {
      expect(linesOf([text.subarray(0, at), text.subarray(at)])).toEqual(['eins', 'zwölf', '', 'last']);
    }
  });

  test('an endless line comes in pieces', () => {
    const found = linesOf([Buffer.alloc(150_000, 'x')]);
    expect(found.map((line) => line.length)).toEqual([65_536, 65_536, 18_928]);
  });
});
