import { z } from 'zod';
import type { Forge, ForgeEvent, ForgeMessage } from './port.ts';
import {
  Address,
  Commit,
  Moment,
  ShortCommit,
  ShortRef,
  addresses,
  isFork,
  messageOf,
  momentOf,
  noCommit,
  pullRequestMoved,
  refMoved,
} from './payload.ts';
import { deliveryOf, header, isSignedBy, parse, parseJson } from './request.ts';

const name = 'Bitbucket';
const Person = z.looseObject({ nickname: z.string().nullish(), display_name: z.string().nullish() }).nullish();
const Tip = z
  .looseObject({
    type: z.string(),
    name: ShortRef,
    target: z.looseObject({ hash: Commit, message: z.string().nullish() }),
  })
  .nullish();

const Push = z.looseObject({
  actor: Person,
  push: z.looseObject({ changes: z.array(z.looseObject({ old: Tip, new: Tip })) }),
});

const Side = z.looseObject({
  branch: z.looseObject({ name: ShortRef }),
  commit: z.looseObject({ hash: ShortCommit }).nullish(),
  repository: z.looseObject({ full_name: z.string() }).nullish(),
});
const PullRequest = z.looseObject({
  actor: Person,
  pullrequest: z.looseObject({
    id: z.number().int().positive(),
    title: z.string().nullish(),
    updated_on: Moment,
    author: Person,
    source: Side,
    destination: Side,
  }),
});

const Named = z.looseObject({
  repository: z
    .looseObject({ links: z.looseObject({ html: z.looseObject({ href: Address }).nullish() }).nullish() })
    .nullish(),
});

/** Bitbucket Cloud. */
export function createBitbucketForge(): Forge {
  return {
    identify(request) {
      return deliveryOf(request, {
        event: header(request, 'x-event-key'),
        id: header(request, 'x-request-uuid'),
        needs: 'X-Event-Key header',
      });
    },
    verify: verifyHubSignature,
    read(request) {
      const event = header(request, 'x-event-key') ?? '';
      const body = parseJson(request);
      if (event === 'repo:push') return readPush(parse(name, Push, body));
      if (event === 'pullrequest:created' || event === 'pullrequest:updated') {
        return readPullRequest(event, parse(name, PullRequest, body));
      }
      return { kind: 'ignored', why: `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      const { repository } = parse(name, Named, parseJson(request));
      return addresses(repository?.links?.html?.href);
    },
  };
}

/** Both Bitbuckets sign the body into the header that GitHub has for its older signature, naming the method. */
export const verifyHubSignature: Forge['verify'] = (request, secrets) => {
  const [method, digest] = (header(request, 'x-hub-signature') ?? '').split('=', 2);
  return method === 'sha256' && isSignedBy(secrets, digest, request.body) ? 'valid' : 'invalid';
};

function readPush({ actor, push }: z.output<typeof Push>): ForgeMessage {
  return messageOf(
    push.changes.map((change): ForgeEvent | string => {
      const tip = change.new ?? change.old;
      if (!tip) return 'A change of nothing.';
      const found = refMoved({
        ref: `${tip.type === 'tag' ? 'refs/tags/' : 'refs/heads/'}${tip.name}`,
        before: change.old?.target.hash ?? noCommit,
        after: change.new?.target.hash ?? noCommit,
        author: nameOf(actor) ?? 'unknown',
        message: change.new?.target.message,
      });
      return typeof found === 'string' ? found : { event: found };
    }),
  );
}

function readPullRequest(name: string, { actor, pullrequest }: z.output<typeof PullRequest>): ForgeMessage {
  const { id, title, author, source, destination, updated_on: at } = pullrequest;
  if (!source.commit) return { kind: 'ignored', why: `The source of pull request ${id} is gone.` };
  const fork = isFork(source.repository?.full_name, destination.repository?.full_name);
  if (fork) {
    // Neither its commits nor a ref of them are in the repository that can be read (BCLOUD-5814), and the delivery has but 12 digits.
    return {
      kind: 'ignored',
      why: `Pull request ${id} comes from a fork, whose commits Bitbucket Cloud does not give out.`,
    };
  }
  const branch = `refs/heads/${source.branch.name}`;
  const event = pullRequestMoved({
    pullRequest: id,
    from: branch,
    // Not told; the run is that of its commit.
    before: noCommit,
    after: source.commit.hash,
    fork,
    into: destination.branch.name,
    author: nameOf(author) ?? nameOf(actor) ?? 'unknown',
    message: title,
  });
  return messageOf([
    {
      event,
      ...(event.after.length === 40 ? {} : { wholeIn: branch }),
      // Of an update it is not told what of the pull request is new.
      ...(name === 'pullrequest:updated' ? { perhapsRetargetedAt: momentOf(at) } : {}),
    },
  ]);
}

function nameOf(person: z.output<typeof Person>): string | undefined {
  return person?.nickname ?? person?.display_name ?? undefined;
}
