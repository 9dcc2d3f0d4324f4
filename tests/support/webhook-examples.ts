/**
 * Real payloads of forges, as programs that read webhooks keep them for their own tests. None of them lies in this repository: they come by
 * pinned versions of the npm package and the Go modules below, each under the licence that it has there.
 */
import { createRequire } from 'node:module';
import { type LocalContext, createLocalContext } from '../../src/local/context.ts';
import type { ForgeKind } from '../../src/providers/forges/index.ts';
import { testStateFolder } from './components.ts';
import type { Draft } from './forge-dialects.ts';
import { goModuleFiles } from './go-module.ts';

/** Go's own check of a module is by this sum too; a new version comes with a new one (`go mod download -json`). */
const sources = [
  {
    // MIT. Payloads of GitHub, GitLab, Gitea, Bitbucket Cloud and Bitbucket Server.
    path: 'github.com/go-playground/webhooks/v6',
    version: 'v6.4.0',
    sum: 'h1:KLa6y7bD19N48rxJDHM0DpE3T4grV7GxMy1b/aHMWPY=',
  },
  {
    // Apache-2.0. GitLab's own client; newer payloads of its webhooks and system hooks.
    path: 'gitlab.com/gitlab-org/api/client-go',
    version: 'v1.46.0',
    sum: 'h1:YxBWFZIFYKcGESCb9fpkwzouo+apyB9pr/XTWzNoL24=',
  },
] as const;

/** One payload, and the event that its forge names in the header. */
export interface WebhookExample extends Draft {
  /** Of the project that takes it. */
  readonly kind: ForgeKind;
  /** Where it stands in its source: `gitea/push-event`, `webhooks/push`, `push 2`. */
  readonly name: string;
}

/** Folders of payloads in the modules, and who sends what is in them. Gogs, Azure DevOps and Docker Hub have no kind here. */
const folders: Readonly<Record<string, { kind: ForgeKind; event: (name: string, body: Body) => string }>> = {
  github: { kind: 'github', event: githubEvent },
  gitlab: { kind: 'gitlab', event: gitlabEvent },
  webhooks: { kind: 'gitlab', event: gitlabEvent },
  systemhooks: { kind: 'gitlab', event: () => 'System Hook' },
  gitea: { kind: 'gitea', event: giteaEvent },
  bitbucket: { kind: 'bitbucket', event: bitbucketEvent },
  'bitbucket-server': { kind: 'bitbucket-data-center', event: (_, { eventKey = '' }) => eventKey },
};

/** What tells the event where the body says it itself. */
interface Body {
  readonly object_kind?: string;
  readonly eventKey?: string;
}

/**
 * Every example there is, in the order of kind and name.
 *
 * @throws ProviderError `ToolMissing` (not retried): a module is not in the cache and cannot be had.
 */
export async function webhookExamples(): Promise<readonly WebhookExample[]> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const found = await Promise.all(sources.map(async (source) => await examplesOf(context, source)));
  return [...octokitExamples(), ...found.flat()];
}

/** MIT. Payloads that GitHub publishes and some that people have sent in. */
function octokitExamples(): readonly WebhookExample[] {
  const file = createRequire(import.meta.url)('@octokit/webhooks-examples/api.github.com/index.json') as unknown;
  return (file as readonly { name: string; examples: readonly unknown[] }[]).flatMap(({ name, examples }) =>
    examples.map((body, index) => ({ kind: 'github', name: `${name} ${String(index)}`, event: name, body }) as const),
  );
}

async function examplesOf(context: LocalContext, source: (typeof sources)[number]): Promise<readonly WebhookExample[]> {
  const files = await goModuleFiles(context, source);
  return [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, content]): readonly WebhookExample[] => {
      const [, folder = '', file = ''] = /^testdata\/([^/]+)\/([^/]+)\.json$/.exec(path) ?? [];
      const sender = folders[folder];
      if (sender === undefined) return [];
      const body = JSON.parse(content.toString()) as Body;
      return [{ kind: sender.kind, name: `${folder}/${file}`, event: sender.event(file, body), body }];
    });
}

function githubEvent(name: string): string {
  const odd: Readonly<Record<string, string>> = {
    'pull-request-issue-comment': 'issue_comment',
    'repository-edited': 'repository',
  };
  return odd[name] ?? name.replaceAll('-', '_');
}

/** `Push Hook`, `Merge Request Hook`; a system hook says no more than that it is one. */
function gitlabEvent(name: string, { object_kind: kind = name }: Body): string {
  if (name.startsWith('system-')) return 'System Hook';
  const said = { build: 'job', access_token: 'resource_access_token' }[kind] ?? kind;
  const words = said.split('_');
  return `${words.map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`).join(' ')} Hook`;
}

/** Changes of the labels, milestone or people of a pull request have the same event as its commits. */
function giteaEvent(name: string): string {
  const event = name.replace(/-event$/, '');
  if (event === 'issue-comment' || event === 'pull-request-comment') return 'issue_comment';
  if (event === 'pull-request-review') return 'pull_request_comment';
  if (event.startsWith('pull-request')) return 'pull_request';
  return event.startsWith('issue') ? 'issues' : event;
}

function bitbucketEvent(name: string): string {
  const odd: Readonly<Record<string, string>> = {
    'commit-comment-created': 'repo:commit_comment_created',
    'issue-comment-created': 'issue:comment_created',
    'pull-request-approval-removed': 'pullrequest:unapproved',
    'pull-request-declined': 'pullrequest:rejected',
    'pull-request-merged': 'pullrequest:fulfilled',
  };
  const [, subject = '', what = ''] = /^(repo|issue|pull-request)-(.+)$/.exec(name) ?? [];
  return odd[name] ?? `${subject.replace('-', '')}:${what.replaceAll('-', '_')}`;
}
