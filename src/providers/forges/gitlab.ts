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
  messageOf,
  messageOfOne,
  momentOf,
  noCommit,
  pullRequestMoved,
  refMoved,
} from './payload.ts';
import { deliveryOf, firstHeader, header, isSame, parse, parseJson } from './request.ts';
import { isSigningToken, verifyStandardWebhook } from './standard-webhooks.ts';

const name = 'GitLab';

const Push = z.looseObject({
  ref: FullRef,
  before: Commit,
  after: Commit,
  checkout_sha: Commit.nullish(),
  user_username: z.string().nullish(),
  user_name: z.string().nullish(),
  commits: z.array(z.looseObject({ id: z.string(), message: z.string().nullish() })).nullish(),
});

/** What happened to a merge request. Most starts nothing, and no more is asked of it: webhooks that are refused are turned off (docs.gitlab.com, webhooks). */
const Touched = z.looseObject({
  object_attributes: z.looseObject({
    // A test of the webhook has none.
    action: z.string().nullish(),
    oldrev: Commit.nullish(),
  }),
  // Older ones leave the target out where it is what was changed (gitlab.com/gitlab-org/gitlab/-/issues/224610).
  changes: z.looseObject({ target_branch: z.unknown().optional() }).nullish(),
});
const MergeRequest = z.looseObject({
  user: z.looseObject({ username: z.string().nullish(), name: z.string().nullish() }).nullish(),
  object_attributes: z.looseObject({
    iid: z.number().int().positive(),
    title: z.string().nullish(),
    updated_at: Moment,
    target_branch: Into,
    source_project_id: z.number().nullish(),
    target_project_id: z.number().nullish(),
    last_commit: z.looseObject({ id: Commit }).nullish(),
  }),
});

const Place = z
  .looseObject({ git_http_url: Address, git_ssh_url: Address, web_url: Address, url: Address, homepage: Address })
  .nullish();
const Named = z.looseObject({
  object_kind: z.string().nullish(),
  event_name: z.string().nullish(),
  project: Place,
  repository: Place,
});

/** GitLab, its own and hosted; project, group and system hooks. */
export function createGitlabForge(): Forge {
  return {
    identify(request) {
      return deliveryOf(request, {
        event: header(request, 'x-gitlab-event'),
        // The same when it is delivered again; X-Gitlab-Event-UUID is that of another event too, when one webhook leads to another.
        id: firstHeader(request, ['webhook-id', 'idempotency-key']),
        needs: 'X-Gitlab-Event header',
      });
    },
    /** Secrets that begin with `whsec_` are signing tokens and are never taken for the plain token, so that nothing falls back to it. */
    verify(request, secrets, now) {
      const signing = secrets.filter(isSigningToken);
      const plain = secrets.filter((secret) => !isSigningToken(secret));
      const token = header(request, 'x-gitlab-token') ?? '';
      const named = plain.map((secret) => secret !== '' && isSame(token, secret)).some(Boolean);
      return named ? 'valid' : verifyStandardWebhook(request, signing, now);
    },
    read(request) {
      const body = parseJson(request);
      // A system hook says in its header only that it is one, and may have no `object_kind` (docs.gitlab.com, system hooks, push events).
      const { object_kind: object, event_name: event } = parse(name, Named, body);
      const kind = object ?? event;
      if (kind === 'push' || kind === 'tag_push') return readPush(parse(name, Push, body));
      if (kind === 'merge_request') return readMergeRequest(body);
      return {
        kind: 'ignored',
        why: `Nothing is done for ${kind ?? header(request, 'x-gitlab-event') ?? 'such'} events.`,
      };
    },
    repositories(request) {
      const { project, repository } = parse(name, Named, parseJson(request));
      return addresses(
        project?.git_http_url,
        project?.git_ssh_url,
        project?.web_url,
        repository?.git_http_url,
        repository?.git_ssh_url,
        repository?.url,
        repository?.homepage,
      );
    },
  };
}

function readPush(push: z.output<typeof Push>): ForgeMessage {
  const newest = push.checkout_sha ?? push.after;
  const head = push.commits?.find(({ id }) => id === newest) ?? push.commits?.at(-1);
  return messageOfOne(
    refMoved({
      ref: push.ref,
      before: push.before,
      after: push.after,
      commit: push.checkout_sha,
      author: push.user_username ?? push.user_name ?? 'unknown',
      message: head?.message,
    }),
  );
}

function readMergeRequest(body: unknown): ForgeMessage {
  const { object_attributes: touched, changes } = parse(name, Touched, body);
  const { action, oldrev } = touched;
  const ignored = {
    kind: 'ignored',
    why: `Nothing is done for the ${action ?? 'test'} of a merge request without new commits.`,
  } as const;
  if (action !== 'open' && action !== 'reopen' && action !== 'update') return ignored;
  // Any edit is an update; only one with new commits has `oldrev`.
  const isEdit = action === 'update' && !oldrev;
  const found = isEdit ? MergeRequest.safeParse(body).data : parse(name, MergeRequest, body);
  const commit = found?.object_attributes.last_commit;
  if (!commit) return ignored;
  const { object_attributes: request, user } = found;
  const { iid } = request;
  const isTold = isEdit && Boolean(changes?.target_branch);
  const at = momentOf(request.updated_at);
  const event = pullRequestMoved({
    pullRequest: iid,
    from: `refs/merge-requests/${iid}/head`,
    before: oldrev ?? noCommit,
    after: commit.id,
    fork: isFork(request.source_project_id, request.target_project_id),
    ...(request.target_branch ? { into: request.target_branch } : {}),
    ...(isTold ? { retargetedAt: at } : {}),
    author: user?.username ?? user?.name ?? 'unknown',
    message: request.title,
  });
  return messageOf([
    { event, ...(isEdit && !isTold ? { perhapsRetargetedAt: at, onlyRetargeted: true as const } : {}) },
  ]);
}
