import { ProviderError } from '../../domain/failures.ts';
import { githubAnswer, githubOptions, githubPlace } from './github-client.ts';
import { type DeploymentStatus, type ForgeApi, type ForgeApiOptions, markOf, marked } from './port.ts';
import { once } from './once.ts';
import { isRefusal } from './refusal.ts';

/** GitHub refuses a longer one (docs.github.com, create a commit status). */
const longestDescription = 140;
const deploymentStates = {
  waiting: 'queued',
  running: 'in_progress',
  success: 'success',
  failure: 'failure',
  inactive: 'inactive',
} as const satisfies Readonly<Record<DeploymentStatus['state'], string>>;
/** A limit that ends later than this is for the next attempt of the activity, s. */
const longestWaitSeconds = 3;

/** GitHub and GitHub Enterprise (`https://host/api/v3`), by Octokit with its plugins for limits and retries. */
export async function createGithubApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { Octokit } = await import('@octokit/rest');
  const { retry } = await import('@octokit/plugin-retry');
  const { throttling } = await import('@octokit/plugin-throttling');
  const place = githubPlace(options);
  const mayWait = (seconds: number, _request: unknown, _octokit: unknown, tries: number): boolean =>
    tries < 1 && seconds <= longestWaitSeconds;
  const octokit = new (Octokit.plugin(retry, throttling))({
    ...githubOptions(options),
    retry: { retries: 1, retryAfterBaseValue: 250 },
    throttle: { onRateLimit: mayWait, onSecondaryRateLimit: mayWait },
  });

  /** Told apart from others of the same commit by its payload, which GitHub gives back as it got it. */
  async function deploymentOf(
    wanted: Pick<DeploymentStatus, 'key' | 'environment' | 'production' | 'commit'>,
  ): Promise<number> {
    const { key, environment, production, commit } = wanted;
    const pages = octokit.paginate.iterator(octokit.rest.repos.listDeployments, {
      ...place,
      sha: commit,
      environment,
      per_page: 100,
    });
    for await (const { data } of pages) {
      const own = data.find(({ payload }) => keyIn(payload) === key);
      if (own !== undefined) return own.id;
    }
    const { data: made } = await octokit.rest.repos.createDeployment({
      ...place,
      ref: commit,
      environment,
      production_environment: production,
      payload: { slipway: key },
      // What was checked is decided here, and nothing is merged for it.
      auto_merge: false,
      required_contexts: [],
    });
    if ('id' in made) return made.id;
    throw new ProviderError('ForgeUnavailable', `GitHub made no deployment of ${commit}: ${made.message ?? ''}`);
  }

  /** Whose token it is. By GraphQL, for an installation of an app has no user that REST would tell. */
  const readSelf = once(async () => {
    const { viewer } = await octokit.graphql<{
      readonly viewer: { readonly login: string; readonly databaseId: number | null };
    }>('query { viewer { login databaseId } }');
    return viewer;
  });

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
        const self = await readSelf();
        const pages = octokit.paginate.iterator(octokit.rest.issues.listComments, {
          ...place,
          issue_number: comment.pullRequest,
          per_page: 100,
        });
        for await (const { data } of pages) {
          const own = data.find(
            ({ body, user }) =>
              body?.startsWith(mark) === true && (user?.id === self.databaseId || user?.login === self.login),
          );
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
          head: `${place.owner}:${from}`,
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
    async setDeployment({ key, environment, production, commit, state, description, url }) {
      await asked(options, async () => {
        const id = await deploymentOf({ key, environment, production, commit });
        const line = description.slice(0, longestDescription);
        const { data: told } = await octokit.rest.repos.listDeploymentStatuses({
          ...place,
          deployment_id: id,
          per_page: 1,
        });
        if (told[0]?.state === deploymentStates[state] && told[0].description === line) return;
        await octokit.rest.repos.createDeploymentStatus({
          ...place,
          deployment_id: id,
          state: deploymentStates[state],
          description: line,
          environment,
          ...(url === undefined ? {} : { log_url: url }),
        });
      });
    },
    async ensureRelease({ tag, commit, name, notes }) {
      return await asked(options, async () => {
        try {
          const { data: known } = await octokit.rest.repos.getReleaseByTag({ ...place, tag });
          return { created: false, url: known.html_url };
        } catch (error) {
          if ((error as { readonly status?: number }).status !== 404) throw error;
        }
        const { data: made } = await octokit.rest.repos.createRelease({
          ...place,
          tag_name: tag,
          target_commitish: commit,
          name,
          body: notes,
        });
        return { created: true, url: made.html_url };
      });
    },
  };
}

/** An object, or its text, as older servers give it. */
function keyIn(payload: unknown): unknown {
  if (typeof payload === 'string') {
    try {
      return keyIn(JSON.parse(payload) as object);
    } catch {
      return undefined;
    }
  }
  return typeof payload === 'object' && payload !== null && 'slipway' in payload ? payload.slipway : undefined;
}

async function asked<T>({ repository }: ForgeApiOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    const answer = githubAnswer(error);
    const refused = isRefusal(answer);
    throw new ProviderError(
      refused ? 'ForgeRefused' : 'ForgeUnavailable',
      `GitHub ${refused ? 'refused' : 'could not be told'} for ${repository}: ${answer.status ?? ''} ${answer.words.slice(0, 300)}`,
    );
  }
}
