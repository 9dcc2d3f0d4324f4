import { z } from 'zod';
import { verifyHubSignature } from './bitbucket.ts';
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
import type { Forge, ForgeEvent, ForgeMessage } from './port.ts';
import { deliveryOf, header, parse, parseJson } from './request.ts';

const name = 'Bitbucket Data Center';
const Person = z.looseObject({ name: z.string().nullish(), displayName: z.string().nullish() }).nullish();

const Push = z.looseObject({
  actor: Person,
  changes: z.array(z.looseObject({ ref: z.looseObject({ id: FullRef }), fromHash: Commit, toHash: Commit })),
  // Since 7.14 with the messages of the last commits (confluence.atlassian.com, event payload).
  toCommit: z.looseObject({ id: z.string(), message: z.string().nullish() }).nullish(),
});

const Side = z.looseObject({
  latestCommit: Commit,
  displayId: Into,
  repository: z.looseObject({ id: z.number().nullish() }).nullish(),
});
const PullRequest = z.looseObject({
  actor: Person,
  previousFromHash: Commit.nullish(),
  // Of whatever is edited: where only the title is another one, it is the target as it is.
  previousTarget: z.looseObject({ displayId: Into }).nullish(),
  pullRequest: z.looseObject({
    updatedDate: Moment,
    id: z.number().int().positive(),
    title: z.string().nullish(),
    author: z.looseObject({ user: Person }).nullish(),
    fromRef: Side,
    toRef: Side,
  }),
});

const Links = z.looseObject({
  clone: z.array(z.looseObject({ href: Address })).nullish(),
  self: z.array(z.looseObject({ href: Address })).nullish(),
});
const Named = z.looseObject({ repository: z.looseObject({ links: Links.nullish() }).nullish() });

/** Bitbucket Data Center and Server. */
export function createBitbucketDataCenterForge(): Forge {
  return {
    identify(request) {
      return deliveryOf(request, {
        event: header(request, 'x-event-key'),
        // A test of the connection has none.
        id: header(request, 'x-request-id'),
        needs: 'X-Event-Key header',
      });
    },
    verify: verifyHubSignature,
    read(request) {
      const event = header(request, 'x-event-key') ?? '';
      const body = parseJson(request);
      if (event === 'repo:refs_changed') return readPush(parse(name, Push, body));
      if (event === 'pr:opened' || event === 'pr:from_ref_updated') {
        return readPullRequest(parse(name, PullRequest, body));
      }
      if (event === 'pr:modified') return readModified(parse(name, PullRequest, body));
      const works = event === 'diagnostics:ping';
      return { kind: 'ignored', why: works ? 'The webhook works.' : `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      const { repository } = parse(name, Named, parseJson(request));
      return addresses(
        ...[...(repository?.links?.clone ?? []), ...(repository?.links?.self ?? [])].map(({ href }) => href),
      );
    },
  };
}

function readPush({ actor, changes, toCommit }: z.output<typeof Push>): ForgeMessage {
  return messageOf(
    changes.map(({ ref, fromHash, toHash }): ForgeEvent | string => {
      const found = refMoved({
        ref: ref.id,
        before: fromHash,
        after: toHash,
        author: nameOf(actor),
        ...(toCommit?.id === toHash ? { message: toCommit.message } : {}),
      });
      return typeof found === 'string' ? found : { event: found };
    }),
  );
}

function readModified(payload: z.output<typeof PullRequest>): ForgeMessage {
  const { previousTarget, pullRequest } = payload;
  const before = previousTarget?.displayId;
  if (!before || before === pullRequest.toRef.displayId) {
    return { kind: 'ignored', why: 'Nothing is done for pr:modified events that leave the target as it is.' };
  }
  return readPullRequest(payload, { retargetedAt: momentOf(pullRequest.updatedDate) });
}

function readPullRequest(
  { actor, previousFromHash, pullRequest }: z.output<typeof PullRequest>,
  more: { readonly retargetedAt?: string } = {},
): ForgeMessage {
  const { id, title, author, fromRef, toRef } = pullRequest;
  return messageOfOne(
    pullRequestMoved({
      pullRequest: id,
      from: `refs/pull-requests/${id}/from`,
      before: previousFromHash ?? noCommit,
      after: fromRef.latestCommit,
      fork: isFork(fromRef.repository?.id, toRef.repository?.id),
      ...(toRef.displayId ? { into: toRef.displayId } : {}),
      ...more,
      author: author?.user?.name ?? author?.user?.displayName ?? nameOf(actor),
      message: title,
    }),
  );
}

function nameOf(person: z.output<typeof Person>): string {
  return person?.name ?? person?.displayName ?? 'unknown';
}
