import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { coverageUploads } from '../../../src/providers/coverage-uploads/index.ts';
import type { CoverageUploadOptions } from '../../../src/providers/coverage-uploads/port.ts';
import { type CodecovStandIn, startCodecov } from '../../support/codecov-stand-in.ts';

let codecov: CodecovStandIn;
beforeEach(async () => {
  codecov = await startCodecov();
});
afterEach(async () => {
  await codecov.close();
  expect(codecov.violations).toEqual([]);
});

const commit = 'a'.repeat(40);
const reports = [
  { path: 'coverage.xml', content: Buffer.from('<coverage/>') },
  { path: 'web/lcov.info', content: Buffer.from('TN:\nend_of_record\n') },
];
const whole = {
  ...{ commit, branch: 'main', pullRequest: 7, build: 'shop/12', buildUrl: 'https://slipway.example/runs/12' },
  reports,
};

function open(more: Partial<CoverageUploadOptions> = {}) {
  return coverageUploads.codecov({
    ...{ url: codecov.url, token: codecov.token, service: 'github', repository: 'team/app', flags: ['unit'] },
    timeoutMs: 5_000,
    ...more,
  });
}

test('a commit, a report, an upload, and the reports to the place that is named', async () => {
  expect(await open().upload(whole, 20_000)).toEqual({ kind: 'taken' });
  expect(codecov.requests).toEqual([
    'POST /upload/github/team::::app/commits',
    `POST /upload/github/team::::app/commits/${commit}/reports`,
    `POST /upload/github/team::::app/commits/${commit}/reports/default/uploads`,
    'PUT /storage/raw.txt',
  ]);
  expect(codecov.commits).toEqual([{ commitid: commit, parent_commit_id: null, pullid: 7, branch: 'main' }]);
  expect(codecov.uploads).toMatchObject([
    { job_code: 'shop/12', flags: ['unit'], ci_url: 'https://slipway.example/runs/12' },
  ]);
  expect(codecov.stored).toEqual([{ 'coverage.xml': '<coverage/>', 'web/lcov.info': 'TN:\nend_of_record\n' }]);
});

test('twice is taken twice, and what is not known is null', async () => {
  const least = { commit, build: 'shop/12', reports };
  expect(await open().upload(least, 20_000)).toEqual({ kind: 'taken' });
  expect(await open().upload(least, 20_000)).toEqual({ kind: 'taken' });
  expect(codecov.commits[1]).toEqual({ commitid: commit, parent_commit_id: null, pullid: null, branch: null });
  expect(codecov.stored).toHaveLength(2);
});

test('a refused token is asked once, and stands in no reason', async () => {
  const token = 'a-wrong-upload-token';
  const answer = await open({ token }).upload(whole, 20_000);
  expect(answer).toMatchObject({ kind: 'failed', reason: expect.stringMatching(/^the commit: 401 /) });
  expect(codecov.requests).toHaveLength(1);
  codecov.failNext(403);
  const mine = await open({ repository: `team/${codecov.token}` }).upload(whole, 20_000);
  expect(JSON.stringify(mine)).toContain('***');
  expect(JSON.stringify([answer, mine])).not.toMatch(new RegExp(`${token}|${codecov.token}`));
});

test('a server at fault is asked again, at most twice', async () => {
  codecov.failNext(500, 503);
  expect(await open().upload(whole, 20_000)).toEqual({ kind: 'taken' });
  expect(codecov.requests).toHaveLength(6);
  codecov.failNext(500, 500, 500);
  expect(await open().upload(whole, 20_000)).toMatchObject({
    kind: 'failed',
    reason: expect.stringMatching(/^the commit: 500 /),
  });
  expect(codecov.requests).toHaveLength(9);
});

test('what storage refuses does not tell its address', async () => {
  const uploads = open();
  const before = uploads.upload(whole, 20_000);
  expect(await before).toEqual({ kind: 'taken' });
  codecov.place = `${codecov.url}/storage/other.txt?signature=${codecov.signature}`;
  const answer = await uploads.upload(whole, 20_000);
  expect(answer).toEqual({ kind: 'failed', reason: 'the storage: 401' });
});

test.each([
  ['no address', 'nowhere'],
  ['a file', 'file:///etc/passwd'],
])('a place that is %s is not gone to', async (_, place) => {
  codecov.place = place;
  expect(await open().upload(whole, 20_000)).toEqual({
    kind: 'failed',
    reason: 'the upload: its answer is not as its reference says',
  });
});

test('one that does not answer costs no more than the deadline', async () => {
  codecov.failNext('never', 'never', 'never');
  expect(await open({ timeoutMs: 50 }).upload(whole, 20_000)).toEqual({
    kind: 'failed',
    reason: 'the commit: no answer in time',
  });
  codecov.failNext('never');
  expect(await open().upload(whole, 100)).toEqual({ kind: 'failed', reason: 'not done within 100 ms' });
});

test('what is too large is not begun', async () => {
  const content = randomBytes(21 * 2 ** 20);
  expect(await open().upload({ ...whole, reports: [{ path: 'coverage.xml', content }] }, 20_000)).toMatchObject({
    kind: 'failed',
    reason: expect.stringContaining('larger than'),
  });
  expect(codecov.requests).toEqual([]);
});
