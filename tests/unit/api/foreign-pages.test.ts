import { describe, expect, test } from '@jest/globals';
import { foreignPageHeaders } from '../../../src/api/foreign-pages.ts';
import { type Answer, type Loaded, originOf, whyNotLoaded, whyNotShown } from '../../support/fetch-rules.ts';

/** A page that a tool made, as a browser takes it. */

const folder = 'https://slipway.example.com/signed/x/v1/projects/shop/runs/1/pages/test/0';
const answer = (name: string, over: Readonly<Record<string, string>> = {}): Answer => ({
  url: `${folder}/${name}`,
  headers: { ...foreignPageHeaders(name), ...over },
});
const page = answer('index.html');

test('it is shown, in an origin that nothing else has', () => {
  expect(whyNotShown(page)).toBeUndefined();
  expect(originOf(page)).toBe('null');
});

test.each<[Loaded, string]>([
  ['style', 'style.css'],
  ['script', 'coverage.js'],
  ['module', 'search.mjs'],
  ['image', 'keybd.png'],
  ['image', 'logo.svg'],
  ['font', 'font.woff2'],
  ['font', 'font.ttf'],
])('it gets what lies beside it: a %s, %s', (as, name) => {
  expect(whyNotLoaded(page, answer(name), as)).toBeUndefined();
});

test('it gets nothing of another address', () => {
  for (const as of ['style', 'script', 'module', 'image', 'font'] as const) {
    const elsewhere = { url: 'https://evil.example/x', headers: { 'access-control-allow-origin': '*' } };
    expect(whyNotLoaded(page, elsewhere, as)).toContain('Content-Security-Policy');
  }
});

test('it may run scripts, and none of them may ask anybody, send a form, or open a window', () => {
  const policy = foreignPageHeaders('index.html')['content-security-policy'] ?? '';
  expect(policy.split('; ')).toEqual(
    expect.arrayContaining(['sandbox allow-scripts', "default-src 'none'", "form-action 'none'"]),
  );
  expect(policy).not.toMatch(
    /connect-src|frame-src|worker-src|allow-(same-origin|popups|forms|top-navigation|downloads)/,
  );
});

describe('the rules can fail', () => {
  test.each<[Loaded, string, Readonly<Record<string, string>>, string]>([
    ['style', 'a.css', { 'cross-origin-resource-policy': 'same-origin' }, 'Cross-Origin-Resource-Policy'],
    ['image', 'a.png', { 'cross-origin-resource-policy': 'same-site' }, 'Cross-Origin-Resource-Policy'],
    ['font', 'a.woff2', { 'access-control-allow-origin': 'https://slipway.example.com' }, 'CORS'],
    ['script', 'a.js', { 'content-type': 'application/octet-stream' }, 'is no script'],
  ])('a %s with %s', (as, name, over, why) => {
    expect(whyNotLoaded(page, answer(name, over), as)).toContain(why);
  });

  test('a page with Cross-Origin-Opener-Policy', () => {
    expect(whyNotShown(answer('index.html', { 'cross-origin-opener-policy': 'same-origin' }))).toContain(
      'network error',
    );
  });
});
