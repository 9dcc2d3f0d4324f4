import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { startBitbucketDataCenterStandIn, startBitbucketStandIn } from '../../support/bitbucket-stand-ins.ts';
import type { StandIn } from '../../support/forge-stand-ins.ts';
import { startGiteaStandIn } from '../../support/gitea-stand-in.ts';
import { cloudEndpoint, dataCenterEndpoint } from '../../support/published-bitbucket.ts';
import { giteaEndpoint, requestOf } from '../../support/published-gitea.ts';

const commit = 'a'.repeat(40);
const status = { key: 'slipway', state: 'SUCCESSFUL', url: 'https://slipway.example.com' };

describe.each([
  {
    name: 'Gitea',
    start: startGiteaStandIn,
    ...{ authorization: 'token gitea-secret', place: '/api/v1/repos/team/app' },
    ...{ path: `/statuses/${commit}`, body: { context: 'slipway', state: 'success' }, wrong: { state: 1 } },
    list: '/pulls',
  },
  {
    name: 'Bitbucket Cloud',
    start: startBitbucketStandIn,
    ...{ authorization: 'Bearer bitbucket-secret', place: '/repositories/team/app' },
    ...{ path: `/commit/${commit}/statuses/build`, body: status, wrong: { key: 1 } },
    list: '/pullrequests',
  },
  {
    name: 'Bitbucket Data Center',
    start: startBitbucketDataCenterStandIn,
    ...{ authorization: 'Bearer http-access-token', place: '/rest/api/latest/projects/team/repos/app' },
    ...{ path: `/commits/${commit}/builds`, body: status, wrong: { key: 1 } },
    list: '/pull-requests',
  },
])('a stand-in of $name', ({ start, authorization, place, path, body, wrong, list }) => {
  let forge: StandIn;
  beforeEach(async () => {
    forge = await start();
  });
  afterEach(async () => {
    await forge.close();
  });

  async function send(method: string, to: string, sent?: unknown): Promise<number> {
    const response = await fetch(`${forge.url}${place}${to}`, {
      method,
      headers: { authorization },
      ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
    });
    return response.status;
  }

  test('takes what is published', async () => {
    expect(await send('POST', path, body)).toBeLessThan(300);
    expect(await send('GET', list)).toBe(200);
    expect(forge.violations).toEqual([]);
    expect(forge.statuses.size).toBe(1);
  });

  test.each([
    ['a path', 'POST', `${path}/more`, body],
    ['a method', 'PUT', path, body],
    ['a repository', 'POST', `/../other${path}`, body],
    ['a field', 'POST', path, { ...body, colour: 'red' }],
    ['a type', 'POST', path, { ...body, ...wrong }],
    ['a parameter', 'GET', `${list}?colour=red`, undefined],
  ])('refuses %s that is not, and does nothing', async (_what, method, to, sent) => {
    const answered = await send(method, to, sent);
    expect([400, 404]).toContain(answered);
    expect(forge.violations).toHaveLength(1);
    expect(forge.statuses.size).toBe(0);
  });
});

test('an endpoint lies where both Gitea and Forgejo have it', () => {
  expect(requestOf('repos', 'repoCreateStatus', 3)).toEqual({
    method: 'POST',
    path: '/repos/{part0}/{part1}/statuses/{part2}',
  });
  expect(() => requestOf('repos', 'repoPaint', 2)).toThrow('repoPaint');
});

const repository = '/repositories/{workspace}/{repo_slug}';
const project = '/api/latest/projects/{projectKey}/repos/{repositorySlug}';

/** Never run: it is the type check that refuses them. */
export const refused = [
  // @ts-expect-error -- no such operation
  () => giteaEndpoint('repos', 'repoPaint', ['team', 'app'], { answer: () => [200, {}] }),
  // @ts-expect-error -- the path has three parts
  () => giteaEndpoint('repos', 'repoCreateStatus', ['team', 'app'], { answer: () => [201, {}] }),
  () =>
    giteaEndpoint('repos', 'repoCreateStatus', ['team', 'app', /x/], {
      // @ts-expect-error -- the field is `target_url`
      body: { targetUrl: z.string() },
      answer: () => [201, {}],
    }),
  () =>
    giteaEndpoint('repos', 'issueEditComment', ['team', 'app', /x/], {
      // @ts-expect-error -- only Forgejo knows it
      body: { body: z.string(), updated_at: z.string() },
      answer: () => [200, {}],
    }),
  () =>
    giteaEndpoint('repos', 'issueCreateComment', ['team', 'app', /x/], {
      // @ts-expect-error -- what is said is a text
      body: { body: z.number() },
      answer: () => [201, {}],
    }),
  () =>
    giteaEndpoint('repos', 'repoListPullRequests', ['team', 'app'], {
      // @ts-expect-error -- the parameter is `limit`
      query: { per_page: z.number() },
      answer: () => [200, []],
    }),
  // @ts-expect-error -- a status has `status`, not `state`
  () => giteaEndpoint('repos', 'repoCreateStatus', ['team', 'app', /x/], { answer: () => [201, { state: 'x' }] }),
  () =>
    giteaEndpoint('repos', 'repoListPullRequests', ['team', 'app'], {
      // @ts-expect-error -- a branch has `ref`, however deep
      answer: () => [200, [{ head: { name: 'main' } }]],
    }),
  // @ts-expect-error -- a list is answered
  () => giteaEndpoint('repos', 'repoListPullRequests', ['team', 'app'], { answer: () => [200, {}] }),
  // @ts-expect-error -- no such path
  () => cloudEndpoint('get', '/repos/{workspace}', {}, { answer: () => [200, {}] }),
  () =>
    cloudEndpoint(
      'post',
      `${repository}/commit/{commit}/statuses/build`,
      {},
      {
        // @ts-expect-error -- no state of Bitbucket
        body: { key: z.string(), state: z.enum(['SUCCESS']) },
        answer: () => [201, { type: 'commitstatus' }],
      },
    ),
  () =>
    cloudEndpoint(
      'post',
      `${repository}/pullrequests`,
      {},
      {
        // @ts-expect-error -- a branch has a `name`
        body: { title: z.string(), source: z.strictObject({ branch: z.strictObject({ ref: z.string() }) }) },
        answer: () => [201, { type: 'pullrequest' }],
      },
    ),
  () =>
    cloudEndpoint(
      'get',
      `${repository}/pullrequests/{pull_request_id}/comments`,
      {},
      {
        // @ts-expect-error -- a comment has `content`
        answer: () => [200, { values: [{ type: 'pullrequest_comment', text: 'x' }] }],
      },
    ),
  () =>
    cloudEndpoint(
      'get',
      '/user',
      {},
      {
        // @ts-expect-error -- it is not said to answer so
        answer: () => [204, undefined],
      },
    ),
  () =>
    dataCenterEndpoint(
      'post',
      `${project}/commits/{commitId}/builds`,
      {},
      {
        // @ts-expect-error -- `url` is demanded
        body: { key: z.string(), state: z.enum(['FAILED']) },
        answer: () => [204, undefined],
      },
    ),
  () =>
    dataCenterEndpoint(
      'put',
      `${project}/pull-requests/{pullRequestId}/comments/{commentId}`,
      {},
      {
        // @ts-expect-error -- a whole number
        body: { text: z.string(), version: z.string() },
        answer: () => [200, { id: 1 }],
      },
    ),
  () =>
    dataCenterEndpoint(
      'get',
      `${project}/pull-requests/{pullRequestId}/activities`,
      {},
      {
        // @ts-expect-error -- what was said is a `comment`
        answer: () => [200, { values: [{ action: 'COMMENTED', note: { text: 'x' } }] }],
      },
    ),
];
