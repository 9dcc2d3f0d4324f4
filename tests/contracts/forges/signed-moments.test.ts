import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import { createForge } from '../../../src/providers/forges/index.ts';
import type { ForgeRequest } from '../../../src/providers/forges/port.ts';
import { dialects } from '../../support/forge-dialects.ts';

/** Forges whose signature is over the moment too. */
const token = `whsec_${Buffer.from('a key of thirty-two bytes length').toString('base64')}`;
const next = `whsec_${Buffer.from('another key of thirty-two bytes!').toString('base64')}`;
const at = new Date('2026-11-25T12:00:00Z');
const body = JSON.stringify({ object_kind: 'push' });

function signed(key: string, more: Readonly<Record<string, string>> = {}): ForgeRequest {
  return {
    headers: {
      'x-gitlab-event': 'Push Hook',
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(at.getTime() / 1000),
      'webhook-signature': new Webhook(key).sign('msg_1', at, body),
      ...more,
    },
    body: Buffer.from(body),
  };
}

describe.each(['gitlab', 'generic'] as const)('%s', (kind) => {
  const forge = createForge(kind);

  test('takes what the reference library signs, with either key', () => {
    expect(forge.verify(signed(token), [token, next], at)).toBe('valid');
    expect(forge.verify(signed(next), [token, next], at)).toBe('valid');
    expect(forge.verify(signed(next), [token], at)).toBe('invalid');
  });

  test('takes one of several signatures, as while keys are changed', () => {
    const both = `${new Webhook(next).sign('msg_1', at, body)} v1a,other ${new Webhook(token).sign('msg_1', at, body)}`;
    expect(forge.verify(signed(token, { 'webhook-signature': both }), [token], at)).toBe('valid');
  });

  test.each([
    ['another id', { 'webhook-id': 'msg_2' }, 'invalid'],
    ['another moment', { 'webhook-timestamp': String(at.getTime() / 1000 + 1) }, 'invalid'],
    ['no moment', { 'webhook-timestamp': '' }, 'invalid'],
    ['a moment that is no number', { 'webhook-timestamp': '1e9' }, 'invalid'],
    ['no id', { 'webhook-id': '' }, 'invalid'],
  ] as const)('does not take it with %s', (_name, headers, proof) => {
    expect(forge.verify(signed(token, headers), [token], at)).toBe(proof);
  });

  test('calls it stale five minutes before and after its moment', () => {
    for (const [seconds, proof] of [
      [299, 'valid'],
      [301, 'stale'],
      [-299, 'valid'],
      [-301, 'stale'],
    ] as const) {
      expect(forge.verify(signed(token), [token], new Date(at.getTime() + seconds * 1000))).toBe(proof);
    }
    expect(forge.verify(signed(next), [token], new Date(0))).toBe('invalid');
  });
});

test('GitLab does not take a signing token for the plain one, nor the other way round', () => {
  const forge = createForge('gitlab');
  const headers = { 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': token };
  expect(forge.verify({ headers, body: Buffer.from(body) }, [token], at)).toBe('invalid');
  expect(forge.verify(signed('cGxhaW4='), ['cGxhaW4='], at)).toBe('invalid');
});

test('a generic secret without `whsec_` is the key itself, as openssl makes it', () => {
  const seconds = String(at.getTime() / 1000);
  const signature = createHmac('sha256', 'plain').update(`id.${seconds}.${body}`).digest('base64');
  const headers = { 'webhook-id': 'id', 'webhook-timestamp': seconds, 'webhook-signature': `v1,${signature}` };
  expect(createForge('generic').verify({ headers, body: Buffer.from(body) }, ['plain'], at)).toBe('valid');
});

test('Gitea signs the JSON also where it sends it in a form', () => {
  const { gitea } = dialects;
  const text = '{"ref":"x"}';
  const headers = {
    ...gitea.headers({ event: 'push', body: {} }, text, 'secret'),
    'content-type': 'application/x-www-form-urlencoded',
  };
  const form = Buffer.from(new URLSearchParams({ payload: text }).toString());
  expect(createForge('gitea').verify({ headers, body: form }, ['secret'], at)).toBe('valid');
});

test('Forgejo is known by its own headers', () => {
  const forge = createForge('gitea');
  const text = '{"action":"x"}';
  const headers = {
    'x-forgejo-event': 'issues',
    'x-forgejo-delivery': 'one',
    'x-forgejo-signature': createHmac('sha256', 'secret').update(text).digest('hex'),
  };
  const request = { headers, body: Buffer.from(text) };
  expect(forge.identify(request)).toEqual({ id: 'one', event: 'issues' });
  expect(forge.verify(request, ['secret'], at)).toBe('valid');
  expect(forge.read(request)).toMatchObject({ kind: 'ignored' });
});

test('GitLab tells of a delivery again under the same key, and one without a key is known by its body', () => {
  const forge = createForge('gitlab');
  const headers = { 'x-gitlab-event': 'Push Hook' };
  const first = forge.identify({ headers, body: Buffer.from('{"a":1}') });
  expect(forge.identify({ headers, body: Buffer.from('{"a":1}') })).toEqual(first);
  expect(forge.identify({ headers, body: Buffer.from('{"a":2}') }).id).not.toBe(first.id);
});

test('Bitbucket tells of several branches at once, and of a short commit where it can be had whole', () => {
  const forge = createForge('bitbucket');
  const headers = { 'x-event-key': 'repo:push' };
  const tip = (name: string, digit: string): unknown => ({ type: 'branch', name, target: { hash: digit.repeat(40) } });
  const changes = [
    { old: tip('a', '1'), new: tip('a', '2') },
    { old: tip('gone', '1'), new: null },
    { old: null, new: tip('b', '3') },
  ];
  const push = Buffer.from(JSON.stringify({ actor: null, push: { changes } }));
  expect(forge.read({ headers, body: push })).toMatchObject({
    events: [{ event: { ref: 'refs/heads/a' } }, { event: { ref: 'refs/heads/b' } }],
  });
  const draft = dialects.bitbucket.pullRequest({
    number: 1,
    branch: 'x',
    into: 'main',
    fork: false,
    action: 'opened',
    before: '1'.repeat(40),
    after: 'abcdef'.repeat(7).slice(0, 40),
    author: 'ada',
    message: '',
    repository: 'https://bitbucket.org/team/app',
  });
  const request = { headers: { 'x-event-key': draft.event }, body: Buffer.from(JSON.stringify(draft.body)) };
  expect(forge.read(request)).toMatchObject({ events: [{ wholeIn: 'refs/heads/x', event: { from: 'refs/heads/x' } }] });
});
