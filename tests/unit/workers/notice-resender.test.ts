import { expect, test } from '@jest/globals';
import { keepResending } from '../../../src/workers/notice-resender.ts';
import { until } from '../../support/until.ts';

const told: string[] = [];
const logger = {
  info: () => undefined,
  warn: (_: object, message: string) => void told.push(message),
  error: () => undefined,
};

test('it is looked for again and again, one look at a time, also after a store that was away, until it is ended', async () => {
  let looks = 0;
  let atOnce = 0;
  let most = 0;
  const look = async (): Promise<void> => {
    looks += 1;
    atOnce += 1;
    most = Math.max(most, atOnce);
    await new Promise((resolve) => setTimeout(resolve, 5));
    atOnce -= 1;
    if (looks === 1) throw new Error('the store is away');
  };
  const end = keepResending(look, logger, 1);
  await until(() => looks >= 4);
  end();
  const seen = looks;
  // A window in which nothing may happen.
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(looks).toBe(seen);
  expect(most).toBe(1);
  expect(told).toEqual(['notices that were not delivered could not be looked for']);
});
