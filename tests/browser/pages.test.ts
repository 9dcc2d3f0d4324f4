import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page, Request } from 'playwright-core';
import { recordArtifact } from '../../src/store/kept-files.ts';
import { recordEvidence } from '../../src/store/reports.ts';
import { type TestApi, deliver, pushBody, startTestApi } from '../support/api.ts';
import { startChromium } from '../support/chromium.ts';
import { until } from '../support/until.ts';

/** Pages of a run in a real browser: what a person does, and what a page that is up to no good tries. */

let api: TestApi;
let browser: Browser;
let token: string;
let address: string;
const run = '/v1/projects/shop/runs/1';

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const hostile = '<script>document.title = "hacked"</script><img src=x onerror="document.title = \'hacked\'">"\'><b>';

/** What a page can try; each says what came of it. */
const tries = `
const tried = {};
const say = (what) => (result) => { tried[what] = result; };
for (const path of ['/v1/runs', '/v1/me']) fetch(path, { credentials: 'include' }).then(() => say(path)('answered'), () => say(path)('refused'));
const request = new XMLHttpRequest();
request.onload = () => say('xhr')('answered');
request.onerror = () => say('xhr')('refused');
request.open('POST', '/v1/projects/shop/runs');
request.send('{}');
for (const [what, look] of [['cookie', () => document.cookie], ['storage', () => localStorage.length], ['opener', () => opener === null ? undefined.x : opener.location.href]]) {
  try { say(what)('got ' + look()); } catch { say(what)('refused'); }
}
say('window')(window.open('/v1/me') === null ? 'refused' : 'opened');
document.forms[0].submit();
document.title = 'ran';
`;
const files: Readonly<Record<string, string | Buffer>> = {
  'index.html': `<!doctype html><title>as it was</title><link rel="stylesheet" href="assets/style.css"><script src="assets/run.js" defer></script>
<p id="text">Coverage</p><img id="image" src="assets/pixel.png"><a href="sub/deep.html">deep</a><form action="/v1/projects/shop/runs" method="post"></form>`,
  'sub/deep.html': '<!doctype html><link rel="stylesheet" href="../assets/style.css"><p id="text">deep</p>',
  'assets/style.css': '@font-face{font-family:own;src:url(font.ttf)}#text{font-family:own;color:rgb(1,2,3)}',
  'assets/run.js': tries,
  'assets/pixel.png': png,
};

beforeAll(async () => {
  api = await startTestApi();
  await api.addProject('shop');
  await deliver(api.app, 'shop', pushBody(1));
  token = await api.token('admin');
  const prefix = 'pages/shop/1/test/0';
  for (const [name, content] of Object.entries(files)) await api.blobs.put(`${prefix}/${name}`, Buffer.from(content));
  await api.blobs.put(`${prefix}/assets/font.ttf`, readFileSync('/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf'));
  await api.blobs.put('artifacts/0', Buffer.from('<!doctype html><p>How to use it'));
  await api.blobs.put('evidence/shop/1/app/sbom.spdx.json', Buffer.from('{"spdx":1}'));
  await recordEvidence(api.store.db, { project: 'shop', number: 1, key: 'k' }, 'test', {
    reports: [
      {
        ...{ state: 'read', kind: 'junit', gate: 'tests', path: 'junit.xml', tool: { name: 'pytest', version: null } },
        ...{ lookedAt: '3 tests', findings: [], counts: { critical: 0, high: 0, medium: 0, low: 0, info: 0 } },
        tests: {
          ...{ total: 3, failed: 1, errored: 0, skipped: 0, durationMs: 1_234 },
          failures: [{ name: hostile, kind: 'failed', message: `${hostile} and so on, at some length, on one line` }],
        },
      },
      {
        ...{ state: 'errored', kind: 'bandit', gate: 'code-security', path: hostile },
        problem: { reason: hostile, remedy: 'Let it write one' },
      },
    ] as unknown as Parameters<typeof recordEvidence>[3]['reports'],
    gates: [],
    pages: [{ path: 'htmlcov', prefix, entry: 'index.html', files: 6, sizeBytes: 1_000 }],
    lost: [],
  });
  await recordArtifact(api.store.db, {
    ...{ project: 'shop', run: 1, stage: 'docs', name: 'guide', entry: 'html/index.html', sizeBytes: 31 },
    files: [{ path: 'html/index.html', sizeBytes: 31, sha256: 'x', blob: 'artifacts/0' }],
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
  });
  address = await api.app.listen({ host: '127.0.0.1', port: 0 });
  browser = await startChromium();
}, 600_000);
afterAll(async () => {
  await browser.close();
  await api.close();
});

/** Asked from outside: a page that forbids `eval` is not waited for from inside. */
async function isTrue(page: Page, expression: string): Promise<void> {
  await until(async () => (await page.evaluate(expression).catch(() => false)) === true, { what: expression });
}

async function signedIn(): Promise<BrowserContext> {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${address}${run}/report.html`);
  await page.fill('#token', token);
  await page.click('button');
  await page.waitForSelector('h2');
  await page.close();
  return context;
}

test('a person who opens the address of a page signs in once and sees it whole', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const asked: Request[] = [];
  page.on('request', (request) => asked.push(request));
  const first = await page.goto(`${address}${run}/pages/test/0/index.html`);
  expect(first?.status()).toBe(401);
  await page.fill('#token', 'slp_wrong');
  await page.click('button');
  await page.waitForSelector('text=unknown, expired or revoked');
  await page.fill('#token', token);
  await page.click('button');
  await isTrue(page, 'document.title === "ran"');
  expect(new URL(page.url()).pathname).toMatch(
    /^\/signed\/[^/]+\/v1\/projects\/shop\/runs\/1\/pages\/test\/0\/index\.html$/,
  );
  await isTrue(page, 'document.fonts.status === "loaded"');
  expect(await page.evaluate('getComputedStyle(document.getElementById("text")).color')).toBe('rgb(1, 2, 3)');
  expect(await page.evaluate('[...document.fonts].map((font) => font.status)')).toEqual(['loaded']);
  expect(await page.evaluate('document.getElementById("image").naturalWidth')).toBe(1);
  const cookies = await context.cookies(`${address}${run}`);
  expect(cookies).toMatchObject([{ name: 'slipway-pages', httpOnly: true, sameSite: 'Lax', path: '/v1/projects' }]);
  expect(JSON.stringify(cookies)).not.toContain(token);
  for (const request of asked.filter((each) => each.url().includes('/signed/'))) {
    expect((await request.allHeaders())['cookie']).toBeUndefined();
  }
  for (const request of asked) expect(request.url()).not.toContain(token);
  await page.click('a');
  await page.waitForSelector('text=deep');
  expect(await page.evaluate('getComputedStyle(document.getElementById("text")).color')).toBe('rgb(1, 2, 3)');
  // Again, in another tab: nobody is asked for a token.
  const again = await context.newPage();
  await again.goto(`${address}${run}/pages/test/0/index.html`);
  await isTrue(again, 'document.title === "ran"');
  await context.close();
});

test("what a page of a tool tries with the reader's rights comes to nothing", async () => {
  const context = await signedIn();
  const page = await context.newPage();
  const answered: string[] = [];
  context.on('response', (response) => answered.push(`${response.status()} ${response.url()}`));
  await page.goto(`${address}${run}/pages/test/0/index.html`);
  await isTrue(page, 'Object.keys(tried).length === 7');
  expect(await page.evaluate('tried')).toEqual({
    ...{ '/v1/runs': 'refused', '/v1/me': 'refused', xhr: 'refused' },
    ...{ cookie: 'refused', storage: 'refused', opener: 'refused', window: 'refused' },
  });
  expect(await page.evaluate('origin')).toBe('null');
  expect(answered.filter((each) => !each.includes('/pages/test/0/'))).toEqual([]);
  await context.close();
});

test('the report of a run is a page that reads on a phone, runs nothing, and leads to the others', async () => {
  const context = await signedIn();
  const page = await context.newPage();
  await page.setViewportSize({ width: 390, height: 844 });
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  // The address that forges and notices have for the run.
  await page.goto(`${address}${run}`);
  expect(new URL(page.url()).pathname).toBe(`${run}/report.html`);
  expect(await page.title()).toBe('shop #1: running');
  expect(await page.locator('body').innerText()).toContain(hostile);
  expect(await page.locator('main script, main img, main b').count()).toBe(0);
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  // The style sheet is ours and its hash is the one that the policy names.
  expect(await page.evaluate('getComputedStyle(document.querySelector("h2")).borderBottomStyle')).toBe('solid');
  expect(complaints).toEqual([]);
  await page.screenshot({ path: process.env['SLIPWAY_SCREENSHOT'] ?? '/dev/null', type: 'png', fullPage: true });
  await page.click('text=htmlcov');
  await isTrue(page, 'document.title === "ran"');
  await page.goBack();
  await page.click('text=guide');
  await page.waitForSelector('text=How to use it');
  await page.goBack();
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=sbom.spdx.json')]);
  expect(readFileSync(await download.path(), 'utf8')).toBe('{"spdx":1}');
  await context.close();
});

test('links that somebody was given open the report and what it leads to, without signing in', async () => {
  const answer = await fetch(`${address}${run}/links`, { headers: { authorization: `Bearer ${token}` } });
  const links = (await answer.json()) as {
    report: string;
    pages: { link: string }[];
    documentation: { link: string }[];
  };
  const page = await browser.newPage();
  await page.goto(`${address}${links.report}`);
  await page.click('text=htmlcov');
  await isTrue(page, 'document.title === "ran"');
  await page.goto(`${address}${links.documentation[0]?.link ?? ''}`);
  await page.waitForSelector('text=How to use it');
  await page.goto(`${address}${links.pages[0]?.link ?? ''}`);
  await isTrue(page, 'document.title === "ran"');
  const changed = await page.goto(`${address}${links.report.replace(/\.[^.]*(?=\/v1)/, '.changed')}`);
  expect(changed?.status()).toBe(403);
  expect(await page.locator('h1').innerText()).toBe('Link invalid');
  await page.close();
});
