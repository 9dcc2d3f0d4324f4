import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { createForgeHttp } from './http.ts';
import { once } from './once.ts';
import {
  type CommitStatus,
  type DeploymentStatus,
  type ForgeApi,
  type ForgeApiOptions,
  plainMarkOf,
  plainMarked,
} from './port.ts';

/** Its columns for a build. */
const longestDescription = 255;
/** Of a list, and pages of it: a pull request in which more has happened gets a second comment of ours. Judgement. */
const pageLength = 100;
const mostPages = 20;

const states = {
  pending: 'INPROGRESS',
  success: 'SUCCESSFUL',
  failure: 'FAILED',
  error: 'FAILED',
} as const satisfies Readonly<Record<CommitStatus['state'], string>>;

const deploymentStates = {
  waiting: 'PENDING',
  running: 'IN_PROGRESS',
  success: 'SUCCESSFUL',
  failure: 'FAILED',
  inactive: 'ROLLED_BACK',
} as const satisfies Readonly<Record<DeploymentStatus['state'], string>>;

const Comment = z.object({
  id: z.number(),
  version: z.number(),
  text: z.string(),
  author: z.object({ name: z.string() }).nullish(),
});
const Activity = z.object({ action: z.string(), comment: Comment.optional() });
const PullRequest = z.object({
  id: z.number(),
  fromRef: z.object({ id: z.string() }),
  links: z.object({ self: z.array(z.object({ href: z.string() })).min(1) }),
});

function page<T>(item: z.ZodType<T>) {
  return z.object({ values: z.array(item), isLastPage: z.boolean(), nextPageStart: z.number().nullish() });
}

/** Bitbucket Data Center and Server 7.14 and later (`https://host`), by the API that Atlassian describes in OpenAPI. */
export function createBitbucketDataCenterApi(options: ForgeApiOptions): Promise<ForgeApi> {
  const { url, token, repository, timeoutMs } = options;
  if (url === undefined) {
    throw new ProviderError('InvalidInput', 'A Bitbucket Data Center has no hosted service: its address is needed.');
  }
  // Its addresses for Git are `/scm/project/name`.
  const [project = '', slug = ''] = repository.split('/').slice(-2);
  const http = createForgeHttp({
    forge: 'Bitbucket',
    base: `${url}/rest/api/latest`,
    authorization: `Bearer ${token}`,
    repository,
    timeoutMs,
  });
  const place = `/projects/${encodeURIComponent(project)}/repos/${encodeURIComponent(slug)}`;
  // It wants an address; where Slipway has none for people, that of the commit.
  const pageOf = (commit: string): string => `${url}${place}/commits/${commit}`;

  async function findIn<T>(
    path: string,
    item: z.ZodType<T>,
    query: Readonly<Record<string, string>>,
    isIt: (one: T) => boolean,
  ): Promise<T | undefined> {
    let start = 0;
    for (let number = 0; number < mostPages; number += 1) {
      const { values, isLastPage, nextPageStart } = await http.ask('GET', path, {
        query: { ...query, start: String(start), limit: String(pageLength) },
        answer: page(item),
      });
      const found = values.find(isIt);
      if (found !== undefined || isLastPage || typeof nextPageStart !== 'number') return found;
      start = nextPageStart;
    }
    return undefined;
  }

  /** Whose token it is. No resource tells it; every answer does, in a header. */
  const readSelf = once(async () => {
    const name = await http.askHeader(place, 'x-ausername');
    if (name !== undefined) return decoded(name);
    throw new ProviderError('ForgeRefused', `Bitbucket does not say whose token it is that ${repository} is told with`);
  });

  return Promise.resolve({
    setStatus: ({ commit, context, state, description, url: target = pageOf(commit) }) =>
      http.attempt(async () => {
        await http.ask('POST', `${place}/commits/${commit}/builds`, {
          body: {
            key: context,
            name: context,
            state: states[state],
            description: description.slice(0, longestDescription),
            url: target,
          },
          answer: z.object({}),
        });
      }),
    setComment: (comment) =>
      http.attempt(async () => {
        const mark = plainMarkOf(comment);
        const self = await readSelf();
        const pull = `${place}/pull-requests/${comment.pullRequest}`;
        const own = await findIn(
          `${pull}/activities`,
          Activity,
          {},
          ({ action, comment: said }) =>
            action === 'COMMENTED' && said?.text.startsWith(mark) === true && said.author?.name === self,
        );
        const text = plainMarked(comment);
        const known = own?.comment;
        if (known === undefined) {
          await http.ask('POST', `${pull}/comments`, { body: { text }, answer: Comment });
        } else {
          // Refused with 409 where somebody else has written it since: then it is read and tried once more.
          await http.ask('PUT', `${pull}/comments/${known.id}`, {
            body: { text, version: known.version },
            answer: Comment,
          });
        }
      }),
    ensurePullRequest: ({ from, into, title, body }) =>
      http.attempt(async () => {
        const known = await findIn(
          `${place}/pull-requests`,
          PullRequest,
          { state: 'OPEN', direction: 'INCOMING', at: `refs/heads/${into}` },
          ({ fromRef }) => fromRef.id === `refs/heads/${from}`,
        );
        if (known !== undefined) return { kind: 'open', number: known.id, url: addressOf(known), created: false };
        const ahead = await http.ask('GET', `${place}/compare/commits`, {
          query: { from: `refs/heads/${from}`, to: `refs/heads/${into}`, limit: '1' },
          answer: page(z.object({})),
        });
        if (ahead.values.length === 0) return { kind: 'nothing-to-merge' };
        const repositoryRef = { slug, project: { key: project } };
        const made = await http.ask('POST', `${place}/pull-requests`, {
          body: {
            title,
            description: body,
            fromRef: { id: `refs/heads/${from}`, repository: repositoryRef },
            toRef: { id: `refs/heads/${into}`, repository: repositoryRef },
          },
          answer: PullRequest,
        });
        return { kind: 'open', number: made.id, url: addressOf(made), created: true };
      }),
    setDeployment: ({ key, environment, production, number, commit, state, description, url: target }) =>
      http.attempt(async () => {
        await http.ask('POST', `${place}/commits/${commit}/deployments`, {
          body: {
            key: key.replace(/\/\d+$/, ''),
            deploymentSequenceNumber: number,
            displayName: `${environment} ${number}`,
            description: description.slice(0, longestDescription),
            environment: {
              key: environment,
              displayName: environment,
              ...(production ? { type: 'PRODUCTION' } : {}),
            },
            state: deploymentStates[state],
            url: target ?? pageOf(commit),
          },
          answer: z.object({}),
        });
      }),
  });
}

function addressOf({ links }: z.output<typeof PullRequest>): string {
  return links.self[0]?.href ?? '';
}

/** Names stand in the header as in an address. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}
