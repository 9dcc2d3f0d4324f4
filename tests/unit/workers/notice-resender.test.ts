import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { keepResending } from '../../../src/workers/notice-resender.ts';

const everyMs = 10_000;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test('it is looked for again and again, one look at a time, also after a store that was away, until it is ended', async () => {
  const told: string[] = [];
  const logger = {
    info: () => undefined,
    warn: (_: object, message: string) => void told.push(message),
    error: () => undefined,
  };
  const pending = () => Promise.withResolvers<undefined>();
  const looks: ReturnType<typeof pending>[] = [];
  const look = (): Promise<undefined> => {
    const started = pending();
    looks.push(started);
    return started.promise;
  };
  const end = keepResending(look, logger, everyMs);
  expect(looks).toHaveLength(0);

  // However long the first one takes, there is no second beside it.
  await jest.advanceTimersByTimeAsync(5 * everyMs);
  expect(looks).toHaveLength(1);
  looks[0]?.reject(new Error('the store is away'));
  await jest.advanceTimersByTimeAsync(everyMs);
  expect(looks).toHaveLength(2);
  expect(told).toEqual(['notices that were not delivered could not be looked for']);
  looks[1]?.resolve(undefined);
  await jest.advanceTimersByTimeAsync(everyMs);
  expect(looks).toHaveLength(3);
  looks[2]?.resolve(undefined);

  end();
  await jest.advanceTimersByTimeAsync(10 * everyMs);
  expect(looks).toHaveLength(3);
  expect(jest.getTimerCount()).toBe(0);
});
