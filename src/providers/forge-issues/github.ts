import type { MarkedIssue } from '../../domain/finding-issues.ts';
import { githubAnswer, githubOptions, githubPlace } from '../forge-apis/github-client.ts';
import { type CreateIssueTracker, issueError, issueLabel, mostPages } from './port.ts';

/** GitHub and GitHub Enterprise. A label that is not there is made with the first issue. */
export const createGithubIssues: CreateIssueTracker = async (options) => {
  const { Octokit } = await import('@octokit/rest');
  const place = githubPlace(options);
  const octokit = new Octokit(githubOptions(options));

  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw issueError('GitHub', options, githubAnswer(error));
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
