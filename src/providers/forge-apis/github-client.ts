import type { Octokit } from '@octokit/rest';
import type { ForgeApiOptions } from './port.ts';
import type { ForgeAnswer } from './refusal.ts';

type GithubOptions = NonNullable<ConstructorParameters<typeof Octokit>[0]>;

/** What every client of GitHub is made with: no words of its own on the console, and no request without a deadline. */
export function githubOptions({ token, url, timeoutMs }: ForgeApiOptions): GithubOptions {
  return {
    auth: token,
    ...(url === undefined ? {} : { baseUrl: url }),
    userAgent: 'slipway',
    log: silent,
    request: {
      fetch: async (address: string, init: RequestInit) =>
        await fetch(address, { ...init, signal: AbortSignal.timeout(timeoutMs) }),
    },
  };
}

/** The repository in the form that its calls want it. */
export function githubPlace({ repository }: Pick<ForgeApiOptions, 'repository'>): { owner: string; repo: string } {
  const [owner = '', repo = ''] = repository.split('/');
  return { owner, repo };
}

/** What GitHub said, of an error of its client. */
export function githubAnswer(error: unknown): ForgeAnswer {
  const { status, message = '' } = error as { readonly status?: number; readonly message?: string };
  return { status, words: message };
}

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
