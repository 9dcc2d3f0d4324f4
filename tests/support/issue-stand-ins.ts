/**
 * Stand-ins of issues and code scanning at forges, over real HTTP. Each request is checked against what the forge's reference publishes for it:
 * path, method, required fields, and no field that is not in it; any other is refused, and a violation.
 *
 * Sources: docs.github.com REST (issues, issue comments, code scanning), docs.gitlab.com REST (issues, notes), what Gitea and Forgejo publish.
 */
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { type Endpoint, whatIsWrong } from './forge-stand-ins.ts';
import { giteaEndpoint } from './published-gitea.ts';
import { githubBody, githubQuery, gitlabFields } from './published-requests.ts';

export interface StoodIssue {
  readonly number: number;
  title: string;
  body: string;
  open: boolean;
  readonly labels: readonly string[];
  readonly comments: string[];
}

export interface IssueStandIn {
  readonly url: string;
  readonly token: string;
  readonly issues: StoodIssue[];
  /** Uploads to code scanning, unpacked. */
  readonly uploads: { readonly commit: string; readonly ref: string; readonly sarif: unknown }[];
  /** What is answered of an upload, the last one for ever. */
  readonly processing: { readonly status: 'pending' | 'complete' | 'failed'; readonly errors?: readonly string[] }[];
  readonly violations: string[];
  readonly requests: string[];
  failNext(...answers: readonly { readonly status: number; readonly after?: true; readonly message?: string }[]): void;
  close(): Promise<void>;
}

type Known = Omit<IssueStandIn, 'url' | 'failNext' | 'close'>;

const number = z.coerce.number().int();

export async function startIssueStandIn(kind: 'github' | 'gitlab' | 'gitea'): Promise<IssueStandIn> {
  const known: Known = {
    ...{ token: 'a-secret-token', issues: [], uploads: [], processing: [] },
    ...{ violations: [], requests: [] },
  };
  const { root, given, header, scheme, endpoints } = dialects[kind](known);
  const failures: { readonly status: number; readonly after?: true; readonly message?: string }[] = [];
  const server: Server = createServer((request, response) => {
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    void text(request).then((raw) => {
      const url = new URL(request.url ?? '', 'http://forge');
      known.requests.push(`${request.method ?? ''} ${url.pathname}`);
      const failure = failures.shift();
      if (failure !== undefined && failure.after !== true) {
        return send(failure.status, { message: failure.message ?? 'no' });
      }
      if (request.headers[header] !== `${scheme}${known.token}`) return send(401, { message: 'Bad credentials' });
      for (const endpoint of endpoints) {
        const match = endpoint.path.exec(url.pathname.slice(root.length));
        if (match === null || endpoint.method !== request.method) continue;
        const body: unknown = raw === '' ? {} : JSON.parse(raw);
        const wrong = whatIsWrong(endpoint, body, url.searchParams);
        if (wrong !== undefined) {
          known.violations.push(`${request.method ?? ''} ${url.pathname} ${wrong}`);
          return send(400, { message: wrong });
        }
        const [status, answer] = endpoint.answer({
          params: match.slice(1).map(decodeURIComponent),
          query: url.searchParams,
          body,
        });
        // Done, and nobody hears of it.
        if (failure !== undefined && failure.status >= 400) return send(failure.status, { message: 'no' });
        return send(status, answer);
      }
      known.violations.push(`no such endpoint: ${request.method ?? ''} ${url.pathname}`);
      return send(404, { message: 'Not Found' });
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    ...known,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${given}`,
    failNext: (...answers) => void failures.push(...answers),
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

interface Dialect {
  readonly root: string;
  readonly given: string;
  readonly header: string;
  readonly scheme: string;
  readonly endpoints: readonly Endpoint[];
}

const dialects = { github, gitlab, gitea } as const;

function make(known: Known, title: string, body: string, labels: readonly string[]): StoodIssue {
  const issue = { number: known.issues.length + 1, title, body, open: true, labels, comments: [] };
  known.issues.push(issue);
  return issue;
}

function paged(known: Known, label: string, page: number, count: number): readonly StoodIssue[] {
  const own = known.issues.filter(({ labels }) => labels.includes(label)).toReversed();
  return own.slice((page - 1) * count, page * count);
}

/** A page of a hundred at most, as GitHub and GitLab are asked for it. */
function pageOf(known: Known, query: URLSearchParams): readonly StoodIssue[] {
  return paged(known, query.get('labels') ?? '', Number(query.get('page') ?? 1), Number(query.get('per_page') ?? 20));
}

function github(known: Known): Dialect {
  const repository = '^/repos/team/app';
  const shown = ({ number: id, title, body, open }: StoodIssue): unknown => ({
    ...{ number: id, title, body, state: open ? 'open' : 'closed' },
  });
  return {
    ...{ root: '/api/v3', given: '/api/v3', header: 'authorization', scheme: 'token ' },
    endpoints: [
      {
        method: 'GET',
        path: new RegExp(`${repository}/issues$`),
        query: githubQuery('issues/list-for-repo')({
          labels: z.string().optional(),
          state: z.enum(['open', 'closed', 'all']).optional(),
          per_page: number.max(100).optional(),
          page: number.optional(),
        }),
        answer: ({ query }) => [200, pageOf(known, query).map(shown)],
      },
      {
        method: 'POST',
        path: new RegExp(`${repository}/issues$`),
        body: githubBody('issues/create')({
          title: z.string().max(256),
          body: z.string().max(65_536),
          labels: z.array(z.string()),
        }),
        answer({ body }) {
          const { title, body: words, labels } = body as { title: string; body: string; labels: string[] };
          return [201, shown(make(known, title, words, labels))];
        },
      },
      {
        method: 'PATCH',
        path: new RegExp(`${repository}/issues/(\\d+)$`),
        body: githubBody('issues/update')({
          title: z.string().max(256),
          body: z.string().max(65_536),
          state: z.enum(['open', 'closed']).optional(),
        }),
        answer({ params, body }) {
          const issue = known.issues[Number(params[0]) - 1];
          if (issue === undefined) return [404, { message: 'Not Found' }];
          const { state, title, body: words } = body as { state: string; title: string; body: string };
          Object.assign(issue, { title, body: words, open: state !== 'closed' });
          return [200, shown(issue)];
        },
      },
      {
        method: 'POST',
        path: new RegExp(`${repository}/issues/(\\d+)/comments$`),
        body: githubBody('issues/create-comment')({ body: z.string() }),
        answer({ params, body }) {
          known.issues[Number(params[0]) - 1]?.comments.push((body as { body: string }).body);
          return [201, { id: 1 }];
        },
      },
      {
        method: 'POST',
        path: new RegExp(`${repository}/code-scanning/sarifs$`),
        body: githubBody('code-scanning/upload-sarif')({
          commit_sha: z.string().regex(/^[0-9a-f]{40}$/),
          ref: z.string().regex(/^refs\/(?:heads|tags|pull)\/.*$/),
          sarif: z.base64(),
        }),
        answer({ body }) {
          const { commit_sha: commit, ref, sarif } = body as { commit_sha: string; ref: string; sarif: string };
          const packed = Buffer.from(sarif, 'base64');
          known.uploads.push({ commit, ref, sarif: JSON.parse(gunzipSync(packed).toString()) as unknown });
          return [202, { id: 'upload-1', url: 'https://api.github.com/upload-1' }];
        },
      },
      {
        method: 'GET',
        path: new RegExp(`${repository}/code-scanning/sarifs/upload-1$`),
        answer() {
          const [first = { status: 'complete' }] = known.processing;
          if (known.processing.length > 1) known.processing.shift();
          return [200, { processing_status: first.status, errors: 'errors' in first ? first.errors : null }];
        },
      },
    ],
  };
}

function gitlab(known: Known): Dialect {
  const project = '^/projects/team%2Fapp';
  const shown = ({ number: iid, title, body, open }: StoodIssue): unknown => ({
    ...{ id: 1_000 + iid, iid, title, description: body, state: open ? 'opened' : 'closed' },
  });
  return {
    ...{ root: '/api/v4', given: '', header: 'private-token', scheme: '' },
    endpoints: [
      {
        method: 'GET',
        path: new RegExp(`${project}/issues$`),
        query: gitlabFields('Issues.all')({
          labels: z.string(),
          scope: z.enum(['all', 'created_by_me', 'assigned_to_me']),
          per_page: number.max(100),
          page: number.optional(),
        }),
        answer: ({ query }) => [200, pageOf(known, query).map(shown)],
      },
      {
        method: 'GET',
        path: /^\/issues\/(\d+)$|^\/projects\/team%2Fapp\/issues\/(\d+)$/,
        answer({ params }) {
          const issue = known.issues[Number(params[1]) - 1];
          return issue === undefined ? [404, { message: '404 Not found' }] : [200, shown(issue)];
        },
      },
      {
        method: 'POST',
        path: new RegExp(`${project}/issues$`),
        body: gitlabFields('Issues.create')({
          title: z.string().max(255),
          description: z.string(),
          labels: z.string(),
        }),
        answer({ body }) {
          const { title = '', description = '', labels = '' } = body as Record<string, string>;
          return [201, shown(make(known, title, description, labels.split(',')))];
        },
      },
      {
        method: 'PUT',
        path: new RegExp(`${project}/issues/(\\d+)$`),
        body: gitlabFields('Issues.edit')({
          title: z.string().max(255),
          description: z.string(),
          state_event: z.enum(['close', 'reopen']).optional(),
        }),
        answer({ params, body }) {
          const issue = known.issues[Number(params[0]) - 1];
          if (issue === undefined) return [404, { message: '404 Not found' }];
          const { title = '', description = '', state_event: event } = body as Record<string, string>;
          Object.assign(issue, { title, body: description });
          if (event !== undefined) issue.open = event === 'reopen';
          return [200, shown(issue)];
        },
      },
      {
        method: 'POST',
        path: new RegExp(`${project}/issues/(\\d+)/notes$`),
        body: gitlabFields('IssueNotes.create')({ body: z.string() }),
        answer({ params, body }) {
          known.issues[Number(params[0]) - 1]?.comments.push((body as { body: string }).body);
          return [201, { id: 1 }];
        },
      },
    ],
  };
}

function gitea(known: Known): Dialect {
  const place = ['team', 'app'] as const;
  const labels: { readonly id: number; readonly name: string }[] = [{ id: 3, name: 'bug' }];
  const shown = ({ number: index, title, body, open }: StoodIssue) => ({
    ...{ id: 500 + index, number: index, title, body, state: open ? 'open' : 'closed' },
  });
  const paging = { page: number.optional(), limit: number.max(50).optional() };
  return {
    ...{ root: '/api/v1', given: '', header: 'authorization', scheme: 'token ' },
    endpoints: [
      giteaEndpoint('repos', 'issueListLabels', place, { query: paging, answer: () => [200, labels] }),
      giteaEndpoint('repos', 'issueCreateLabel', place, {
        body: { name: z.string(), color: z.string().regex(/^#[0-9a-f]{6}$/) },
        answer({ body: { name } }) {
          const label = { id: labels.length + 10, name };
          labels.push(label);
          return [201, label];
        },
      }),
      giteaEndpoint('repos', 'issueListIssues', place, {
        query: {
          state: z.enum(['open', 'closed', 'all']),
          type: z.enum(['issues', 'pulls']),
          labels: z.string(),
          ...paging,
        },
        answer: ({ query: { labels: label, page = 1, limit = 30 } }) => [
          200,
          paged(known, label, page, limit).map(shown),
        ],
      }),
      giteaEndpoint('repos', 'issueCreateIssue', place, {
        body: { title: z.string().max(255), body: z.string(), labels: z.array(z.number()) },
        answer({ body: { title, body: words, labels: ids } }) {
          const names = labels.filter(({ id }) => ids.includes(id)).map(({ name }) => name);
          return [201, shown(make(known, title, words, names))];
        },
      }),
      giteaEndpoint('repos', 'issueEditIssue', [...place, /\d+/], {
        body: { title: z.string(), body: z.string(), state: z.enum(['open', 'closed']) },
        answer({ params, body: { state, title, body: words } }) {
          const issue = known.issues[Number(params[0]) - 1];
          if (issue === undefined) return [404, { message: 'Not Found' }];
          Object.assign(issue, { title, body: words, open: state === 'open' });
          return [201, shown(issue)];
        },
      }),
      giteaEndpoint('repos', 'issueCreateComment', [...place, /\d+/], {
        body: { body: z.string() },
        answer({ params, body }) {
          known.issues[Number(params[0]) - 1]?.comments.push(body.body);
          return [201, { id: 1 }];
        },
      }),
    ],
  };
}
