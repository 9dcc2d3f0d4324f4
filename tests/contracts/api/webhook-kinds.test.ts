import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { LightMyRequestResponse } from 'fastify';
import { runKey } from '../../../src/definition/run-key.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { forgeKinds } from '../../../src/providers/forges/index.ts';
import { listRuns } from '../../../src/store/runs.ts';
import { type TestApi, deliver, pushBody, signingToken, startTestApi, webhookSecret } from '../../support/api.ts';
import { type Draft, dialects } from '../../support/forge-dialects.ts';

// Temporal keeps workflows between two runs of the tests.
const run = randomUUID().slice(0, 8);
const named = (what: string): string => `${what}-${run}`;
const sha = (digit: string): string => digit.repeat(40);
const whole = `${sha('c').slice(0, 39)}d`;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ webhookBurst: 100_000 }, async (_project, ref) => {
    await Promise.resolve();
    return ref === 'refs/heads/moved' ? sha('e') : whole;
  });
  for (const kind of forgeKinds) await api.addProject(named(kind), '', kind);
}, 60_000);
afterAll(async () => {
  await api.close();
});

async function send(
  kind: (typeof forgeKinds)[number],
  draft: Draft,
  over: { readonly id?: string; readonly at?: Date; readonly url?: string } = {},
): Promise<LightMyRequestResponse> {
  const text = JSON.stringify(draft.body);
  const secret = kind === 'generic' ? signingToken : webhookSecret;
  const headers = dialects[kind].headers(draft, text, secret, {
    id: over.id ?? randomUUID(),
    at: over.at ?? new Date(),
  });
  return await api.app.inject({
    method: 'POST',
    url: over.url ?? `/webhooks/${kind}/${named(kind)}`,
    headers,
    payload: text,
  });
}

describe.each(forgeKinds)('%s', (kind) => {
  const told = {
    ref: 'refs/heads/main',
    before: sha('a'),
    after: sha('b'),
    author: 'ada',
    message: 'a change',
    repository: 'https://git.example.com/team/app',
  };

  test('a push is one run, however often and under whatever id it comes', async () => {
    const id = randomUUID();
    const first = await send(kind, dialects[kind].push(told), { id });
    expect(first.statusCode).toBe(202);
    expect(first.json()).toMatchObject({ status: 'accepted', created: true, run: { project: named(kind), number: 1 } });
    const replayed = await send(kind, dialects[kind].push(told), { id });
    expect(replayed.json()).toEqual({ ...first.json<object>(), created: false });
    const underAnother = await send(kind, dialects[kind].push(told));
    expect(underAnother.json()).toEqual({ ...first.json<object>(), created: false });
  });

  test('an id that was used before leads to what it led to then, whatever comes with it', async () => {
    const id = randomUUID();
    const first = await send(kind, dialects[kind].push({ ...told, after: sha('7') }), { id });
    const other = await send(kind, dialects[kind].push({ ...told, after: sha('8') }), { id });
    expect(other.json()).toEqual({ ...first.json<object>(), created: false });
  });

  test('a tag on the same commit is another run', async () => {
    const tag = await send(kind, dialects[kind].push({ ...told, ref: 'refs/tags/v1.0.0', before: sha('0') }));
    expect(tag.json()).toMatchObject({ status: 'accepted', created: true });
    const { items } = await listRuns(api.store.db, { project: named(kind), ref: 'refs/tags/v1.0.0' }, {});
    expect(items).toMatchObject([{ kind: 'tag', commit: sha('b'), author: 'ada' }]);
  });

  test('a pull request is a run of its head', async () => {
    const draft = dialects[kind].pullRequest({
      ...told,
      number: 7,
      branch: 'better',
      into: 'main',
      fork: false,
      action: 'opened',
      after: whole,
    });
    expect((await send(kind, draft)).json()).toMatchObject({ status: 'accepted' });
    const { items } = await listRuns(api.store.db, { project: named(kind), ref: 'refs/pull/7/head' }, {});
    expect(items).toMatchObject([{ kind: 'pull-request', commit: whole }]);
  });

  test('a pull request that is given another target is a run for that, however often it is told and each time it goes', async () => {
    const ref = 'refs/pull/8/head';
    const draft = (over: object): Draft =>
      dialects[kind].pullRequest({
        ...told,
        ...{ number: 8, branch: 'better', into: 'docs', fork: false, action: 'opened', after: whole, at: '1' },
        ...over,
      });
    const events = async (): Promise<readonly SourceEvent[]> => {
      const runs = api.store.db.selectFrom('runs').select('input').where('project', '=', named(kind));
      return (await runs.where('ref', '=', ref).orderBy('number').execute()).map(({ input }) => input.event);
    };
    const targets = async (): Promise<readonly (string | undefined)[]> => (await events()).map(({ into }) => into);
    const opened = await send(kind, draft({}));
    const toMain = { action: 'retargeted', was: 'docs', into: 'main' };
    // A generic delivery has no moment of its own but that of its signature.
    const now = Date.now();
    const moved = await send(kind, draft({ ...toMain, at: '2' }), { at: new Date(now - 3_000) });
    expect(moved.json()).toMatchObject({ status: 'accepted', created: true });
    expect(await targets()).toEqual(['docs', 'main']);
    const again = await send(kind, draft({ ...toMain, at: '2' }), { at: new Date(now - 3_000) });
    expect(again.json()).toMatchObject({ status: 'accepted', created: false, run: moved.json().run });
    const back = draft({ action: 'retargeted', was: 'main', into: 'docs', at: '3' });
    expect((await send(kind, back, { at: new Date(now - 2_000) })).json()).toMatchObject({ created: true });
    const onceMore = draft({ ...toMain, at: '4' });
    expect((await send(kind, onceMore, { at: new Date(now - 1_000) })).json()).toMatchObject({ created: true });
    expect(await targets()).toEqual(['docs', 'main', 'docs', 'main']);
    // The key of the first has nothing of the target, as those of older runs.
    const before = (await events())[0]?.before ?? '';
    expect(opened.json().run.key).toBe(runKey({ kind: 'pull-request', ref, before, after: whole }));
  });

  test('is refused without its signature, and at the address of another kind', async () => {
    const draft = dialects[kind].push(told);
    const unsigned = await api.app.inject({
      method: 'POST',
      url: `/webhooks/${kind}/${named(kind)}`,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(draft.body),
    });
    expect(unsigned.statusCode).toBe(401);
    const elsewhere = kind === 'github' ? 'gitlab' : 'github';
    const wrong = await send(kind, draft, { url: `/webhooks/${elsewhere}/${named(kind)}` });
    expect(wrong.statusCode).toBe(404);
    expect(wrong.json().detail).toContain(`/webhooks/${kind}/${named(kind)}`);
  });

  test('anything else is ignored with 202 and a reason', async () => {
    const other = await send(kind, dialects[kind].other);
    expect(other.statusCode).toBe(202);
    expect(other.json()).toMatchObject({ status: 'ignored', reason: expect.stringMatching(/.{10,}/) });
  });
});

test('an edit that leaves the target as it is starts nothing, and where the forge does not say which it was the newest run tells', async () => {
  const told = {
    ...{
      before: sha('a'),
      after: whole,
      author: 'ada',
      message: 'a change',
      repository: 'https://git.example.com/team/app',
    },
    ...{ number: 12, branch: 'better', into: 'docs', fork: false },
  };
  const opened = (kind: (typeof forgeKinds)[number]): Draft =>
    dialects[kind].pullRequest({ ...told, action: 'opened' });
  const edited = (kind: (typeof forgeKinds)[number], into: string, at: string): Draft => {
    const draft = dialects[kind].pullRequest({ ...told, action: 'retargeted', was: into, into, at });
    return { ...draft, body: { ...(draft.body as object), changes: undefined } };
  };
  for (const kind of ['github', 'gitlab', 'gitea', 'bitbucket-data-center'] as const) {
    await send(kind, opened(kind));
    expect([kind, (await send(kind, edited(kind, 'docs', '2'))).json()]).toMatchObject([kind, { status: 'ignored' }]);
  }
  // An older GitLab says of a target that was changed only that something was.
  expect((await send('gitlab', edited('gitlab', 'main', '3'))).json()).toMatchObject({ created: true });
  expect((await send('gitlab', edited('gitlab', 'main', '4'))).json()).toMatchObject({ status: 'ignored' });
  const { run } = (await send('bitbucket', opened('bitbucket'))).json();
  expect((await send('bitbucket', edited('bitbucket', 'docs', '2'))).json()).toMatchObject({ created: false, run });
  const moved = (await send('bitbucket', edited('bitbucket', 'main', '3'))).json();
  expect(moved).toMatchObject({ created: true });
  const retitled = (await send('bitbucket', edited('bitbucket', 'main', '4'))).json();
  expect(retitled).toMatchObject({ created: false, run: moved.run });
});

test('a signature that is too old is refused, and says so', async () => {
  const old = await send('generic', dialects.generic.other, { at: new Date(Date.now() - 600_000) });
  expect(old.statusCode).toBe(401);
  expect(old.json().detail).toContain('too long ago');
});

test('several branches of one delivery are several runs, found again by its id', async () => {
  const tip = (name: string, digit: string): unknown => ({ type: 'branch', name, target: { hash: sha(digit) } });
  const changes = [1, 2, 3].map((number) => ({ old: null, new: tip(`many-${number}`, String(number)) }));
  const draft = { event: 'repo:push', body: { push: { changes } } };
  const id = randomUUID();
  const first = (await send('bitbucket', draft, { id })).json();
  expect([first, ...first.more].map(({ created }) => created)).toEqual([true, true, true]);
  const again = (await send('bitbucket', draft, { id })).json();
  expect(again.run).toEqual(first.run);
  expect(again.more.map((one: { run: unknown }) => one.run)).toEqual(
    first.more.map((one: { run: unknown }) => one.run),
  );
  const mirrored = { event: 'repo:push', body: { push: { changes: Array.from({ length: 51 }, () => changes[0]) } } };
  expect((await send('bitbucket', mirrored)).json()).toMatchObject({ status: 'ignored' });
});

test('a commit told by its beginning is refused when its branch has moved on', async () => {
  const draft = dialects.bitbucket.pullRequest({
    number: 9,
    branch: 'moved',
    into: 'main',
    fork: false,
    action: 'opened',
    before: sha('a'),
    after: whole,
    author: 'ada',
    message: '',
    repository: 'https://bitbucket.org/team/app',
  });
  const response = await send('bitbucket', draft);
  expect(response.statusCode).toBe(422);
  expect(response.json()).toMatchObject({ type: 'urn:slipway:problem:CommitNotFound' });
});

describe('what a push changed', () => {
  const commits = (...paths: string[]): Readonly<Record<string, unknown>> => ({
    created: false,
    forced: false,
    before: sha('a'),
    commits: [{ added: [], modified: paths, removed: [] }],
  });
  const mono = named('mono');

  beforeAll(async () => {
    await api.addProject(
      mono,
      `routes:
  - { on: push, ref: main, paths: ['services/api/**'], ignorePaths: ['**/*.md'], environments: [staging] }
  - { on: pull-request, into: '{main,develop}' }
`,
    );
  });

  test.each([
    [['services/api/src/a.ts'], 'accepted'],
    [['services/web/a.ts', 'services/api/b.ts'], 'accepted'],
    [['services/web/a.ts'], 'ignored'],
    [['services/api/README.md'], 'ignored'],
    [['services/api/docs/x.md', 'README.md'], 'ignored'],
  ])('%j: %s', async (paths, status) => {
    const after = randomUUID().replaceAll('-', '').padEnd(40, '0');
    const response = await deliver(api.app, mono, pushBody(1, { ...commits(...paths), after }));
    expect(response.json()).toMatchObject({ status });
  });

  test('is not asked of a delivery that does not tell all of it', async () => {
    const response = await deliver(api.app, mono, pushBody(2, { ...commits('services/web/a.ts'), forced: true }));
    expect(response.json()).toMatchObject({ status: 'accepted' });
  });

  test.each([
    ['main', 'accepted'],
    ['release/1', 'ignored'],
  ])('a pull request into %s is %s', async (ref, status) => {
    const repo = { full_name: 'team/hello' };
    const body = {
      action: 'opened',
      number: 3,
      pull_request: { head: { sha: sha('4'), repo }, base: { sha: sha('5'), ref, repo } },
    };
    expect((await deliver(api.app, mono, body, { event: 'pull_request' })).json()).toMatchObject({ status });
  });
});

test.each([
  ['fix: a typo [skip ci]', 'refs/heads/main', 'ignored'],
  ['fix: a typo [CI Skip]\n\nmore', 'refs/heads/main', 'ignored'],
  ['fix: a typo\n\nskip-checks: true', 'refs/heads/main', 'ignored'],
  ['skip-checks: true', 'refs/heads/main', 'accepted'],
  ['fix: skip ci for once', 'refs/heads/main', 'accepted'],
  ['release [skip ci]', 'refs/tags/v9.9.9', 'accepted'],
])('a commit that says %j on %s is %s', async (message, ref, status) => {
  const after = randomUUID().replaceAll('-', '').padEnd(40, '0');
  const response = await deliver(api.app, named('github'), pushBody(1, { ref, after, head_commit: { message } }));
  expect(response.json()).toMatchObject({ status });
});

test('a pull request is not skipped by its title: anybody may edit that, and its commit is what is looked at', async () => {
  const repo = { full_name: 'team/hello' };
  const body = {
    action: 'opened',
    number: 4,
    pull_request: {
      title: 'Better [skip ci]',
      head: { sha: sha('6'), repo },
      base: { sha: sha('7'), ref: 'main', repo },
    },
  };
  const response = await deliver(api.app, named('github'), body, { event: 'pull_request' });
  expect(response.json()).toMatchObject({ status: 'accepted' });
});
