/**
 * Bitbucket Cloud and Data Center, of what Atlassian publishes of each (published-bitbucket.ts). Where the reference says more than its types,
 * the schemas do: lengths, forms. A key of a status may have 40 characters in the cloud, which its server says and its document does not
 * (github.com/buildbot/buildbot/issues/7049).
 */
import { z } from 'zod';
import { type Shared, type StandIn, authorOf, listen, shared } from './forge-stand-ins.ts';
import { cloudEndpoint, dataCenterEndpoint } from './published-bitbucket.ts';

const number = z.coerce.number().int();
const commit = /[0-9a-f]{40}/;
const id = /\d+/;

function find(known: Shared, one: string): StandIn['comments'][number] | undefined {
  return known.comments.find((comment) => comment.id === Number(one));
}

function say(known: Shared, pullRequest: string, body: string): StandIn['comments'][number] {
  const said = { id: known.comments.length + 1, pullRequest: Number(pullRequest), body };
  known.comments.push(said);
  return said;
}

function open(known: Shared, from: string, into: string, title: string): StandIn['pullRequests'][number] {
  const made = { number: known.pullRequests.length + 1, from, into, title };
  known.pullRequests.push(made);
  return made;
}

export async function startBitbucketStandIn(): Promise<StandIn> {
  const known = shared('bitbucket-secret');
  const repository = '/repositories/{workspace}/{repo_slug}';
  const pull = ({ number: index, title }: StandIn['pullRequests'][number]) => ({
    type: 'pullrequest' as const,
    id: index,
    title,
    links: { html: { href: `https://bitbucket.org/team/app/pull-requests/${index}` } },
  });
  const said = (one: StandIn['comments'][number]) => ({
    type: 'pullrequest_comment' as const,
    id: one.id,
    user: { type: 'account' as const, uuid: `{${authorOf(one).id}}`, display_name: authorOf(one).name },
    content: { raw: one.body, markup: 'markdown' as const, html: '' },
    deleted: false,
  });
  const refused = (message: string) => ({ type: 'error', error: { message } });
  const content = z.strictObject({ raw: z.string() });
  const end = z.strictObject({ branch: z.strictObject({ name: z.string() }) });
  return await listen(known, '/2.0', (headers) => String(headers['authorization']).replace(/^Bearer /, ''), [
    cloudEndpoint(
      'post',
      `${repository}/commit/{commit}/statuses/build`,
      { commit },
      {
        body: {
          key: z.string().max(40),
          name: z.string().max(255).optional(),
          state: z.enum(['FAILED', 'INPROGRESS', 'STOPPED', 'SUCCESSFUL']),
          description: z.string().max(255).optional(),
          refname: z.string().optional(),
          url: z.url(),
        },
        answer({ params, body: { name, key, state, description = '', url } }) {
          known.statuses.set(`${params.commit}/${name ?? key}`, { state, description, url });
          return [201, { type: 'commitstatus', key, state }];
        },
      },
    ),
    cloudEndpoint(
      'get',
      `${repository}/pullrequests/{pull_request_id}/comments`,
      { pull_request_id: id },
      {
        query: { pagelen: number.max(100).optional(), page: number.optional(), q: z.string().optional() },
        answer({ params, query: { page: at = 1 } }) {
          const own = known.comments.filter(({ pullRequest }) => pullRequest === Number(params.pull_request_id));
          // Two on a page, so that there are pages.
          const rest = own.length > at * 2 ? { next: `https://api.bitbucket.org/2.0/next?page=${at + 1}` } : {};
          return [200, { page: at, values: own.slice((at - 1) * 2, at * 2).map(said), ...rest }];
        },
      },
    ),
    cloudEndpoint(
      'post',
      `${repository}/pullrequests/{pull_request_id}/comments`,
      { pull_request_id: id },
      {
        body: { content },
        answer: ({ params, body }) => [201, said(say(known, params.pull_request_id, body.content.raw))],
      },
    ),
    cloudEndpoint(
      'put',
      `${repository}/pullrequests/{pull_request_id}/comments/{comment_id}`,
      { pull_request_id: id, comment_id: id },
      {
        body: { content },
        answer({ params, body }) {
          const one = find(known, params.comment_id);
          if (one === undefined) return [404, refused('no such comment')];
          if (one.by !== undefined) return [403, refused('only its author may')];
          one.body = body.content.raw;
          return [200, said(one)];
        },
      },
    ),
    cloudEndpoint(
      'get',
      '/user',
      {},
      {
        answer: () =>
          known.withheld.has('self')
            ? [403, refused('Your credentials lack one or more required privilege scopes.')]
            : [200, { type: 'account', uuid: '{1}', display_name: 'slipway bot' }],
      },
    ),
    cloudEndpoint(
      'get',
      `${repository}/pullrequests`,
      {},
      {
        query: {
          state: z.enum(['DECLINED', 'MERGED', 'OPEN', 'SUPERSEDED']).optional(),
          q: z.string().optional(),
          pagelen: number.max(50).optional(),
          page: number.optional(),
        },
        answer({ query: { q = '' } }) {
          const [, from, into] =
            /^source\.branch\.name = "(.+)" AND destination\.branch\.name = "(.+)" AND state = "OPEN"$/.exec(q) ?? [];
          return [
            200,
            { values: known.pullRequests.filter((one) => one.from === from && one.into === into).map(pull) },
          ];
        },
      },
    ),
    cloudEndpoint(
      'get',
      `${repository}/commits`,
      {},
      {
        query: {
          include: z.string().optional(),
          exclude: z.string().optional(),
          pagelen: number.max(100).optional(),
        },
        answer: ({ query: { include = '' } }) => [
          200,
          { values: known.merged.has(include) ? [] : [{ type: 'base_commit' as const, hash: 'x' }] },
        ],
      },
    ),
    cloudEndpoint(
      'post',
      `${repository}/pullrequests`,
      {},
      {
        body: {
          title: z.string(),
          description: z.string().optional(),
          source: end,
          destination: end,
          close_source_branch: z.boolean().optional(),
        },
        answer: ({ body: { title, source, destination } }) => [
          201,
          pull(open(known, source.branch.name, destination.branch.name, title)),
        ],
      },
    ),
  ]);
}

/** A page of the lists of Data Center: one thing on each, so that there are pages. */
function page<Of>(values: readonly Of[], start = 0) {
  const isLastPage = values.length <= start + 1;
  return {
    values: values.slice(start, start + 1),
    ...{ size: 1, start, limit: 1, isLastPage },
    ...(isLastPage ? {} : { nextPageStart: start + 1 }),
  };
}

export async function startBitbucketDataCenterStandIn(): Promise<StandIn> {
  const known = shared('http-access-token');
  const repository = '/api/latest/projects/{projectKey}/repos/{repositorySlug}';
  const versions = new Map<number, number>();
  const paging = { start: number.optional(), limit: number.optional() };
  const pull = ({ number: index, from, title }: StandIn['pullRequests'][number]) => ({
    id: index,
    title,
    fromRef: { id: `refs/heads/${from}` },
    links: { self: [{ href: `https://git.example.com/projects/team/repos/app/pull-requests/${index}` }] },
  });
  const said = (one: StandIn['comments'][number]) => ({
    id: one.id,
    text: one.body,
    version: versions.get(one.id) ?? 0,
    author: { name: authorOf(one).name, slug: authorOf(one).name },
  });
  const ref = z.strictObject({
    id: z.string().startsWith('refs/'),
    repository: z.strictObject({ slug: z.string(), project: z.strictObject({ key: z.string() }) }),
  });
  const short = (full: string): string => full.replace('refs/heads/', '');
  return await listen(
    known,
    '/rest/api/latest',
    (headers) => String(headers['authorization']).replace(/^Bearer /, ''),
    [
      dataCenterEndpoint(
        'post',
        `${repository}/commits/{commitId}/builds`,
        { commitId: commit },
        {
          body: {
            key: z.string().max(255),
            name: z.string().max(255).optional(),
            state: z.enum(['CANCELLED', 'FAILED', 'INPROGRESS', 'SUCCESSFUL', 'UNKNOWN']),
            url: z.url().max(450),
            description: z.string().max(255).optional(),
            buildNumber: z.string().optional(),
            duration: z.number().optional(),
            lastUpdated: z.number().optional(),
            parent: z.string().optional(),
            ref: z.string().optional(),
          },
          answer({ params, body: { key, state, description = '', url } }) {
            known.statuses.set(`${params.commitId}/${key}`, { state, description, url });
            return [204, undefined];
          },
        },
      ),
      dataCenterEndpoint(
        'post',
        `${repository}/commits/{commitId}/deployments`,
        { commitId: commit },
        {
          body: {
            deploymentSequenceNumber: z.number().int(),
            description: z.string().max(255),
            displayName: z.string().max(255),
            environment: z.strictObject({
              key: z.string().max(255),
              displayName: z.string().max(255),
              type: z.enum(['DEVELOPMENT', 'TESTING', 'STAGING', 'PRODUCTION']).exactOptional(),
              url: z.url().exactOptional(),
            }),
            key: z.string().max(255),
            lastUpdated: z.number().optional(),
            state: z.enum(['CANCELLED', 'FAILED', 'IN_PROGRESS', 'PENDING', 'ROLLED_BACK', 'SUCCESSFUL', 'UNKNOWN']),
            url: z.url(),
          },
          answer({ body: { key, deploymentSequenceNumber, state } }) {
            const name = `${key}/${deploymentSequenceNumber}`;
            const before = known.deployments.get(name) ?? [];
            if (before.at(-1) !== state) known.deployments.set(name, [...before, state]);
            return [200, { key, deploymentSequenceNumber, state }];
          },
        },
      ),
      dataCenterEndpoint(
        'get',
        `${repository}/pull-requests/{pullRequestId}/activities`,
        { pullRequestId: id },
        {
          query: { ...paging, fromId: z.string().optional(), fromType: z.string().optional() },
          answer({ params, query }) {
            const own = known.comments.filter(({ pullRequest }) => pullRequest === Number(params.pullRequestId));
            const commented = own.map((one) => ({ action: 'COMMENTED' as const, comment: said(one) }));
            return [200, page([{ action: 'OPENED' as const }, ...commented], query.start)];
          },
        },
      ),
      dataCenterEndpoint(
        'post',
        `${repository}/pull-requests/{pullRequestId}/comments`,
        { pullRequestId: id },
        {
          body: { text: z.string() },
          answer: ({ params, body }) => [201, said(say(known, params.pullRequestId, body.text))],
        },
      ),
      dataCenterEndpoint(
        'put',
        `${repository}/pull-requests/{pullRequestId}/comments/{commentId}`,
        { pullRequestId: id, commentId: id },
        {
          body: { text: z.string(), version: z.number().int() },
          answer({ params, body: { text, version } }) {
            const one = find(known, params.commentId);
            if (one === undefined) return [404, { errors: [] }];
            const current = versions.get(one.id) ?? 0;
            if (version !== current) return [409, { errors: [{ message: 'out of date' }] }];
            versions.set(one.id, current + 1);
            one.body = text;
            return [200, said(one)];
          },
        },
      ),
      dataCenterEndpoint(
        'get',
        `${repository}/pull-requests`,
        {},
        {
          query: {
            ...paging,
            state: z.enum(['ALL', 'OPEN', 'DECLINED', 'MERGED']).optional(),
            direction: z.enum(['INCOMING', 'OUTGOING']).optional(),
            at: z.string().startsWith('refs/').optional(),
            order: z.string().optional(),
          },
          answer: ({ query: { at, start } }) => [
            200,
            page(known.pullRequests.filter(({ into }) => at === `refs/heads/${into}`).map(pull), start),
          ],
        },
      ),
      dataCenterEndpoint(
        'get',
        repository,
        {},
        {
          answer: () => [200, { slug: 'app' }, { 'x-ausername': 'slipway%20bot' }],
        },
      ),
      dataCenterEndpoint(
        'get',
        `${repository}/compare/commits`,
        {},
        {
          query: { ...paging, from: z.string(), to: z.string(), fromRepo: z.string().optional() },
          answer: ({ query: { from, start } }) => [
            200,
            page(known.merged.has(short(from)) ? [] : [{ id: 'x' }], start),
          ],
        },
      ),
      dataCenterEndpoint(
        'post',
        `${repository}/pull-requests`,
        {},
        {
          body: {
            title: z.string(),
            description: z.string().max(32_768).optional(),
            fromRef: ref,
            toRef: ref,
            draft: z.boolean().optional(),
          },
          answer: ({ body: { title, fromRef, toRef } }) => [
            201,
            pull(open(known, short(fromRef.id), short(toRef.id), title)),
          ],
        },
      ),
    ],
  );
}
