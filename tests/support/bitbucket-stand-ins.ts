/**
 * Bitbucket Cloud and Data Center, as Atlassian's OpenAPI documents describe what is used here: `commitstatus`, `pullrequest_comment` and
 * `pullrequest` of developer.atlassian.com/cloud/bitbucket/swagger.v3.json; RestBuildStatusSetRequest, RestComment, RestPullRequest and
 * RestDeploymentSetRequest of that of Data Center 9. A key of a status may have 40 characters in the cloud, which its server says and its
 * document does not (github.com/buildbot/buildbot/issues/7049).
 */
import { z } from 'zod';
import { type Endpoint, type Shared, type StandIn, authorOf, listen, shared } from './forge-stand-ins.ts';

const number = z.coerce.number().int();

function comment(known: Shared, id: number): StandIn['comments'][number] | undefined {
  return known.comments.find((one) => one.id === id);
}

function say(known: Shared, pullRequest: number, body: string): StandIn['comments'][number] {
  const said = { id: known.comments.length + 1, pullRequest, body };
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
  const repository = '^/repositories/team/app';
  const pull = ({ number: id, title }: StandIn['pullRequests'][number]): unknown => ({
    id,
    title,
    links: { html: { href: `https://bitbucket.org/team/app/pull-requests/${id}` } },
  });
  const said = (one: StandIn['comments'][number]): unknown => ({
    id: one.id,
    user: { uuid: `{${authorOf(one).id}}`, display_name: authorOf(one).name },
    content: { raw: one.body, markup: 'markdown', html: '' },
    deleted: false,
  });
  const Text = z.strictObject({ content: z.strictObject({ raw: z.string() }) });
  const Branch = z.strictObject({ branch: z.strictObject({ name: z.string() }) });
  const textOf = (body: unknown): string => (body as z.output<typeof Text>).content.raw;
  return await listen(known, '/2.0', (headers) => String(headers['authorization']).replace(/^Bearer /, ''), [
    {
      method: 'POST',
      path: new RegExp(`${repository}/commit/([0-9a-f]{40})/statuses/build$`),
      body: z.strictObject({
        key: z.string().max(40),
        name: z.string().max(255).optional(),
        state: z.enum(['FAILED', 'INPROGRESS', 'STOPPED', 'SUCCESSFUL']),
        description: z.string().max(255).optional(),
        refname: z.string().optional(),
        url: z.url(),
      }),
      answer({ params, body }) {
        const { name, key, state = '', description = '', url } = body as Record<string, string>;
        known.statuses.set(`${params[0] ?? ''}/${name ?? key ?? ''}`, { state, description, url });
        return [201, { key, state }];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/pullrequests/(\\d+)/comments$`),
      query: z.strictObject({ pagelen: number.max(100).optional(), page: number.optional(), q: z.string().optional() }),
      answer({ params, query }) {
        const own = known.comments.filter(({ pullRequest }) => pullRequest === Number(params[0]));
        const page = Number(query.get('page') ?? '1');
        // Two on a page, so that there are pages.
        const rest = own.length > page * 2 ? { next: `https://api.bitbucket.org/2.0/next?page=${page + 1}` } : {};
        return [200, { page, values: own.slice((page - 1) * 2, page * 2).map(said), ...rest }];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/pullrequests/(\\d+)/comments$`),
      body: Text,
      answer: ({ params, body }) => [201, said(say(known, Number(params[0]), textOf(body)))],
    },
    {
      method: 'PUT',
      path: new RegExp(`${repository}/pullrequests/(\\d+)/comments/(\\d+)$`),
      body: Text,
      answer({ params, body }) {
        const one = comment(known, Number(params[1]));
        if (one === undefined) return [404, { type: 'error' }];
        if (one.by !== undefined) return [403, { type: 'error', error: { message: 'only its author may' } }];
        one.body = textOf(body);
        return [200, said(one)];
      },
    },
    {
      method: 'GET',
      path: /^\/user$/,
      answer: () =>
        known.withheld.has('self')
          ? [403, { type: 'error', error: { message: 'Your credentials lack one or more required privilege scopes.' } }]
          : [200, { uuid: '{1}', display_name: 'slipway bot' }],
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/pullrequests$`),
      query: z.strictObject({
        state: z.string().optional(),
        q: z.string().optional(),
        pagelen: number.max(50).optional(),
        page: number.optional(),
      }),
      answer({ query }) {
        const [, from, into] =
          /^source\.branch\.name = "(.+)" AND destination\.branch\.name = "(.+)" AND state = "OPEN"$/.exec(
            query.get('q') ?? '',
          ) ?? [];
        return [200, { values: known.pullRequests.filter((one) => one.from === from && one.into === into).map(pull) }];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/commits$`),
      query: z.strictObject({
        include: z.string().optional(),
        exclude: z.string().optional(),
        pagelen: number.max(100).optional(),
      }),
      answer: ({ query }) => [200, { values: known.merged.has(query.get('include') ?? '') ? [] : [{ hash: 'x' }] }],
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/pullrequests$`),
      body: z.strictObject({
        title: z.string(),
        description: z.string().optional(),
        source: Branch,
        destination: Branch.optional(),
        close_source_branch: z.boolean().optional(),
      }),
      answer({ body }) {
        const { title, source, destination } = body as {
          title: string;
          source: z.output<typeof Branch>;
          destination: z.output<typeof Branch>;
        };
        return [201, pull(open(known, source.branch.name, destination.branch.name, title))];
      },
    },
  ]);
}

/** A page of its lists: one thing on each, so that there are pages. */
function page(values: readonly unknown[], query: URLSearchParams): unknown {
  const start = Number(query.get('start') ?? '0');
  const isLastPage = values.length <= start + 1;
  return {
    values: values.slice(start, start + 1),
    size: 1,
    start,
    limit: 1,
    isLastPage,
    nextPageStart: isLastPage ? null : start + 1,
  };
}

export async function startBitbucketDataCenterStandIn(): Promise<StandIn> {
  const known = shared('http-access-token');
  const repository = '^/projects/team/repos/app';
  const versions = new Map<number, number>();
  const paging = { start: number.optional(), limit: number.optional() };
  const pull = ({ number: id, from, title }: StandIn['pullRequests'][number]): unknown => ({
    id,
    title,
    fromRef: { id: `refs/heads/${from}` },
    links: { self: [{ href: `https://git.example.com/projects/team/repos/app/pull-requests/${id}` }] },
  });
  const said = (one: StandIn['comments'][number]): unknown => ({
    id: one.id,
    text: one.body,
    version: versions.get(one.id) ?? 0,
    author: { name: authorOf(one).name, slug: authorOf(one).name },
  });
  const Ref = z.strictObject({
    id: z.string().startsWith('refs/'),
    repository: z.strictObject({ slug: z.string(), project: z.strictObject({ key: z.string() }) }),
  });
  const short = (ref: string): string => ref.replace('refs/heads/', '');
  const endpoints: readonly Endpoint[] = [
    {
      method: 'POST',
      path: new RegExp(`${repository}/commits/([0-9a-f]{40})/builds$`),
      body: z.strictObject({
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
      }),
      answer({ params, body }) {
        const { key = '', state = '', description = '', url } = body as Record<string, string>;
        known.statuses.set(`${params[0] ?? ''}/${key}`, { state, description, url });
        return [204, undefined];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/commits/([0-9a-f]{40})/deployments$`),
      body: z.strictObject({
        deploymentSequenceNumber: z.number().int(),
        description: z.string().max(255),
        displayName: z.string().max(255),
        environment: z.strictObject({
          key: z.string().max(255),
          displayName: z.string().max(255),
          type: z.enum(['DEVELOPMENT', 'TESTING', 'STAGING', 'PRODUCTION']).optional(),
          url: z.url().optional(),
        }),
        key: z.string().max(255),
        lastUpdated: z.number().optional(),
        state: z.enum(['CANCELLED', 'FAILED', 'IN_PROGRESS', 'PENDING', 'ROLLED_BACK', 'SUCCESSFUL', 'UNKNOWN']),
        url: z.url(),
      }),
      answer({ body }) {
        const { key, deploymentSequenceNumber, state } = body as Record<string, string>;
        const name = `${key ?? ''}/${deploymentSequenceNumber ?? ''}`;
        const before = known.deployments.get(name) ?? [];
        if (before.at(-1) !== state) known.deployments.set(name, [...before, state ?? '']);
        return [200, body];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/pull-requests/(\\d+)/activities$`),
      query: z.strictObject({ ...paging, fromId: z.string().optional(), fromType: z.string().optional() }),
      answer({ params, query }) {
        const own = known.comments.filter(({ pullRequest }) => pullRequest === Number(params[0]));
        return [
          200,
          page([{ action: 'OPENED' }, ...own.map((one) => ({ action: 'COMMENTED', comment: said(one) }))], query),
        ];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/pull-requests/(\\d+)/comments$`),
      body: z.strictObject({ text: z.string() }),
      answer: ({ params, body }) => [201, said(say(known, Number(params[0]), (body as { text: string }).text))],
    },
    {
      method: 'PUT',
      path: new RegExp(`${repository}/pull-requests/(\\d+)/comments/(\\d+)$`),
      body: z.strictObject({ text: z.string(), version: z.number().int() }),
      answer({ params, body }) {
        const one = comment(known, Number(params[1]));
        if (one === undefined) return [404, { errors: [] }];
        const { text, version } = body as { text: string; version: number };
        const current = versions.get(one.id) ?? 0;
        if (version !== current) return [409, { errors: [{ message: 'out of date' }] }];
        versions.set(one.id, current + 1);
        one.body = text;
        return [200, said(one)];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/pull-requests$`),
      query: z.strictObject({
        ...paging,
        state: z.enum(['ALL', 'OPEN', 'DECLINED', 'MERGED']).optional(),
        direction: z.enum(['INCOMING', 'OUTGOING']).optional(),
        at: z.string().startsWith('refs/').optional(),
        order: z.string().optional(),
      }),
      answer: ({ query }) => [
        200,
        page(known.pullRequests.filter(({ into }) => query.get('at') === `refs/heads/${into}`).map(pull), query),
      ],
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}$`),
      answer: () => [200, { slug: 'app' }, { 'x-ausername': 'slipway%20bot' }],
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/compare/commits$`),
      query: z.strictObject({ ...paging, from: z.string(), to: z.string(), fromRepo: z.string().optional() }),
      answer: ({ query }) => [200, page(known.merged.has(short(query.get('from') ?? '')) ? [] : [{ id: 'x' }], query)],
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/pull-requests$`),
      body: z.strictObject({
        title: z.string(),
        description: z.string().max(32_768).optional(),
        fromRef: Ref,
        toRef: Ref,
        draft: z.boolean().optional(),
      }),
      answer({ body }) {
        const { title, fromRef, toRef } = body as {
          title: string;
          fromRef: z.output<typeof Ref>;
          toRef: z.output<typeof Ref>;
        };
        return [201, pull(open(known, short(fromRef.id), short(toRef.id), title))];
      },
    },
  ];
  return await listen(
    known,
    '/rest/api/latest',
    (headers) => String(headers['authorization']).replace(/^Bearer /, ''),
    endpoints,
  );
}
