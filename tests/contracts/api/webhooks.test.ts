import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { LightMyRequestResponse } from 'fastify';
import { strangerRate } from '../../../src/api/rate-limit.ts';
import { acceptRun, runsToStart } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { listRuns } from '../../../src/store/runs.ts';
import { runId } from '../../../src/workflows/messages.ts';
import { type TestApi, absentSecret, deliver, projectYaml, pushBody, sign, startTestApi } from '../../support/api.ts';
import { until } from '../../support/until.ts';

const narrowRoutes = `routes:
  - { on: push, ref: '{main,feature/**}' }
  - { on: tag }
  - { on: pull-request }
`;

// Temporal keeps workflows between two runs of the tests; with the same names the second would find those of the first.
const run = randomUUID().slice(0, 8);
const hello = `hello-${run}`;
const left = `left-${run}`;
const burst = `burst-${run}`;
const other = `other-${run}`;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.addProject(hello, narrowRoutes);
}, 180_000);
afterAll(async () => {
  await api.close();
});

async function startedWorkflow(project: string, key: string) {
  return await api.temporal.workflow.getHandle(runId(project, key)).describe();
}

describe('a delivery', () => {
  test('of a push is accepted, starts its run once, and answers with the same run when it comes again', async () => {
    const first = await deliver(api.app, hello, pushBody(1), { id: 'one' });
    expect(first.statusCode).toBe(202);
    const answer = first.json();
    expect(answer).toMatchObject({ status: 'accepted', created: true, run: { project: hello, number: 1 } });
    for (const id of ['one', 'two']) {
      const again = await deliver(api.app, hello, pushBody(1), { id });
      expect(again.statusCode).toBe(202);
      expect(again.json()).toEqual({ ...answer, created: false });
    }
    const workflow = await until(() => startedWorkflow(hello, answer.run.key));
    expect(workflow).toMatchObject({ workflowId: answer.run.id, type: 'runPipeline', taskQueue: api.taskQueue });
    const attributes = Object.fromEntries(
      workflow.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
    );
    expect(attributes).toMatchObject({ SlipwayProject: hello, SlipwayPhase: 'preparing' });
    await until(async () => (await runsToStart(api.store.db, { olderThanMs: 0, limit: 100 })).length === 0);
  });

  test('of a tag on the same commit is a run of its own', async () => {
    const branch = await deliver(api.app, hello, pushBody(2));
    const tag = await deliver(api.app, hello, pushBody(2, { ref: 'refs/tags/v1.2.0' }));
    expect(tag.json().run.key).not.toBe(branch.json().run.key);
  });

  test('of a pull request from a fork says so', async () => {
    const body = {
      action: 'synchronize',
      number: 7,
      pull_request: {
        title: 'Better',
        user: { login: 'eve' },
        head: { sha: 'b'.repeat(40), repo: { full_name: 'eve/hello' } },
        base: { sha: 'a'.repeat(40), repo: { full_name: 'team/hello' } },
      },
      sender: { login: 'eve' },
    };
    const response = await deliver(api.app, hello, body, { event: 'pull_request' });
    expect(response.json()).toMatchObject({ status: 'accepted' });
    const { items } = await listRuns(api.store.db, { ref: 'refs/pull/7/head' }, {});
    expect(items).toMatchObject([{ kind: 'pull-request', author: 'eve', commit: 'b'.repeat(40) }]);
    const closed = await deliver(api.app, hello, { ...body, action: 'closed' }, { event: 'pull_request' });
    expect(closed.json()).toMatchObject({ status: 'ignored' });
  });

  test.each([
    ['ping', 'ping', { zen: 'Keep it logically awesome.' }],
    ['something else', 'watch', { action: 'started' }],
    ['a deleted branch', 'push', pushBody(3, { deleted: true, after: '0'.repeat(40) })],
    ['a branch that leads nowhere', 'push', pushBody(3, { ref: 'refs/heads/wip' })],
    ['neither branch nor tag', 'push', pushBody(3, { ref: 'refs/notes/commits' })],
  ])('of %s is answered with 202 and ignored, with the reason', async (_name, event, body) => {
    const before = (await listRuns(api.store.db, {}, {})).items.length;
    const response = await deliver(api.app, hello, body, { event });
    expect(response.statusCode).toBe(202);
    expect(response.json()).toEqual({ status: 'ignored', reason: expect.stringMatching(/.{10,}/) });
    expect((await listRuns(api.store.db, {}, {})).items.length).toBe(before);
  });

  test('is taken with the next secret too, and in the form of a form', async () => {
    const next = await deliver(api.app, hello, pushBody(4), { secret: 'the next secret' });
    expect(next.statusCode).toBe(202);
    const form = new URLSearchParams({ payload: JSON.stringify(pushBody(5)) }).toString();
    const response = await deliver(api.app, hello, form, { contentType: 'application/x-www-form-urlencoded' });
    expect(response.json()).toMatchObject({ status: 'accepted' });
  });

  test('at the shared address finds the one project whose repository sent it', async () => {
    await api.addProject(other);
    const body = pushBody(6, { repository: { clone_url: `git@GIT.example.com:team/${other}` } });
    const response = await deliver(api.app, '', body, { url: '/github-webhook/' });
    expect(response.json()).toMatchObject({ run: { project: other, number: 1 } });
  });

  test('at the shared address that proves nothing is told the same, whether its repository is known, unknown, of several or without secrets', async () => {
    const names = ['known', 'twin-a', 'twin-b', 'absent-at'].map((name) => `${name}-${run}`);
    const [known = '', twin = '', otherTwin = '', absent = ''] = names;
    await api.addProject(known);
    await api.addProject(twin);
    for (const [name, text] of [
      [otherTwin, projectYaml(otherTwin).replace(`/${otherTwin}.git`, `/${twin}.git`)],
      [absent, projectYaml(absent).replace('env: WEBHOOK', `env: ${absentSecret}`)],
    ] as const) {
      await putProject(api.store.db, { name, text, hash: name, diff: '', by: 'ada' });
    }
    const send = async (repository: string, options: object = {}): Promise<readonly [number, unknown]> => {
      const body = pushBody(6, { repository: { clone_url: `https://git.example.com/team/${repository}.git` } });
      const response = await deliver(api.app, '', body, { url: '/github-webhook/', ...options });
      return [response.statusCode, response.json()];
    };
    const unknown = await send('nobody');
    expect(unknown).toEqual([401, expect.objectContaining({ type: 'urn:slipway:problem:SignatureInvalid' })]);
    for (const name of [known, twin, absent])
      expect(await send(name, { signature: sign('something else') })).toEqual(unknown);
    expect(await send(absent)).toEqual(unknown);
    // Whoever has proved it is told what is wrong.
    expect(await send(twin)).toEqual([409, expect.objectContaining({ detail: expect.stringContaining('Several') })]);
    expect(await send(known)).toEqual([202, expect.objectContaining({ status: 'accepted' })]);
  });
});

describe('a delivery that is refused', () => {
  const large = JSON.stringify({ ...pushBody(8), padding: 'x'.repeat(5 * 1024 * 1024) });
  test.each([
    ['with a wrong signature', 401, hello, pushBody(8), { signature: sign('something else') }],
    ['without a signature', 401, hello, pushBody(8), { signature: '' }],
    ['with an unsigned mistake in the JSON', 401, hello, '{"ref":', { signature: 'sha256=00' }],
    ['with a mistake in the JSON', 400, hello, '{"ref":', {}],
    ['with a field of the wrong kind', 400, hello, pushBody(8, { after: 'main' }), {}],
    ['for nobody', 404, 'nobody', pushBody(8), {}],
    ['that is too large', 413, hello, large, {}],
    ['in another form', 415, hello, 'a: b', { contentType: 'application/yaml' }],
  ] as const)('%s gets %i, as a problem document, and no run', async (_name, status, project, body, options) => {
    const before = (await listRuns(api.store.db, {}, {})).items.length;
    const response = await deliver(api.app, project, body, options);
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(response.json()).toMatchObject({
      status,
      type: expect.stringMatching(/^urn:slipway:problem:/),
      // Of the type, and no sentence; this case, and what to do about it.
      title: expect.stringMatching(/^[A-Z][a-z]+(?: [a-z]+)*$/),
      detail: expect.stringMatching(/^[A-Z].+[.!?]`? [A-Z`].+\.$/s),
    });
    expect((await listRuns(api.store.db, {}, {})).items.length).toBe(before);
  });

  test('because a secret cannot be read says nothing of its name to somebody unproved, and its log does', async () => {
    const name = `absent-${run}`;
    const text = projectYaml(name, narrowRoutes).replace('env: WEBHOOK', `env: ${absentSecret}`);
    await putProject(api.store.db, { name, text, hash: name, diff: '', by: 'ada' });
    const response = await deliver(api.app, name, pushBody(8), { signature: '' });
    expect(response.statusCode).toBe(500);
    expect(response.json()).toMatchObject({ type: 'urn:slipway:problem:ConfigurationInvalid' });
    expect(response.body).not.toContain(absentSecret);
  });

  test('because a secret cannot be read keeps nobody from what they do to the project', async () => {
    const name = `absent-too-${run}`;
    const text = projectYaml(name, narrowRoutes).replace('env: WEBHOOK', `env: ${absentSecret}`);
    await putProject(api.store.db, { name, text, hash: name, diff: '', by: 'ada' });
    const answer = await api.app.inject({
      method: 'POST',
      url: `/v1/projects/${name}/environments/nowhere/rollback`,
      headers: { authorization: `Bearer ${await api.token('admin')}` },
      payload: { reason: 'it is slow' },
    });
    // It came as far as to be looked at.
    expect([answer.statusCode, answer.json().detail]).toEqual([
      404,
      expect.stringContaining(`${name} has no environment nowhere.`),
    ]);
  });

  test('for its size is refused before anything is read of it: by what it announces, and where it announces nothing by what has come', async () => {
    const limit = 5 * 1024 * 1024;
    const padded = (bytes: number): string => {
      const empty = JSON.stringify({ ...pushBody(9), padding: '' });
      return JSON.stringify({ ...pushBody(9), padding: 'x'.repeat(bytes - empty.length) });
    };
    const largest = await deliver(api.app, hello, padded(limit), { event: 'ping' });
    expect(largest.statusCode).toBe(202);
    // Neither its signature nor its JSON is looked at.
    const unsigned = await deliver(api.app, hello, '{'.repeat(limit + 1), { signature: 'sha256=00' });
    expect(unsigned.statusCode).toBe(413);
    const address = new URL(await (await api.another()).listen({ port: 0, host: '127.0.0.1' }));
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const outgoing = request(
        new URL(`/webhooks/github/${hello}`, address),
        { method: 'POST', headers: { 'content-type': 'application/json', 'x-github-event': 'push' } },
        (response) => {
          resolve(response.statusCode);
          outgoing
            .removeListener('error', reject)
            .on('error', () => undefined)
            .destroy();
        },
      );
      outgoing.on('error', reject);
      // One byte too many and no end: it is answered for what has come.
      outgoing.write(Buffer.alloc(limit + 1, '{'));
    });
    expect(status).toBe(413);
  });

  test('for coming too fast is told when to come again, and others are not affected', async () => {
    await api.addProject('fast');
    const app = await api.another({ webhookBurst: 3, webhooksPerMinute: 60 });
    const statuses = [];
    for (let number = 0; number < 4; number += 1) {
      const response = await deliver(app, 'fast', pushBody(number), { event: 'ping' });
      statuses.push(response.statusCode);
      if (number === 3) {
        expect(response.headers['retry-after']).toBe('1');
        expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
        expect(response.json()).toMatchObject({ type: 'urn:slipway:problem:TooMany', status: 429 });
      }
    }
    expect(statuses).toEqual([202, 202, 202, 429]);
    expect((await deliver(app, hello, pushBody(0), { event: 'ping' })).statusCode).toBe(202);
    // What nobody signed is not counted.
    expect((await deliver(app, 'fast', pushBody(0), { signature: 'sha256=00' })).statusCode).toBe(401);
  });

  test('at the shared address is not read any more when too many from there have proved nothing', async () => {
    const app = await api.another();
    const shared = (signed: boolean, body: unknown): Promise<LightMyRequestResponse> =>
      deliver(app, '', body, { url: '/github-webhook/', event: 'ping', ...(signed ? {} : { signature: 'sha256=00' }) });
    const name = `shared-${run}`;
    await api.addProject(name);
    const own = pushBody(1, { repository: { clone_url: `https://git.example.com/team/${name}.git` } });
    // What is proved counts nothing, however much it is.
    for (let sent = 0; sent <= strangerRate.burst; sent += 1) expect((await shared(true, own)).statusCode).toBe(202);
    const statuses = new Set<number>();
    for (let sent = 0; sent < strangerRate.burst; sent += 1) statuses.add((await shared(false, own)).statusCode);
    expect(statuses).toEqual(new Set([401]));
    let last = await shared(false, own);
    // It fills while it is emptied.
    for (let sent = 0; last.statusCode === 401 && sent < strangerRate.burst; sent += 1) last = await shared(false, own);
    expect(last.statusCode).toBe(429);
    expect(Number(last.headers['retry-after'])).toBeGreaterThan(0);
    // Of its body nothing is looked at.
    const unread = await shared(false, '{'.repeat(5 * 1024 * 1024 + 1));
    expect(unread.statusCode).toBe(429);
    expect((await deliver(app, name, own, { event: 'ping' })).statusCode).toBe(202);
  }, 60_000);

  test('because the store is away tells nothing about it but an id', async () => {
    const app = await api.another();
    await deliver(app, hello, {}, { event: 'ping' });
    await api.store.db.schema.alterTable('deliveries').renameTo('deliveries_away').execute();
    try {
      const response = await deliver(app, hello, pushBody(99));
      expect(response.statusCode).toBe(500);
      expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(response.json().instance).toMatch(/^urn:uuid:/);
      expect(response.body).not.toMatch(/relation|deliveries|select|pg_/i);
    } finally {
      await api.store.db.schema.alterTable('deliveries_away').renameTo('deliveries').execute();
    }
  });
});

describe('what was accepted', () => {
  test('is started by the sweeper of the next process when the first one died before', async () => {
    await api.addProject(left);
    const event = {
      kind: 'push' as const,
      ref: 'refs/heads/main',
      before: '0'.repeat(40),
      after: '9'.repeat(40),
      author: 'ada',
    };
    const run = await acceptRun(api.store.db, {
      project: left,
      key: 'left-behind',
      event,
      acceptedAt: new Date().toISOString(),
    });
    const app = await api.another({ sweepMs: 50 });
    await app.ready();
    await until(() => startedWorkflow(left, run.key));
    await until(async () => (await listRuns(api.store.db, { project: left }, {})).items[0]?.startedAt);
  });

  test('in a burst of 300 over 50 connections is complete: each exactly one run, none lost', async () => {
    await api.addProject(burst);
    const address = await api.app.listen({ port: 0, host: '127.0.0.1' });
    const bodies = Array.from({ length: 300 }, (_, index) =>
      JSON.stringify(pushBody(index + 1, { ref: `refs/heads/feature/${index}` })),
    );
    const queue = [...bodies.entries()];
    const statuses: number[] = [];
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          const [index, body] = next;
          const response = await fetch(`${address}/webhooks/github/${burst}`, {
            method: 'POST',
            body,
            headers: {
              'content-type': 'application/json',
              'x-github-event': 'push',
              'x-github-delivery': `burst-${index}`,
              'x-hub-signature-256': sign(body),
            },
          });
          statuses.push(response.status);
          await response.arrayBuffer();
        }
      }),
    );
    expect(statuses.filter((status) => status === 202)).toHaveLength(300);
    const { rows } = await api.store.pool.query<{ runs: number; numbers: number; highest: number }>(
      `select count(*) runs, count(distinct number) numbers, max(number) highest from runs where project = $1`,
      [burst],
    );
    expect(rows).toEqual([{ runs: 300, numbers: 300, highest: 300 }]);
    await until(async () => (await runsToStart(api.store.db, { olderThanMs: 0, limit: 500 })).length === 0, {
      timeoutMs: 60_000,
    });
  }, 120_000);
});
