/** A Gitea or Forgejo, as its own `/swagger.v1.json` (1.24) describes what is used here: CreateStatusOption, CreateIssueCommentOption … */
import { z } from 'zod';
import { type StandIn, authorOf, listen, shared } from './forge-stand-ins.ts';

const number = z.coerce.number().int();

export async function startGiteaStandIn(): Promise<StandIn> {
  const known = shared('gitea-secret');
  const repository = '^/repos/team/app';
  const pull = ({ number: id, from, into, title }: StandIn['pullRequests'][number]): unknown => ({
    number: id,
    html_url: `https://git.example.com/team/app/pulls/${id}`,
    head: { ref: from },
    base: { ref: into },
    title,
  });
  const release = ({ tag }: { readonly tag: string }): unknown => ({
    id: 1,
    html_url: `https://git.example.com/team/app/releases/tag/${tag}`,
  });
  return await listen(known, '/api/v1', (headers) => String(headers['authorization']).replace(/^token /, ''), [
    {
      method: 'POST',
      path: new RegExp(`${repository}/statuses/([0-9a-f]{40})$`),
      body: z.strictObject({
        context: z.string().optional(),
        description: z.string().optional(),
        state: z.enum(['pending', 'success', 'error', 'failure', 'warning', 'skipped']).optional(),
        target_url: z.string().optional(),
      }),
      answer({ params, body }) {
        const { state = '', description = '', context = 'default', target_url: url } = body as Record<string, string>;
        known.statuses.set(`${params[0] ?? ''}/${context}`, { state, description, url });
        return [201, { id: 1, status: state, context }];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/issues/(\\d+)/comments$`),
      query: z.strictObject({ since: z.string().optional(), before: z.string().optional() }),
      answer: ({ params }) => [
        200,
        known.comments
          .filter(({ pullRequest }) => pullRequest === Number(params[0]))
          .map((one) => ({ ...one, user: { id: authorOf(one).id, login: authorOf(one).name } })),
      ],
    },
    {
      method: 'GET',
      path: /^\/user$/,
      answer: () =>
        known.withheld.has('self')
          ? [403, { message: 'token does not have at least one of required scope(s): [read:user]' }]
          : [200, { id: 1, login: 'slipway bot' }],
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/issues/(\\d+)/comments$`),
      body: z.strictObject({ body: z.string(), updated_at: z.string().optional() }),
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
      body: z.strictObject({ body: z.string(), updated_at: z.string().optional() }),
      answer({ params, body }) {
        const comment = known.comments.find(({ id }) => id === Number(params[0]));
        if (comment === undefined) return [404, { message: 'not found' }];
        comment.body = (body as { body: string }).body;
        return [200, comment];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/pulls$`),
      query: z.strictObject({
        base_branch: z.string().optional(),
        state: z.enum(['open', 'closed', 'all']).optional(),
        sort: z.string().optional(),
        milestone: number.optional(),
        labels: z.string().optional(),
        poster: z.string().optional(),
        page: number.min(1).optional(),
        limit: number.optional(),
      }),
      answer({ query }) {
        // One on a page: a server may give fewer than it is asked for.
        const page = Number(query.get('page') ?? '1');
        return [200, known.pullRequests.slice(page - 1, page).map(pull)];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/compare/(.+)$`),
      answer({ params }) {
        const total = known.merged.has((params[0] ?? '').split('...')[1] ?? '') ? 0 : 2;
        return [200, { total_commits: total, commits: [] }];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/pulls$`),
      body: z.strictObject({
        head: z.string(),
        base: z.string(),
        title: z.string(),
        body: z.string().optional(),
        assignee: z.string().optional(),
        assignees: z.array(z.string()).optional(),
        labels: z.array(z.number()).optional(),
        milestone: z.number().optional(),
        due_date: z.string().optional(),
      }),
      answer({ body }) {
        const { head = '', base = '', title = '' } = body as Record<string, string>;
        const made = { number: known.pullRequests.length + 1, from: head, into: base, title };
        known.pullRequests.push(made);
        return [201, pull(made)];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/releases/tags/([^/]+)$`),
      answer({ params }) {
        const one = known.releases.find(({ tag }) => tag === params[0]);
        return one === undefined ? [404, { message: 'not found' }] : [200, release(one)];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/releases$`),
      body: z.strictObject({
        tag_name: z.string(),
        target_commitish: z.string().optional(),
        name: z.string().optional(),
        body: z.string().optional(),
        draft: z.boolean().optional(),
        prerelease: z.boolean().optional(),
        tag_message: z.string().optional(),
      }),
      answer({ body }) {
        const {
          tag_name: tag = '',
          target_commitish: commit = '',
          name = '',
          body: notes = '',
        } = body as Record<string, string>;
        if (known.releases.some((one) => one.tag === tag)) return [409, { message: 'Release is has no Tag' }];
        const one = { tag, commit, name, notes };
        known.releases.push(one);
        return [201, release(one)];
      },
    },
  ]);
}
