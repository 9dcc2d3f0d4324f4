import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { DeploymentRef } from '../../../src/domain/deployment.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment, readDeployment } from '../../../src/store/deployments.ts';
import { ensureEnvironment } from '../../../src/store/environments.ts';
import { applyFacts } from '../../../src/store/facts.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { openRun, readRun } from '../../../src/store/runs.ts';
import { claimRemoval, endRemoval } from '../../../src/store/registry-claims.ts';
import { recordRelease } from '../../../src/store/releases.ts';
import { runKeyOf } from '../../../src/definition/run-key.ts';
import { deploymentId, environmentId, provableDecision, rollbackId, runId } from '../../../src/workflows/messages.ts';
import { type TestApi, projectYaml, startTestApi } from '../../support/api.ts';
import { components } from '../../support/components.ts';
import { foreignProofs, testProofs } from '../../support/proofs.ts';
import { until } from '../../support/until.ts';

/** Workflows that only know how to be spoken to; `approved by` decides what they answer. */
const doubles = new URL('../../support/fakes/spoken-to.ts', import.meta.url).pathname;
const project = `spoken-${randomUUID().slice(0, 8)}`;
const base = `/v1/projects/${project}/environments/production`;
const hash = 'a'.repeat(64);

let api: TestApi;
let worker: Worker;
let polling: Promise<void>;
let connection: NativeConnection;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  api = await startTestApi({ commandTimeoutMs: 5_000 });
  await api.addProject(project);
  const { temporal } = await components('temporal');
  connection = await NativeConnection.connect({ address: temporal.address });
  worker = await Worker.create({
    connection,
    namespace: temporal.namespace,
    taskQueue: api.taskQueue,
    workflowsPath: doubles,
  });
  polling = worker.run();
}, 120_000);
afterAll(async () => {
  worker.shutdown();
  await polling;
  await connection.close();
  await api.close();
});

async function ask(
  token: string | undefined,
  method: InjectOptions['method'],
  url: string,
  body?: object,
  headers: Readonly<Record<string, string>> = {},
  app: FastifyInstance = api.app,
): Promise<LightMyRequestResponse> {
  return await app.inject({
    method: method!,
    url,
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(body === undefined ? {} : { payload: body }),
  });
}

let counter = 0;
async function openOne(): Promise<DeploymentRef> {
  counter += 1;
  const { input } = await openDeployment(api.store.db, {
    project,
    environment: 'production',
    version: '1.0.0',
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: `test:${counter}`,
    startedBy: 'run',
  });
  return input;
}

async function startDouble(type: string, workflowId: string): Promise<void> {
  await api.temporal.workflow.start(type, { workflowId, taskQueue: api.taskQueue, args: [] });
}

async function audit(object: string): Promise<readonly { action: string; actor: string }[]> {
  return (await listAudit(api.store.db, { object }, {})).items.map(({ action, actor }) => ({ action, actor }));
}

describe('without a token there is no answer', () => {
  test.each([
    ['GET', '/v1/runs'],
    ['GET', '/v1/logs/run/x/1/tests/unit/1'],
    ['GET', '/v1/events'],
    ['POST', `${base}/rollback`],
    ['GET', '/v1/nothing-here'],
  ] as const)('%s %s', async (method, url) => {
    const response = await ask(undefined, method, url);
    expect([401, 404]).toContain(response.statusCode);
    if (!url.includes('nothing')) {
      expect(response.statusCode).toBe(401);
      expect(response.headers['www-authenticate']).toBe('Bearer');
    }
    expect((await ask('slp_nonsense', method, url)).statusCode).toBe(response.statusCode);
  });

  test('but for health, readiness and the description of the API', async () => {
    expect((await ask(undefined, 'GET', '/health')).json()).toEqual({ status: 'ok' });
    expect((await ask(undefined, 'GET', '/ready')).json()).toEqual({
      status: 'ready',
      store: 'up',
      temporal: 'up',
      // Nobody has looked yet.
      disks: 'inconclusive',
      notices: 'passed',
    });
    const document = (await ask(undefined, 'GET', '/openapi.json')).json();
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining([
        '/v1/runs',
        '/webhooks/github/{project}',
        `/v1/projects/{project}/environments/{environment}/rollback`,
      ]),
    );
    expect((await ask(undefined, 'GET', '/docs/')).statusCode).toBe(200);
  });
});

describe('roles', () => {
  test.each([
    ['viewer', 'POST', `/v1/projects/${project}/runs`, { ref: 'refs/heads/main', commit: 'a'.repeat(40) }],
    ['developer', 'POST', `${base}/deployments/1/approve`, { plan: hash }],
    ['approver', 'POST', `${base}/rollback`, { reason: 'because' }],
    ['operator', 'PUT', `/v1/projects/${project}`, { text: '' }],
    ['operator', 'POST', '/v1/tokens', { name: 'x', role: 'admin' }],
  ] as const)('%s may not %s %s', async (role, method, url, body) => {
    const response = await ask(await api.token(role), method, url, body);
    expect(response.statusCode).toBe(403);
    expect(response.json().detail).toContain(role);
  });

  test('a revoked token is refused within seconds', async () => {
    const admin = await api.token('admin');
    const made = await ask(admin, 'POST', '/v1/tokens', { name: 'eve', role: 'viewer' });
    expect(made.statusCode).toBe(201);
    const { id, token } = made.json();
    expect((await ask(token, 'GET', '/v1/me')).json()).toEqual({ id, name: 'eve', role: 'viewer', groups: [] });
    await ask(admin, 'POST', `/v1/tokens/${id}/revoke`, {});
    await until(async () => (await ask(token, 'GET', '/v1/me')).statusCode === 401);
    expect(JSON.stringify((await ask(admin, 'GET', '/v1/tokens')).json())).not.toContain(token.slice(4));
  });
});

describe('a decision', () => {
  let approver: string;
  beforeEach(async () => {
    approver = await api.token('approver', ['tech-lead'], 'grace');
  });

  test('carries who decides, with their groups and proof, and is in the audit before', async () => {
    const ref = await openOne();
    await startDouble('deployRelease', deploymentId(ref));
    const response = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, {
      plan: hash.toUpperCase(),
      comment: 'fine',
    });
    expect(response.statusCode).toBe(200);
    const words = { by: 'grace', plan: hash, groups: ['tech-lead'], comment: 'fine' };
    const [{ proof, ...told }] = response.json().counted;
    expect(told).toEqual(words);
    const decision = provableDecision(deploymentId(ref), 'approve', words);
    const receivedAt = new Date().toISOString();
    expect(testProofs.whyNot({ ...decision, proof, receivedAt })).toBeUndefined();
    expect(foreignProofs.whyNot({ ...decision, proof, receivedAt })).toMatch(/another key/);
    const { items } = await listAudit(api.store.db, { object: deploymentId(ref) }, {});
    expect(items[0]?.detail).toMatchObject({ message: words });
    expect(JSON.stringify(items)).not.toContain(proof.mac);
    expect(await audit(deploymentId(ref))).toEqual([{ action: 'deployment.approve', actor: 'grace' }]);
    const shown = (await ask(approver, 'GET', `${base}/deployments/${ref.number}`)).json();
    expect(shown).toMatchObject({ phase: 'awaiting-approval', approvalUntil: '2099-01-01T00:00:00.000Z' });
  });

  test('said again, as by somebody whose answer was lost, is one decision with the same answer', async () => {
    const ref = await openOne();
    await startDouble('deployRelease', deploymentId(ref));
    const once = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash });
    const again = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash });
    expect(again.statusCode).toBe(200);
    expect(again.json()).toEqual(once.json());
    expect(again.json().counted).toHaveLength(1);
    const other = await api.token('approver', ['devops'], 'ada');
    const third = await ask(other, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash });
    expect(third.json().counted).toHaveLength(2);
  });

  test('whose proof was refused is looked at anew when it is made again, and not given the answer of before', async () => {
    const ref = await openOne();
    await startDouble('deployRelease', deploymentId(ref));
    const decide = () =>
      ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash, comment: 'doubt' });
    const first = await decide();
    expect(first.statusCode).toBe(403);
    expect(first.json()).toMatchObject({ detail: expect.stringContaining('SLIPWAY_INSTALLATION_KEY') });
    const second = await decide();
    expect(second.statusCode).toBe(200);
    expect(second.json().counted).toHaveLength(1);
  });

  test.each([
    ['NotAllowed', 403],
    ['Conflict', 409],
    ['TooLate', 409],
  ])(
    'that the workflow refuses as %s gets %i with the reason, and the refusal is in the audit',
    async (type, status) => {
      const ref = await openOne();
      await startDouble('deployRelease', deploymentId(ref));
      const response = await ask(approver, 'POST', `${base}/deployments/${ref.number}/reject`, {
        plan: hash,
        comment: `refuse:${type}`,
      });
      expect(response.statusCode).toBe(status);
      expect(response.json()).toMatchObject({
        type: `urn:slipway:problem:${type}`,
        detail: expect.stringMatching(new RegExp(`^refused as ${type}\\. [A-Z]`)),
      });
      expect(await audit(deploymentId(ref))).toEqual([
        { action: 'deployment.reject.refused', actor: 'grace' },
        { action: 'deployment.reject', actor: 'grace' },
      ]);
    },
  );

  test('that comes after the end gets 409 and says how it ended', async () => {
    const ref = await openOne();
    await applyFacts(api.store.db, [
      {
        key: `end-${ref.number}`,
        fact: {
          kind: 'settled',
          result: { ...ref, outcome: 'expired', reason: 'Nobody decided in time.', steps: [] },
          version: '1.0.0',
          at: new Date().toISOString(),
        },
      },
    ]);
    const response = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash });
    expect(response.statusCode).toBe(409);
    expect(response.json().detail).toContain('expired');
    expect(response.json().detail).toContain('Nobody decided in time.');
  });

  test('on nothing gets 404, with a plan that is no hash 422', async () => {
    expect((await ask(approver, 'POST', `${base}/deployments/999/approve`, { plan: hash })).statusCode).toBe(404);
    const response = await ask(approver, 'POST', `${base}/deployments/1/approve`, { plan: 'yes', more: 1 });
    expect(response.statusCode).toBe(422);
    expect(response.json().errors.map((each: { pointer: string }) => each.pointer)).toContain('/plan');
  });

  test('that cannot be written into the audit is not made', async () => {
    const ref = await openOne();
    await startDouble('deployRelease', deploymentId(ref));
    await api.store.db.schema.alterTable('audit').renameTo('audit_away').execute();
    try {
      const response = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash });
      expect(response.statusCode).toBe(500);
    } finally {
      await api.store.db.schema.alterTable('audit_away').renameTo('audit').execute();
    }
    const heard = await api.temporal.workflow.getHandle(deploymentId(ref)).query<unknown[]>('heard');
    expect(heard).toEqual([]);
  });

  test('for which no worker is there gets 504 in time', async () => {
    const ref = await openOne();
    await api.temporal.workflow.start('deployRelease', {
      workflowId: deploymentId(ref),
      taskQueue: `nobody-${api.taskQueue}`,
      args: [],
    });
    const app = await api.another({ commandTimeoutMs: 500 });
    const response = await ask(approver, 'POST', `${base}/deployments/${ref.number}/approve`, { plan: hash }, {}, app);
    expect(response.statusCode).toBe(504);
    expect(response.json().detail).toMatch(
      /did not answer within 500 ms; no worker may be running\. It may still take/,
    );
    await api.temporal.workflow.getHandle(deploymentId(ref)).terminate();
  });
});

describe('an environment', () => {
  test('is started by the first thing said to it, and answers with the number of the rollback', async () => {
    const operator = await api.token('operator', [], 'oscar');
    const response = await ask(operator, 'POST', `${base}/rollback`, { reason: 'it is bad', to: '0.9.0' });
    expect(response.statusCode).toBe(202);
    expect(response.json()).toEqual({ project, environment: 'production', number: 42 });
    const frozen = await ask(operator, 'POST', `${base}/freeze`, { reason: 'holidays' });
    expect(frozen.json()).toMatchObject({ environment: 'production', hold: { state: 'frozen', by: 'oscar' } });
    expect((await ask(operator, 'GET', base)).json()).toMatchObject({ hold: { reason: 'holidays' } });
    expect((await ask(operator, 'GET', base)).json()).toMatchObject({ live: { version: '1.1.0' }, previous: null });
    const previous = {
      version: '1.0.0',
      commit: 'b'.repeat(40),
      images: [],
      slot: 'blue',
      deployment: 1,
      since: '2026-01-01T00:00:00.000Z',
    };
    await ensureEnvironment(api.store.db, project, 'production');
    await api.store.db
      .updateTable('environments')
      .set({ previous: JSON.stringify(previous) })
      .where('project', '=', project)
      .where('name', '=', 'production')
      .execute();
    // Its slot has been taken; a rollback would start it again.
    const [listed] = (await ask(operator, 'GET', `/v1/environments?project=${project}`)).json();
    expect(listed).toMatchObject({ live: { version: '1.1.0' }, previous: { version: '1.0.0' }, previousStopped: true });
    expect((await ask(operator, 'GET', base)).json()).toMatchObject({ previous: { version: '1.0.0' } });
    expect((await ask(operator, 'POST', `${base}/thaw`)).statusCode).toBe(200);
    const refused = await ask(operator, 'POST', `${base}/unlock`, { reason: 'refuse', stateIs: '1.0.0' });
    expect(refused.statusCode).toBe(409);
    expect(
      (await ask(operator, 'POST', `/v1/projects/${project}/environments/moon/rollback`, { reason: 'x' })).statusCode,
    ).toBe(404);
    await api.temporal.workflow.getHandle(environmentId(project, 'production')).terminate();
  });

  test('whose workflow does not run is shown as the store knows it', async () => {
    const viewer = await api.token('viewer');
    const shown = (await ask(viewer, 'GET', `/v1/projects/${project}/environments/staging`)).json();
    expect(shown).toMatchObject({ project, environment: 'staging', live: null, queue: [] });
    const all = (await ask(viewer, 'GET', `/v1/environments?project=${project}`)).json();
    expect(all.map((each: { environment: string }) => each.environment)).toContain('production');
  });

  test('is given a recorded release, once for each key', async () => {
    const developer = await api.token('developer', [], 'dora');
    await recordRelease(api.store.db, {
      project,
      version: '3.0.0',
      build: 3,
      commit: 'c'.repeat(40),
      images: [],
      definition: 'd',
      migrations: [],
      author: 'ada',
    });
    const url = `/v1/projects/${project}/environments/staging/deployments`;
    const headers = { 'idempotency-key': 'one' };
    const first = await ask(developer, 'POST', url, { version: 'v3.0.0' }, headers);
    expect(first.statusCode).toBe(202);
    expect(first.json()).toEqual({ project, environment: 'staging', number: 1 });
    expect((await ask(developer, 'POST', url, { version: '3.0.0' }, headers)).json().number).toBe(1);
    expect((await ask(developer, 'POST', url, { version: '9.9.9' })).statusCode).toBe(404);
    const record = await readDeployment(api.store.db, first.json());
    expect(record).toMatchObject({
      version: '3.0.0',
      requestedBy: 'dora',
      author: 'ada',
      input: { involved: ['dora'] },
    });
    await until(() => api.temporal.workflow.getHandle(deploymentId(first.json())).describe());
  });

  test('is not given a release whose image is being removed just now: that can be asked again', async () => {
    const developer = await api.token('developer', [], 'dora');
    const repository = '127.0.0.1:5000/shop/web';
    const images = [{ name: 'web', repository, digest: 'sha256:a' }];
    const more = { build: 4, commit: 'c'.repeat(40), definition: 'd', migrations: [], author: 'ada' };
    await recordRelease(api.store.db, { project, version: '4.0.0', images, ...more });
    const removal = { holder: 'retention 1', project, repository };
    expect(await claimRemoval(api.store.db, removal, ['sha256:a'])).toBe(true);
    const url = `/v1/projects/${project}/environments/staging/deployments`;
    const headers = { 'idempotency-key': 'four' };
    const refused = await ask(developer, 'POST', url, { version: '4.0.0' }, headers);
    expect(refused.statusCode).toBe(409);
    expect(refused.json()).toMatchObject({ detail: expect.stringContaining(`Retention is removing ${repository}`) });
    await endRemoval(api.store.db, removal);
    expect((await ask(developer, 'POST', url, { version: '4.0.0' }, headers)).statusCode).toBe(202);
  });
});

describe('a run', () => {
  test('that was to deploy nothing deploys nothing when it is done again by hand', async () => {
    const { number } = await acceptRun(api.store.db, {
      project,
      key: runKeyOf(randomUUID()),
      event: { kind: 'manual', ref: 'refs/heads/main', before: '0'.repeat(40), after: 'c'.repeat(40), author: 'ada' },
      acceptedAt: new Date().toISOString(),
      checksOnly: true,
    });
    const developer = await api.token('developer', [], 'dora');
    const rerun = await ask(developer, 'POST', `/v1/projects/${project}/runs/${number}/rerun`, {});
    expect(rerun.statusCode).toBe(202);
    const { input } = (await readRun(api.store.db, project, rerun.json().run.number))!;
    expect(input).toMatchObject({ requestedBy: 'dora', checksOnly: true });
  });

  test('by hand is one for each idempotency key, and another request under it is refused', async () => {
    const developer = await api.token('developer', [], 'dora');
    const url = `/v1/projects/${project}/runs`;
    const body = { ref: 'refs/heads/main', commit: 'a'.repeat(40) };
    const headers = { 'idempotency-key': 'k-1' };
    const first = await ask(developer, 'POST', url, body, headers);
    expect(first.statusCode).toBe(202);
    const again = await ask(developer, 'POST', url, body, headers);
    expect(again.json()).toEqual({ ...first.json<object>(), created: false });
    const other = await ask(developer, 'POST', url, { ...body, commit: 'b'.repeat(40) }, headers);
    expect(other.statusCode).toBe(409);
    const { run } = first.json();
    await until(() => api.temporal.workflow.getHandle(runId(project, run.key)).describe());
    const shown = (await ask(developer, 'GET', `${url}/${run.number}`)).json();
    expect(shown).toMatchObject({ kind: 'manual', author: 'dora', commit: 'a'.repeat(40), stages: [] });
    const rita = await api.token('developer', [], 'rita');
    const rerun = await ask(rita, 'POST', `${url}/${run.number}/rerun`, {});
    expect(rerun.json()).toMatchObject({ created: true });
    const { input } = (await readRun(api.store.db, project, rerun.json().run.number))!;
    expect(input).toMatchObject({ requestedBy: 'rita', event: { author: 'dora' } });
    expect((await ask(developer, 'POST', `${url}/${run.number}/rerun`, { from: 'approval' })).statusCode).toBe(409);
    const approver = await api.token('approver', [], 'anna');
    const allow = `${url}/${run.number}/allow`;
    expect((await ask(developer, 'POST', allow, { commit: 'a'.repeat(40) })).statusCode).toBe(403);
    expect((await ask(approver, 'POST', allow, { commit: 'main' })).statusCode).toBe(422);
    expect((await ask(approver, 'POST', allow, { commit: 'AAAAAAAA' })).statusCode).toBe(202);
    expect(await api.temporal.workflow.getHandle(runId(project, run.key)).query('allowed')).toEqual([
      {
        by: 'anna',
        commit: 'aaaaaaaa',
        proof: expect.objectContaining({ mac: expect.stringMatching(/^[0-9a-f]{64}$/) }),
      },
    ]);
    expect(await audit(runId(project, run.key))).toContainEqual(
      expect.objectContaining({ action: 'run.allow', actor: 'anna' }),
    );
    const aborted = await ask(developer, 'POST', `${url}/${run.number}/abort`, { reason: 'not needed' });
    expect(aborted.statusCode).toBe(202);
    expect((await ask(developer, 'GET', `${url}/999`)).statusCode).toBe(404);
    expect((await ask(developer, 'POST', url, { ref: 'main' })).statusCode).toBe(422);
  });

  test('by hand is refused where no route is for what it was given, and taken where its commit may know more', async () => {
    const routed = `routed-${randomUUID().slice(0, 8)}`;
    const route = '{ on: push, ref: main, when: { parameter: { DEPLOY_ENV: [staging] } }, environments: [staging] }';
    await api.addProject(routed, `routes: [${route}]\n`);
    const developer = await api.token('developer', [], 'dora');
    const start = async (parameters?: object): Promise<readonly [number, string | undefined]> => {
      const body = { ref: 'refs/heads/main', commit: 'a'.repeat(40), parameters };
      const response = await ask(developer, 'POST', `/v1/projects/${routed}/runs`, body);
      return [response.statusCode, response.json().detail];
    };
    const why = 'No route for main is for these parameters: DEPLOY_ENV `qa`.';
    expect(await start({ DEPLOY_ENV: 'qa' })).toEqual([400, expect.stringContaining(why)]);
    expect(await start({ DEPLOY_ENV: 'staging' })).toEqual([202, undefined]);
    expect(await start()).toEqual([202, undefined]);
  });

  test('that never reached Temporal cannot be aborted, and says so', async () => {
    const run = await openRun(api.store.db, {
      project,
      key: 'never-started',
      event: { kind: 'push', ref: 'refs/heads/main', before: '0'.repeat(40), after: 'f'.repeat(40), author: 'ada' },
      acceptedAt: new Date().toISOString(),
    });
    const developer = await api.token('developer');
    const response = await ask(developer, 'POST', `/v1/projects/${project}/runs/${run.number}/abort`);
    expect(response.statusCode).toBe(409);
  });
});

describe('a rollback', () => {
  async function openRollback(): Promise<DeploymentRef> {
    const { input } = await openDeployment(api.store.db, {
      project,
      environment: 'production',
      version: '1.0.0',
      requestedBy: 'ada',
      author: 'ada',
      priority: 'rollback',
      requestedAt: new Date().toISOString(),
      kind: 'rollback',
      request: `rollback:${randomUUID()}`,
      startedBy: 'environment',
    });
    return input;
  }

  test('is aborted by its number, like a deployment', async () => {
    const ref = await openRollback();
    await startDouble('rollbackRelease', rollbackId(ref));
    const operator = await api.token('operator', [], 'olga');
    const response = await ask(operator, 'POST', `${base}/deployments/${ref.number}/abort`, { reason: 'wrong one' });
    expect([response.statusCode, response.json()]).toEqual([202, { accepted: true }]);
    expect(await api.temporal.workflow.getHandle(rollbackId(ref)).query('told')).toBe('olga: wrong one');
    expect(await audit(rollbackId(ref))).toMatchObject([{ action: 'deployment.abort', actor: 'olga' }]);
  });

  test('that waits for the turn is taken out by its environment', async () => {
    const ref = await openRollback();
    const operator = await api.token('operator', [], 'olga');
    await ask(operator, 'POST', `${base}/freeze`, { reason: 'so that its workflow runs' });
    const response = await ask(operator, 'POST', `${base}/deployments/${ref.number}/abort`, { reason: 'wrong one' });
    expect(response.statusCode).toBe(202);
    const ours = api.temporal.workflow.getHandle(environmentId(project, 'production'));
    await until(async () => {
      const withdrawn = await ours.query<{ number: number; by?: string; reason: string }[]>('withdrawn');
      return withdrawn.some(
        ({ number, by, reason }) => number === ref.number && by === 'olga' && reason === 'wrong one',
      );
    });
  });

  test('that has ended, and a number that nothing has, are said to be so', async () => {
    const ref = await openRollback();
    const result = { ...ref, outcome: 'rolled-back' as const, reason: 'It serves.', steps: [] };
    const fact = { kind: 'settled' as const, result, version: '1.0.0', at: new Date().toISOString() };
    await applyFacts(api.store.db, [{ key: `ended/${ref.number}`, fact }]);
    const operator = await api.token('operator');
    const ended = await ask(operator, 'POST', `${base}/deployments/${ref.number}/abort`);
    expect([ended.statusCode, ended.json().detail]).toEqual([409, expect.stringContaining('has ended rolled-back')]);
    expect((await ask(operator, 'POST', `${base}/deployments/987654/abort`)).statusCode).toBe(404);
  });
});

describe('a project', () => {
  test('is put with a diff that is kept, and a wrong one with all that is wrong', async () => {
    const admin = await api.token('admin', [], 'root');
    const name = `put-${counter}`;
    const url = `/v1/projects/${name}`;
    const text = projectYaml(name);
    expect((await ask(admin, 'PUT', url, { text })).json()).toEqual({ revision: 1, changed: true, diff: '' });
    expect((await ask(admin, 'PUT', url, { text })).json()).toMatchObject({ revision: 1, changed: false });
    const changed = text.replace('insecure: true', 'insecure: false');
    const dry = await ask(admin, 'PUT', `${url}?dryRun=true`, { text: changed });
    expect(dry.json()).toMatchObject({ revision: 1, changed: true });
    const put = (await ask(admin, 'PUT', url, { text: changed })).json();
    expect(put).toMatchObject({ revision: 2, changed: true });
    expect(put.diff).toContain('-  insecure: true\n+  insecure: false\n');
    expect((await ask(admin, 'GET', url)).json()).toMatchObject({ revision: 2, text: changed });
    expect((await ask(admin, 'GET', `${url}/revisions`)).json()).toMatchObject([
      { revision: 2, by: 'root' },
      { revision: 1 },
    ]);
    const wrong = await ask(admin, 'PUT', url, {
      text: changed.replace('address: 127', 'adress: 127').replace('version: 1', 'version: 2'),
    });
    expect(wrong.statusCode).toBe(422);
    expect(wrong.json().problems.length).toBeGreaterThanOrEqual(2);
    expect(wrong.json().problems[0]).toMatchObject({ file: 'project.yaml', line: expect.any(Number) });
    expect((await ask(admin, 'PUT', '/v1/projects/another', { text })).statusCode).toBe(400);
  });
});
