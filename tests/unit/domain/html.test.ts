import { expect, test } from '@jest/globals';
import { escaped, markup } from '../../../src/domain/html.ts';
import { fc } from '../../support/property.ts';

test('words of strangers are text, between tags and in quotes, however they are put in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (foreign) => {
      expect(escaped(foreign)).not.toMatch(/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/);
      expect(markup`<p title="${foreign}">${foreign}</p>`.html).toBe(
        `<p title="${escaped(foreign)}">${escaped(foreign)}</p>`,
      );
    }),
  );
});

test('what is markup already stays it, and what only looks like it is text', () => {
  const inner = markup`<b>${'<i>'}</b>`;
  expect(markup`<p>${inner}${[inner, inner]}${3}</p>`.html).toBe(
    '<p><b>&lt;i&gt;</b><b>&lt;i&gt;</b>\n<b>&lt;i&gt;</b>3</p>',
  );
});

test('characters that are not seen, or turn the line around, are gone', () => {
  expect(escaped('a\u202eb\u0000c\u200dd\u001b[2J')).toBe('a b c d [2J');
});
