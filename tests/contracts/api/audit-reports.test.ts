import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { LightMyRequestResponse } from 'fastify';
import { appendAudit } from '../../../src/store/audit.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';

let api: TestApi;
let operator: string;
let developer: string;
beforeAll(async () => {
  api = await startTestApi();
  [operator, developer] = await Promise.all([api.token('operator'), api.token('developer')]);
  await api.addProject('hello');
  await appendAudit(api.store.db, {
    actor: 'bob',
    action: 'deployment.approve',
    object: 'deployment/hello/production/1',
  });
}, 60_000);
afterAll(async () => {
  await api.close();
});

async function get(url: string, token = operator): Promise<LightMyRequestResponse> {
  return await api.app.inject({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } });
}

test('a report is for operators, as data and as a page', async () => {
  expect((await get('/v1/audit/report?since=2026-01-01', developer)).statusCode).toBe(403);
  const response = await get('/v1/audit/report?since=2026-01-01&project=hello');
  expect(response.json()).toMatchObject({
    project: 'hello',
    since: '2026-01-01T00:00:00.000Z',
    deployments: [],
    documents: [{ project: 'hello', revision: 1, by: 'ada' }],
    actions: expect.arrayContaining([{ actor: 'bob', action: 'deployment.approve', count: 1 }]),
  });
  const page = await get('/v1/audit/report.md?since=2026-01-01');
  expect(page.headers['content-type']).toBe('text/markdown; charset=utf-8');
  expect(page.body).toContain('# Audit of all projects');
  expect(page.body).toContain('| bob | deployment.approve | 1 |');
});

test.each([
  ['', 422],
  ['?since=yesterday', 422],
  ['?since=2026', 422],
  ['?since=2026-02-01&until=2026-01-01', 400],
])('a period that is none is refused: %j', async (query, status) => {
  expect((await get(`/v1/audit/report${query}`)).statusCode).toBe(status);
});

test('one that was kept is given out under its name, and nothing else is', async () => {
  await api.blobs.put('audit/hello/20261101T070000Z.md', Buffer.from('# Audit of hello'));
  await api.blobs.put('audit/hello/20261101T070000Z.json', Buffer.from('{"since":"x"}'));
  const base = '/v1/projects/hello/audit-reports';
  const page = await get(`${base}/20261101T070000Z.md`);
  expect([page.statusCode, page.body]).toEqual([200, '# Audit of hello']);
  expect((await get(`${base}/20261101T070000Z.json`)).json()).toEqual({ since: 'x' });
  expect((await get(`${base}/20261101T070000Z.md`, developer)).statusCode).toBe(403);
  expect((await get(`${base}/20261201T070000Z.md`)).statusCode).toBe(404);
  expect((await get(`${base}/..%2F..%2Fbackups`)).statusCode).toBe(422);
});
