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
    expect(forge.verify(signed, ['secret', 'the other'], new Date())).toBe('valid');
    expect(forge.verify(signed, ['secret'], new Date())).toBe('invalid');
  });

  test('is not the older one', () => {
    const body = JSON.stringify(push);
    const old = createHmac('sha1', 'secret').update(body).digest('hex');
    const signed = request('push', body, { 'x-hub-signature-256': `sha1=${old}`, 'x-hub-signature': `sha1=${old}` });
    expect(forge.verify(signed, ['secret'], new Date())).toBe('invalid');
  });
});

describe('a push', () => {
  test('is by whoever GitHub knows to have pushed, whatever its commits say', () => {
    expect(forge.read(request('push', push))).toMatchObject({ events: [{ event: { author: 'ada' } }] });
    const unknown = { ...push, sender: null, pusher: null };
    expect(forge.read(request('push', unknown))).toMatchObject({ events: [{ event: { author: 'grace' } }] });
  });

  test('in a form is signed as the form, and read', () => {
    const form = new URLSearchParams({ payload: JSON.stringify(push) }).toString();
    const signed = request('push', form, { 'content-type': 'application/x-www-form-urlencoded' });
    expect(forge.verify(signed, ['secret'], new Date())).toBe('valid');
    expect(forge.read(signed)).toMatchObject({ kind: 'events' });
  });

  const commits = [
    { added: ['a'], removed: [], modified: ['b', 'c'] },
    { added: [], removed: ['a'], modified: ['b'] },
  ];
  const complete = { ...push, created: false, forced: false, commits };

  test('tells every path that changed', () => {
    expect(forge.read(request('push', complete))).toMatchObject({ events: [{ paths: ['a', 'b', 'c'] }] });
  });

  test.each([
    ['created', { created: true }],
    ['forced', { forced: true }],
    ['without commits', { commits: [] }],
    ['of so many commits that some may be missing', { commits: Array.from({ length: 2048 }, () => commits[0]) }],
    ['whose commits have no lists', { commits: [{ added: [], modified: [] }] }],
    ['that does not say whether it was forced', { forced: undefined }],
  ])('%s tells no paths, for some could be missing', (_name, over) => {
    const message = forge.read(request('push', { ...complete, ...over }));
    expect(message).toMatchObject({ kind: 'events' });
    expect(JSON.stringify(message)).not.toContain('paths');
  });
});

test('a pull request of a fork that is gone is one of a fork', () => {
  const body = {
    action: 'opened',
    number: 7,
    pull_request: {
      user: { login: 'eve' },
      head: { sha: sha('c'), repo: null },
      base: { sha: sha('d'), repo: { full_name: 'team/hello' } },
    },
  };
  expect(forge.read(request('pull_request', body))).toMatchObject({ events: [{ event: { fork: true } }] });
});
