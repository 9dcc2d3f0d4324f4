import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { startChromium } from '../support/chromium.ts';
import { type Loaded, whyNotLoaded } from '../support/fetch-rules.ts';
import { until } from '../support/until.ts';

/** The rules that fast tests go by are those of a browser: each case is asked of both. */

let browser: Browser;
let server: Server;
let origin: string;

/** One pixel. */
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const bodies: Readonly<Record<string, string | Buffer>> = {
  style: 'p{}',
  script: '0',
  module: 'export {}',
  image: png,
};
const tags: Readonly<Record<string, (url: string) => string>> = {
  style: (url) => `<link rel="stylesheet" href="${url}" onload="seen='yes'" onerror="seen='no'">`,
  script: (url) => `<script src="${url}" onload="seen='yes'" onerror="seen='no'"></script>`,
  module: (url) => `<script type="module" src="${url}" onload="seen='yes'" onerror="seen='no'"></script>`,
  image: (url) => `<img src="${url}" onload="seen='yes'" onerror="seen='no'">`,
};

type Headers = Readonly<Record<string, string>>;
const withHeaders = (path: string, headers: Headers): string =>
  `/${path}?h=${encodeURIComponent(JSON.stringify(headers))}`;

beforeAll(async () => {
  server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://test');
    response.writeHead(200, JSON.parse(url.searchParams.get('h') ?? '{}') as Record<string, string>);
    const [, kind = '', of = ''] = url.pathname.split('/');
    const tag = tags[of]?.(url.searchParams.get('at') ?? '') ?? '';
    response.end(
      kind === 'page'
        ? `<!doctype html><script>var seen='waiting'</script>${tag.replaceAll('&', '&amp;')}`
        : bodies[kind],
    );
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await startChromium();
}, 600_000);
afterAll(async () => {
  await browser.close();
  server.close();
});

const sandbox =
  "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'self'; style-src 'self'; img-src 'self'";
const types: Readonly<Record<string, string>> = {
  style: 'text/css',
  script: 'text/javascript',
  module: 'text/javascript',
  image: 'image/png',
};

const pages: readonly [string, Headers][] = [
  ['in a sandbox', { 'content-security-policy': sandbox }],
  ['in a sandbox of the same origin', { 'content-security-policy': sandbox.replace(';', ' allow-same-origin;') }],
  ['without a sandbox', { 'content-security-policy': sandbox.slice(sandbox.indexOf(';') + 2) }],
  [
    'that may load nothing',
    { 'content-security-policy': "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'" },
  ],
];
const answers: readonly [string, Headers][] = [
  ['plain', {}],
  ['for the same origin', { 'cross-origin-resource-policy': 'same-origin' }],
  ['for the same site', { 'cross-origin-resource-policy': 'same-site' }],
  ['for everybody', { 'cross-origin-resource-policy': 'cross-origin' }],
  ['for everybody and null', { 'cross-origin-resource-policy': 'cross-origin', 'access-control-allow-origin': 'null' }],
];

describe.each(pages)('a page %s', (_, pageHeaders) => {
  test.each(answers)('and what it loads, %s', async (_name, headers) => {
    for (const as of ['style', 'script', 'module', 'image'] as const satisfies readonly Loaded[]) {
      const sent = { 'content-type': types[as] ?? '', 'x-content-type-options': 'nosniff', ...headers };
      const url = `${origin}${withHeaders(as, sent)}`;
      const own = { 'content-type': 'text/html', ...pageHeaders };
      const page = `${origin}${withHeaders(`page/${as}`, own)}&at=${encodeURIComponent(url)}`;
      const expected = whyNotLoaded({ url: page, headers: own }, { url, headers: sent }, as);
      expect({ as, seen: await seenOn(page) }).toEqual({ as, seen: expected === undefined ? 'yes' : 'no' });
    }
  });
});

test('a type that is none of it', async () => {
  for (const as of ['style', 'script'] as const) {
    const sent = { 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff' };
    const url = `${origin}${withHeaders(as, sent)}`;
    const own = { 'content-type': 'text/html' };
    const page = `${origin}${withHeaders(`page/${as}`, own)}&at=${encodeURIComponent(url)}`;
    expect(whyNotLoaded({ url: page, headers: own }, { url, headers: sent }, as)).toBeDefined();
    expect(await seenOn(page)).toBe('no');
  }
});

async function seenOn(page: string): Promise<unknown> {
  const tab = await browser.newPage();
  try {
    await tab.goto(page);
    // Asked from outside: a page that forbids `eval` is not waited for from inside.
    return await until(async () => (await tab.evaluate('seen')) !== 'waiting' && (await tab.evaluate('seen')));
  } finally {
    await tab.close();
  }
}
