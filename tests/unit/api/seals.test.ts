import { randomUUID } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { createPageLinks, openedBy } from '../../../src/api/page-links.ts';
import { createSeals } from '../../../src/api/seals.ts';
import { fc } from '../../support/property.ts';

const reader = '01890000-0000-7000-8000-000000000000';
const now = Date.parse('2026-11-26T12:00:00Z');
const until = now + 60_000;
const seals = createSeals('key', 'signed path', () => now);

describe('a seal', () => {
  test('says whose it is and until when, and opens what it was made for', () => {
    const seal = seals.seal('/v1/a/', reader, until);
    expect(encodeURIComponent(seal)).toBe(seal);
    expect(seals.open(seal, '/v1/a/')).toEqual({ reader, until });
  });

  test.each(['/v1/a', '/v1/b/', '/v1/a/b/', '', '/'])('does not open %p', (other) => {
    expect(() => seals.open(seals.seal('/v1/a/', reader, until), other)).toThrow(
      expect.objectContaining({ type: 'LinkInvalid' }),
    );
  });

  test('is over when it is over, and says so only to who has a true one', () => {
    const later = createSeals('key', 'signed path', () => until);
    const seal = seals.seal('/v1/a/', reader, until);
    expect(() => later.open(seal, '/v1/a/')).toThrow(expect.objectContaining({ type: 'LinkExpired' }));
    expect(() => later.open(seal, '/v1/b/')).toThrow(expect.objectContaining({ type: 'LinkInvalid' }));
  });

  test('of another installation, for another use or for another person is none', () => {
    const seal = seals.seal('/v1/a/', reader, until);
    const [, ...rest] = seal.split('.');
    for (const [of, text] of [
      [createSeals('another key', 'signed path', () => now), seal],
      [createSeals('key', 'cookie of pages', () => now), seal],
      [seals, [randomUUID(), ...rest].join('.')],
    ] as const) {
      expect(() => of.open(text, '/v1/a/')).toThrow(expect.objectContaining({ type: 'LinkInvalid' }));
    }
  });

  test('with any one character changed, added or taken away is none', () => {
    const seal = seals.seal('/v1/a/', reader, until);
    fc.assert(
      fc.property(fc.nat(seal.length), fc.constantFrom(0, 1), fc.string({ maxLength: 1 }), (at, taken, put) => {
        const other = `${seal.slice(0, at)}${put}${seal.slice(at + taken)}`;
        if (other === seal) return;
        expect(() => seals.open(other, '/v1/a/')).toThrow(expect.objectContaining({ type: 'LinkInvalid' }));
      }),
    );
  });
});

describe('links to pages', () => {
  const links = createPageLinks('key', () => now);

  test('carry the seal before the address, are good for an hour, and open what is in the folder', () => {
    const { path, until: end } = links.sign(reader, '/v1/projects/a/', 'index.html');
    expect(end).toBe('2026-11-26T13:00:00.000Z');
    const [, prefix, seal = '', ...address] = path.split('/');
    expect([prefix, address.join('/')]).toEqual(['signed', 'v1/projects/a/index.html']);
    expect(links.open(seal, '/v1/projects/a/')).toEqual({ reader, until: Date.parse(end) });
  });

  test('and the cookie are not the same thing', () => {
    const cookie = links.remember(reader);
    expect(links.remembered(cookie)).toBe(reader);
    expect(createPageLinks('key', () => now + 8 * 3_600_000).remembered(cookie)).toBeUndefined();
    expect(links.remembered(links.sign(reader, 'reading pages', '').path.split('/')[2])).toBeUndefined();
    expect(links.remembered(undefined)).toBeUndefined();
  });

  test('open by the route and its parameters, which cannot be mistaken for one another', () => {
    const route = '/v1/projects/:project/runs/:number/pages/:stage/:position/*';
    const params = { project: 'shop', number: '1', stage: 'test', position: '0', '*': 'a/b.css' };
    expect(openedBy(route, params)).toBe('/v1/projects/shop/runs/1/pages/test/0/');
    expect(openedBy(route, { ...params, stage: 'test/0', position: '' })).toBe(
      '/v1/projects/shop/runs/1/pages/test%2F0//',
    );
  });
});
