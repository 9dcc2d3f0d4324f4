import { ProviderError } from '../../domain/failures.ts';
import { gitlabAnswer, gitlabOptions } from './gitlab-client.ts';
import {
  type CommitStatus,
  type DeploymentStatus,
  type ForgeApi,
  type ForgeApiOptions,
  markOf,
  marked,
} from './port.ts';
import { once } from './once.ts';
import { isRefusal } from './refusal.ts';

/** The column that GitLab keeps it in. */
const longestDescription = 255;

const states = {
  pending: 'running',
  success: 'success',
  failure: 'failed',
  error: 'failed',
} as const satisfies Readonly<Record<CommitStatus['state'], string>>;

/** It has no state for a deployment that waits; one that was taken back while it ran was canceled. */
const deploymentStates = {
  waiting: undefined,
  running: 'running',
  success: 'success',
  failure: 'failed',
  inactive: 'canceled',
} as const satisfies Readonly<Record<DeploymentStatus['state'], string | undefined>>;

/** GitLab, its own and hosted (`https://host`), by Gitbeaker, which keeps to its limits and asks again after 429 and 502. */
export async function createGitlabApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { Gitlab } = await import('@gitbeaker/rest');
  const { repository: project } = options;
  const api = new Gitlab(gitlabOptions(options));
  /** Whose token it is: that of a project or a group has a user too. */
  const readSelf = once(async () => (await api.Users.showCurrentUser()).id);

  return {
    async setStatus({ commit, context, state, description, url }) {
      await asked(options, async () => {
        try {
          await api.Commits.editStatus(project, commit, states[state], {
            name: context,
            description: description.slice(0, longestDescription),
            ...(url === undefined ? {} : { targetUrl: url }),
          });
        } catch (error) {
          // It is in that state already: a repeat, which GitLab alone takes for a mistake.
          const { status, words } = gitlabAnswer(error);
          if (status === 400 && /cannot transition/i.test(words)) return;
          throw error;
        }
      });
    },
    async setComment(comment) {
      await asked(options, async () => {
        const mark = markOf(comment);
        const self = await readSelf();
        const notes = await api.MergeRequestNotes.all(project, comment.pullRequest, { sort: 'asc', perPage: 100 });
        const own = notes.find(({ body, author }) => body.startsWith(mark) && author.id === self);
        if (own === undefined) await api.MergeRequestNotes.create(project, comment.pullRequest, marked(comment));
        else await api.MergeRequestNotes.edit(project, comment.pullRequest, own.id, { body: marked(comment) });
      });
    },
    async ensurePullRequest({ from, into, title, body }) {
      return await asked(options, async () => {
        const open = await api.MergeRequests.all({
          projectId: project,
          state: 'opened',
          sourceBranch: from,
          targetBranch: into,
        });
        const [known] = open;
        if (known !== undefined) return { kind: 'open', number: known.iid, url: known.web_url, created: false };
        const { commits } = await api.Repositories.compare(project, into, from);
        if ((commits ?? []).length === 0) return { kind: 'nothing-to-merge' };
        const made = await api.MergeRequests.create(project, from, into, title, { description: body });
        return { kind: 'open', number: made.iid, url: made.web_url, created: true };
      });
    },
    async setDeployment({ environment, commit, ref, state }) {
      const wanted = deploymentStates[state];
      if (wanted === undefined) return;
      await asked(options, async () => {
        const newest = await api.Deployments.all(project, {
          environment,
          orderBy: 'id',
          sort: 'desc',
          perPage: 20,
          maxPages: 1,
        });
        const own = newest.find(({ sha }) => sha === commit);
        const open = own !== undefined && (own.status === 'created' || own.status === 'running');
        if (own?.status === wanted) return;
        // What is over keeps its end: GitLab shows by itself which one is live.
        if (open) await api.Deployments.edit(project, own.id, wanted);
        else if (wanted !== 'canceled') {
          const tag = ref?.startsWith('refs/tags/') === true;
          const name = ref === undefined ? commit : ref.replace(/^refs\/(?:heads|tags)\//, '');
          await api.Deployments.create(project, environment, commit, name, tag, { status: wanted });
        }
      });
    },
    async ensureRelease({ tag, commit, name, notes }) {
      return await asked(options, async () => {
        try {
          const known = await api.ProjectReleases.show(project, tag);
          return { created: false, url: addressOf(known) };
        } catch (error) {
          if (gitlabAnswer(error).status !== 404) throw error;
        }
        const made = await api.ProjectReleases.create(project, { name, tagName: tag, ref: commit, description: notes });
        return { created: true, url: addressOf(made) };
      });
    },
  };
}

function addressOf(release: { readonly _links?: unknown }): string {
  const { self } = (release._links ?? {}) as { readonly self?: unknown };
  return typeof self === 'string' ? self : '';
}

async function asked<T>({ repository }: ForgeApiOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const answer = gitlabAnswer(error);
    const refused = isRefusal(answer);
    throw new ProviderError(
      refused ? 'ForgeRefused' : 'ForgeUnavailable',
      `GitLab ${refused ? 'refused' : 'could not be told'} for ${repository}: ${answer.status ?? ''} ${answer.words.slice(0, 300)}`,
    );
  }
}
