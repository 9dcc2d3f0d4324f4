import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createLogWriter } from '../../../src/effects/log-writer.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import { listDocumentation, putCache, recordArtifact, recordCacheUse } from '../../../src/store/kept-files.ts';
import { applyFacts } from '../../../src/store/facts.ts';
import { type LogOwner, logId } from '../../../src/store/logs.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';

let api: TestApi;
let token: string;
beforeAll(async () => {
  api = await startTestApi();
  await api.addProject('hello');
  token = await api.token('viewer');
  for (const [index, text] of ['<script>alert(1)</script>', 'two'].entries())
    await api.blobs.put(`artifacts/${index}`, Buffer.from(text));
  await recordArtifact(api.store.db, {
    project: 'hello',
    run: 7,
    stage: 'test',
    name: 'reports',
    files: [
      { path: 'html/index.html', sizeBytes: 25, sha256: 'x', blob: 'artifacts/0' },
      { path: 'a b#c.txt', sizeBytes: 3, sha256: 'x', blob: 'artifacts/1' },
    ],
    sizeBytes: 28,
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
  });
  await recordArtifact(api.store.db, {
    project: 'hello',
    run: 7,
    stage: 'docs',
    name: 'api',
    files: [
      { path: 'build/html/_static/a.css', sizeBytes: 3, sha256: 'x', blob: 'artifacts/1' },
      { path: 'build/html/index.html', sizeBytes: 25, sha256: 'x', blob: 'artifacts/0' },
    ],
    entry: 'build/html/index.html',
    sizeBytes: 28,
    createdAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
  });
}, 60_000);
afterAll(() => api.close());

const get = (url: string) => api.app.inject({ url, headers: { authorization: `Bearer ${token}` } });

describe('artifacts', () => {
  const run = '/v1/projects/hello/runs/7/artifacts';

  test('are listed without where they lie', async () => {
    const [documentation, artifact] = (await get(run)).json<{ files: object[] }[]>();
    expect(documentation).toMatchObject({ address: '/v1/projects/hello/runs/7/documentation/docs/api/index.html' });
    expect(artifact).toMatchObject({ stage: 'test', name: 'reports', sizeBytes: 28, address: null });
    expect(artifact?.files[0]).toEqual({ path: 'html/index.html', sizeBytes: 25, sha256: 'x' });
  });

  test('are files that a browser keeps and does not show', async () => {
    const page = await get(`${run}/test/reports/html/index.html`);
    expect(page.body).toBe('<script>alert(1)</script>');
    expect(page.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining('sandbox'),
    });
    expect((await get(`${run}/test/reports/a%20b%23c.txt`)).body).toBe('two');
  });

  test('come as one archive too', async () => {
    const archive = await get(`${run}/test/reports`);
    expect(archive.statusCode).toBe(200);
    expect(archive.rawPayload.length % 512).toBe(0);
    expect(archive.body).toContain('html/index.html');
  });

  test.each([
    '/test/other',
    '/test/reports/html',
    '/test/reports/..%2f..%2fetc%2fpasswd',
    '/test/reports/html/../../../../x',
  ])('that are not there are not found: %s', async (path) => {
    expect((await get(`${run}${path}`)).statusCode).toBe(404);
  });

  test('need a token', async () => {
    expect((await api.app.inject({ url: run })).statusCode).toBe(401);
  });

  test('are written to a folder by the command line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'slipway-artifacts-'));
    const address = await api.app.listen({ port: 0, host: '127.0.0.1' });
    const before = { ...process.env };
    Object.assign(process.env, { SLIPWAY_URL: address, SLIPWAY_TOKEN: token, SLIPWAY_PROJECT: 'hello' });
    try {
      const program = createProgram({ version: '0', signal: new AbortController().signal });
      await program.parseAsync(['node', 'slipway', '--json', 'artifacts', 'hello#7', '--download', folder]);
      expect(readFileSync(join(folder, 'test/reports/a b#c.txt'), 'utf8')).toBe('two');
      expect(readFileSync(join(folder, 'test/reports/html/index.html'), 'utf8')).toContain('script');
    } finally {
      process.env = before;
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('documentation', () => {
  const pages = '/v1/projects/hello/runs/7/documentation/docs/api';

  test('is shown in a sandbox, each page where it lies from the first one', async () => {
    const page = await get(`${pages}/index.html`);
    expect(page.body).toBe('<script>alert(1)</script>');
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringMatching(/^sandbox allow-scripts; default-src 'none'/),
    });
    expect(page.headers['content-disposition']).toBeUndefined();
    expect((await get(`${pages}/_static/a.css`)).headers['content-type']).toBe('text/css; charset=utf-8');
  });

  test.each(['/other.html', '/../../../etc/passwd', '/..%2f..%2f..%2fetc%2fpasswd', '/build/html/index.html'])(
    'has no page %s',
    async (path) => {
      expect((await get(`${pages}${path}`)).statusCode).toBe(404);
    },
  );

  test('is no other artifact, and needs a token', async () => {
    expect((await get('/v1/projects/hello/runs/7/documentation/test/reports/html/index.html')).statusCode).toBe(404);
    expect((await api.app.inject({ url: `${pages}/index.html` })).statusCode).toBe(401);
  });

  test('is found from its run', async () => {
    expect(await listDocumentation(api.store.db, 'hello', 7)).toEqual([
      { stage: 'docs', name: 'api', address: `${pages}/index.html` },
    ]);
    expect(await listDocumentation(api.store.db, 'hello', 8)).toEqual([]);
  });
});

test('caches are listed with how often they are found', async () => {
  await putCache(
    api.store.db,
    { project: 'hello', scope: 'refs/heads/main', name: 'pip', key: 'k', blob: 'b', sizeBytes: 5 },
    100,
  );
  const use = {
    project: 'hello',
    run: 1,
    stage: 's',
    cache: 'pip',
    sizeBytes: 1,
    durationMs: 1,
    at: new Date().toISOString(),
  };
  await recordCacheUse(api.store.db, { ...use, hit: 'miss' });
  await recordCacheUse(api.store.db, { ...use, run: 2, hit: 'exact' });
  expect((await get('/v1/projects/hello/caches')).json()).toMatchObject({
    sizeBytes: 5,
    hitRatio: 0.5,
    caches: [{ name: 'pip', scope: 'refs/heads/main' }],
    uses: [{ cache: 'pip', uses: 2, exact: 1, fallback: 0 }],
  });
});

describe('logs of a deployment', () => {
  const logs = '/v1/projects/hello/environments/production/deployments/3/logs';

  test('are listed, found by their stage and searched as those of a run', async () => {
    const owner: LogOwner = {
      ...{ project: 'hello', environment: 'production', number: 3 },
      ...{ stage: 'migrate', step: 'database-9', attempt: 1 },
    };
    const log = logId(owner);
    const at = new Date().toISOString();
    const bytes = Buffer.from('001.sql begins\nrelation "nowhere" does not exist\n');
    const blob = await api.logs.append(log, { sequence: 0, offsetBytes: 0, at, firstLine: 1 }, bytes);
    await api.logs.finish(log);
    const segment = { sequence: 0, blob, offsetBytes: 0, sizeBytes: bytes.length, at };
    await applyFacts(api.store.db, [
      { key: `${log}/0`, fact: { kind: 'log-segment', owner, segment } },
      { key: `${log}/end`, fact: { kind: 'log-closed', owner, at, sizeBytes: bytes.length, blob } },
    ]);
    const found = [{ stage: 'migrate', number: 3, environment: 'production', run: null }];
    for (const query of ['', '?step=migrate', '?step=migrate/database-9']) {
      expect((await get(`${logs}${query}`)).json<unknown[]>()).toMatchObject(found);
    }
    expect((await get(`${logs}?step=start`)).json()).toEqual([]);
    expect((await get(`${logs}?q=nowhere`)).json<unknown[]>()).toMatchObject([
      { matches: [{ line: 2, text: 'relation "nowhere" does not exist' }] },
    ]);
    expect((await get(`/v1/logs/${log}`)).body).toBe(bytes.toString());
  });
});

describe('logs of a run', () => {
  const logs = '/v1/projects/hello/runs/9/logs';

  beforeAll(async () => {
    for (const [stage, step, lines] of [
      [
        'test',
        'unit',
        [
          'first',
          'an ERROR here',
          ...Array.from({ length: 40_000 }, (_, at) => `line ${at} of many`),
          'the last ERROR',
        ],
      ],
      ['test', 'lint', ['all is well']],
    ] as const) {
      const owner: LogOwner = { project: 'hello', run: 9, stage, step, attempt: 1 };
      const log = logId(owner);
      const pending: Promise<unknown>[] = [];
      const writer = createLogWriter({
        log,
        files: api.logs,
        redactor: createRedactor([]),
        onSegment: (segment) =>
          void pending.push(
            applyFacts(api.store.db, [
              { key: `${log}/${segment.sequence}`, fact: { kind: 'log-segment', owner, segment } },
            ]),
          ),
      });
      for (const line of lines) await writer.write(Buffer.from(`${line}\u001b]0;title\u0007\n`));
      const { sizeBytes, blob } = await writer.close();
      await Promise.all(pending);
      await applyFacts(api.store.db, [
        {
          key: `${log}/closed`,
          fact: {
            kind: 'log-closed',
            owner,
            at: new Date().toISOString(),
            sizeBytes,
            ...(blob === undefined ? {} : { blob }),
          },
        },
      ]);
    }
  }, 60_000);

  test('are those of a step where one is named', async () => {
    for (const step of ['lint', 'test/lint']) {
      expect((await get(`${logs}?step=${step}`)).json<unknown[]>()).toMatchObject([{ step: 'lint' }]);
    }
  });

  test('are searched for a text, with the number, the time and the text of each line', async () => {
    expect((await get(`${logs}?q=ERROR`)).json<unknown[]>()).toMatchObject([
      {
        step: 'unit',
        matches: [
          { line: 2, text: 'an ERROR here', at: expect.stringMatching(/^20\d\d-/) },
          { line: 40_003, text: 'the last ERROR' },
        ],
      },
    ]);
    expect((await get(`${logs}?q=ERROR&step=lint`)).json()).toEqual([]);
    const [found] = (await get(`${logs}?q=of%20many`)).json<{ matches: unknown[] }[]>();
    expect(found?.matches).toHaveLength(100);
  });

  test('come with the time of each line, as a file, and without what a terminal obeys', async () => {
    const { body, headers } = await get('/v1/logs/run/hello/9/test/lint/1?times=true&download=true');
    expect(body).toMatch(/^20\d\d-\d\d-\d\dT[\d:.]+Z all is well\n$/);
    expect(headers['content-disposition']).toBe('attachment; filename="test-lint-1.log"');
    const unit = (await get('/v1/logs/run/hello/9/test/unit/1?times=true')).body.split('\n');
    expect(unit).toHaveLength(40_004);
    expect(unit.slice(0, -1).every((line) => /^20\S+Z /.test(line))).toBe(true);
  });
});

describe('a run by hand with parameters', () => {
  const start = async (parameters: Readonly<Record<string, string>>) =>
    await api.app.inject({
      method: 'POST',
      url: '/v1/projects/hello/runs',
      headers: { authorization: `Bearer ${await api.token('developer')}`, 'content-type': 'application/json' },
      payload: { ref: 'refs/heads/main', commit: 'c'.repeat(40), idempotencyKey: 'with-parameters', parameters },
    });

  test('has them, and its key is not good for others', async () => {
    const answer = await start({ target: 'eu' });
    expect(answer.statusCode).toBe(202);
    const { run } = answer.json<{ run: { number: number } }>();
    expect((await get(`/v1/projects/hello/runs/${run.number}`)).json()).toMatchObject({
      input: { parameters: { target: 'eu' } },
    });
    expect((await start({ target: 'eu' })).statusCode).toBe(202);
    expect((await start({ target: 'us' })).statusCode).toBe(409);
  });

  test.each([
    ['a name that is none', { 'no name': 'x' }, 422],
    // No text at all, and refused before anybody asks what it is for.
    ['a zero byte', { target: 'x\0y' }, 400],
    ['too long a value', { target: 'x'.repeat(2_000) }, 422],
  ])('with %s is refused', async (_, parameters, status) => {
    expect((await start(parameters)).statusCode).toBe(status);
  });
});

describe('evidence', () => {
  const run = '/v1/projects/hello/runs/7/evidence';
  beforeAll(async () => {
    await api.blobs.put('evidence/hello/7/app/sbom.spdx.json', Buffer.from('{"spdx":1}'));
    await api.blobs.put('evidence/hello/8/app/scan.json', Buffer.from('{}'));
  });

  test('is listed with where to have it, and is what was kept', async () => {
    const [file, ...others] = (await get(run)).json<{ address: string }[]>();
    expect(others).toEqual([]);
    expect(file).toEqual({ image: 'app', file: 'sbom.spdx.json', sizeBytes: 10, address: `${run}/app/sbom.spdx.json` });
    const answer = await get(file!.address);
    expect(answer.body).toBe('{"spdx":1}');
    expect(answer.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment; filename="app.sbom.spdx.json"',
      'x-content-type-options': 'nosniff',
    });
  });

  test('is not there for who has no token, and no name leads out of it', async () => {
    expect((await api.app.inject({ url: run })).statusCode).toBe(401);
    for (const name of ['app/scan.json', 'app/..%2F..%2F8%2Fapp%2Fscan.json', '..%2F8%2Fapp/scan.json']) {
      expect([404, 422]).toContain((await get(`${run}/${name}`)).statusCode);
    }
  });
});
