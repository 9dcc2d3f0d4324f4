import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { judgeEnvironmentGates, requirePassage } from '../../../src/activities/gates.ts';
import { complianceFacts } from '../../../src/activities/security-facts.ts';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { recordDeploymentStep } from '../../../src/store/deployments.ts';
import type { Place } from '../../../src/activities/places.ts';
import type { StageEvidence } from '../../../src/domain/evidence.ts';
import type { Plan } from '../../../src/domain/plan.ts';
import { noCounts } from '../../../src/domain/report.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import {
  lastReleasedRun,
  listPages,
  readFingerprints,
  readGates,
  readReports,
  recordEvidence,
} from '../../../src/store/reports.ts';
import { inTransaction } from '../../../src/store/transaction.ts';
import { startTestApi, type TestApi } from '../../support/api.ts';
import { pairOf, projectText, repositoryText } from '../../unit/definition/documents.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
  await api.addProject('shop');
});
afterAll(() => api.close());

const at = '2026-11-25T12:00:00Z';
const finding = (fingerprint: string) =>
  ({ rule: 'B602', severity: 'high', message: 'a shell\u0000', file: 'a.py', line: 3, fingerprint }) as const;

function evidence(fingerprints: readonly string[], covered: number): StageEvidence {
  return {
    reports: [
      {
        state: 'read',
        kind: 'bandit',
        gate: 'code-security',
        path: 'bandit.json',
        tool: { name: 'bandit', version: '1.9' },
        lookedAt: '3 files',
        findings: fingerprints.map(finding),
        counts: { ...noCounts, high: fingerprints.length },
      },
      {
        state: 'read',
        kind: 'lcov',
        gate: 'coverage',
        path: 'lcov.info',
        tool: { name: 'lcov' },
        lookedAt: '100 lines in 3 files',
        findings: [],
        counts: noCounts,
        coverage: { lines: { covered, total: 100 }, files: 3 },
      },
      {
        state: 'errored',
        kind: 'safety',
        gate: 'dependencies',
        path: 'safety.json',
        problem: { reason: 'is empty', place: 'safety.json', remedy: 'Run it again.' },
      },
    ],
    gates: [
      {
        gate: 'coverage',
        mode: 'warn',
        verdict: 'passed',
        blocks: false,
        reason: 'lcov: fine.',
        reports: [],
        counted: noCounts,
        findings: [],
        known: 0,
        suppressed: 0,
        suppressions: [],
      },
    ],
    pages: [{ path: 'htmlcov', prefix: 'pages/shop/1/test/0', entry: 'index.html', files: 1, sizeBytes: 2 ** 33 }],
    lost: [],
  };
}

async function run(key: string): Promise<{ project: string; key: string; number: number }> {
  const event = {
    kind: 'push',
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: 'c'.repeat(40),
    author: 'ada',
  } as const;
  const { number } = await acceptRun(api.store.db, { project: 'shop', key, event, acceptedAt: at });
  return { project: 'shop', key, number };
}

async function release(version: string, build: number): Promise<void> {
  await recordRelease(api.store.db, {
    project: 'shop',
    version,
    build,
    commit: 'c'.repeat(40),
    images: [],
    definition: 'd'.repeat(64),
    migrations: [],
    author: 'ada',
  });
}

const words = (gates: Awaited<ReturnType<typeof judgeEnvironmentGates>>): readonly string[] =>
  gates.map(({ line: { gate, verdict, blocks } }) => `${gate} ${verdict} ${blocks}`);

describe('what runs showed', () => {
  test('is kept with its findings; a second attempt goes over the first', async () => {
    const first = await run('a');
    const shown = evidence(['p1', 'p2'], 80);
    const record = (one: StageEvidence) => inTransaction(api.store.db, (tx) => recordEvidence(tx, first, 'test', one));
    await record(evidence(['old'], 10));
    await record(shown);
    const reports = await readReports(api.store.db, 'shop', first.number);
    const clean = shown.reports.map((report) => ({
      ...report,
      ...(report.state === 'read'
        ? { findings: report.findings.map((one) => ({ ...one, message: 'a shell\uFFFD' })) }
        : {}),
      stage: 'test',
    }));
    expect(reports).toEqual(clean);
    expect(await readGates(api.store.db, 'shop', first.number)).toEqual([{ ...shown.gates[0], stage: 'test' }]);
    expect(await listPages(api.store.db, 'shop', first.number)).toEqual([
      { ...shown.pages[0], stage: 'test', position: 0 },
    ]);
    expect(await readFingerprints(api.store.db, 'shop', first.number)).toEqual(new Set(['p1', 'p2']));
  });

  test('ten thousand findings are kept at once', async () => {
    const many = await run('many');
    const prints = Array.from({ length: 10_000 }, (_, index) => `p${index}`);
    await inTransaction(api.store.db, (tx) => recordEvidence(tx, many, 'test', evidence(prints, 80)));
    expect((await readFingerprints(api.store.db, 'shop', many.number)).size).toBe(10_000);
  });

  test('stops a release where the environment asks for more than the run did, and only there', async () => {
    const made = await run('b');
    await inTransaction(api.store.db, (tx) => recordEvidence(tx, made, 'test', evidence(['p1'], 60)));
    await release('b', made.number);
    const pair = pairOf({
      repository: repositoryText,
      project: projectText
        .replace(
          '  production:\n',
          '  production:\n    gates: { coverage: { mode: block }, tests: {}, access-control: { mode: off }, compliance: { mode: off } }\n',
        )
        .concat('gates: { code-security: { baseline: last-release } }\n'),
    });
    const gatesOf = (environment: string, live: string | null) =>
      judgeEnvironmentGates(api.store.db, {
        pair,
        spec: { name: environment } as Place['spec'],
        release: { project: 'shop', build: made.number } as Place['release'],
        settings: {},
        resolvedSecrets: [],
        live: live === null ? null : ({ version: live } as Parameters<typeof judgeEnvironmentGates>[1]['live']),
        at,
      });
    const staging = await gatesOf('staging', null);
    expect(words(staging)).toEqual([
      'coverage failed false',
      'code-security failed false',
      'dependencies errored false',
    ]);
    const production = await gatesOf('production', null);
    expect(words(production)).toEqual([
      'tests errored true',
      'coverage failed true',
      'code-security failed false',
      'dependencies errored false',
    ]);
    // What is live has the same finding.
    expect((await gatesOf('staging', 'b')).find(({ name }) => name === 'gate code-security')?.verdict).toBe('passed');
    const plan = {
      deployment: { project: 'shop', environment: 'production', number: 1 },
      identity: { release: { version: 'b' } },
    };
    expect(() => requirePassage({ ...plan, gates: staging.map(({ line }) => line) } as unknown as Plan)).not.toThrow();
    const unknown = production.map(({ line }) => line).filter(({ verdict }) => verdict === 'errored');
    expect(() => requirePassage({ ...plan, gates: unknown } as unknown as Plan)).toThrow(
      expect.objectContaining({ type: 'GateErrored' }),
    );
    expect(() => requirePassage({ ...plan, gates: production.map(({ line }) => line) } as unknown as Plan)).toThrow(
      /b may not go to production\. Gate tests errored: There is no report for tests\. Gate coverage failed: lcov: 60 %/,
    );
  });

  test('the last release before a run is the newest of those before', async () => {
    const later = await run('c');
    expect(await lastReleasedRun(api.store.db, 'shop', later.number)).toBe(later.number - 1);
    expect(await lastReleasedRun(api.store.db, 'shop', 1)).toBeUndefined();
  });
});

describe('gates 4 and 5', () => {
  const judge = async (over: {
    environment?: string;
    settings?: Record<string, string>;
    encrypted?: string;
    named?: string;
    repository?: string;
    more?: string;
  }) => {
    const { environment = 'production', settings = {}, encrypted = '', repository = repositoryText, more = '' } = over;
    const { named = '    gates: { access-control: {}, compliance: {} }\n' } = over;
    const pair = pairOf({
      repository,
      project: projectText.replace(`  ${environment}:\n`, `  ${environment}:\n${named}${encrypted}`).concat(more),
    });
    const checks = await judgeEnvironmentGates(api.store.db, {
      ...{ pair, settings, resolvedSecrets: [], live: null, at },
      spec: resolveEnvironment(pair, environment),
      release: { project: 'shop', build: 999 } as Place['release'],
    });
    return checks.map(({ line: { gate, verdict, blocks, reason } }) => `${gate} ${verdict} ${blocks}: ${reason}`);
  };

  test('stop production for what is bad or not declared', async () => {
    expect(await judge({})).toEqual([
      'access-control passed false: 2 people must approve; no setting looks like a secret; every secret can be read.',
      'compliance errored true: encryption at rest: the project declares nothing; `encryptionAtRest` of the environment says it.',
    ]);
    expect(await judge({ encrypted: '    encryptionAtRest: true\n', settings: { API_KEY: 'abcdef' } })).toEqual([
      'access-control failed true: API_KEY: settings look like secrets.',
      'compliance passed false: the audit record can be written; encryption at rest is declared.',
    ]);
  });

  test('only tell elsewhere', async () => {
    expect(await judge({ environment: 'staging' })).toEqual([
      'access-control failed false: nobody must approve.',
      'compliance errored false: encryption at rest: the project declares nothing; `encryptionAtRest` of the environment says it.',
    ]);
  });

  test('are judged in production also where no document names them, and nowhere else', async () => {
    expect(await judge({ named: '' })).toEqual([
      'access-control passed false: 2 people must approve; no setting looks like a secret; every secret can be read.',
      'compliance errored true: encryption at rest: the project declares nothing; `encryptionAtRest` of the environment says it.',
    ]);
    expect(await judge({ named: '    gates: { compliance: { mode: warn } }\n' })).toContainEqual(
      'compliance errored true: encryption at rest: the project declares nothing; `encryptionAtRest` of the environment says it.',
    );
    expect(await judge({ named: '    gates: { access-control: { mode: off }, compliance: { mode: off } }\n' })).toEqual(
      [],
    );
    expect(await judge({ named: '', environment: 'staging' })).toEqual([]);
  });

  test('find a secret wherever it stands in a document', async () => {
    const encrypted = '    encryptionAtRest: true\n';
    const inStep = repositoryText.replace(
      'image: node:24-slim',
      'image: node:24-slim\n        env: { API_KEY: abcdef }',
    );
    const inBuild = repositoryText.replace('- name: app', '- name: app\n    args: { NPM_TOKEN: abcdef }');
    const found = async (over: Parameters<typeof judge>[0]) => (await judge({ named: '', encrypted, ...over }))[0];
    expect(await found({ repository: inStep })).toBe(
      'access-control failed true: stages.test.unit.env.API_KEY: settings look like secrets.',
    );
    expect(await found({ repository: inBuild })).toContain('images.app.args.NPM_TOKEN');
    expect(await found({ repository: `${repositoryText}env: { API_KEY: abcdef }\n` })).toContain(' env.API_KEY');
    expect(await found({ more: 'steps: { env: { API_KEY: abcdef } }\n' })).toContain('steps.env.API_KEY');
    expect(await found({ more: 'builds: { args: { API_KEY: abcdef } }\n' })).toContain('builds.args.API_KEY');
    // The password of a database that lives as long as its stage, and the name of another variable.
    const beside = inStep.replace(
      '    steps:',
      '    services: { db: { image: postgres, port: 5432, health: { command: [pg_isready] } } }\n    steps:',
    );
    expect(await found({ repository: beside })).toMatch(/^access-control passed/);
    expect(await found({ repository: inStep.replace('abcdef', '$OTHER') })).toMatch(/^access-control passed/);
  });

  test('find a backup that an earlier deployment proved, where this one will prove none', async () => {
    const spec = {
      ...{ project: 'shop', name: 'production', database: {}, target: { kind: 'docker' }, secrets: {} },
      policy: { backup: { database: true, prove: false } },
    };
    const secured = {
      spec,
      settings: {},
      resolvedSecrets: [],
      plain: [],
      encryptionAtRest: true,
    } as unknown as Parameters<typeof complianceFacts>[1];
    expect(await complianceFacts(api.store.db, secured)).toMatchObject({ auditWritable: true, verifiedBackup: 'none' });
    const step = {
      name: 'back up',
      verdict: 'passed',
      startedAt: '2026-11-25T01:00:00.000Z',
      durationMs: 60_000,
    } as const;
    const deployment = { project: 'shop', environment: 'production', number: 1 };
    await recordDeploymentStep(api.store.db, deployment, 'a', { ...step, detail: '5 bytes' });
    expect((await complianceFacts(api.store.db, secured)).verifiedBackup).toBe('none');
    await recordDeploymentStep(api.store.db, deployment, 'b', {
      ...step,
      detail: '5 bytes, proved by a restore in 2 s',
    });
    expect((await complianceFacts(api.store.db, secured)).verifiedBackup).toEqual({ at: '2026-11-25T01:01:00.000Z' });
    const proving = {
      ...secured,
      spec: { ...secured.spec, policy: { backup: { database: true, prove: true } } },
    } as unknown as typeof secured;
    expect((await complianceFacts(api.store.db, proving)).verifiedBackup).toBe('before-change');
  });
});

describe('the trend of a run', () => {
  const headers = async () => ({ authorization: `Bearer ${await api.token('viewer')}` });
  const shown = async (key: string, covered: number, findings: readonly string[], ref = 'refs/heads/trend') => {
    const one = await run(key);
    await inTransaction(api.store.db, (tx) => recordEvidence(tx, one, 'test', evidence(findings, covered)));
    await api.store.db
      .updateTable('runs')
      .set({ ref, outcome: 'failed', startedAt: '2026-11-25T12:00:00Z', settledAt: '2026-11-25T12:01:30Z' })
      .where('number', '=', one.number)
      .execute();
    return one.number;
  };

  test('is that of the finished runs of its ref, as many as are asked for', async () => {
    const first = await shown('t1', 60, ['p1']);
    const second = await shown('t2', 80, ['p1', 'p2', 'p3']);
    // Showed nothing, is of another ref, runs still.
    await api.store.db
      .updateTable('runs')
      .set({ ref: 'refs/heads/trend', outcome: 'succeeded' })
      .where('number', '=', (await run('t3')).number)
      .execute();
    await shown('t4', 10, [], 'refs/heads/elsewhere');
    const running = await run('t5');
    await api.store.db
      .updateTable('runs')
      .set({ ref: 'refs/heads/trend' })
      .where('number', '=', running.number)
      .execute();
    await inTransaction(api.store.db, (tx) => recordEvidence(tx, running, 'test', evidence(['p1'], 75)));
    const url = `/v1/projects/shop/runs/${running.number}/report`;
    const report = await api.app.inject({ url, headers: await headers() });
    expect(report.json()).toMatchObject({
      trend: {
        ref: 'refs/heads/trend',
        steps: [
          {
            run: running.number,
            outcome: null,
            coverage: 0.75,
            findings: 1,
            durationMs: null,
            change: { findings: -2 },
          },
          { run: second, outcome: 'failed', coverage: 0.8, findings: 3, durationMs: 90_000, change: { durationMs: 0 } },
          { run: first, coverage: 0.6, findings: 1, tests: null, change: { coverage: null, findings: null } },
        ],
      },
    });
    const one = await api.app.inject({ url: `${url}?runs=1`, headers: await headers() });
    expect(one.json<{ trend: { steps: unknown[] } }>().trend.steps).toHaveLength(2);
    const page = await api.app.inject({ url: `${url}.md`, headers: await headers() });
    expect(page.body).toContain(`| #${second} | failed | 80.00 % (+20.00) |`);
    expect((await api.app.inject({ url: `${url}?runs=51`, headers: await headers() })).statusCode).toBe(422);
  });

  test('of the first run of a ref is that of the release branch', async () => {
    const release = await shown('t6', 90, [], 'refs/heads/main');
    const first = await shown('t7', 85, [], 'refs/pull/7/head');
    const report = await api.app.inject({ url: `/v1/projects/shop/runs/${first}/report`, headers: await headers() });
    expect(report.json()).toMatchObject({
      trend: { ref: 'refs/heads/main', steps: [{ run: first }, { run: release, coverage: 0.9 }] },
    });
  });
});

describe('the API', () => {
  test('gives the report as data and as Markdown', async () => {
    const headers = { authorization: `Bearer ${await api.token('viewer')}` };
    const data = await api.app.inject({ url: '/v1/projects/shop/runs/3/report', headers });
    expect(data.statusCode).toBe(200);
    expect(data.json()).toMatchObject({
      project: 'shop',
      run: 3,
      coverage: { lines: 0.6, before: null },
      gates: [{ stage: 'test' }],
    });
    const page = await api.app.inject({ url: '/v1/projects/shop/runs/3/report.md', headers });
    expect(page.headers['content-type']).toBe('text/markdown; charset=utf-8');
    expect(page.body).toContain('# shop #3: running');
    expect((await api.app.inject({ url: '/v1/projects/shop/runs/99/report', headers })).statusCode).toBe(404);
    expect((await api.app.inject({ url: '/v1/projects/shop/runs/3/report' })).statusCode).toBe(401);
  });

  test('serves pages of tools in a sandbox of their own, and nothing beside them', async () => {
    const headers = { authorization: `Bearer ${await api.token('viewer')}` };
    await api.blobs.put('pages/shop/1/test/0/index.html', Buffer.from('<script>1</script>'));
    await api.blobs.put('pages/shop/1/test/0/x.bin', Buffer.from('x'));
    await api.blobs.put('backups/secret', Buffer.from('not for you'));
    const at0 = '/v1/projects/shop/runs/1/pages/test/0';
    const page = await api.app.inject({ url: `${at0}/index.html`, headers });
    expect(page.statusCode).toBe(200);
    expect(page.body).toBe('<script>1</script>');
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toMatch(/^sandbox allow-scripts; default-src 'none';/);
    expect(policy).not.toContain('allow-same-origin');
    expect(page.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-type': 'text/html; charset=utf-8',
    });
    expect((await api.app.inject({ url: `${at0}/x.bin`, headers })).headers['content-type']).toBe(
      'application/octet-stream',
    );
    for (const path of [
      'nothing.html',
      '../../../../../backups/secret',
      '..%2f..%2f..%2f..%2f..%2fbackups%2fsecret',
      '%2e%2e/x',
      'a%00b',
    ]) {
      const { statusCode, body } = await api.app.inject({ url: `${at0}/${path}`, headers });
      expect([400, 404]).toContain(statusCode);
      expect(body).not.toContain('not for you');
    }
    expect(
      (await api.app.inject({ url: `/v1/projects/shop/runs/1/pages/test/1/index.html`, headers })).statusCode,
    ).toBe(404);
    expect((await api.app.inject({ url: `${at0}/index.html` })).statusCode).toBe(401);
  });
});
