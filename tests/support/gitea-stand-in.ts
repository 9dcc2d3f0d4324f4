/** A Gitea or Forgejo, of what both publish (published-gitea.ts). */
import { z } from 'zod';
import { type StandIn, authorOf, listen, shared } from './forge-stand-ins.ts';
import { giteaEndpoint } from './published-gitea.ts';

const number = z.coerce.number().int();
const commit = /[0-9a-f]{40}/;
const id = /\d+/;

export async function startGiteaStandIn(): Promise<StandIn> {
  const known = shared('gitea-secret');
  const place = ['team', 'app'] as const;
  const pull = ({ number: index, from, into, title }: StandIn['pullRequests'][number]) => ({
    number: index,
    html_url: `https://git.example.com/team/app/pulls/${index}`,
    head: { ref: from },
    base: { ref: into },
    title,
  });
  const release = ({ tag }: { readonly tag: string }) => ({
    id: 1,
    html_url: `https://git.example.com/team/app/releases/tag/${tag}`,
  });
  const said = (one: StandIn['comments'][number]) => ({
    id: one.id,
    body: one.body,
    user: { id: authorOf(one).id, login: authorOf(one).name },
  });
  return await listen(known, '/api/v1', (headers) => String(headers['authorization']).replace(/^token /, ''), [
    giteaEndpoint('repos', 'repoCreateStatus', [...place, commit], {
      body: {
        context: z.string().optional(),
        description: z.string().optional(),
        // More than the type says: the swagger has it in words.
        state: z.enum(['pending', 'success', 'error', 'failure', 'warning']).optional(),
        target_url: z.string().optional(),
      },
      answer({ params, body }) {
        const { state = '', description = '', context = 'default', target_url: url } = body;
        known.statuses.set(`${params[0] ?? ''}/${context}`, { state, description, url });
        return [201, { id: 1, status: state, context }];
      },
    }),
    giteaEndpoint('repos', 'issueGetComments', [...place, id], {
      query: { since: z.string().optional(), before: z.string().optional() },
      answer: ({ params }) => [
        200,
        known.comments.filter(({ pullRequest }) => pullRequest === Number(params[0])).map(said),
      ],
    }),
    giteaEndpoint('user', 'userGetCurrent', [], {
      answer: () =>
        known.withheld.has('self')
          ? [403, { message: 'token does not have at least one of required scope(s): [read:user]' }]
          : [200, { id: 1, login: 'slipway bot' }],
    }),
    giteaEndpoint('repos', 'issueCreateComment', [...place, id], {
      body: { body: z.string() },
      answer({ params, body }) {
        const comment = { id: known.comments.length + 1, pullRequest: Number(params[0]), body: body.body };
        known.comments.push(comment);
        return [201, said(comment)];
      },
    }),
    giteaEndpoint('repos', 'issueEditComment', [...place, id], {
      body: { body: z.string() },
      answer({ params, body }) {
        const comment = known.comments.find((one) => one.id === Number(params[0]));
        if (comment === undefined) return [404, { message: 'not found' }];
        comment.body = body.body;
        return [200, said(comment)];
      },
    }),
    giteaEndpoint('repos', 'repoListPullRequests', place, {
      query: {
        state: z.enum(['open', 'closed', 'all']).optional(),
        milestone: number.optional(),
        page: number.min(1).optional(),
        limit: number.optional(),
      },
      // One on a page: a server may give fewer than it is asked for.
      answer: ({ query: { page = 1 } }) => [200, known.pullRequests.slice(page - 1, page).map(pull)],
    }),
    giteaEndpoint('repos', 'repoCompareDiff', [...place, /.+/], {
      answer: ({ params }) => [
        200,
        { total_commits: known.merged.has((params[0] ?? '').split('...')[1] ?? '') ? 0 : 2, commits: [] },
      ],
    }),
    giteaEndpoint('repos', 'repoCreatePullRequest', place, {
      body: {
        head: z.string(),
        base: z.string(),
        title: z.string(),
        body: z.string().optional(),
        assignees: z.array(z.string()).optional(),
        labels: z.array(z.number()).optional(),
        milestone: z.number().optional(),
      },
      answer({ body: { head, base, title } }) {
        const made = { number: known.pullRequests.length + 1, from: head, into: base, title };
        known.pullRequests.push(made);
        return [201, pull(made)];
      },
    }),
    giteaEndpoint('repos', 'repoGetReleaseByTag', [...place, /[^/]+/], {
      answer({ params }) {
        const one = known.releases.find(({ tag }) => tag === params[0]);
        return one === undefined ? [404, { message: 'not found' }] : [200, release(one)];
      },
    }),
    giteaEndpoint('repos', 'repoCreateRelease', place, {
      body: {
        tag_name: z.string(),
        target_commitish: z.string().optional(),
        name: z.string().optional(),
        body: z.string().optional(),
        draft: z.boolean().optional(),
        prerelease: z.boolean().optional(),
      },
      answer({ body: { tag_name: tag, target_commitish: target = '', name = '', body: notes = '' } }) {
        if (known.releases.some((one) => one.tag === tag)) return [409, { message: 'Release is has no Tag' }];
        const one = { tag, commit: target, name, notes };
        known.releases.push(one);
        return [201, release(one)];
      },
    }),
  ]);
}
