import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import type { SourceEvent } from '../../domain/run.ts';
import type { Forge, ForgeMessage, ForgeRequest } from './port.ts';

const Commit = z.string().regex(/^[0-9a-f]{40}$/i, 'is no commit');
const FullRef = z
  .string()
  .max(1024)
  .regex(/^refs\/[^\0-\x20\x7f~^:?*[\\]+$/, 'is no full ref');
const Person = z.looseObject({ login: z.string().optional(), name: z.string().nullish() }).nullish();

// Only what is needed, and loosely: GitHub adds fields whenever it likes.
const Push = z.looseObject({
  ref: FullRef,
  before: Commit,
  after: Commit,
  deleted: z.boolean().optional(),
  head_commit: z
    .looseObject({
      message: z.string().nullish(),
      author: z.looseObject({ username: z.string().optional(), name: z.string().nullish() }).nullish(),
    })
    .nullish(),
  pusher: Person,
  sender: Person,
});

const PullRequest = z.looseObject({
  action: z.string(),
  number: z.number().int().positive(),
  before: Commit.optional(),
  pull_request: z.looseObject({
    title: z.string().nullish(),
    user: Person,
    head: z.looseObject({ sha: Commit, repo: z.looseObject({ full_name: z.string() }).nullish() }),
    base: z.looseObject({ sha: Commit, repo: z.looseObject({ full_name: z.string() }).nullish() }),
  }),
  sender: Person,
});

const Named = z.looseObject({
  repository: z
    .looseObject({
      clone_url: z.string().optional(),
      ssh_url: z.string().optional(),
      git_url: z.string().optional(),
      html_url: z.string().optional(),
      url: z.string().optional(),
    })
    .optional(),
});

const noCommit = '0'.repeat(40);
const longestMessage = 4096;
/** What brings other commits into a pull request; everything else about it changes nothing that is checked. */
const pullRequestActions = new Set(['opened', 'reopened', 'synchronize']);

/** GitHub, and whatever signs and tells as it does. */
export function createGithubForge(): Forge {
  return {
    identify({ headers }) {
      const event = header(headers['x-github-event']);
      const id = header(headers['x-github-delivery']);
      if (event === undefined || id === undefined || id.length > 200) {
        throw new ProviderError(
          'InvalidInput',
          'The request has no X-GitHub-Event or no X-GitHub-Delivery header, so it is no delivery of GitHub.',
        );
      }
      return { id, event };
    },
    verify({ headers, body }, secrets) {
      const given = Buffer.from(header(headers['x-hub-signature-256']) ?? '');
      // Every secret is tried, so that the time tells nothing of which one it was.
      return secrets
        .map((secret) => {
          if (secret === '') return false;
          const made = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
          return given.length === made.length && timingSafeEqual(given, made);
        })
        .some(Boolean);
    },
    read(request) {
      const event = header(request.headers['x-github-event']) ?? '';
      if (event === 'push') return readPush(parse(Push, parseJson(request)));
      if (event === 'pull_request') return readPullRequest(parse(PullRequest, parseJson(request)));
      parseJson(request);
      return { kind: 'ignored', why: event === 'ping' ? 'The webhook works.' : `Nothing is done for ${event} events.` };
    },
    repositories(request) {
      const { repository } = parse(Named, parseJson(request));
      return [
        repository?.clone_url,
        repository?.ssh_url,
        repository?.git_url,
        repository?.html_url,
        repository?.url,
      ].filter((address) => address !== undefined);
    },
  };
}

function readPush(push: z.output<typeof Push>): ForgeMessage {
  if (push.deleted === true || push.after === noCommit) {
    return { kind: 'ignored', why: `${push.ref} was deleted; what was deployed from it stays.` };
  }
  const kind = push.ref.startsWith('refs/tags/') ? 'tag' : push.ref.startsWith('refs/heads/') ? 'push' : undefined;
  if (kind === undefined) return { kind: 'ignored', why: `${push.ref} is neither a branch nor a tag.` };
  const author = push.head_commit?.author;
  return event({
    kind,
    ref: push.ref,
    before: push.before.toLowerCase(),
    after: push.after.toLowerCase(),
    // Who GitHub knows to have pushed comes first: the author of a commit is whatever was written into it.
    author: nameOf(push.sender) ?? nameOf(push.pusher) ?? author?.username ?? author?.name ?? 'unknown',
    message: push.head_commit?.message,
  });
}

function readPullRequest(payload: z.output<typeof PullRequest>): ForgeMessage {
  if (!pullRequestActions.has(payload.action)) {
    return { kind: 'ignored', why: `Nothing is done when a pull request is ${payload.action}.` };
  }
  const { head, base, user, title } = payload.pull_request;
  return event({
    kind: 'pull-request',
    ref: `refs/pull/${payload.number}/head`,
    before: (payload.before ?? base.sha).toLowerCase(),
    after: head.sha.toLowerCase(),
    // A fork that is gone has no repository; it was one all the same.
    fork: head.repo?.full_name !== base.repo?.full_name,
    pullRequest: payload.number,
    author: nameOf(user) ?? nameOf(payload.sender) ?? 'unknown',
    message: title,
  });
}

function event(found: Omit<SourceEvent, 'message'> & { readonly message?: string | null | undefined }): ForgeMessage {
  const { message, ...rest } = found;
  const text = message?.slice(0, longestMessage);
  return { kind: 'event', event: { ...rest, ...(text === undefined ? {} : { message: text }) } };
}

function nameOf(person: z.output<typeof Person>): string | undefined {
  return person?.login ?? person?.name ?? undefined;
}

function header(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}

function parseJson({ headers, body }: ForgeRequest): unknown {
  const form = header(headers['content-type'])?.startsWith('application/x-www-form-urlencoded') === true;
  const text = form ? (new URLSearchParams(body.toString()).get('payload') ?? '') : body.toString();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new ProviderError('InvalidInput', 'The body is no JSON, or was cut off.');
  }
}

function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new ProviderError(
    'InvalidInput',
    `The body is not what GitHub sends for this event: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}.`,
  );
}
