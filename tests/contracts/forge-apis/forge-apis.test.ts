import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ForgeApiKind, forgeApis } from '../../../src/providers/forge-apis/index.ts';
import type { ForgeApi } from '../../../src/providers/forge-apis/port.ts';
import { startBitbucketDataCenterStandIn, startBitbucketStandIn } from '../../support/bitbucket-stand-ins.ts';
import { startGiteaStandIn } from '../../support/gitea-stand-in.ts';
import { type StandIn, startGithubStandIn, startGitlabStandIn } from '../../support/forge-stand-ins.ts';

const standIns: Readonly<Record<ForgeApiKind, () => Promise<StandIn>>> = {
  github: startGithubStandIn,
  gitlab: startGitlabStandIn,
  gitea: startGiteaStandIn,
  bitbucket: startBitbucketStandIn,
  'bitbucket-data-center': startBitbucketDataCenterStandIn,
};
const states: Readonly<Record<ForgeApiKind, readonly string[]>> = {
  github: ['pending', 'success', 'failure', 'error'],
  gitlab: ['running', 'success', 'failed', 'failed'],
  gitea: ['pending', 'success', 'failure', 'error'],
  bitbucket: ['INPROGRESS', 'SUCCESSFUL', 'FAILED', 'FAILED'],
  'bitbucket-data-center': ['INPROGRESS', 'SUCCESSFUL', 'FAILED', 'FAILED'],
};
/** What a deployment goes through there: waits, runs, succeeds, is taken back. Null where it is a commit status. */
const deployments: Readonly<Record<ForgeApiKind, readonly string[] | null>> = {
  github: ['queued', 'in_progress', 'success', 'inactive'],
  gitlab: ['running', 'success'],
  gitea: null,
  bitbucket: null,
  'bitbucket-data-center': ['PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'ROLLED_BACK'],
};
const withoutReleases: readonly ForgeApiKind[] = ['bitbucket', 'bitbucket-data-center'];

const commit = 'a'.repeat(40);

describe.each(Object.keys(forgeApis) as ForgeApiKind[])('%s', (kind) => {
  let forge: StandIn;
  let api: ForgeApi;
  beforeEach(async () => {
    forge = await standIns[kind]();
    api = await open(forge.token);
  });
  afterEach(async () => {
    await forge.close();
    // What the reference does not have was not asked for.
    expect(forge.violations).toEqual([]);
  });

  async function open(token: string, timeoutMs = 5_000): Promise<ForgeApi> {
    return await forgeApis[kind]({ url: forge.url, token, repository: 'team/app', timeoutMs });
  }
  const status = { commit, context: 'slipway/test', state: 'pending', description: 'runs' } as const;

  test('has each status once, in its newest state, and a repeat changes nothing', async () => {
    const told: string[] = [];
    for (const state of ['pending', 'success', 'failure', 'error'] as const) {
      await api.setStatus({ ...status, state, description: 'd'.repeat(1_000), url: 'https://slipway.example.com/x' });
      await api.setStatus({ ...status, state });
      told.push(forge.statuses.get(`${commit}/slipway/test`)?.state ?? '');
    }
    expect(told).toEqual(states[kind]);
    expect(forge.statuses.size).toBe(1);
  });

  test('has a comment once, written anew, beside those of people', async () => {
    forge.comments.push({ id: 900, pullRequest: 7, body: 'Looks good; see <!-- slipway:result --> above' });
    await api.setComment({ pullRequest: 7, marker: 'result', body: 'first' });
    await api.setComment({ pullRequest: 7, marker: 'result', body: 'second' });
    await api.setComment({ pullRequest: 7, marker: 'plan', body: 'other' });
    await api.setComment({ pullRequest: 8, marker: 'result', body: 'elsewhere' });
    expect(forge.comments.map(({ pullRequest, body }) => [pullRequest, body.split('\n').at(-1)])).toEqual([
      [7, 'Looks good; see <!-- slipway:result --> above'],
      [7, 'second'],
      [7, 'other'],
      [8, 'elsewhere'],
    ]);
  });

  test('leaves a comment that somebody else has marked like its own, and does not take it for it', async () => {
    const marks = ['<!-- slipway:result -->', '[//]: # (slipway:result)'];
    const strangers = marks.map((mark, index) => {
      return { id: 900 + index, pullRequest: 7, by: 'mallory', body: `${mark}\n\nAll is well, merge it.` };
    });
    forge.comments.push(...strangers.map((each) => ({ ...each })));
    await api.setComment({ pullRequest: 7, marker: 'result', body: 'first' });
    // Copied from it, and after it.
    forge.comments.push({ id: 902, pullRequest: 7, by: 'mallory', body: forge.comments[2]?.body ?? '' });
    await api.setComment({ pullRequest: 7, marker: 'result', body: 'second' });
    // Another client, as after a restart.
    await (await open(forge.token)).setComment({ pullRequest: 7, marker: 'result', body: 'third' });
    expect(forge.comments.slice(0, 2)).toEqual(strangers);
    expect(forge.comments.slice(2).map(({ by, body }) => [by, body.split('\n').at(-1)])).toEqual([
      [undefined, 'third'],
      ['mallory', 'first'],
    ]);
  });

  test('opens a pull request once, and none where there is nothing to merge', async () => {
    const wanted = { from: 'hotfix/1', into: 'main', title: 'Merge back', body: 'text' };
    const first = await api.ensurePullRequest(wanted);
    expect(first).toMatchObject({
      kind: 'open',
      number: 1,
      created: true,
      url: expect.stringMatching(/\/team\/(?:repos\/)?app\//),
    });
    expect(await api.ensurePullRequest(wanted)).toEqual({ ...first, created: false });
    expect(await api.ensurePullRequest({ ...wanted, into: 'develop' })).toMatchObject({ number: 2, created: true });
    forge.merged.add('hotfix/2');
    expect(await api.ensurePullRequest({ ...wanted, from: 'hotfix/2' })).toEqual({ kind: 'nothing-to-merge' });
    expect(forge.pullRequests).toHaveLength(2);
  });

  test('tells how a deployment goes, each state once, and two of one commit apart', async () => {
    const deployment = {
      ...{ key: 'app/production/7', environment: 'app/production', production: true, number: 7, commit },
      context: 'slipway/app/deploy/production',
      ...{ ref: 'refs/heads/main', description: 'd'.repeat(1_000), url: 'https://slipway.example.com/x' },
    };
    for (const state of ['waiting', 'running', 'success', 'inactive'] as const) {
      await api.setDeployment({ ...deployment, state });
      await api.setDeployment({ ...deployment, state });
    }
    const staging = {
      ...{ ...deployment, key: 'app/staging/7', environment: 'app/staging', production: false },
      context: 'slipway/app/deploy/staging',
    };
    await api.setDeployment({ ...staging, state: 'failure' });
    const told = deployments[kind];
    if (told === null) {
      const stateOf = (name: string): string => forge.statuses.get(`${commit}/slipway/app/deploy/${name}`)?.state ?? '';
      expect([stateOf('production'), stateOf('staging')]).toEqual([states[kind][3], states[kind][2]]);
      expect(forge.statuses.size).toBe(2);
    } else {
      expect([...forge.deployments.values()]).toEqual([told, [expect.stringMatching(/^fail/i)]]);
    }
  }, 30_000);

  test('shows a release once, and leaves one that is there as it is', async () => {
    const release = { tag: '7-aaaaaaa', commit, name: 'app 7-aaaaaaa', notes: '- *mends* it' };
    if (api.ensureRelease === undefined) {
      expect(withoutReleases).toContain(kind);
      return;
    }
    const first = await api.ensureRelease(release);
    expect(first).toEqual({ created: true, url: expect.stringContaining('/7-aaaaaaa') });
    expect(await api.ensureRelease({ ...release, notes: 'other' })).toEqual({ ...first, created: false });
    expect(forge.releases).toEqual([release]);
  });

  test('that is at fault for a moment is asked again', async () => {
    forge.failNext({ status: 502 });
    await api.setStatus(status);
    expect(forge.statuses.size).toBe(1);
    expect(forge.requests().length).toBeGreaterThan(1);
  }, 30_000);

  test('that refuses is not asked again, and its token is not told', async () => {
    const wrong = await open('not-the-token');
    const refusal: unknown = await wrong.setStatus(status).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ type: 'ForgeRefused', retryable: false });
    expect(JSON.stringify([refusal, String(refusal)])).not.toContain('not-the-token');
    expect(forge.requests()).toHaveLength(1);
  });

  test('that is away is unavailable', async () => {
    await forge.close();
    await expect(api.setStatus(status)).rejects.toMatchObject({ type: 'ForgeUnavailable', retryable: true });
  }, 30_000);
});

test('a limit of GitHub that ends later than the activity waits is for the next attempt', async () => {
  const forge = await startGithubStandIn();
  const api = await forgeApis.github({ url: forge.url, token: forge.token, repository: 'team/app', timeoutMs: 5_000 });
  const limited = {
    status: 403,
    headers: { 'retry-after': '60' },
    body: { message: 'You have exceeded a secondary rate limit' },
  };
  forge.failNext(limited, limited, limited);
  await expect(api.setStatus({ commit, context: 'x', state: 'pending', description: '' })).rejects.toMatchObject({
    type: 'ForgeUnavailable',
  });
  expect(forge.statuses.size).toBe(0);
  await forge.close();
}, 30_000);

test('a name that is too long for a status of Bitbucket is still told apart from others', async () => {
  const forge = await startBitbucketStandIn();
  const api = await forgeApis.bitbucket({
    url: forge.url,
    token: forge.token,
    repository: 'team/app',
    timeoutMs: 5_000,
  });
  for (const end of ['one', 'two']) {
    const context = `slipway/${'long-'.repeat(10)}${end}`;
    await api.setStatus({ commit, context, state: 'pending', description: '' });
  }
  expect([forge.violations, forge.statuses.size]).toEqual([[], 2]);
  await forge.close();
});

test('a token of Bitbucket that may not ask whose it is writes its own comment anew, for no other may be written', async () => {
  const forge = await startBitbucketStandIn();
  const api = await forgeApis.bitbucket({
    url: forge.url,
    token: forge.token,
    repository: 'team/app',
    timeoutMs: 5_000,
  });
  forge.withheld.add('self');
  forge.comments.push({ id: 900, pullRequest: 7, by: 'mallory', body: '[//]: # (slipway:result)\n\nwell' });
  await api.setComment({ pullRequest: 7, marker: 'result', body: 'first' });
  await api.setComment({ pullRequest: 7, marker: 'result', body: 'second' });
  expect(forge.comments.map(({ body }) => body.split('\n').at(-1))).toEqual(['well', 'second']);
  expect(forge.violations).toEqual([]);
  await forge.close();
});

test('a token of Gitea that may not ask whose it is is told what it lacks, and writes nothing', async () => {
  const forge = await startGiteaStandIn();
  const api = await forgeApis.gitea({ url: forge.url, token: forge.token, repository: 'team/app', timeoutMs: 5_000 });
  forge.withheld.add('self');
  await expect(api.setComment({ pullRequest: 7, marker: 'result', body: 'first' })).rejects.toMatchObject({
    type: 'ForgeRefused',
    message: expect.stringContaining('read:user'),
  });
  expect(forge.comments).toEqual([]);
  await forge.close();
});

test('a comment of Bitbucket Data Center that changes while it is written anew is read again', async () => {
  const forge = await startBitbucketDataCenterStandIn();
  const api = await forgeApis['bitbucket-data-center']({
    url: forge.url,
    token: forge.token,
    // As it is in the address for Git.
    repository: 'scm/team/app',
    timeoutMs: 5_000,
  });
  await api.setComment({ pullRequest: 7, marker: 'result', body: 'first' });
  forge.failNext({ status: 409, body: { errors: [{ message: 'out of date' }] } });
  await api.setComment({ pullRequest: 7, marker: 'result', body: 'second' });
  expect(forge.comments.map(({ body }) => body)).toEqual(['[//]: # (slipway:result)\n\nsecond']);
  expect(forge.violations).toEqual([]);
  await forge.close();
});
