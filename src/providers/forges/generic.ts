import { z } from 'zod';
import { Commit, FullRef, addresses, messageOfOne, noCommit, pullRequestMoved, refMoved } from './payload.ts';
import type { Forge } from './port.ts';
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
  into: Text,
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
      if (event === 'push' || event === 'tag') {
        const { event: kind, repository: _, ...draft } = parse(name, Ref, body);
        const found = refMoved(draft);
        const expected = kind === 'tag' ? 'refs/tags/' : 'refs/heads/';
        return messageOfOne(
          typeof found === 'string' || found.kind === kind ? found : `${draft.ref} does not begin with ${expected}.`,
        );
      }
      if (event === 'pull-request') {
        const { event: _, number, from, into, repository: __, ...draft } = parse(name, PullRequest, body);
        return messageOfOne(
          pullRequestMoved({
            ...draft,
            pullRequest: number,
            ...(from === undefined ? {} : { from }),
            ...(into === undefined ? {} : { into }),
          }),
        );
      }
      return { kind: 'ignored', why: event === 'test' ? 'The webhook works.' : `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      return addresses(parse(name, Named, parseJson(request)).repository);
    },
  };
}
