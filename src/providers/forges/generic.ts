import { z } from 'zod';
import {
  Commit,
  FullRef,
  Into,
  addresses,
  messageOf,
  messageOfOne,
  momentOf,
  noCommit,
  pullRequestMoved,
  refMoved,
} from './payload.ts';
import type { Forge, ForgeMessage } from './port.ts';
import { deliveryOf, header, parse, parseJson } from './request.ts';
import { verifyStandardWebhook } from './standard-webhooks.ts';

const name = 'a generic webhook';
const Text = z.string().max(4096).optional();

const Ref = z.strictObject({
  event: z.enum(['push', 'tag']),
  ref: FullRef,
  before: Commit.default(noCommit),
  after: Commit,
  author: z.string().min(1).max(200),
  message: Text,
  repository: Text,
});
const PullRequest = z.strictObject({
  event: z.literal('pull-request'),
  number: z.number().int().positive(),
  /** Full ref that has the commit, where it is not `refs/pull/<number>/head`. */
  from: FullRef.optional(),
  before: Commit.default(noCommit),
  after: Commit,
  fork: z.boolean(),
  into: Into.optional(),
  author: z.string().min(1).max(200),
  message: Text,
  repository: Text,
});
const Named = z.looseObject({ event: z.string().max(200), repository: Text });

/**
 * Anything that can sign a request as standardwebhooks.com has it: a mirror, a script, a forge without a kind of its own.
 * docs/webhooks.md has the JSON.
 */
export function createGenericForge(): Forge {
  return {
    identify(request) {
      const id = header(request, 'webhook-id');
      return deliveryOf(request, { event: id === undefined ? undefined : 'webhook', id, needs: 'webhook-id header' });
    },
    verify: verifyStandardWebhook,
    read(request) {
      const body = parseJson(request);
      const { event } = parse(name, Named, body);
      if (event === 'push' || event === 'tag') return readRef(parse(name, Ref, body));
      if (event === 'pull-request') {
        return readPullRequest(parse(name, PullRequest, body), momentOf(header(request, 'webhook-timestamp')));
      }
      return { kind: 'ignored', why: event === 'test' ? 'The webhook works.' : `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      return addresses(parse(name, Named, parseJson(request)).repository);
    },
  };
}

function readRef({ event: kind, ref, before, after, author, message }: z.output<typeof Ref>): ForgeMessage {
  const found = refMoved({ ref, before, after, author, message });
  if (typeof found === 'string' || found.kind === kind) return messageOfOne(found);
  return messageOfOne(`${ref} does not begin with ${kind === 'tag' ? 'refs/tags/' : 'refs/heads/'}.`);
}

function readPullRequest(request: z.output<typeof PullRequest>, perhapsRetargetedAt: string): ForgeMessage {
  const { number, from, into, before, after, fork, author, message } = request;
  const event = pullRequestMoved({
    pullRequest: number,
    before,
    after,
    fork,
    author,
    message,
    ...(from === undefined ? {} : { from }),
    ...(into ? { into } : {}),
  });
  return messageOf([{ event, perhapsRetargetedAt }]);
}
