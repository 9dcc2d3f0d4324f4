import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { createForgeHttp } from './http.ts';
import { once } from './once.ts';
import { type CommitStatus, type ForgeApi, type ForgeApiOptions, asCommitStatus, markOf, marked } from './port.ts';

/** Of a page: the most that a server gives as it comes (`[api] MAX_RESPONSE_ITEMS`), which may give fewer. */
const pageLength = 50;
/** Where more pull requests are open than these have, the forge itself refuses a second one. Judgement. */
const mostPages = 40;
/** What people can read of a status; the column holds more. */
const longestDescription = 255;

const states = {
  pending: 'pending',
  success: 'success',
  failure: 'failure',
  error: 'error',
} as const satisfies Readonly<Record<CommitStatus['state'], string>>;

const User = z.object({ id: z.number() });
/** A comment that was brought in from elsewhere has nobody of here. */
const Comment = z.object({ id: z.number(), body: z.string(), user: User.nullish() });
const PullRequest = z.object({
  number: z.number(),
  html_url: z.string(),
  head: z.object({ ref: z.string() }),
  base: z.object({ ref: z.string() }),
});
const Release = z.object({ html_url: z.string() });

/** Gitea and Forgejo (`https://host`), by the API that their own `/swagger.v1.json` describes; why without a client, ADR 0014 says. */
export function createGiteaApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { url, token, repository, timeoutMs } = options;
  if (url === undefined)
    throw new ProviderError('InvalidInput', 'A Gitea has no hosted service: its address is needed.');
  const [owner = '', repo = ''] = repository.split('/').map(encodeURIComponent);
  const http = createForgeHttp({
    forge: 'Gitea',
    base: `${url}/api/v1`,
    authorization: `token ${token}`,
    repository,
    timeoutMs,
  });
  const place = `/repos/${owner}/${repo}`;

  /** Asks page after page until one has it. */
  async function findIn<T>(
    path: string,
    item: z.ZodType<T>,
    query: Readonly<Record<string, string>>,
    isIt: (one: T) => boolean,
  ): Promise<T | undefined> {
    for (let page = 1; page <= mostPages; page += 1) {
      const items = await http.ask('GET', path, {
        query: { ...query, page: String(page), limit: String(pageLength) },
        answer: z.array(item),
      });
      const found = items.find(isIt);
      if (found !== undefined || items.length === 0) return found;
    }
    return undefined;
  }

  async function setStatus({ commit, context, state, description, url: target }: CommitStatus): Promise<void> {
    await http.ask('POST', `${place}/statuses/${commit}`, {
      body: {
        context,
        state: states[state],
        description: description.slice(0, longestDescription),
        ...(target === undefined ? {} : { target_url: target }),
      },
      answer: z.object({}),
    });
  }

  /** Whose token it is; that needs its scope `read:user`. */
  const readSelf = once(async () => (await http.ask('GET', '/user', { answer: User })).id);

  return Promise.resolve({
    setStatus: (status) => http.attempt(() => setStatus(status)),
    setComment: (comment) =>
      http.attempt(async () => {
        const mark = markOf(comment);
        const path = `${place}/issues/${comment.pullRequest}/comments`;
        const self = await readSelf();
        // The whole list comes at once: this one has no pages.
        const comments = await http.ask('GET', path, { answer: z.array(Comment) });
        const own = comments.find(({ body, user }) => body.startsWith(mark) && user?.id === self);
        const body = { body: marked(comment) };
        if (own === undefined) await http.ask('POST', path, { body, answer: Comment });
        else await http.ask('PATCH', `${place}/issues/comments/${own.id}`, { body, answer: Comment });
      }),
    ensurePullRequest: ({ from, into, title, body }) =>
      http.attempt(async () => {
        const known = await findIn(
          `${place}/pulls`,
          PullRequest,
          { state: 'open' },
          ({ head, base }) => head.ref === from && base.ref === into,
        );
        if (known !== undefined) return { kind: 'open', number: known.number, url: known.html_url, created: false };
        const compared = await http.ask('GET', `${place}/compare/${inPath(into)}...${inPath(from)}`, {
          answer: z.object({ total_commits: z.number() }),
        });
        if (compared.total_commits === 0) return { kind: 'nothing-to-merge' };
        const made = await http.ask('POST', `${place}/pulls`, {
          body: { head: from, base: into, title, body },
          answer: PullRequest,
        });
        return { kind: 'open', number: made.number, url: made.html_url, created: true };
      }),
    setDeployment: (status) => http.attempt(() => setStatus(asCommitStatus(status))),
    ensureRelease: ({ tag, commit, name, notes }) =>
      http.attempt(async () => {
        const known = await http.find(`${place}/releases/tags/${encodeURIComponent(tag)}`, { answer: Release });
        if (known !== undefined) return { created: false, url: known.html_url };
        const made = await http.ask('POST', `${place}/releases`, {
          body: { tag_name: tag, target_commitish: commit, name, body: notes },
          answer: Release,
        });
        return { created: true, url: made.html_url };
      }),
  });
}

/** A branch at the end of a path, where its slashes stay what they are. */
function inPath(branch: string): string {
  return branch.split('/').map(encodeURIComponent).join('/');
}
