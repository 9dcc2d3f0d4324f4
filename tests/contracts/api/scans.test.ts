import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { LightMyRequestResponse } from 'fastify';
import { listAudit } from '../../../src/store/audit.ts';
import { ensureEnvironment } from '../../../src/store/environments.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';

const name = `scanned-${process.pid}`;
const scanning = 'images:\n  scan: { scanner: osv-scanner, database: /var/lib/osv, mode: warn, maxAge: 48h }\n';

let api: TestApi;
let developer: string;
let viewer: string;
beforeAll(async () => {
  api = await startTestApi();
  [developer, viewer] = await Promise.all([api.token('developer'), api.token('viewer')]);
  await Promise.all([api.addProject(name, scanning), api.addProject('unscanned')]);
}, 60_000);
afterAll(async () => {
  await api.temporal.workflow
    .getHandle(`scan/${name}/production`)
    .terminate()
    .catch(() => undefined);
  await api.close();
});

async function ask(
  token: string,
  method: 'GET' | 'POST',
  url: string,
  payload?: object,
): Promise<LightMyRequestResponse> {
  return await api.app.inject({
    method,
    url,
    headers: { authorization: `Bearer ${token}` },
    ...(payload === undefined ? {} : { payload }),
  });
}

test('a scan that is asked for is begun once, audited, and seen to be under way', async () => {
  const path = `/v1/projects/${name}/scan`;
  expect((await ask(viewer, 'POST', path)).statusCode).toBe(403);
  expect((await ask(developer, 'POST', path, { environment: 'nowhere' })).statusCode).toBe(404);
  expect((await ask(viewer, 'GET', `${path}?environment=production`)).json()).toEqual({ running: false, rounds: [] });
  const begun = await ask(developer, 'POST', path, { environment: 'production' });
  expect([begun.statusCode, begun.json()]).toEqual([202, { workflowId: `scan/${name}/production` }]);
  const { runId } = await api.temporal.workflow.getHandle(`scan/${name}/production`).describe();
  expect((await ask(developer, 'POST', path, { environment: 'production' })).statusCode).toBe(202);
  expect((await api.temporal.workflow.getHandle(`scan/${name}/production`).describe()).runId).toBe(runId);
  expect((await ask(viewer, 'GET', `${path}?environment=production`)).json()).toMatchObject({ running: true });
  const { items } = await listAudit(api.store.db, { object: `scan/${name}/production` }, {});
  expect(items).toMatchObject([{ action: 'project.scan' }, { action: 'project.scan' }]);
});

test('a project without a scanner says so', async () => {
  const response = await ask(developer, 'POST', '/v1/projects/unscanned/scan');
  expect([response.statusCode, response.json<{ detail: string }>().detail]).toEqual([
    409,
    expect.stringContaining('names no scanner'),
  ]);
});

test('what was found is with the environment, and in the list of upkeep with its history', async () => {
  await ensureEnvironment(api.store.db, name, 'production');
  const subject = `${name}/production`;
  const round = { kind: 'scan' as const, subject, project: name, environment: 'production', lines: ['web: bad'] };
  await recordRound(api.store.db, { ...round, verdict: 'passed', summary: 'before', detail: {} });
  await recordRound(api.store.db, { ...round, verdict: 'failed', summary: 'now', detail: { keys: ['a'] } });
  await recordRound(api.store.db, {
    kind: 'disk',
    subject: 'm',
    verdict: 'passed',
    summary: '',
    lines: [],
    detail: {},
  });
  const environment = (await ask(viewer, 'GET', `/v1/projects/${name}/environments/production`)).json<object>();
  expect(environment).toMatchObject({ scan: { verdict: 'failed', summary: 'now', lines: ['web: bad'] } });
  const other = (await ask(viewer, 'GET', `/v1/projects/${name}/environments/staging`)).json<object>();
  expect(other).toMatchObject({ live: null });
  const all = (await ask(viewer, 'GET', '/v1/upkeep')).json<readonly { readonly subject: string }[]>();
  expect(all.map((each) => each.subject)).toEqual(['m', subject]);
  const rounds = (await ask(viewer, 'GET', `/v1/upkeep/rounds?kind=scan&subject=${subject}&limit=1`)).json<{
    readonly items: readonly { readonly summary: string }[];
    readonly next: string;
  }>();
  expect(rounds.items.map(({ summary }) => summary)).toEqual(['now']);
  const older = (await ask(viewer, 'GET', `/v1/upkeep/rounds?kind=scan&cursor=${rounds.next}`)).json();
  expect(older).toMatchObject({ items: [{ summary: 'before' }] });
});
