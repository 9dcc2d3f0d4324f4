/**
 * Stand-ins of the APIs of forges over real HTTP. Each request is checked against what the forge's reference publishes for it: path, method,
 * required fields, and no field that is not in it; any other is refused, and a violation. The schemas are held to the types of Octokit and
 * Gitbeaker (published-requests.ts), those of Gitea and Bitbucket beside this to what their forges publish (published-endpoints.ts).
 *
 * Sources: docs.github.com REST (commit statuses, issue comments, pulls, compare, deployments, releases) and docs.gitlab.com REST (commit status,
 * merge request notes, merge requests, compare, deployments, releases).
 */
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { githubDeployments, gitlabDeployments } from './forge-deployments.ts';
import { githubReleases, gitlabReleases } from './forge-releases.ts';
import { githubBody, githubQuery, gitlabFields } from './published-requests.ts';

/** What a stand-in knows, and what it was asked. */
export interface StandIn {
  readonly url: string;
  readonly token: string;
  /** Newest state by `commit/context`, as the forge names states. */
  readonly statuses: Map<
    string,
    { readonly state: string; readonly description: string; readonly url?: string | undefined }
  >;
  /** `by`: somebody else than whose token it is. */
  readonly comments: { readonly id: number; readonly pullRequest: number; body: string; readonly by?: string }[];
  readonly pullRequests: {
    readonly number: number;
    readonly from: string;
    readonly into: string;
    readonly title: string;
  }[];
  /** By the key that we gave it where the forge keeps one, else by environment and commit; states as the forge names them, the last one last. */
  readonly deployments: Map<string, string[]>;
  readonly releases: {
    readonly tag: string;
    readonly commit: string;
    readonly name: string;
    readonly notes: string;
  }[];
  /** Branches that have nothing of their own. */
  readonly merged: Set<string>;
  /** What was against the reference; empty at the end of every test. */
  readonly violations: string[];
  /** Scopes that the token has not. `self`: to ask whose it is. */
  readonly withheld: Set<'self'>;
  /** Answers the next requests so, with headers where a forge has some. */
  failNext(
    ...answers: readonly {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: unknown;
    }[]
  ): void;
  requests(): readonly string[];
  close(): Promise<void>;
}

/** Who has written a comment, by number and name. */
export function authorOf({ by }: StandIn['comments'][number]): { readonly id: number; readonly name: string } {
  return by === undefined ? { id: 1, name: 'slipway bot' } : { id: 1_000 + by.length, name: by };
}

export interface Asked {
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export interface Endpoint {
  readonly method: string;
  readonly path: RegExp;
  readonly body?: z.ZodType;
  readonly query?: z.ZodType;
  answer(asked: Asked): readonly [number, unknown, Readonly<Record<string, string>>?];
}

export type Shared = Omit<StandIn, 'url' | 'failNext' | 'requests' | 'close'>;

/** Paths of an API that its client adds to the address by itself. */
const bare = new Set(['/api/v4', '/api/v1', '/rest/api/latest']);

/** What of a request the reference does not have; undefined where it is as the reference says. */
export function whatIsWrong(
  { body: sent = z.strictObject({}), query: asked = z.strictObject({}) }: Pick<Endpoint, 'body' | 'query'>,
  body: unknown,
  query: URLSearchParams,
): string | undefined {
  const { error: inBody } = sent.safeParse(body);
  if (inBody !== undefined) return `body: ${z.prettifyError(inBody)}`;
  const { error: inQuery } = asked.safeParse(Object.fromEntries(query));
  return inQuery === undefined ? undefined : `query: ${z.prettifyError(inQuery)}`;
}

export async function listen(
  shared: Shared,
  prefix: string,
  tokenOf: (headers: Record<string, unknown>) => string,
  endpoints: readonly Endpoint[],
): Promise<StandIn> {
  const failures: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: unknown;
  }[] = [];
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const send = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    void text(request).then((raw) => {
      const url = new URL(request.url ?? '', 'http://forge');
      requests.push(`${request.method ?? ''} ${url.pathname}`);
      const failure = failures.shift();
      if (failure !== undefined) return send(failure.status, failure.body ?? { message: 'no' }, failure.headers);
      if (tokenOf(request.headers) !== shared.token) return send(401, { message: 'Bad credentials' });
      for (const endpoint of endpoints) {
        const match = endpoint.path.exec(
          url.pathname.startsWith(prefix) ? url.pathname.slice(prefix.length) : url.pathname,
        );
        if (match === null || endpoint.method !== request.method) continue;
        const body: unknown = raw === '' ? {} : JSON.parse(raw);
        const wrong = whatIsWrong(endpoint, body, url.searchParams);
        if (wrong !== undefined) {
          shared.violations.push(`${request.method ?? ''} ${url.pathname} ${wrong}`);
          return send(400, { message: wrong });
        }
        const params = match.slice(1).map(decodeURIComponent);
        const [status, answer, headers] = endpoint.answer({ params, query: url.searchParams, body });
        return send(status, answer, headers);
      }
      shared.violations.push(`no such endpoint: ${request.method ?? ''} ${url.pathname}`);
      return send(404, { message: 'Not Found' });
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    ...shared,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${bare.has(prefix) ? '' : prefix}`,
    failNext: (...answers) => void failures.push(...answers),
    requests: () => requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

export function shared(token: string): Shared {
  return {
    token,
    statuses: new Map(),
    comments: [],
    pullRequests: [],
    deployments: new Map(),
    releases: [],
    merged: new Set(),
    violations: [],
    withheld: new Set(),
  };
}

const number = z.coerce.number().int();

export async function startGithubStandIn(): Promise<StandIn> {
  const known = shared('ghp_secret');
  const repository = '^/repos/team/app';
  const pull = ({ number: id, from, into, title }: StandIn['pullRequests'][number]): unknown => ({
    number: id,
    html_url: `https://github.com/team/app/pull/${id}`,
    head: { ref: from },
    base: { ref: into },
    title,
  });
  return await listen(
    known,
    '/api/v3',
    (headers) => String(headers['authorization']).replace(/^token |^Bearer /i, ''),
    [
      ...githubDeployments(known, repository),
      ...githubReleases(known, repository),
      {
        method: 'POST',
        path: new RegExp(`${repository}/statuses/([0-9a-f]{40})$`),
        body: githubBody('repos/create-commit-status')({
          state: z.enum(['error', 'failure', 'pending', 'success']),
          target_url: z.url().nullish(),
          description: z.string().max(140).nullish(),
          context: z.string().optional(),
        }),
        answer({ params, body }) {
          const { state, description = '', context = 'default', target_url: url } = body as Record<string, string>;
          known.statuses.set(`${params[0] ?? ''}/${context}`, { state: state ?? '', description, url });
          return [201, { id: 1, state, description, context }];
        },
      },
      {
        method: 'GET',
        path: new RegExp(`${repository}/issues/(\\d+)/comments$`),
        query: githubQuery('issues/list-comments')({
          since: z.string().optional(),
          per_page: number.max(100).optional(),
          page: number.optional(),
        }),
        answer: ({ params }) => [
          200,
          known.comments
            .filter(({ pullRequest }) => pullRequest === Number(params[0]))
            .map((one) => ({ ...one, user: { id: authorOf(one).id, login: authorOf(one).name } })),
        ],
      },
      {
        // Of an Enterprise; its version 3 lies beside it.
        method: 'POST',
        path: /^\/api\/graphql$/,
        body: z.strictObject({ query: z.literal('query { viewer { login databaseId } }') }),
        answer: () => [200, { data: { viewer: { login: 'slipway bot', databaseId: 1 } } }],
      },
      {
        method: 'POST',
        path: new RegExp(`${repository}/issues/(\\d+)/comments$`),
        body: githubBody('issues/create-comment')({ body: z.string() }),
        answer({ params, body }) {
          const comment = {
            id: known.comments.length + 1,
            pullRequest: Number(params[0]),
            body: (body as { body: string }).body,
          };
          known.comments.push(comment);
          return [201, comment];
        },
      },
      {
        method: 'PATCH',
        path: new RegExp(`${repository}/issues/comments/(\\d+)$`),
        body: githubBody('issues/update-comment')({ body: z.string() }),
        answer({ params, body }) {
          const comment = known.comments.find(({ id }) => id === Number(params[0]));
          if (comment === undefined) return [404, { message: 'Not Found' }];
          comment.body = (body as { body: string }).body;
          return [200, comment];
        },
      },
      {
        method: 'GET',
        path: new RegExp(`${repository}/pulls$`),
        query: githubQuery('pulls/list')({
          state: z.enum(['open', 'closed', 'all']).optional(),
          head: z
            .string()
            .regex(/^[^:]+:.+/)
            .optional(),
          base: z.string().optional(),
          per_page: number.optional(),
          page: number.optional(),
        }),
        answer: ({ query }) => [
          200,
          known.pullRequests
            .filter(({ from, into }) => query.get('head') === `team:${from}` && query.get('base') === into)
            .map(pull),
        ],
      },
      {
        method: 'GET',
        path: new RegExp(`${repository}/compare/(.+)$`),
        query: githubQuery('repos/compare-commits-with-basehead')({
          per_page: number.optional(),
          page: number.optional(),
        }),
        answer: ({ params }) => [
          200,
          { ahead_by: known.merged.has((params[0] ?? '').split('...')[1] ?? '') ? 0 : 2, commits: [] },
        ],
      },
      {
        method: 'POST',
        path: new RegExp(`${repository}/pulls$`),
        body: githubBody('pulls/create')({
          title: z.string().optional(),
          head: z.string(),
          base: z.string(),
          body: z.string().optional(),
          draft: z.boolean().optional(),
        }),
        answer({ body }) {
          const { head, base, title } = body as Record<string, string>;
          const made = {
            number: known.pullRequests.length + 1,
            from: head ?? '',
            into: base ?? '',
            title: title ?? '',
          };
          known.pullRequests.push(made);
          return [201, pull(made)];
        },
      },
    ],
  );
}

export async function startGitlabStandIn(): Promise<StandIn> {
  const known = shared('glpat-secret');
  const project = '^/projects/team%2Fapp';
  const paging = {
    page: number.optional(),
    per_page: number.max(100).optional(),
    pagination: z.enum(['keyset', 'offset']).optional(),
  };
  const merge = ({ number: iid, from, into, title }: StandIn['pullRequests'][number]): unknown => ({
    id: 100 + iid,
    iid,
    web_url: `https://gitlab.com/team/app/-/merge_requests/${iid}`,
    source_branch: from,
    target_branch: into,
    title,
  });
  const fields = (asked: Asked): Record<string, string> => ({
    ...Object.fromEntries(asked.query),
    ...(asked.body as Record<string, string>),
  });
  return await listen(known, '/api/v4', (headers) => String(headers['private-token']), [
    ...gitlabDeployments(known, project, fields),
    ...gitlabReleases(known, project, fields),
    {
      method: 'POST',
      path: new RegExp(`${project}/statuses/([0-9a-f]{40})$`),
      body: gitlabFields('Commits.editStatus')({
        state: z.enum(['pending', 'running', 'success', 'failed', 'canceled']),
        name: z.string().optional(),
        context: z.string().optional(),
        ref: z.string().optional(),
        target_url: z.url().max(255).optional(),
        description: z.string().max(255).optional(),
        coverage: z.number().optional(),
        pipeline_id: z.number().optional(),
      }),
      answer(asked) {
        const { state = '', name = 'default', description = '', target_url: url } = fields(asked);
        const key = `${asked.params[0] ?? ''}/${name}`;
        if (known.statuses.get(key)?.state === state) {
          return [
            400,
            { message: `Cannot transition status via :run from :${state} (Reason(s): Status cannot transition)` },
          ];
        }
        known.statuses.set(key, { state, description, url });
        return [201, { id: 1, status: state, name }];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${project}/merge_requests/(\\d+)/notes$`),
      query: gitlabFields('MergeRequestNotes.all')({
        sort: z.enum(['asc', 'desc']).optional(),
        order_by: z.enum(['created_at', 'updated_at']).optional(),
        ...paging,
      }),
      answer: ({ params }) => [
        200,
        known.comments
          .filter(({ pullRequest }) => pullRequest === Number(params[0]))
          .map((one) => ({ ...one, author: { id: authorOf(one).id, username: authorOf(one).name } })),
      ],
    },
    {
      method: 'GET',
      path: /^\/user$/,
      answer: () => [200, { id: 1, username: 'slipway bot' }],
    },
    {
      method: 'POST',
      path: new RegExp(`${project}/merge_requests/(\\d+)/notes$`),
      body: gitlabFields('MergeRequestNotes.create')({ body: z.string(), internal: z.boolean().optional() }),
      answer(asked) {
        const comment = {
          id: known.comments.length + 1,
          pullRequest: Number(asked.params[0]),
          body: fields(asked)['body'] ?? '',
        };
        known.comments.push(comment);
        return [201, comment];
      },
    },
    {
      method: 'PUT',
      path: new RegExp(`${project}/merge_requests/(\\d+)/notes/(\\d+)$`),
      body: gitlabFields('MergeRequestNotes.edit')({ body: z.string() }),
      answer(asked) {
        const comment = known.comments.find(({ id }) => id === Number(asked.params[1]));
        if (comment === undefined) return [404, { message: '404 Not found' }];
        comment.body = fields(asked)['body'] ?? '';
        return [200, comment];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${project}/merge_requests$`),
      query: gitlabFields('MergeRequests.all')({
        state: z.enum(['opened', 'closed', 'locked', 'merged']).optional(),
        source_branch: z.string().optional(),
        target_branch: z.string().optional(),
        ...paging,
      }),
      answer: ({ query }) => [
        200,
        known.pullRequests
          .filter(({ from, into }) => query.get('source_branch') === from && query.get('target_branch') === into)
          .map(merge),
      ],
    },
    {
      method: 'GET',
      path: new RegExp(`${project}/repository/compare$`),
      query: z.strictObject({
        from: z.string(),
        to: z.string(),
        straight: z.string().optional(),
        from_project_id: number.optional(),
      }),
      answer: ({ query }) => [
        200,
        { commits: known.merged.has(query.get('to') ?? '') ? [] : [{ id: 'x' }], diffs: [] },
      ],
    },
    {
      method: 'POST',
      path: new RegExp(`${project}/merge_requests$`),
      body: gitlabFields('MergeRequests.create')({
        source_branch: z.string(),
        target_branch: z.string(),
        title: z.string(),
        description: z.string().max(1_048_576).optional(),
      }),
      answer(asked) {
        const { source_branch: from = '', target_branch: into = '', title = '' } = fields(asked);
        const made = { number: known.pullRequests.length + 1, from, into, title };
        known.pullRequests.push(made);
        return [201, merge(made)];
      },
    },
  ]);
}
