import { type CreateIssueTracker, issueError, issueLabel, mostPages } from './port.ts';

/** GitLab, its own and hosted. A label that is not there is made with the first issue. */
export const createGitlabIssues: CreateIssueTracker = async (options) => {
  const { Gitlab } = await import('@gitbeaker/rest');
  const { repository: project } = options;
  const api = new Gitlab({
    token: options.token,
    ...(options.url === undefined ? {} : { host: options.url }),
    queryTimeout: options.timeoutMs,
  });

  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { cause, message = '' } = error as Refusal;
      const words = typeof cause?.description === 'string' ? cause.description : message;
      throw issueError('GitLab', options, { status: cause?.response?.status, words });
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

interface Refusal {
  readonly message?: string;
  readonly cause?: { readonly description?: unknown; readonly response?: { readonly status?: number } };
}
