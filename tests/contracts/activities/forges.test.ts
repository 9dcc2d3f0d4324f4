import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { createForgeActivities, forgeApiOf } from '../../../src/activities/forges.ts';
import type { ForgeActivities } from '../../../src/activities/contracts.ts';
import { loadProject } from '../../../src/definition/load.ts';
import type { ProjectDefinition } from '../../../src/definition/project.ts';
import type { ForgeStatus } from '../../../src/domain/deployment.ts';
import type { Plan } from '../../../src/domain/plan.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { recordPlan } from '../../../src/store/plans.ts';
import { type RunRequest, acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { projectYaml } from '../../support/api.ts';
import { type StandIn, startGithubStandIn } from '../../support/forge-stand-ins.ts';
import { holdingComment } from '../../../src/store/told.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

let store: TestStore;
let forge: StandIn;
let activities: ForgeActivities;
beforeAll(async () => {
  store = await temporaryStore();
});
afterAll(async () => {
  await store.drop();
});
beforeEach(async () => {
  forge = await startGithubStandIn();
  activities = createForgeActivities({
    store,
    repositories: {
      ensureCommit: unasked,
      resolveRef: (_, ref) => Promise.resolve(branches.has(ref) ? commit : undefined),
      compare: unasked,
      changedPaths: unasked,
      listTree: unasked,
      readFile: unasked,
    },
    readSecret: (ref) => Promise.resolve(ref.kind === 'env' && ref.name === 'FORGE_TOKEN' ? forge.token : 'hook'),
    settings: { publicUrl: 'https://slipway.example.com' },
  });
});
afterEach(async () => {
  await forge.close();
  expect(forge.violations).toEqual([]);
});

/** What the repository has. */
const branches = new Set(['refs/heads/develop']);
const unasked = (): never => {
  throw new Error('nothing asks the repository here');
};

function withApi(name: string, api: string, kind: 'github' | 'gitlab' = 'github'): string {
  return projectYaml(name, '', kind).replace(`kind: ${kind}\n`, `kind: ${kind}\n    api: ${api}\n`);
}

async function put(name: string, text: string): Promise<void> {
  await putProject(store.db, { name, text, hash: text, diff: '', by: 'ada' });
}

const commit = 'a'.repeat(40);
const words = {
  commit,
  run: 3,
  statuses: [
    { context: 'slipway', state: 'pending', description: 'under way' },
    { context: 'slipway/test', state: 'success', description: 'passed' },
  ],
} as const;

describe('telling a forge', () => {
  test('says it, with a link, and comments a pull request', async () => {
    await put('tells', withApi('tells', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
    await activities.tellForge({ project: 'tells', ...words, comment: { pullRequest: 7, body: '**succeeded**' } });
    expect(forge.statuses.get(`${commit}/slipway/tells/test`)).toEqual({
      state: 'success',
      description: 'passed',
      url: 'https://slipway.example.com/v1/projects/tells/runs/3/report.html',
    });
    expect(forge.statuses.size).toBe(2);
    expect(forge.comments).toMatchObject([{ pullRequest: 7, body: '<!-- slipway:run-tells -->\n**succeeded**' }]);
  }, 30_000);

  test('says nothing where no API is named', async () => {
    await put('quiet', projectYaml('quiet'));
    await activities.tellForge({ project: 'quiet', ...words });
    expect(forge.requests()).toEqual([]);
  });

  test('is not retried where the forge refuses', async () => {
    await put('wrong', withApi('wrong', `{ url: ${forge.url}, token: { env: OTHER }, repository: team/app }`));
    await expect(activities.tellForge({ project: 'wrong', ...words })).rejects.toMatchObject({
      type: 'ForgeRefused',
      nonRetryable: true,
    });
  });
});

describe('a deployment', () => {
  const deployment = { project: 'deploys', environment: 'production', number: 4 };
  const running = {
    deployment,
    version: '4-aaaaaaa',
    commit,
    state: 'running',
    description: 'It is under way.',
  } as const;
  const api = (more: string): string =>
    withApi('deploys', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app${more} }`);

  async function planned(): Promise<Plan> {
    const { input } = await openDeployment(store.db, {
      ...{ project: 'deploys', environment: 'production', version: '4-aaaaaaa', requestedBy: 'ada', author: 'ada' },
      ...{ priority: 'routine', requestedAt: new Date().toISOString(), kind: 'rollout', startedBy: 'api' },
      request: crypto.randomUUID(),
    });
    const plan = {
      deployment: { project: 'deploys', environment: 'production', number: input.number },
      hash: 'b'.repeat(64),
      identity: { release: { version: '4-aaaaaaa', commit, images: [] }, migrations: [] },
      changes: {
        ...{ fromVersion: '3-bbbbbbb', filesChanged: 1, linesChanged: 2, configurationKeys: [] },
        commits: [{ sha: commit, author: 'Ada', subject: 'mends *it*' }],
      },
      plannedAt: new Date().toISOString(),
    } as unknown as Plan;
    await recordPlan(store.db, plan);
    return plan;
  }

  test('is in the list of the forge where the project asks for it, with a link', async () => {
    await put('deploys', api(', deployments: true'));
    await activities.tellDeployment(running);
    await activities.tellDeployment({ ...running, state: 'success', description: 'succeeded: it is live' });
    expect([...forge.deployments]).toEqual([['deploys/production/4', ['in_progress', 'success']]]);
  }, 60_000);

  test('that is live is a release once, with what it brought', async () => {
    await put('deploys', api(', releases: true'));
    const { deployment: own, hash } = await planned();
    for (let time = 0; time < 2; time += 1) {
      await activities.publishRelease({ deployment: own, version: '4-aaaaaaa', plan: hash });
    }
    expect(forge.releases).toEqual([
      { tag: 'deploys/4-aaaaaaa', commit, name: '4-aaaaaaa', notes: expect.stringContaining('- mends \\*it\\* (') },
    ]);
    expect(forge.releases[0]?.notes).toContain('Since `3-bbbbbbb`');
  }, 60_000);

  test('of a tag is a release of that tag', async () => {
    await put('deploys', api(', releases: true'));
    const { deployment: own, hash } = await planned();
    const event = {
      kind: 'tag',
      ref: 'refs/tags/v1.2.0',
      before: '0'.repeat(40),
      after: commit,
      author: 'ada',
    } as const;
    await acceptRun(store.db, { project: 'deploys', key: 'tagged', event, acceptedAt: new Date().toISOString() });
    await activities.publishRelease({ deployment: own, version: '1.2.0', plan: hash, runKey: 'tagged' });
    expect(forge.releases).toMatchObject([{ tag: 'v1.2.0', name: '1.2.0' }]);
  }, 60_000);

  test('is not told of where the project does not ask for it', async () => {
    await put('deploys', api(''));
    const { deployment: own, hash } = await planned();
    await activities.tellDeployment(running);
    await activities.publishRelease({ deployment: own, version: '4-aaaaaaa', plan: hash });
    expect(forge.requests()).toEqual([]);
  });
});

describe('two projects on one repository', () => {
  const api = (name: string, sole = ''): Promise<void> =>
    put(
      name,
      withApi(
        name,
        `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app, deployments: true${sole} }`,
      ),
    );

  test('one push is a run of each, and what is told of one leaves the other as it is', async () => {
    await api('shop');
    await api('docs');
    const event = {
      kind: 'push' as const,
      ref: 'refs/heads/main',
      before: '0'.repeat(40),
      after: commit,
      author: 'ada',
    };
    const delivery = { id: 'one-delivery', event: 'push' } as never;
    const at = new Date().toISOString();
    for (const project of ['shop', 'docs']) {
      const accepted = await acceptRun(store.db, { project, key: 'pushed', event, acceptedAt: at }, delivery);
      expect(accepted).toMatchObject({ number: 1, created: true });
    }
    const tell = (project: string, state: 'success' | 'failure') =>
      activities.tellForge({
        ...{ project, commit, run: 1, comment: { pullRequest: 7, body: `${project} ${state}` } },
        statuses: ['slipway', 'slipway/test'].map((context) => ({ context, state, description: project })),
      });
    await tell('shop', 'failure');
    await tell('docs', 'success');
    expect([...forge.statuses].map(([context, { state }]) => [context.slice(41), state])).toEqual([
      ['slipway/shop', 'failure'],
      ['slipway/shop/test', 'failure'],
      ['slipway/docs', 'success'],
      ['slipway/docs/test', 'success'],
    ]);
    expect(forge.comments.map(({ body }) => body)).toEqual([
      '<!-- slipway:run-shop -->\nshop failure',
      '<!-- slipway:run-docs -->\ndocs success',
    ]);
    const deployment = (project: string) => ({
      ...{ deployment: { project, environment: 'production', number: 1 }, version: '1-aaaaaaa', commit },
      ...({ state: 'success', description: 'live' } as const),
    });
    await activities.tellDeployment(deployment('shop'));
    await activities.tellDeployment(deployment('docs'));
    expect([...forge.deployments]).toEqual([
      ['shop/production/1', ['success']],
      ['docs/production/1', ['success']],
    ]);
    const asked = forge.requests().filter((request) => /POST .*\/deployments$/.test(request));
    expect(asked).toHaveLength(2);
  }, 60_000);

  test('one that is the only one there keeps the short names', async () => {
    await api('lone', ', sole: true');
    await activities.tellForge({ project: 'lone', ...words });
    expect([...forge.statuses.keys()].map((context) => context.slice(41))).toEqual(['slipway', 'slipway/test']);
  });
});

/** A run of a project that tells its forge. */
async function accepted(project: string, event: Partial<SourceEvent>, more: Partial<RunRequest> = {}): Promise<number> {
  const { number } = await acceptRun(store.db, {
    ...{ project, key: crypto.randomUUID(), acceptedAt: new Date().toISOString() },
    event: {
      ...{ kind: 'push', ref: 'refs/heads/feature', before: '0'.repeat(40), after: commit, author: 'ada' },
      ...event,
    },
    ...more,
  });
  return number;
}

const pullRequest = { kind: 'pull-request', ref: 'refs/pull/7/head', pullRequest: 7, into: 'main' } as const;

describe('runs of one commit', () => {
  async function project(name: string): Promise<void> {
    await put(name, withApi(name, `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
  }
  const tell = (name: string, run: number, states: Readonly<Record<string, ForgeStatus['state'] | 'skipped'>>) =>
    activities.tellForge({
      ...{ project: name, commit, run },
      statuses: Object.entries(states).map(([context, state]) => ({
        ...{ context, description: `${state} by run ${run}` },
        ...(state === 'skipped' ? { state: 'success', abstains: true } : { state }),
      })),
    });
  const shown = (): Record<string, string> =>
    Object.fromEntries([...forge.statuses].map(([name, { state }]) => [name.slice(41), state]));

  test('make nothing green that another one found red, also by leaving it out', async () => {
    await project('one');
    const pushed = await accepted('one', {});
    const proposed = await accepted('one', pullRequest);
    await tell('one', pushed, { slipway: 'failure', 'slipway/deploy-check': 'failure', 'slipway/test': 'success' });
    await tell('one', proposed, { slipway: 'success', 'slipway/deploy-check': 'skipped', 'slipway/test': 'success' });
    expect(shown()).toEqual({
      ...{ 'slipway/one': 'failure', 'slipway/one/deploy-check': 'failure', 'slipway/one/test': 'success' },
    });
    expect(forge.statuses.get(`${commit}/slipway/one`)).toMatchObject({
      description: `failure by run ${pushed}`,
      url: expect.stringContaining(`/runs/${pushed}/`),
    });
    const again = await accepted('one', {}, { requestedBy: 'ada' });
    await tell('one', again, { slipway: 'success', 'slipway/deploy-check': 'success', 'slipway/test': 'success' });
    expect(new Set(Object.values(shown()))).toEqual(new Set(['success']));
    // What an earlier one says late is no news.
    await tell('one', pushed, { slipway: 'failure' });
    expect(shown()).toMatchObject({ 'slipway/one': 'success' });
  }, 30_000);

  test('that are no check of it have names of their own', async () => {
    await project('nightly');
    const pushed = await accepted('nightly', { ref: 'refs/heads/main' });
    const by = { project: 'other', number: 1, key: 'k', stage: 'downstream', above: [] };
    const nightly = await accepted('nightly', { kind: 'schedule', ref: 'refs/heads/main', author: 'schedule night' });
    const started = await accepted('nightly', { kind: 'manual', ref: 'refs/heads/main' }, { startedBy: by });
    await tell('nightly', pushed, { slipway: 'success', 'slipway/test': 'success' });
    await tell('nightly', nightly, { slipway: 'failure', 'slipway/test': 'failure' });
    await tell('nightly', started, { slipway: 'error' });
    expect(shown()).toEqual({
      'slipway/nightly': 'success',
      'slipway/nightly/test': 'success',
      'slipway/nightly (schedule)': 'failure',
      'slipway/nightly/test (schedule)': 'failure',
      'slipway/nightly (started)': 'error',
    });
  }, 30_000);

  test('that tell at the same moment leave the worst, whoever comes last', async () => {
    await project('race');
    const states = ['success', 'failure', 'success', 'success'] as const;
    const runs = await Promise.all(states.map((_, at) => accepted('race', { ref: `refs/heads/${at}` })));
    // Of GitHub's client each has a queue of its own.
    await Promise.all(runs.map((run, at) => tell('race', run, { slipway: states[at] ?? 'error' })));
    expect(shown()).toEqual({ 'slipway/race': 'failure' });
  }, 30_000);

  test('one that never had a plan is found by its key', async () => {
    await project('unplanned');
    const key = 'never-prepared';
    const number = await accepted('unplanned', {}, { key });
    const status = { context: 'slipway', state: 'failure', description: 'failed: slipway.yaml:3' } as const;
    const words = { project: 'unplanned', commit, run: 0, statuses: [status] };
    await activities.tellForge({ ...words, runKey: 'nobody' });
    expect(shown()).toEqual({});
    await activities.tellForge({ ...words, runKey: key });
    expect(forge.statuses.get(`${commit}/slipway/unplanned`)).toMatchObject({
      state: 'failure',
      url: expect.stringContaining(`/runs/${number}/`),
    });
  }, 30_000);
});

describe('the comment of a pull request', () => {
  const say = (run: number, of = commit) =>
    activities.tellForge({
      ...{ project: 'says', commit: of, run, statuses: [] },
      comment: { pullRequest: 7, body: `run ${run}` },
    });
  beforeEach(async () => {
    await put('says', withApi('says', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
  });

  test('is of its newest run, whichever ends last', async () => {
    const old = await accepted('says', { ...pullRequest, after: 'c'.repeat(40) });
    const newest = await accepted('says', pullRequest);
    const byHand = await accepted('says', { ...pullRequest, after: 'c'.repeat(40) }, { requestedBy: 'ada' });
    await say(newest);
    await say(old, 'c'.repeat(40));
    await say(byHand, 'c'.repeat(40));
    expect(forge.comments.map(({ body }) => body)).toEqual([`<!-- slipway:run-says -->\nrun ${newest}`]);
    const again = await accepted('says', pullRequest, { requestedBy: 'ada' });
    await say(again);
    await say(newest);
    expect(forge.comments.map(({ body }) => body)).toEqual([`<!-- slipway:run-says -->\nrun ${again}`]);
  }, 30_000);

  test('is one, also where two workers write it at the same moment', async () => {
    const run = await accepted('says', { ...pullRequest, ref: 'refs/pull/7/head' });
    await Promise.all(Array.from({ length: 4 }, () => say(run)));
    expect(forge.comments).toHaveLength(1);
  }, 30_000);
});

describe('comments at a forge that hangs', () => {
  test('keep the worker no longer than a moment, and none of another forge', async () => {
    const other = await startGithubStandIn();
    const text = (of: string) => `{ url: ${of}, token: { env: FORGE_TOKEN }, repository: team/app }`;
    await put('hangs', withApi('hangs', text(forge.url)));
    await put('well', withApi('well', text(other.url)));
    const say = (project: string, number: number) =>
      activities.tellForge({
        ...{ project, commit, run: 99, statuses: [] },
        comment: { pullRequest: number, body: `of ${number}` },
      });
    // As a forge that does not answer would hold them.
    const { promise: answered, resolve: answer } = Promise.withResolvers<undefined>();
    const locked = [1, 2].map(async (pullRequest) => {
      const begun = Promise.withResolvers<undefined>();
      const ended = holdingComment(store.db, { project: 'hangs', pullRequest }, () => {
        begun.resolve(undefined);
        return answered;
      });
      await begun.promise;
      return { ended };
    });
    const holders = await Promise.all(locked);
    const hanging = [say('hangs', 1), say('hangs', 2)];
    await until(async () => {
      const { rows } = await sql`select 1 from pg_locks where locktype = 'advisory' and not granted`.execute(store.db);
      return rows.length === 2;
    });
    await expect(say('hangs', 3)).rejects.toMatchObject({ type: 'ForgeUnavailable', nonRetryable: false });
    await say('well', 4);
    expect(other.comments).toHaveLength(1);
    answer(undefined);
    await Promise.all([...hanging, ...holders.map(({ ended }) => ended)]);
    expect(forge.comments.map(({ pullRequest: number }) => number).sort()).toEqual([1, 2]);
    await other.close();
  }, 30_000);
});

describe('a hotfix', () => {
  async function run(project: string, ref: string): Promise<string> {
    const key = `key-${ref}`;
    const event = { kind: 'push' as const, ref, before: '0'.repeat(40), after: commit, author: 'ada' };
    await acceptRun(store.db, { project, key, event, acceptedAt: new Date().toISOString() });
    return key;
  }
  const deployment = { project: 'mends', environment: 'production', number: 4 };

  test('is brought back by two pull requests, once', async () => {
    await put('mends', withApi('mends', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
    const runKey = await run('mends', 'refs/heads/hotfix/1');
    await activities.mergeBack({ deployment, version: '1.0.1', runKey });
    await activities.mergeBack({ deployment, version: '1.0.1', runKey });
    expect(forge.pullRequests.map(({ from, into }) => [from, into])).toEqual([
      ['hotfix/1', 'main'],
      ['hotfix/1', 'develop'],
    ]);
  }, 60_000);

  test('is brought back into one branch though the forge does not take the other', async () => {
    await put('mends', withApi('mends', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
    const runKey = await run('mends', 'refs/heads/hotfix/2');
    forge.failNext({ status: 403 });
    await expect(activities.mergeBack({ deployment, version: '1.0.2', runKey })).rejects.toMatchObject({
      type: 'ForgeRefused',
      message: expect.stringMatching(/^hotfix\/2 could not be asked back\. into main: .*403/),
    });
    expect(forge.pullRequests.map(({ into }) => into)).toEqual(['develop']);
  }, 60_000);

  test('is not brought back into a branch that there is not', async () => {
    branches.clear();
    await put('mends', withApi('mends', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
    const runKey = await run('mends', 'refs/heads/hotfix/3');
    await activities.mergeBack({ deployment, version: '1.0.3', runKey });
    branches.add('refs/heads/develop');
    expect(forge.pullRequests.map(({ into }) => into)).toEqual(['main']);
  }, 60_000);

  test('of a tag has no branch to bring back', async () => {
    await put('mends', withApi('mends', `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`));
    await activities.mergeBack({ deployment, version: '1.0.1', runKey: await run('mends', 'refs/tags/v1.0.1') });
    expect(forge.requests()).toEqual([]);
  });
});

test.each([
  ['https://github.com/team/app.git', 'team/app'],
  ['https://github.com/team/app/', 'team/app'],
  ['git@git.example.com:group/sub/app.git', 'group/sub/app'],
  ['ssh://git@git.example.com:7999/team/app.git', 'team/app'],
])('the repository at %s is %s there', (url, repository) => {
  const text = withApi('paths', '{ token: { env: FORGE_TOKEN } }', 'gitlab').replace(/url: .*/, `url: "${url}"`);
  const loaded = loadProject({ file: 'project.yaml', text });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const project: ProjectDefinition = loaded.value;
  expect(forgeApiOf(project)).toMatchObject({ kind: 'gitlab', repository });
});
