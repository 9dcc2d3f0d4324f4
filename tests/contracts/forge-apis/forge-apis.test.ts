import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ForgeApiKind, forgeApis } from '../../../src/providers/forge-apis/index.ts';
import type { ForgeApi } from '../../../src/providers/forge-apis/port.ts';
import { type StandIn, startGithubStandIn, startGitlabStandIn } from '../../support/forge-stand-ins.ts';

const standIns: Readonly<Record<ForgeApiKind, () => Promise<StandIn>>> = {
  github: startGithubStandIn,
  gitlab: startGitlabStandIn,
};
const states: Readonly<Record<ForgeApiKind, readonly string[]>> = {
  github: ['pending', 'success', 'failure', 'error'],
  gitlab: ['running', 'success', 'failed', 'failed'],
};

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

  test('opens a pull request once, and none where there is nothing to merge', async () => {
    const wanted = { from: 'hotfix/1', into: 'main', title: 'Merge back', body: 'text' };
    const first = await api.ensurePullRequest(wanted);
    expect(first).toMatchObject({ kind: 'open', number: 1, created: true, url: expect.stringContaining('team/app') });
    expect(await api.ensurePullRequest(wanted)).toEqual({ ...first, created: false });
    expect(await api.ensurePullRequest({ ...wanted, into: 'develop' })).toMatchObject({ number: 2, created: true });
    forge.merged.add('hotfix/2');
    expect(await api.ensurePullRequest({ ...wanted, from: 'hotfix/2' })).toEqual({ kind: 'nothing-to-merge' });
    expect(forge.pullRequests).toHaveLength(2);
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
