import { createHash } from 'node:crypto';
import { z } from 'zod';
import { createForgeHttp } from './http.ts';
import { once } from './once.ts';
import {
  type CommitStatus,
  type ForgeApi,
  type ForgeApiOptions,
  asCommitStatus,
  plainMarkOf,
  plainMarked,
} from './port.ts';

const hosted = 'https://api.bitbucket.org/2.0';
/** Bitbucket refuses a longer key of a status. */
const longestKey = 40;
const longestDescription = 255;
/** Of a list of comments; a pull request with more of them gets a second one of ours. Judgement. */
const mostPages = 20;

/** Comments that are marked as ours, of which it is not known whether they are. Judgement: more of them are somebody's joke. */
const mostTried = 20;

/** It has no word for what could not be found out; `STOPPED` would not keep a merge from going on. */
const states = {
  pending: 'INPROGRESS',
  success: 'SUCCESSFUL',
  failure: 'FAILED',
  error: 'FAILED',
} as const satisfies Readonly<Record<CommitStatus['state'], string>>;

const User = z.object({ uuid: z.string() });
const Comment = z.object({
  id: z.number(),
  /** Absent where the account is gone. */
  user: z.object({ uuid: z.string().nullish() }).nullish(),
  content: z.object({ raw: z.string().nullish() }).nullish(),
  deleted: z.boolean().optional(),
});
const PullRequest = z.object({ id: z.number(), links: z.object({ html: z.object({ href: z.string() }) }) });

function page<T>(item: z.ZodType<T>) {
  return z.object({ values: z.array(item), next: z.string().optional() });
}

/** Bitbucket Cloud, by version 2.0 of its API; why without a client, ADR 0014 says. */
export function createBitbucketApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { url = hosted, token, repository, timeoutMs } = options;
  const [workspace = '', slug = ''] = repository.split('/');
  const http = createForgeHttp({
    forge: 'Bitbucket',
    base: url,
    // `user:token` is an API token or app password of a person; any other is an access token.
    authorization: token.includes(':') ? `Basic ${Buffer.from(token).toString('base64')}` : `Bearer ${token}`,
    repository,
    timeoutMs,
  });
  const place = `/repositories/${encodeURIComponent(workspace)}/${encodeURIComponent(slug)}`;

  async function setStatus({ commit, context, state, description, url: target }: CommitStatus): Promise<void> {
    await http.ask('POST', `${place}/commit/${commit}/statuses/build`, {
      body: {
        key: keyOf(context),
        name: context,
        state: states[state],
        description: description.slice(0, longestDescription),
        // It wants an address; where Slipway has none for people, that of the commit.
        url: target ?? `https://bitbucket.org/${workspace}/${slug}/commits/${commit}`,
      },
      answer: z.object({}),
    });
  }

  /** Whose token it is; undefined for one without the scope `account`, which those of repositories and workspaces never have. */
  const readSelf = once(async () => (await http.askIfAllowed('GET', '/user', { answer: User }))?.uuid);

  /** Comments with the mark that may be ours: by their author, where it is known who we are. */
  async function findComments(pullRequest: number, mark: string): Promise<readonly number[]> {
    const self = await readSelf();
    const found: number[] = [];
    for (let number = 1; number <= mostPages; number += 1) {
      const { values, next } = await http.ask('GET', `${place}/pullrequests/${pullRequest}/comments`, {
        query: { pagelen: '100', page: String(number) },
        answer: page(Comment),
      });
      for (const { id, content, deleted, user } of values) {
        const isOurs = self === undefined || user?.uuid === self;
        if (isOurs && deleted !== true && content?.raw?.startsWith(mark) === true) found.push(id);
      }
      if (next === undefined || (self !== undefined && found.length > 0)) break;
    }
    return found.slice(0, mostTried);
  }

  return Promise.resolve({
    setStatus: (status) => http.attempt(() => setStatus(status)),
    setComment: (comment) =>
      http.attempt(async () => {
        const path = `${place}/pullrequests/${comment.pullRequest}/comments`;
        const body = { content: { raw: plainMarked(comment) } };
        for (const id of await findComments(comment.pullRequest, plainMarkOf(comment))) {
          // Only who has written a comment may write it anew, so one that somebody else has marked is refused, and left.
          if ((await http.askIfAllowed('PUT', `${path}/${id}`, { body, answer: Comment })) !== undefined) return;
        }
        await http.ask('POST', path, { body, answer: Comment });
      }),
    ensurePullRequest: ({ from, into, title, body }) =>
      http.attempt(async () => {
        const { values: open } = await http.ask('GET', `${place}/pullrequests`, {
          query: {
            q: `source.branch.name = ${quoted(from)} AND destination.branch.name = ${quoted(into)} AND state = "OPEN"`,
          },
          answer: page(PullRequest),
        });
        const [known] = open;
        if (known !== undefined) {
          return { kind: 'open', number: known.id, url: known.links.html.href, created: false };
        }
        const { values: ahead } = await http.ask('GET', `${place}/commits`, {
          query: { include: from, exclude: into, pagelen: '1' },
          answer: page(z.object({})),
        });
        if (ahead.length === 0) return { kind: 'nothing-to-merge' };
        const made = await http.ask('POST', `${place}/pullrequests`, {
          body: {
            title,
            description: body,
            source: { branch: { name: from } },
            destination: { branch: { name: into } },
          },
          answer: PullRequest,
        });
        return { kind: 'open', number: made.id, url: made.links.html.href, created: true };
      }),
    setDeployment: (status) => http.attempt(() => setStatus(asCommitStatus(status))),
  });
}

/** The name itself, or where that is too long a hash of it. */
function keyOf(context: string): string {
  if (context.length <= longestKey) return context;
  return createHash('sha256').update(context).digest('hex').slice(0, longestKey);
}

/** A text in its query language. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}
