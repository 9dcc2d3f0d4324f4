import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { LightMyRequestResponse } from 'fastify';
import { createPageLinks, openedBy } from '../../../src/api/page-links.ts';
import { recordArtifact } from '../../../src/store/kept-files.ts';
import { recordEvidence } from '../../../src/store/reports.ts';
import { findIdentity, revokeToken } from '../../../src/store/tokens.ts';
import { type TestApi, deliver, pushBody, startTestApi } from '../../support/api.ts';

/** Pages of a run, as a browser reads them: it has no header to put a token into. */

let api: TestApi;
let token: string;
const folder = '/v1/projects/shop/runs/1/pages/test/0';
const documentation = '/v1/projects/shop/runs/1/documentation/docs/api';

beforeAll(async () => {
  api = await startTestApi();
  await api.addProject('shop');
  token = await api.token('viewer');
  await api.blobs.put('pages/shop/1/test/0/index.html', Buffer.from('<link rel=stylesheet href=style.css>'));
  await api.blobs.put('pages/shop/1/test/0/style.css', Buffer.from('p{}'));
  await api.blobs.put('pages/shop/1/test/1/index.html', Buffer.from('another'));
  await api.blobs.put('artifacts/0', Buffer.from('<p>documentation'));
  const pages = ['htmlcov', 'report.html'].map((path, position) => {
    const prefix = `pages/shop/1/test/${position}`;
    return { path, prefix, entry: 'index.html', files: 2, sizeBytes: 40 };
  });
  await recordEvidence(api.store.db, { project: 'shop', number: 1, key: 'k' }, 'test', {
    reports: [],
    gates: [],
    pages,
    lost: [],
  });
  await recordArtifact(api.store.db, {
    ...{ project: 'shop', run: 1, stage: 'docs', name: 'api', entry: 'html/index.html', sizeBytes: 16 },
    files: [{ path: 'html/index.html', sizeBytes: 16, sha256: 'x', blob: 'artifacts/0' }],
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
  });
}, 60_000);
afterAll(() => api.close());

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
const get = (url: string, headers: Readonly<Record<string, string>> = browser) => api.app.inject({ url, headers });
const submit = (url: string, form: string, headers: Readonly<Record<string, string>> = {}, app = api.app) =>
  app.inject({
    ...{ method: 'POST', url, payload: form },
    headers: { ...browser, 'content-type': 'application/x-www-form-urlencoded', ...headers },
  });

/** What the browser sends back of a cookie. */
function cookieOf(answer: LightMyRequestResponse): string {
  return String(answer.headers['set-cookie']).split(';')[0] ?? '';
}

/** One for each token: the form takes no more of them than a person types. */
const cookies = new Map<string, string>();

async function signedIn(of = token): Promise<string> {
  const cookie = cookies.get(of) ?? cookieOf(await submit(`${folder}/index.html`, `token=${of}`));
  cookies.set(of, cookie);
  return cookie;
}

describe('somebody without a token', () => {
  test('gets a form at the address of the page, and nothing of the page', async () => {
    for (const url of [
      `${folder}/index.html`,
      `${documentation}/index.html`,
      '/v1/projects/shop/runs/99/pages/x/0/y',
    ]) {
      const answer = await get(url);
      expect(answer.statusCode).toBe(401);
      expect(answer.headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'content-security-policy': expect.stringMatching(
          /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self';/,
        ),
        'referrer-policy': 'no-referrer',
      });
      expect(answer.body).toContain('<form method="post">');
      expect(answer.body).not.toContain('documentation');
    }
  });

  test('who is a program gets a problem document, as everywhere', async () => {
    for (const headers of [{ accept: '*/*' }, { ...browser, authorization: 'Bearer no' }]) {
      const answer = await get(`${folder}/index.html`, headers);
      expect(answer.statusCode).toBe(401);
      expect(answer.headers['content-type']).toBe('application/problem+json');
    }
  });

  test('gets the form again, and no cookie, for a token that is none', async () => {
    const answer = await submit(`${folder}/index.html`, 'token=slp_wrong%22%3E%3Cscript%3E');
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.body).toContain('This token is unknown, expired or revoked.');
    expect(answer.body).not.toContain('slp_wrong');
  });
});

describe('the form', () => {
  test('gives a cookie that scripts do not see, and sends to the same address', async () => {
    const answer = await submit(`${folder}/index.html?q=1`, `token=+${token}+`);
    expect(answer.statusCode).toBe(303);
    expect(answer.headers.location).toBe(`${folder}/index.html?q=1`);
    const cookie = String(answer.headers['set-cookie']);
    expect(cookie.split('; ')).toEqual(
      expect.arrayContaining(['HttpOnly', 'SameSite=Lax', 'Path=/v1/projects', 'Max-Age=28800']),
    );
    expect(cookie).not.toContain(token);
    expect(cookie).not.toContain('Secure');
  });

  test('gives one that goes by TLS only where people come by TLS', async () => {
    const app = await api.another({ publicUrl: 'https://slipway.example.com' });
    const answer = await submit(`${folder}/index.html`, `token=${token}`, {}, app);
    expect(String(answer.headers['set-cookie']).split('; ')).toContain('Secure');
  });

  test.each([
    '//evil.example/v1/projects/shop/runs/1/pages/test/0/index.html',
    `http://evil.example${folder}/index.html`,
  ])('sends nobody to somebody else: %s', async (url) => {
    const { headers } = await submit(url, `token=${token}`);
    const location = typeof headers.location === 'string' ? headers.location : '';
    expect(new URL(location, 'http://slipway.test').host).toBe('slipway.test');
    expect(location).not.toMatch(/^\/\//);
  });

  test('is not taken from the page of somebody else, and not in another form', async () => {
    for (const site of ['cross-site', 'same-site', 'none']) {
      const answer = await submit(`${folder}/index.html`, `token=${token}`, { 'sec-fetch-site': site });
      expect(answer.statusCode).toBe(400);
      expect(answer.headers['set-cookie']).toBeUndefined();
    }
    const large = await submit(`${folder}/index.html`, `token=${'x'.repeat(5_000)}`);
    expect(large.statusCode).toBe(413);
    // Forms are understood here and nowhere else.
    const other = await submit('/v1/projects/shop/runs', 'ref=refs/heads/main', { authorization: `Bearer ${token}` });
    expect([403, 415]).toContain(other.statusCode);
  });

  test('takes no more tokens than a person types', async () => {
    const app = await api.another();
    const codes: number[] = [];
    for (let count = 0; count < 12; count += 1) {
      codes.push((await submit(`${folder}/index.html`, 'token=no', {}, app)).statusCode);
    }
    expect(codes.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 401));
    const refused = await submit(`${folder}/index.html`, `token=${token}`, {}, app);
    expect(refused.statusCode).toBe(429);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.headers['set-cookie']).toBeUndefined();
  });
});

describe('the cookie', () => {
  test('leads to a signed path, by which the page and what lies beside it are read', async () => {
    const cookie = await signedIn();
    const answer = await get(`${folder}/index.html?a=b`, { ...browser, cookie });
    expect(answer.statusCode).toBe(303);
    expect(answer.headers['cache-control']).toBe('no-store');
    const location = String(answer.headers.location);
    expect(location).toMatch(/^\/signed\/[^/]+\/v1\/projects\/shop\/runs\/1\/pages\/test\/0\/index\.html\?a=b$/);
    expect(location).not.toContain(token);
    const page = await get(location);
    expect([page.statusCode, page.body]).toEqual([200, '<link rel=stylesheet href=style.css>']);
    // As the browser makes it of the address of the page, from an origin that has no cookie.
    const style = await get(new URL('style.css', `http://slipway.test${location}`).pathname, {
      accept: 'text/css,*/*',
    });
    expect([style.statusCode, style.body]).toEqual([200, 'p{}']);
    const docs = await get(`${documentation}/index.html`, { ...browser, cookie });
    expect((await get(String(docs.headers.location))).body).toBe('<p>documentation');
  });

  test('is good for no other route', async () => {
    const cookie = await signedIn(await api.token('admin'));
    for (const url of [
      '/v1/me',
      '/v1/runs',
      '/v1/projects',
      '/v1/projects/shop',
      '/v1/projects/shop/runs/1/report',
      '/v1/tokens',
    ]) {
      expect({ url, status: (await get(url, { accept: 'application/json', cookie })).statusCode }).toEqual({
        url,
        status: 401,
      });
    }
    for (const [method, url] of [
      ['POST', '/v1/projects/shop/runs'],
      ['POST', '/v1/tokens'],
      ['POST', '/v1/projects/shop'],
    ] as const) {
      const answer = await api.app.inject({
        method,
        url,
        headers: { cookie, 'content-type': 'application/json' },
        payload: {},
      });
      expect({ url, status: answer.statusCode }).toEqual({ url, status: 401 });
    }
  });

  test.each([
    ['is a token', () => `slipway-pages=${token}`],
    ['is changed', async () => (await signedIn()).replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'))],
    ['is empty', () => 'slipway-pages='],
    [
      'is a seal of a path',
      async () => {
        const answer = await get(`${folder}/index.html`, { ...browser, cookie: await signedIn() });
        return `slipway-pages=${String(answer.headers.location).split('/')[2] ?? ''}`;
      },
    ],
  ])('that %s is none', async (_, make) => {
    const answer = await get(`${folder}/index.html`, { ...browser, cookie: await make() });
    expect(answer.statusCode).toBe(401);
    expect(answer.body).toContain('<form');
  });
});

describe('a signed path', () => {
  async function signed(): Promise<{ readonly seal: string; readonly path: string }> {
    const answer = await get(`${folder}/index.html`, { ...browser, cookie: await signedIn() });
    const path = String(answer.headers.location);
    return { path, seal: path.split('/')[2] ?? '' };
  }

  test('opens nothing else', async () => {
    const { seal } = await signed();
    for (const path of [
      '/v1/projects/shop/runs/1/pages/test/1/index.html',
      '/v1/projects/shop/runs/2/pages/test/0/index.html',
      '/v1/projects/other/runs/1/pages/test/0/index.html',
      '/v1/projects/shop/runs/1/documentation/docs/api/index.html',
      '/v1/projects/shop/runs/01/pages/test/0/index.html',
      '/v1/projects/shop/runs/1/pages/test%2F0/0/index.html',
    ]) {
      const answer = await get(`/signed/${seal}${path}`);
      expect({ path, status: answer.statusCode }).toEqual({ path, status: 403 });
      expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(answer.body).toContain('Link invalid');
    }
    for (const path of ['/v1/me', '/v1/projects/shop/runs/1/report', '/v1/projects/shop/runs/1']) {
      expect((await get(`/signed/${seal}${path}`)).statusCode).toBe(404);
    }
    for (const path of [
      '../1/index.html',
      '..%2f1%2findex.html',
      '..%2f..%2f..%2f..%2f..%2fartifacts%2f0',
      '%2e%2e/1/index.html',
    ]) {
      expect([403, 404]).toContain((await get(`/signed/${seal}${folder}/${path}`)).statusCode);
    }
    const posted = await api.app.inject({ method: 'POST', url: `/signed/${seal}${folder}/index.html` });
    expect(posted.statusCode).toBe(404);
  });

  test('that was changed is refused, with a token beside it too', async () => {
    const { seal } = await signed();
    const other = seal.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'));
    for (const headers of [browser, { authorization: `Bearer ${token}` }]) {
      expect((await get(`/signed/${other}${folder}/index.html`, headers)).statusCode).toBe(403);
    }
    expect((await get(`/signed/x${folder}/style.css`, { accept: 'text/css' })).headers['content-type']).toBe(
      'application/problem+json',
    );
  });

  test('that is over says so and where the page is', async () => {
    const identity = await findIdentity(api.store.db, token);
    const links = createPageLinks('the key of this installation', () => Date.now() - 2 * 3_600_000);
    const { path } = links.sign(identity?.id ?? '', openedBy(`${folder}/*`, {}), 'index.html');
    const answer = await get(path);
    expect(answer.statusCode).toBe(401);
    expect(answer.body).toContain('This link is over.');
    expect(answer.body).toContain(`<a href="${folder}/index.html">`);
    expect(answer.body).not.toContain('<form');
  });

  test('and the cookie end with the token', async () => {
    const own = await api.token('viewer', [], 'leaves soon');
    const cookie = await signedIn(own);
    const path = String((await get(`${folder}/index.html`, { ...browser, cookie })).headers.location);
    const identity = await findIdentity(api.store.db, own);
    await revokeToken(api.store.db, identity?.id ?? '');
    // Another process has not just asked whose it is.
    const app = await api.another();
    expect((await app.inject({ url: path, headers: browser })).statusCode).toBe(401);
    expect((await app.inject({ url: `${folder}/index.html`, headers: { ...browser, cookie } })).statusCode).toBe(401);
  });

  test('is good at every process of the installation', async () => {
    const { path } = await signed();
    const app = await api.another();
    expect((await app.inject({ url: path, headers: browser })).statusCode).toBe(200);
  });
});

describe('the report of a run', () => {
  const run = '/v1/projects/shop/runs/1';
  const report = `${run}/report.html`;

  beforeAll(async () => {
    await deliver(api.app, 'shop', pushBody(1));
    await api.blobs.put('evidence/shop/1/app/sbom.spdx.json', Buffer.from('{"spdx":1}'));
  });

  test('is where a browser is sent that opens the address of a run; a program has the run', async () => {
    const sent = await get(run);
    expect([sent.statusCode, sent.headers.location]).toEqual([303, report]);
    expect((await get(run, { ...browser, authorization: `Bearer ${token}` })).json()).toMatchObject({ number: 1 });
    expect((await get(run, { accept: 'application/json' })).statusCode).toBe(401);
  });

  test('is a page of ours at its own address, for who has the cookie or a token', async () => {
    expect((await get(report)).statusCode).toBe(401);
    for (const headers of [{ cookie: await signedIn() }, { authorization: `Bearer ${token}` }]) {
      const { statusCode, body, headers: answered } = await get(report, { ...browser, ...headers });
      expect(statusCode).toBe(200);
      expect(answered['content-security-policy']).toMatch(/^default-src 'none'; style-src 'sha256-/);
      expect(body).toContain(`<a href="${folder}/index.html">`);
      expect(body).toContain(`<a href="${run}/evidence/app/sbom.spdx.json">`);
      expect(body).not.toContain('<script');
    }
    expect((await get(report.replace('runs/1', 'runs/99'), { ...browser, cookie: await signedIn() })).statusCode).toBe(
      404,
    );
  });

  test('read by a link has links that are signed for the same person and as long', async () => {
    const links = (await get(`${run}/links`, { authorization: `Bearer ${token}` })).json<{
      until: string;
      report: string;
      pages: { link: string }[];
      documentation: { link: string }[];
    }>();
    expect(Date.parse(links.until)).toBeGreaterThan(Date.now() + 3_500_000);
    expect(links.pages).toHaveLength(2);
    expect((await get(links.pages[0]!.link)).body).toContain('style.css');
    expect((await get(links.documentation[0]!.link)).body).toBe('<p>documentation');
    const { body } = await get(links.report);
    const hrefs = [...body.matchAll(/href="([^"]+)"/g)].map(([, href]) => href!);
    expect(hrefs).toHaveLength(4);
    const [reader, time] = links.report.split('/')[2]!.split('.');
    for (const href of hrefs) {
      expect(href.split('/')[2]?.startsWith(`${reader}.${time}.`)).toBe(true);
      expect((await get(href)).statusCode).toBe(200);
    }
    const file = await get(hrefs.find((href) => href.includes('/evidence/'))!);
    expect(file.headers['content-disposition']).toBe('attachment; filename="app.sbom.spdx.json"');
    // The cookie gives no links to hand on.
    expect((await get(`${run}/links`, { ...browser, cookie: await signedIn() })).statusCode).toBe(401);
  });
});

test('a program reads pages at their own addresses, as ever', async () => {
  const answer = await get(`${folder}/index.html`, { authorization: `Bearer ${token}` });
  expect([answer.statusCode, answer.body]).toEqual([200, '<link rel=stylesheet href=style.css>']);
});

test('pages by a signed path are in the OpenAPI document, without a token', async () => {
  const document = (await get('/openapi.json')).json<{
    paths: Record<string, Record<string, { security?: unknown }>>;
  }>();
  const paths = Object.entries(document.paths).filter(([path]) => path.startsWith('/signed/'));
  expect(paths.length).toBeGreaterThanOrEqual(2);
  for (const [, methods] of paths) expect(methods).toEqual({ get: expect.objectContaining({ security: [] }) });
});
