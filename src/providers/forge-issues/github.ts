import type { MarkedIssue } from '../../domain/finding-issues.ts';
import { type CreateIssueTracker, issueError, issueLabel, mostPages } from './port.ts';

/** GitHub and GitHub Enterprise. A label that is not there is made with the first issue. */
export const createGithubIssues: CreateIssueTracker = async (options) => {
  const { Octokit } = await import('@octokit/rest');
  const [owner = '', repo = ''] = options.repository.split('/');
  const place = { owner, repo };
  const octokit = new Octokit({
    auth: options.token,
    ...(options.url === undefined ? {} : { baseUrl: options.url }),
    userAgent: 'slipway',
    log: silent,
    request: {
      fetch: async (url: string, init: RequestInit) =>
        await fetch(url, { ...init, signal: AbortSignal.timeout(options.timeoutMs) }),
    },
  });

  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { status, message = '' } = error as { readonly status?: number; readonly message?: string };
      throw issueError('GitHub', options, { status, words: message });
    }
  }

  return {
    list: () =>
      asked(async () => {
        const found: MarkedIssue[] = [];
        let page = 0;
        const pages = octokit.paginate.iterator(octokit.rest.issues.listForRepo, {
          ...place,
          labels: issueLabel,
          state: 'all',
          per_page: 100,
        });
        for await (const { data } of pages) {
          for (const { number, state, title, body, pull_request: pull } of data) {
            if (pull === undefined) found.push({ number, open: state === 'open', title, body: body ?? '' });
          }
          page += 1;
          if (page === mostPages) break;
        }
        return found;
      }),
    create: ({ title, body }) =>
      asked(async () => {
        await octokit.rest.issues.create({ ...place, title, body, labels: [issueLabel] });
      }),
    update: ({ number, title, body, open }) =>
      asked(async () => {
        await octokit.rest.issues.update({
          ...place,
          issue_number: number,
          title,
          body,
          state: open ? 'open' : 'closed',
        });
      }),
    comment: (number, body) =>
      asked(async () => {
        await octokit.rest.issues.createComment({ ...place, issue_number: number, body });
      }),
  };
};

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
