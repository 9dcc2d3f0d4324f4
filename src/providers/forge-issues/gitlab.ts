import { gitlabAnswer, gitlabOptions } from '../forge-apis/gitlab-client.ts';
import { type CreateIssueTracker, issueError, issueLabel, mostPages } from './port.ts';

/** GitLab, its own and hosted. A label that is not there is made with the first issue. */
export const createGitlabIssues: CreateIssueTracker = async (options) => {
  const { Gitlab } = await import('@gitbeaker/rest');
  const { repository: project } = options;
  const api = new Gitlab(gitlabOptions(options));

  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw issueError('GitLab', options, gitlabAnswer(error));
    }
  }

  return {
    list: () =>
      asked(async () => {
        const issues = await api.Issues.all({
          projectId: project,
          labels: issueLabel,
          scope: 'all',
          perPage: 100,
          maxPages: mostPages,
        });
        return issues.map(({ iid, state, title, description }) => ({
          number: iid,
          open: state === 'opened',
          title,
          body: (description as string | null) ?? '',
        }));
      }),
    create: ({ title, body }) =>
      asked(async () => {
        await api.Issues.create(project, title, { description: body, labels: issueLabel });
      }),
    update: ({ number, title, body, open }) =>
      asked(async () => {
        const { state } = await api.Issues.show(number, { projectId: project });
        // Said of one that is in that state already it is refused.
        const event = (state === 'opened') === open ? {} : { stateEvent: open ? 'reopen' : 'close' };
        await api.Issues.edit(project, number, { title, description: body, ...event });
      }),
    comment: (number, body) =>
      asked(async () => {
        await api.IssueNotes.create(project, number, body);
      }),
  };
};
