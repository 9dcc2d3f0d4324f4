import { z } from 'zod';
import type { Forge, ForgeMessage } from './port.ts';
import {
  Address,
  Commit,
  FullRef,
  Into,
  Moment,
  addresses,
  isFork,
  messageOfOne,
  momentOf,
  pullRequestMoved,
  refMoved,
} from './payload.ts';
import { deliveryOf, firstHeader, isSignedBy, parse, parseJson, textOf } from './request.ts';

const name = 'Gitea';
const Person = z
  .looseObject({ login: z.string().nullish(), username: z.string().nullish(), full_name: z.string().nullish() })
  .nullish();

const Push = z.looseObject({
  ref: FullRef,
  before: Commit,
  after: Commit,
  head_commit: z.looseObject({ id: Commit.nullish(), message: z.string().nullish() }).nullish(),
  pusher: Person,
  sender: Person,
});

const Side = z.looseObject({
  sha: Commit,
  ref: Into,
  repo_id: z.number().nullish(),
});
const PullRequest = z.looseObject({
  action: z.string(),
  number: z.number().int().positive(),
  // Of an edit: `ref` is the target there was before (services/webhook/notifier.go, PullRequestChangeTargetBranch).
  changes: z.looseObject({ ref: z.looseObject({}).nullish() }).nullish(),
  pull_request: z.looseObject({
    title: z.string().nullish(),
    updated_at: Moment,
    user: Person,
    head: Side,
    base: Side,
  }),
  sender: Person,
});

const Named = z.looseObject({
  repository: z.looseObject({ clone_url: Address, ssh_url: Address, html_url: Address }).nullish(),
});

/** What brings other commits into a pull request. */
const pullRequestActions = new Set(['opened', 'reopened', 'synchronized']);

/** Gitea and Forgejo, which sends the headers of both. */
export function createGiteaForge(): Forge {
  return {
    identify(request) {
      return deliveryOf(request, {
        event: eventOf(request),
        id: firstHeader(request, ['x-forgejo-delivery', 'x-gitea-delivery']),
        needs: 'X-Gitea-Event or X-Forgejo-Event header',
      });
    },
    verify(request, secrets) {
      const given = firstHeader(request, ['x-forgejo-signature', 'x-gitea-signature']);
      // Of the JSON also where that is sent as the field of a form (services/webhook/deliver.go).
      return isSignedBy(secrets, given, textOf(request)) ? 'valid' : 'invalid';
    },
    read(request) {
      const event = eventOf(request) ?? '';
      const body = parseJson(request);
      if (event === 'push') return readPush(parse(name, Push, body));
      if (event === 'pull_request') return readPullRequest(parse(name, PullRequest, body));
      return { kind: 'ignored', why: `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      const { repository } = parse(name, Named, parseJson(request));
      return addresses(repository?.clone_url, repository?.ssh_url, repository?.html_url);
    },
  };
}

function eventOf(request: Parameters<Forge['identify']>[0]): string | undefined {
  return firstHeader(request, ['x-forgejo-event', 'x-gitea-event']);
}

function readPush(push: z.output<typeof Push>): ForgeMessage {
  return messageOfOne(
    refMoved({
      ref: push.ref,
      before: push.before,
      after: push.after,
      commit: push.head_commit?.id,
      author: nameOf(push.pusher) ?? nameOf(push.sender) ?? 'unknown',
      message: push.head_commit?.message,
    }),
  );
}

function readPullRequest(payload: z.output<typeof PullRequest>): ForgeMessage {
  const retargeted = payload.action === 'edited' && Boolean(payload.changes?.ref);
  if (!pullRequestActions.has(payload.action) && !retargeted) {
    return { kind: 'ignored', why: `Nothing is done when a pull request is ${payload.action}.` };
  }
  const { head, base, user, title, updated_at: at } = payload.pull_request;
  return messageOfOne(
    pullRequestMoved({
      pullRequest: payload.number,
      before: base.sha,
      after: head.sha,
      fork: isFork(head.repo_id, base.repo_id),
      ...(base.ref ? { into: base.ref } : {}),
      ...(retargeted ? { retargetedAt: momentOf(at) } : {}),
      author: nameOf(user) ?? nameOf(payload.sender) ?? 'unknown',
      message: title,
    }),
  );
}

function nameOf(person: z.output<typeof Person>): string | undefined {
  // Gitea sends empty texts for what it does not know.
  return [person?.login, person?.username, person?.full_name].find(Boolean) ?? undefined;
}
