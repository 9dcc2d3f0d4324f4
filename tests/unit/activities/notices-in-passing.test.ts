import { expect, test } from '@jest/globals';
import type { Notice } from '../../../src/activities/contracts.ts';
import { inPassing } from '../../../src/activities/notices.ts';

const notice = { key: 'run/hello/1', event: 'run-succeeded' } as unknown as Notice;

test('a channel that takes a message and never answers holds nobody up', async () => {
  const taken: Notice[] = [];
  const tell = inPassing((one) => {
    taken.push(one);
    return new Promise(() => undefined);
  }, 5);
  await expect(tell(notice)).resolves.toBeUndefined();
  expect(taken).toEqual([notice]);
});

test('one that answers is waited for', async () => {
  let sent = false;
  await inPassing(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    sent = true;
  })(notice);
  expect(sent).toBe(true);
});
