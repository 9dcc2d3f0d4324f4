import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { createRedactor, mask } from '../../../src/effects/redact.ts';

/** What comes out when the bytes of `text` are pushed in pieces of these lengths, one after the other, for ever. */
function redactInPieces(secrets: readonly string[], text: string, lengths: readonly number[]): string {
  const stream = createRedactor(secrets).stream();
  const bytes = Buffer.from(text);
  const out: Buffer[] = [];
  const emit = (part: Buffer): void => void out.push(Buffer.from(part));
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const length = Math.max(1, lengths[turn % lengths.length] ?? 1);
    stream.push(bytes.subarray(at, at + length), emit);
    at += length;
  }
  stream.end(emit);
  return Buffer.concat(out).toString();
}

describe('text', () => {
  test('hides a secret and nothing else', () => {
    const redactor = createRedactor(['hunter2!']);
    expect(redactor.text('the password is hunter2!, not hunter2')).toBe(`the password is ${mask}, not hunter2`);
  });

  test.each([
    ['base64', Buffer.from('pa$$ word/ü').toString('base64')],
    ['base64url', Buffer.from('pa$$ word/ü').toString('base64url')],
    ['percent-encoded', encodeURIComponent('pa$$ word/ü')],
    ['a form field', encodeURIComponent('pa$$ word/ü').replaceAll('%20', '+')],
    ['JSON', JSON.stringify({ a: 'pa$$ word/ü' })],
  ])('hides it as %s', (_form, text) => {
    const redacted = createRedactor(['pa$$ word/ü']).text(`before ${text} after`);
    expect(redacted).toContain(mask);
    expect(redacted).not.toContain(text.slice(2, -2));
    expect(redacted).toMatch(/^before .* after$/);
  });

  test.each(['a:', 'ab:', 'abc:'])('hides it inside a longer base64 text, after %s', (user) => {
    const secret = 'correct horse battery';
    const redacted = createRedactor([secret]).text(Buffer.from(`${user}${secret};more`).toString('base64'));
    const left = Buffer.from(redacted.split(mask)[0] ?? '', 'base64').toString();
    expect(redacted).toContain(mask);
    expect(left).not.toContain('corr');
  });

  test('hides the password of a URL on its own, as drivers and programs say it', () => {
    const redactor = createRedactor(['postgres://app:pa%24%24w%C3%B6rd%2F1@db.example:5432/app']);
    const said = redactor.text('password pa$$wörd/1 of app was refused; pa%24%24w%C3%B6rd%2F1, at db.example:5432');
    expect(said).toBe(`password ${mask} of app was refused; ${mask}, at db.example:5432`);
    // Short ones are words: hiding them would blacken what a person needs to read.
    expect(createRedactor(['postgres://app:app@db/app']).text('the app answers')).toBe('the app answers');
    expect(createRedactor(['not a url ://']).text('fine')).toBe('fine');
  });

  test('hides quotes and backslashes as JSON writes them', () => {
    expect(createRedactor(['a"b\\c']).text(JSON.stringify('x a"b\\c y'))).toBe(`"x ${mask} y"`);
  });

  test('hides a secret of several lines, whole, with other line ends, and line by line', () => {
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n';
    const redactor = createRedactor([key]);
    expect(redactor.text(`x${key}y`)).toBe(`x${mask}y`);
    expect(redactor.text(`x${key.replaceAll('\n', '\r\n')}y`)).toBe(`x${mask}y`);
    expect(redactor.text('  | MIIEvQIBADANBg')).toBe(`  | ${mask}`);
  });

  test('the longest secret that fits is taken, and neighbours are each hidden', () => {
    const redactor = createRedactor(['abcd', 'abcdefgh', 'xyz1']);
    expect(redactor.text('abcdefgh abcdef xyz1xyz1')).toBe(`${mask} ${mask}ef ${mask}${mask}`);
  });

  test('too short to hide, or none: everything passes', () => {
    expect(createRedactor([]).active).toBe(false);
    expect(createRedactor(['', 'ab']).text('abab')).toBe('abab');
  });
});

test('value hides strings anywhere in it, keys too, and leaves the rest', () => {
  const value = { list: ['hunter2!', 1], 'x-hunter2!': { deep: 'a hunter2! b' }, none: null };
  expect(createRedactor(['hunter2!']).value(value)).toEqual({
    list: [mask, 1],
    [`x-${mask}`]: { deep: `a ${mask} b` },
    none: null,
  });
});

describe('stream', () => {
  test('hides a secret across chunks, however they are cut', () => {
    const secret = 's3cr3t-s3cr3t-value';
    const text = `one ${secret} two s3cr3t-s3c three s3cr3t-${secret} four`;
    const expected = text.replaceAll(secret, mask);
    for (let length = 1; length < text.length; length += 1) {
      expect(redactInPieces([secret], text, [length])).toBe(expected);
    }
  });

  test('holds back only what may become a secret', () => {
    const stream = createRedactor(['secret']).stream();
    const out: string[] = [];
    stream.push(Buffer.from('waiting for input: '), (part) => void out.push(part.toString()));
    expect(out.join('')).toBe('waiting for input: ');
    stream.push(Buffer.from('sec'), (part) => void out.push(part.toString()));
    expect(out.join('')).toBe('waiting for input: ');
    stream.push(Buffer.from('tion'), (part) => void out.push(part.toString()));
    expect(out.join('')).toBe('waiting for input: section');
  });

  test('keeps what it holds back though the chunk is used again', () => {
    const stream = createRedactor(['secret']).stream();
    const chunk = Buffer.from('xxsec');
    const out: string[] = [];
    stream.push(chunk, (part) => void out.push(part.toString()));
    chunk.fill('?');
    stream.push(Buffer.from('ret!'), (part) => void out.push(part.toString()));
    expect(out.join('')).toBe(`xx${mask}!`);
  });

  test('gives the same as the whole at once, for all secrets, texts and cuts', () => {
    // Few letters, so that secrets overlap each other and the text is full of their beginnings.
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), minLength: 3, maxLength: 12 });
    fc.assert(
      fc.property(
        fc.array(letters, { minLength: 1, maxLength: 4 }),
        fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 200 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        (secrets, text, lengths) => {
          const redacted = redactInPieces(secrets, text, lengths);
          expect(redacted).toBe(createRedactor(secrets).text(text));
          for (const secret of secrets) expect(redacted).not.toContain(secret);
        },
      ),
      { numRuns: 500 },
    );
  });
});
