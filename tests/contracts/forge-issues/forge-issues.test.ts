import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createGithubScanning } from '../../../src/providers/code-scannings/github.ts';
import { type IssueKind, forgeIssues } from '../../../src/providers/forge-issues/index.ts';
import type { IssueTracker } from '../../../src/providers/forge-issues/port.ts';
import { type IssueStandIn, startIssueStandIn } from '../../support/issue-stand-ins.ts';

let forge: IssueStandIn;

describe.each(Object.keys(forgeIssues) as IssueKind[])('issues of %s', (kind) => {
  let tracker: IssueTracker;
  const open = async (token: string): Promise<IssueTracker> =>
    await forgeIssues[kind]({ url: forge.url, token, repository: 'team/app', timeoutMs: 2_000 });
  beforeEach(async () => {
    forge = await startIssueStandIn(kind);
    tracker = await open(forge.token);
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('are made, found again by their label, changed, closed, opened again and commented', async () => {
    await tracker.create({ title: 'first', body: 'text' });
    await tracker.create({ title: 'second', body: 'more' });
    // Of people, with the same words.
    forge.issues.push({ number: 3, title: 'first', body: 'text', open: true, labels: ['bug'], comments: [] });
    expect([...(await tracker.list())].sort((a, b) => a.number - b.number)).toEqual([
      { number: 1, open: true, title: 'first', body: 'text' },
      { number: 2, open: true, title: 'second', body: 'more' },
    ]);
    for (const isOpen of [false, false, true, true]) {
      await tracker.update({ number: 1, title: 'anew', body: 'other', open: isOpen });
      expect(forge.issues[0]).toMatchObject({ title: 'anew', body: 'other', open: isOpen });
    }
    await tracker.comment(1, 'gone');
    expect(forge.issues[0]!.comments).toEqual(['gone']);
  });

  test('are found beyond the first page', async () => {
    for (let index = 1; index <= 120; index += 1) {
      forge.issues.push({ number: index, title: `t${index}`, body: '', open: true, labels: ['slipway'], comments: [] });
    }
    if (kind === 'gitea') expect(await tracker.list()).toHaveLength(120);
    else expect((await tracker.list()).length).toBeGreaterThanOrEqual(100);
  });

  test('are found where they were made and the answer was lost', async () => {
    await tracker.create({ title: 'first', body: '' });
    // Gitea looks for the label before.
    forge.failNext(...(kind === 'gitea' ? [{ status: 200, after: true as const }] : []), { status: 500, after: true });
    await tracker.create({ title: 'second', body: '' }).catch(() => undefined);
    expect((await tracker.list()).map(({ title }) => title)).toContain('second');
  }, 30_000);

  test('that the forge refuses are refused, and the token is not told', async () => {
    const wrong = await open('not-the-token');
    const refusal: unknown = await wrong.list().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ type: 'ForgeRefused', retryable: false });
    expect(JSON.stringify([refusal, String(refusal)])).not.toContain('not-the-token');
  }, 30_000);

  test('of a forge that is away are unavailable', async () => {
    await forge.close();
    await expect(tracker.list()).rejects.toMatchObject({ type: 'ForgeUnavailable', retryable: true });
  }, 30_000);
});

describe('code scanning of GitHub', () => {
  const upload = { commit: 'a'.repeat(40), ref: 'refs/heads/main', sarif: { version: '2.1.0', runs: [] } };
  const scanning = async () =>
    await createGithubScanning({ url: forge.url, token: forge.token, repository: 'team/app', timeoutMs: 2_000 });
  beforeEach(async () => {
    forge = await startIssueStandIn('github');
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('takes what was packed, and is asked until it has worked it through', async () => {
    forge.processing.push({ status: 'pending' }, { status: 'pending' }, { status: 'complete' });
    expect(await (await scanning()).upload(upload, 10_000)).toEqual({ kind: 'complete' });
    expect(forge.uploads).toEqual([upload]);
    expect(forge.requests).toHaveLength(4);
  });

  test('that finds fault says which', async () => {
    forge.processing.push({ status: 'failed', errors: ['rejecting SARIF, as there are more runs than allowed'] });
    expect(await (await scanning()).upload(upload, 10_000)).toEqual({
      kind: 'failed',
      errors: ['rejecting SARIF, as there are more runs than allowed'],
    });
  });

  test('that never comes to an end is not waited for beyond the deadline', async () => {
    forge.processing.push({ status: 'pending' });
    expect(await (await scanning()).upload(upload, 400)).toEqual({ kind: 'pending' });
  });

  test('that is off refuses; more than it takes is not sent', async () => {
    forge.failNext({ status: 403, message: 'Advanced Security must be enabled for this repository' });
    await expect((await scanning()).upload(upload, 1_000)).rejects.toMatchObject({ type: 'ForgeRefused' });
    forge.requests.length = 0;
    const large = { ...upload, sarif: { noise: randomBytes(12_000_000).toString('base64') } };
    await expect((await scanning()).upload(large, 1_000)).rejects.toMatchObject({
      type: 'ForgeRefused',
      message: expect.stringContaining('10485760'),
    });
    expect(forge.requests).toEqual([]);
  }, 30_000);
});
