import { z } from 'zod';
import type { Forge, ForgeMessage } from './port.ts';
import {
  Address,
  Commit,
  FullRef,
  Into,
  Moment,
  addresses,
  messageOf,
  isFork,
  messageOfOne,
  momentOf,
  noCommit,
  pullRequestMoved,
  refMoved,
} from './payload.ts';
import { deliveryOf, header, isSignedBy, parse, parseJson } from './request.ts';

const name = 'GitHub';
const Person = z.looseObject({ login: z.string().optional(), name: z.string().nullish() }).nullish();
const Paths = z.array(z.string()).nullish();

const Push = z.looseObject({
  ref: FullRef,
  before: Commit,
  after: Commit,
  deleted: z.boolean().optional(),
  created: z.boolean().optional(),
  forced: z.boolean().optional(),
  commits: z.array(z.looseObject({ added: Paths, modified: Paths, removed: Paths })).nullish(),
  head_commit: z
    .looseObject({
      id: Commit.nullish(),
      message: z.string().nullish(),
      author: z.looseObject({ username: z.string().nullish(), name: z.string().nullish() }).nullish(),
    })
    .nullish(),
  pusher: Person,
  sender: Person,
});

const Repository = z.looseObject({ full_name: z.string() }).nullish();
const PullRequest = z.looseObject({
  action: z.string(),
  number: z.number().int().positive(),
  before: Commit.optional(),
  // Of an edit: what was there before.
  changes: z.looseObject({ base: z.looseObject({}).nullish() }).nullish(),
  pull_request: z.looseObject({
    title: z.string().nullish(),
    updated_at: Moment,
    user: Person,
    head: z.looseObject({ sha: Commit, repo: Repository }),
    base: z.looseObject({ sha: Commit, ref: Into, repo: Repository }),
  }),
  sender: Person,
});

const Named = z.looseObject({
  repository: z
    .looseObject({ clone_url: Address, ssh_url: Address, git_url: Address, html_url: Address, url: Address })
    .optional(),
});

/** What brings other commits into a pull request; beside these only another target changes what is checked. */
const pullRequestActions = new Set(['opened', 'reopened', 'synchronize']);
/** A push with so many commits may have had more (docs.github.com, webhook events and payloads, push: `commits`). */
const mostCommits = 2048;

/** GitHub, and whatever signs and tells as it does. */
export function createGithubForge(): Forge {
  return {
    identify(request) {
      const id = header(request, 'x-github-delivery');
      const event = id === undefined ? undefined : header(request, 'x-github-event');
      return deliveryOf(request, { event, id, needs: 'X-GitHub-Event and X-GitHub-Delivery header' });
    },
    verify(request, secrets) {
      const [method, digest] = (header(request, 'x-hub-signature-256') ?? '').split('=', 2);
      return method === 'sha256' && isSignedBy(secrets, digest, request.body) ? 'valid' : 'invalid';
    },
    read(request) {
      const event = header(request, 'x-github-event') ?? '';
      const body = parseJson(request);
      if (event === 'push') return readPush(parse(name, Push, body));
      if (event === 'pull_request') return readPullRequest(parse(name, PullRequest, body));
      return { kind: 'ignored', why: event === 'ping' ? 'The webhook works.' : `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      const { repository } = parse(name, Named, parseJson(request));
      return addresses(
        repository?.clone_url,
        repository?.ssh_url,
        repository?.git_url,
        repository?.html_url,
        repository?.url,
      );
    },
  };
}

function readPush(push: z.output<typeof Push>): ForgeMessage {
  const author = push.head_commit?.author;
  const found = refMoved({
    ref: push.ref,
    before: push.before,
    after: push.deleted === true ? noCommit : push.after,
    // Of a tag too, since 2021 (github.blog/changelog, 2021-10-01).
    commit: push.head_commit?.id,
    // Who GitHub knows to have pushed comes first: the author of a commit is whatever was written into it.
    author: nameOf(push.sender) ?? nameOf(push.pusher) ?? author?.username ?? author?.name ?? 'unknown',
    message: push.head_commit?.message,
  });
  if (typeof found === 'string') return messageOf([found]);
  const paths = pathsOf(push);
  return messageOf([{ event: found, ...(paths === undefined ? {} : { paths }) }]);
}

/** What changed, when the delivery tells all of it: what a forced push took away, it does not. */
function pathsOf({ commits, created, forced, before }: z.output<typeof Push>): readonly string[] | undefined {
  if (!commits || commits.length === 0 || commits.length >= mostCommits) return undefined;
  if (created !== false || forced !== false || before === noCommit) return undefined;
  if (commits.some(({ added, modified, removed }) => !added || !modified || !removed)) return undefined;
  return [
    ...new Set(
      commits.flatMap(({ added, modified, removed }) => [...(added ?? []), ...(modified ?? []), ...(removed ?? [])]),
    ),
  ];
}

function readPullRequest(payload: z.output<typeof PullRequest>): ForgeMessage {
  const retargeted = payload.action === 'edited' && Boolean(payload.changes?.base);
  if (!pullRequestActions.has(payload.action) && !retargeted) {
    return { kind: 'ignored', why: `Nothing is done when a pull request is ${payload.action}.` };
  }
  const { head, base, user, title, updated_at: at } = payload.pull_request;
  return messageOfOne(
    pullRequestMoved({
      pullRequest: payload.number,
      before: payload.before ?? base.sha,
      after: head.sha,
      // A fork that is gone has no repository; it was one all the same.
      fork: isFork(head.repo?.full_name, base.repo?.full_name),
      ...(base.ref ? { into: base.ref } : {}),
      ...(retargeted ? { retargetedAt: momentOf(at) } : {}),
      author: nameOf(user) ?? nameOf(payload.sender) ?? 'unknown',
      message: title,
    }),
  );
}

function nameOf(person: z.output<typeof Person>): string | undefined {
  return person?.login ?? person?.name ?? undefined;
}
