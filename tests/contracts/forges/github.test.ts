import { describe, expect, test } from '@jest/globals';
import { createHmac } from 'node:crypto';
import { sign as reference } from '@octokit/webhooks-methods';
import { createForge } from '../../../src/providers/forges/index.ts';
import type { ForgeRequest } from '../../../src/providers/forges/port.ts';

const forge = createForge('github');
const sha = (digit: string): string => digit.repeat(40);

function request(event: string, body: unknown, over: Readonly<Record<string, string>> = {}): ForgeRequest {
  const payload = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return {
    headers: {
      'content-type': 'application/json',
      'x-github-event': event,
      'x-github-delivery': 'id-1',
      'x-hub-signature-256': `sha256=${createHmac('sha256', 'secret').update(payload).digest('hex')}`,
      ...over,
    },
    body: payload,
  };
}

const push = {
  ref: 'refs/heads/main',
  before: sha('a'),
  after: sha('B'),
  head_commit: { message: 'a change\n\nmore', author: { username: 'grace', name: 'Grace' } },
  pusher: { name: 'ada' },
  sender: { login: 'ada' },
};

describe('the signature', () => {
  test('is the one that GitHub makes', async () => {
    const body = JSON.stringify(push);
    const signature = await reference('the other', body);
    const signed = request('push', body, { 'x-hub-signature-256': signature });
    expect(forge.verify(signed, ['secret', 'the other'])).toBe(true);
    expect(forge.verify(signed, ['secret'])).toBe(false);
  });

  test.each(['', 'sha256=', 'sha1=abc', `sha256=${'0'.repeat(64)}`, 'sha256=é'])('is not %j', (signature) => {
    expect(forge.verify(request('push', push, { 'x-hub-signature-256': signature }), ['secret'])).toBe(false);
  });

  test('is never that of no secret', () => {
    const body = JSON.stringify(push);
    const signature = `sha256=${createHmac('sha256', '').update(body).digest('hex')}`;
    expect(forge.verify(request('push', body, { 'x-hub-signature-256': signature }), [''])).toBe(false);
    expect(forge.verify(request('push', body), [])).toBe(false);
  });

  test('is over the bytes: one more blank is another body', () => {
    const { headers } = request('push', push);
    expect(forge.verify({ headers, body: Buffer.from(`${JSON.stringify(push)} `) }, ['secret'])).toBe(false);
  });
});

describe('a push', () => {
  test('is of a branch, by whoever GitHub knows to have pushed', () => {
    expect(forge.read(request('push', push))).toEqual({
      kind: 'event',
      event: {
        kind: 'push',
        ref: 'refs/heads/main',
        before: sha('a'),
        after: sha('b'),
        author: 'ada',
        message: 'a change\n\nmore',
      },
    });
  });

  test('is of a tag, and may have no commit', () => {
    const tag = { ...push, ref: 'refs/tags/v1.0.0', head_commit: null };
    expect(forge.read(request('push', tag))).toMatchObject({ event: { kind: 'tag', ref: 'refs/tags/v1.0.0' } });
  });

  test('of the removal of a branch is ignored', () => {
    const removed = { ...push, deleted: true, after: sha('0'), head_commit: null };
    expect(forge.read(request('push', removed))).toMatchObject({ kind: 'ignored' });
  });

  test.each([
    ['no JSON', '{"ref":'],
    ['no ref', { ...push, ref: 'main' }],
    ['a ref with a trick', { ...push, ref: 'refs/heads/a b' }],
    ['a short commit', { ...push, after: 'abc' }],
    ['an option for a commit', { ...push, after: '--upload-pack=x' }],
    ['a list', []],
  ])('with %s is refused', (_name, body) => {
    expect(() => forge.read(request('push', body))).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
  });
});

describe('a pull request', () => {
  const body = {
    action: 'opened',
    number: 7,
    pull_request: {
      title: 'Better',
      user: { login: 'eve' },
      head: { sha: sha('c'), repo: { full_name: 'team/hello' } },
      base: { sha: sha('d'), repo: { full_name: 'team/hello' } },
    },
    sender: { login: 'ada' },
  };

  test('is of its head, by its author', () => {
    expect(forge.read(request('pull_request', body))).toEqual({
      kind: 'event',
      event: {
        kind: 'pull-request',
        ref: 'refs/pull/7/head',
        before: sha('d'),
        after: sha('c'),
        fork: false,
        pullRequest: 7,
        author: 'eve',
        message: 'Better',
      },
    });
  });

  test.each([{ full_name: 'eve/hello' }, null])('from %j is from a fork', (repo) => {
    const fork = { ...body, pull_request: { ...body.pull_request, head: { sha: sha('c'), repo } } };
    expect(forge.read(request('pull_request', fork))).toMatchObject({ event: { fork: true } });
  });

  test.each(['labeled', 'closed', 'edited'])('that is %s is ignored', (action) => {
    expect(forge.read(request('pull_request', { ...body, action }))).toMatchObject({ kind: 'ignored' });
  });
});

test('a request without the headers of a delivery is none', () => {
  expect(() => forge.identify({ headers: {}, body: Buffer.alloc(0) })).toThrow(
    expect.objectContaining({ type: 'InvalidInput' }),
  );
});
