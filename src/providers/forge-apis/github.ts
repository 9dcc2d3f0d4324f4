import { ProviderError } from '../../domain/failures.ts';
import { type ForgeApi, type ForgeApiOptions, markOf, marked } from './port.ts';

/** GitHub refuses a longer one (docs.github.com, create a commit status). */
const longestDescription = 140;
/** A limit that ends later than this is for the next attempt of the activity, s. */
const longestWaitSeconds = 3;

/** GitHub and GitHub Enterprise (`https://host/api/v3`), by Octokit with its plugins for limits and retries. */
export async function createGithubApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { Octokit } = await import('@octokit/rest');
  const { retry } = await import('@octokit/plugin-retry');
  const { throttling } = await import('@octokit/plugin-throttling');
  const [owner = '', repo = ''] = options.repository.split('/');
  const mayWait = (seconds: number, _request: unknown, _octokit: unknown, tries: number): boolean =>
    tries < 1 && seconds <= longestWaitSeconds;
  const octokit = new (Octokit.plugin(retry, throttling))({
    auth: options.token,
    ...(options.url === undefined ? {} : { baseUrl: options.url }),
    userAgent: 'slipway',
    log: silent,
    request: {
      fetch: async (url: string, init: RequestInit) =>
        await fetch(url, { ...init, signal: AbortSignal.timeout(options.timeoutMs) }),
    },
    retry: { retries: 1, retryAfterBaseValue: 250 },
    throttle: { onRateLimit: mayWait, onSecondaryRateLimit: mayWait },
  });
  const place = { owner, repo };

  return {
    async setStatus({ commit, context, state, description, url }) {
      await asked(options, () =>
        octokit.rest.repos.createCommitStatus({
          ...place,
          sha: commit,
          context,
          state,
          description: description.slice(0, longestDescription),
          ...(url === undefined ? {} : { target_url: url }),
        }),
      );
    },
    async setComment(comment) {
      await asked(options, async () => {
        const mark = markOf(comment);
        const pages = octokit.paginate.iterator(octokit.rest.issues.listComments, {
          ...place,
          issue_number: comment.pullRequest,
          per_page: 100,
        });
        for await (const { data } of pages) {
          const own = data.find(({ body }) => body?.startsWith(mark) === true);
          if (own === undefined) continue;
          await octokit.rest.issues.updateComment({ ...place, comment_id: own.id, body: marked(comment) });
          return;
        }
        await octokit.rest.issues.createComment({ ...place, issue_number: comment.pullRequest, body: marked(comment) });
      });
    },
    async ensurePullRequest({ from, into, title, body }) {
      return await asked(options, async () => {
        const { data: open } = await octokit.rest.pulls.list({
          ...place,
          state: 'open',
          head: `${owner}:${from}`,
          base: into,
        });
        const [known] = open;
        if (known !== undefined) return { kind: 'open', number: known.number, url: known.html_url, created: false };
        const { data: compared } = await octokit.rest.repos.compareCommitsWithBasehead({
          ...place,
          basehead: `${into}...${from}`,
          per_page: 1,
        });
        if (compared.ahead_by === 0) return { kind: 'nothing-to-merge' };
        const { data: made } = await octokit.rest.pulls.create({ ...place, head: from, base: into, title, body });
        return { kind: 'open', number: made.number, url: made.html_url, created: true };
      });
    },
  };
}

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

async function asked<T>({ repository }: ForgeApiOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { status, message } = error as { readonly status?: number; readonly message?: string };
    // 403 is a quota as often as a right; what the answer says decides.
    const quota = status === 429 || (status === 403 && /rate limit|quota|abuse/i.test(message ?? ''));
    const refused = status !== undefined && status >= 400 && status < 500 && status !== 408 && !quota;
    throw new ProviderError(
      refused ? 'ForgeRefused' : 'ForgeUnavailable',
      `GitHub ${refused ? 'refused' : 'could not be told'} for ${repository}: ${status ?? ''} ${(message ?? '').slice(0, 300)}`,
    );
  }
}
