/**
 * How each forge speaks: deliveries made of the shapes that its documentation publishes, signed as it signs. The contract suite, the webhook
 * route and the fuzz are run over all of them.
 *
 * Sources: docs.gitlab.com (webhook events), docs.gitea.com and forgejo.org (webhooks), support.atlassian.com (event payloads) and
 * confluence.atlassian.com (event payload), standardwebhooks.com (specification), docs.github.com (webhook events and payloads).
 */
import { createHmac } from 'node:crypto';
import type { ForgeKind } from '../../src/providers/forges/index.ts';

/** What a dialect puts into words. */
export interface Told {
  /** Full ref. */
  readonly ref: string;
  readonly before: string;
  readonly after: string;
  /** What a tag with a message is itself, beside the commit that it was put on (`after`). Only forges whose deliveries tell both have it. */
  readonly object?: string;
  readonly author: string;
  readonly message: string;
  /** Address of the repository over https, without `.git`. */
  readonly repository: string;
}

export interface ToldPullRequest extends Omit<Told, 'ref'> {
  readonly number: number;
  readonly branch: string;
  readonly into: string;
  readonly fork: boolean;
  /** `retargeted`: from the branch `was` to `into`. */
  readonly action: 'opened' | 'updated' | 'closed' | 'retargeted';
  readonly was?: string;
  /** When it was changed last. */
  readonly at?: string;
}

/** An event and its body, not signed yet. */
export interface Draft {
  readonly event: string;
  readonly body: unknown;
}

export interface Dialect {
  readonly kind: ForgeKind;
  /** A secret in the form that this forge makes them. */
  secret(seed: string): string;
  /** Headers of a delivery. */
  headers(
    draft: Draft,
    text: string,
    secret: string,
    more?: { readonly id?: string; readonly at?: Date },
  ): Readonly<Record<string, string>>;
  push(told: Told): Draft;
  pullRequest(told: ToldPullRequest): Draft;
  /** What the forge sends when somebody tries the webhook out; undefined where that looks like any other event. */
  readonly test: Draft | undefined;
  /** Something that happens often and starts nothing. */
  readonly other: Draft;
  /** False where the secret is sent along, and the body is not signed. */
  readonly signsBody: boolean;
  /** False where the forge gives no id to a delivery. */
  readonly givesId: boolean;
  /** What a delivery cannot tell, and the suite does not expect. */
  readonly lacks: readonly ('message' | 'before-of-pull-request' | 'forks' | 'ping')[];
}

const zeros = '0'.repeat(40);
const hex = (secret: string, text: string): string => createHmac('sha256', secret).update(text).digest('hex');
const short = (ref: string): string => ref.replace(/^refs\/(?:heads|tags)\//, '');
const pathOf = (repository: string): string => new URL(repository).pathname.slice(1);
const isTag = (ref: string): boolean => ref.startsWith('refs/tags/');

const github: Dialect = {
  kind: 'github',
  secret: (seed) => seed,
  headers: ({ event }, text, secret, more) => ({
    'content-type': 'application/json',
    'x-github-event': event,
    'x-github-delivery': more?.id ?? '72d3162e-cc78-11e3-81ab-4c9367dc0958',
    'x-hub-signature-256': `sha256=${hex(secret, text)}`,
  }),
  push: ({ ref, before, after, object, author, message, repository }) => ({
    event: 'push',
    body: {
      ref,
      before,
      after: object ?? after,
      created: before === zeros,
      deleted: after === zeros,
      forced: false,
      base_ref: null,
      commits: [{ id: after, message, added: ['a.txt'], removed: [], modified: ['src/b.ts'] }],
      head_commit: after === zeros ? null : { id: after, message, author: { name: 'Somebody', username: 'somebody' } },
      repository: githubRepository(repository),
      pusher: { name: author, email: null },
      sender: { login: author, id: 1, type: 'User' },
    },
  }),
  pullRequest: (told) => ({
    event: 'pull_request',
    body: {
      action: { opened: 'opened', updated: 'synchronize', closed: 'closed', retargeted: 'edited' }[told.action],
      number: told.number,
      ...(told.action === 'retargeted' ? { changes: { base: { ref: { from: told.was }, sha: { from: zeros } } } } : {}),
      ...(told.action === 'updated' ? { before: told.before, after: told.after } : {}),
      pull_request: {
        title: told.message,
        updated_at: told.at,
        user: { login: told.author },
        head: {
          ref: told.branch,
          sha: told.after,
          repo: { full_name: told.fork ? 'eve/fork' : pathOf(told.repository) },
        },
        base: { ref: told.into, sha: told.before, repo: { full_name: pathOf(told.repository) } },
      },
      repository: githubRepository(told.repository),
      sender: { login: told.author },
    },
  }),
  test: {
    event: 'ping',
    body: { zen: 'Design for failure.', hook_id: 1, hook: { type: 'Repository', events: ['push'] } },
  },
  other: { event: 'watch', body: { action: 'started' } },
  signsBody: true,
  givesId: true,
  lacks: [],
};

function githubRepository(repository: string): unknown {
  return {
    full_name: pathOf(repository),
    html_url: repository,
    clone_url: `${repository}.git`,
    ssh_url: `git@${new URL(repository).host}:${pathOf(repository)}.git`,
  };
}

const gitlab: Dialect = {
  kind: 'gitlab',
  secret: (seed) => seed,
  headers: ({ event }, _text, secret, more) => ({
    'content-type': 'application/json',
    'x-gitlab-event': event,
    'x-gitlab-webhook-uuid': '4d2a3b1c-0b0c-4b1e-8a5f-0f6f0d8e8a11',
    'x-gitlab-event-uuid': '13792a34-cac6-4fda-95a8-c58e00a3954e',
    'x-gitlab-instance': 'https://gitlab.example.com',
    'x-gitlab-token': secret,
    'idempotency-key': more?.id ?? 'f5e5f430-f57b-4e6e-9fac-d9128cd7232f',
  }),
  push: ({ ref, before, after, object, author, message, repository }) => ({
    event: isTag(ref) ? 'Tag Push Hook' : 'Push Hook',
    body: {
      object_kind: isTag(ref) ? 'tag_push' : 'push',
      event_name: isTag(ref) ? 'tag_push' : 'push',
      before,
      after: object ?? after,
      ref,
      ref_protected: true,
      checkout_sha: after === zeros ? null : after,
      user_id: 4,
      user_name: 'A Person',
      user_username: author,
      user_email: null,
      project_id: 15,
      project: gitlabProject(repository),
      commits:
        after === zeros
          ? []
          : [
              {
                id: after,
                message,
                title: message,
                author: { name: 'Somebody' },
                added: [],
                modified: [],
                removed: [],
              },
            ],
      total_commits_count: 1,
      repository: { name: 'app', homepage: repository, git_http_url: `${repository}.git`, visibility_level: 0 },
    },
  }),
  pullRequest: (told) => ({
    event: 'Merge Request Hook',
    body: {
      object_kind: 'merge_request',
      event_type: 'merge_request',
      user: { id: 1, name: 'A Person', username: told.author },
      project: gitlabProject(told.repository),
      repository: { name: 'app', homepage: told.repository },
      object_attributes: {
        id: 99,
        iid: told.number,
        action: { opened: 'open', updated: 'update', closed: 'close', retargeted: 'update' }[told.action],
        updated_at: told.at,
        ...(told.action === 'updated' ? { oldrev: told.before } : {}),
        title: told.message,
        source_branch: told.branch,
        target_branch: told.into,
        source_project_id: told.fork ? 16 : 15,
        target_project_id: 15,
        author_id: 51,
        last_commit: { id: told.after, message: told.message, author: { name: 'Somebody', email: 'x@example.com' } },
        state: 'opened',
      },
      ...(told.action === 'retargeted'
        ? { changes: { target_branch: { previous: told.was, current: told.into } } }
        : { changes: {} }),
    },
  }),
  test: undefined,
  other: {
    event: 'Pipeline Hook',
    body: { object_kind: 'pipeline', object_attributes: { id: 31, status: 'success' } },
  },
  signsBody: false,
  givesId: true,
  lacks: ['before-of-pull-request', 'ping'],
};

function gitlabProject(repository: string): unknown {
  return {
    id: 15,
    path_with_namespace: pathOf(repository),
    web_url: repository,
    git_http_url: `${repository}.git`,
    git_ssh_url: `git@${new URL(repository).host}:${pathOf(repository)}.git`,
    default_branch: 'main',
  };
}

const gitea: Dialect = {
  kind: 'gitea',
  secret: (seed) => seed,
  headers: ({ event }, text, secret, more) => {
    const id = more?.id ?? 'f6266f16-1bf3-46a5-9ea4-602e06ead473';
    return {
      'content-type': 'application/json',
      'x-gitea-delivery': id,
      'x-gitea-event': event,
      'x-gitea-event-type': event,
      'x-gitea-signature': hex(secret, text),
      'x-gogs-delivery': id,
      'x-gogs-event': event,
      'x-gogs-signature': hex(secret, text),
      'x-hub-signature-256': `sha256=${hex(secret, text)}`,
      'x-github-delivery': id,
      'x-github-event': event,
    };
  },
  push: ({ ref, before, after, object, author, message, repository }) => ({
    event: 'push',
    body: {
      ref,
      before,
      after: object ?? after,
      compare_url: `${repository}/compare/x...y`,
      commits: [
        {
          id: after,
          message,
          author: { name: 'Somebody', email: 'x@example.com', username: 'somebody' },
          added: [],
          removed: [],
          modified: [],
        },
      ],
      total_commits: 1,
      head_commit: after === zeros ? null : { id: after, message },
      repository: giteaRepository(repository),
      pusher: { id: 1, login: author, full_name: '', username: author },
      sender: { id: 1, login: author, full_name: '', username: author },
    },
  }),
  pullRequest: (told) => ({
    event: 'pull_request',
    body: {
      action: { opened: 'opened', updated: 'synchronized', closed: 'closed', retargeted: 'edited' }[told.action],
      number: told.number,
      ...(told.action === 'retargeted' ? { changes: { ref: { from: told.was } } } : {}),
      pull_request: {
        id: 21,
        title: told.message,
        updated_at: told.at,
        user: { id: 1, login: told.author, username: told.author },
        head: { label: told.branch, ref: told.branch, sha: told.after, repo_id: told.fork ? 5 : 4 },
        base: { label: told.into, ref: told.into, sha: told.before, repo_id: 4 },
        merge_base: told.before,
        state: 'open',
      },
      repository: giteaRepository(told.repository),
      sender: { id: 1, login: told.author, username: told.author },
      review: null,
    },
  }),
  test: undefined,
  other: { event: 'issues', body: { action: 'opened', number: 3, issue: { id: 3, title: 'a' } } },
  signsBody: true,
  givesId: true,
  lacks: ['ping'],
};

function giteaRepository(repository: string): unknown {
  return {
    id: 4,
    full_name: pathOf(repository),
    html_url: repository,
    clone_url: `${repository}.git`,
    ssh_url: `git@${new URL(repository).host}:${pathOf(repository)}.git`,
  };
}

const bitbucket: Dialect = {
  kind: 'bitbucket',
  secret: (seed) => seed,
  headers: ({ event }, text, secret, more) => ({
    'content-type': 'application/json',
    'x-event-key': event,
    'x-request-uuid': more?.id ?? '2e1f3d3c-3a52-4f6c-8f2a-6a4a2d0b1c11',
    'x-hook-uuid': 'b7c1a3d2-9f10-4a5e-8c77-2f3b1f8f9d22',
    'x-attempt-number': '1',
    'x-hub-signature': `sha256=${hex(secret, text)}`,
  }),
  push: ({ ref, before, after, author, message, repository }) => {
    const tip = (hash: string): unknown =>
      hash === zeros
        ? null
        : {
            type: isTag(ref) ? 'tag' : 'branch',
            name: short(ref),
            target: { type: 'commit', hash, message: `${message}\n`, date: '2026-01-01T00:00:00+00:00' },
          };
    return {
      event: 'repo:push',
      body: {
        actor: {
          display_name: 'A Person',
          nickname: author,
          uuid: '{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}',
          type: 'user',
        },
        repository: bitbucketRepository(repository),
        push: {
          changes: [
            {
              new: tip(after),
              old: tip(before),
              created: before === zeros,
              forced: false,
              closed: after === zeros,
              commits: [],
              truncated: false,
            },
          ],
        },
      },
    };
  },
  pullRequest: (told) => ({
    event: {
      opened: 'pullrequest:created',
      updated: 'pullrequest:updated',
      closed: 'pullrequest:rejected',
      retargeted: 'pullrequest:updated',
    }[told.action],
    body: {
      actor: { nickname: told.author, display_name: 'A Person' },
      repository: bitbucketRepository(told.repository),
      pullrequest: {
        id: told.number,
        title: told.message,
        state: 'OPEN',
        updated_on: told.at,
        author: { nickname: told.author, display_name: 'A Person' },
        source: {
          branch: { name: told.branch },
          commit: { hash: told.after.slice(0, 12) },
          repository: { full_name: told.fork ? 'eve/fork' : pathOf(told.repository) },
        },
        destination: {
          branch: { name: told.into },
          commit: { hash: told.before.slice(0, 12) },
          repository: { full_name: pathOf(told.repository) },
        },
      },
    },
  }),
  test: undefined,
  other: { event: 'repo:commit_status_created', body: { commit_status: { state: 'SUCCESSFUL' } } },
  signsBody: true,
  givesId: true,
  lacks: ['before-of-pull-request', 'forks', 'ping'],
};

function bitbucketRepository(repository: string): unknown {
  return { full_name: pathOf(repository), links: { html: { href: repository } }, type: 'repository' };
}

const bitbucketDataCenter: Dialect = {
  kind: 'bitbucket-data-center',
  secret: (seed) => seed,
  headers: ({ event }, text, secret, more) => ({
    'content-type': 'application/json; charset=utf-8',
    'x-event-key': event,
    'x-request-id': more?.id ?? '2e1f3d3c-3a52-4f6c-8f2a-6a4a2d0b1c11',
    'x-hub-signature': `sha256=${hex(secret, text)}`,
  }),
  push: ({ ref, before, after, author, message, repository }) => ({
    event: 'repo:refs_changed',
    body: {
      eventKey: 'repo:refs_changed',
      date: '2026-01-13T22:26:25+1100',
      actor: {
        name: author,
        emailAddress: 'x@example.com',
        id: 2,
        displayName: 'A Person',
        active: true,
        slug: author,
        type: 'NORMAL',
      },
      repository: dataCenterRepository(repository),
      changes: [
        {
          ref: { id: ref, displayId: short(ref), type: isTag(ref) ? 'TAG' : 'BRANCH' },
          refId: ref,
          fromHash: before,
          toHash: after,
          type: after === zeros ? 'DELETE' : before === zeros ? 'ADD' : 'UPDATE',
        },
      ],
      ...(after === zeros ? {} : { toCommit: { id: after, displayId: after.slice(0, 11), message } }),
    },
  }),
  pullRequest: (told) => ({
    event: { opened: 'pr:opened', updated: 'pr:from_ref_updated', closed: 'pr:declined', retargeted: 'pr:modified' }[
      told.action
    ],
    body: {
      eventKey: 'pr:opened',
      actor: { name: told.author, displayName: 'A Person' },
      ...(told.action === 'updated' ? { previousFromHash: told.before } : {}),
      ...(told.action === 'retargeted'
        ? { previousTarget: { id: `refs/heads/${told.was}`, displayId: told.was, type: 'BRANCH', latestCommit: zeros } }
        : {}),
      pullRequest: {
        id: told.number,
        updatedDate: told.at,
        version: 0,
        title: told.message,
        state: 'OPEN',
        fromRef: {
          id: `refs/heads/${told.branch}`,
          displayId: told.branch,
          latestCommit: told.after,
          repository: { id: told.fork ? 5 : 4, slug: 'app' },
        },
        toRef: {
          id: `refs/heads/${told.into}`,
          displayId: told.into,
          latestCommit: told.before,
          repository: { id: 4, slug: 'app' },
        },
        author: { user: { name: told.author, displayName: 'A Person' }, role: 'AUTHOR' },
      },
    },
  }),
  test: { event: 'diagnostics:ping', body: { test: true } },
  other: { event: 'repo:comment:added', body: { eventKey: 'repo:comment:added', comment: { id: 1 } } },
  signsBody: true,
  givesId: true,
  lacks: ['before-of-pull-request'],
};

function dataCenterRepository(repository: string): unknown {
  const { host } = new URL(repository);
  return {
    slug: 'app',
    id: 4,
    name: 'app',
    links: {
      clone: [
        { href: `ssh://git@${host}:7999/${pathOf(repository)}.git`, name: 'ssh' },
        { href: `${repository}.git`, name: 'http' },
      ],
      self: [{ href: `${repository}/browse` }],
    },
  };
}

const generic: Dialect = {
  kind: 'generic',
  secret: (seed) => `whsec_${Buffer.from(seed.padEnd(32, '.')).toString('base64')}`,
  headers: (_draft, text, secret, more) => {
    const id = more?.id ?? 'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W';
    const seconds = String(Math.floor((more?.at ?? new Date()).getTime() / 1000));
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    return {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': seconds,
      'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${text}`).digest('base64')}`,
    };
  },
  push: ({ ref, before, after, author, message, repository }) => ({
    event: 'webhook',
    body: { event: isTag(ref) ? 'tag' : 'push', ref, before, after, author, message, repository },
  }),
  pullRequest: (told) => ({
    event: 'webhook',
    body:
      told.action === 'closed'
        ? { event: 'pull-request-closed', number: told.number }
        : {
            event: 'pull-request',
            number: told.number,
            before: told.before,
            after: told.after,
            fork: told.fork,
            into: told.into,
            author: told.author,
            message: told.message,
            repository: told.repository,
          },
  }),
  test: { event: 'webhook', body: { event: 'test' } },
  other: { event: 'webhook', body: { event: 'moon-landing', who: 'Neil' } },
  signsBody: true,
  givesId: true,
  lacks: [],
};

/** One for every kind of the registry; a kind without a dialect does not compile. */
export const dialects: Readonly<Record<ForgeKind, Dialect>> = {
  github,
  gitlab,
  gitea,
  bitbucket,
  'bitbucket-data-center': bitbucketDataCenter,
  generic,
};
