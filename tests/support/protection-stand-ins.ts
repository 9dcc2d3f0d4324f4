/**
 * Stand-ins of what forges answer about the protection of branches, over real HTTP. Only what their references have is answered; anything else
 * that is asked is a violation.
 *
 * Sources: the types of Octokit and Gitbeaker for GitHub and GitLab, what Gitea and Forgejo publish (published-gitea.ts).
 */
import type { components } from '@octokit/openapi-types';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ForgejoBranchRule, type GiteaBranchRule, requestOf } from './published-gitea.ts';

type Schemas = components['schemas'];
export type GithubProtection = Schemas['branch-protection'];
export type GithubRule = Schemas['repository-rule-detailed'];
export type GithubRuleset = Partial<Schemas['repository-ruleset']>;

/** A rule of either. */
export type GiteaRule = GiteaBranchRule & ForgejoBranchRule;
/** Where the rules of a repository are, below the API. */
export const giteaRules = requestOf('repos', 'repoListBranchProtection', 2)
  .path.replace('{part0}', 'team')
  .replace('{part1}', 'app');

export interface ProtectionStandIn {
  readonly url: string;
  /** Answers by `path?query` below the API, without its root. */
  readonly answers: Map<string, readonly [status: number, body: unknown]>;
  readonly violations: string[];
  readonly requests: string[];
  close(): Promise<void>;
}

/** Where each forge has its API, and how a token is shown to it. */
const dialects = {
  github: { root: '/api/v3', given: '/api/v3', header: 'authorization', scheme: 'token ' },
  gitlab: { root: '/api/v4', given: '', header: 'private-token', scheme: '' },
  gitea: { root: '/api/v1', given: '', header: 'authorization', scheme: 'token ' },
} as const;

export async function startProtectionStandIn(kind: keyof typeof dialects, token: string): Promise<ProtectionStandIn> {
  const { root, given, header, scheme } = dialects[kind];
  const answers: ProtectionStandIn['answers'] = new Map();
  const violations: string[] = [];
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const asked = (request.url ?? '').slice(root.length);
    requests.push(asked);
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (request.method !== 'GET') violations.push(`${request.method ?? ''} ${asked} changes something`);
    if (request.headers[header] !== `${scheme}${token}`) return send(401, { message: 'Bad credentials' });
    const answer = answers.get(asked);
    if (answer === undefined) {
      violations.push(`no such endpoint: ${asked}`);
      return send(404, { message: 'Not Found' });
    }
    send(...answer);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${given}`,
    answers,
    violations,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
