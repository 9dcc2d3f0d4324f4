import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pauseMs, withHeartbeat } from '../../../src/effects/heartbeat.ts';
import { runProcess } from '../../../src/effects/process.ts';
import { until } from '../../support/until.ts';

let environment: MockActivityEnvironment;
let beats: unknown[];

beforeEach(() => {
  environment = new MockActivityEnvironment();
  beats = [];
  environment.on('heartbeat', (detail: unknown) => void beats.push(detail));
});

afterEach(() => {
  environment.removeAllListeners();
});

describe('the pause between two heartbeats', () => {
  test.each([
    { everyMs: 300, alike: 1, pause: 300 },
    { everyMs: 300, alike: 7, pause: 300 },
    { everyMs: 300, alike: 20, pause: 800 },
    { everyMs: 300, alike: 25, pause: 1_000 },
    { everyMs: 300, alike: 500, pause: 1_000 },
    { everyMs: 2_000, alike: 50, pause: 2_000 },
  ])('is $pause ms where $alike beat and each wants $everyMs', ({ everyMs, alike, pause }) => {
    expect(pauseMs(everyMs, alike)).toBe(pause);
  });
});

describe('withHeartbeat', () => {
  test('beats at once and until the work is done, with the latest progress', async () => {
    const result = await environment.run(() =>
      withHeartbeat(10, async (_signal, progress) => {
        await until(() => beats.length >= 2);
        progress({ step: 3 });
        await until(() => beats.some((beat) => JSON.stringify(beat) === '{"step":3}'));
        return 'done';
      }),
    );
    expect(result).toBe('done');
    expect(beats[0]).toBeUndefined();
    const after = beats.length;
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(beats).toHaveLength(after);
  });

  test('asks for the detail where it is given how', async () => {
    let n = 0;
    await environment.run(() =>
      withHeartbeat(
        5,
        () => until(() => beats.length >= 3),
        () => (n += 1),
      ),
    );
    expect(beats.slice(0, 3)).toEqual([1, 2, 3]);
  });

  test('what the work throws comes through', async () => {
    await expect(environment.run(() => withHeartbeat(10, () => Promise.reject(new Error('no'))))).rejects.toThrow('no');
  });

  test('after a cancellation it is the CancelledFailure that is thrown, whatever a process makes of it', async () => {
    const running = environment.run(() =>
      withHeartbeat(10, (signal) => runProcess({ command: ['sleep', '30'], timeoutMs: 60_000, signal })),
    );
    setTimeout(() => environment.cancel('CANCELLED'), 100);
    await expect(running).rejects.toBeInstanceOf(CancelledFailure);
  });

  test('also when the work hides it in an error of its own', async () => {
    const running = environment.run(() =>
      withHeartbeat(10, async (signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        throw new TypeError('the socket is gone');
      }),
    );
    setTimeout(() => environment.cancel('CANCELLED'), 20);
    await expect(running).rejects.toBeInstanceOf(CancelledFailure);
  });

  test('work that does not get on is failed though it beats', async () => {
    const running = environment.run(() =>
      withHeartbeat(
        5,
        (signal) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('gone')))),
        undefined,
        1_000,
      ),
    );
    await expect(running).rejects.toMatchObject({ type: 'StepStalled', nonRetryable: true });
    expect(beats.length).toBeGreaterThan(3);
  });

  test('progress puts the stall off', async () => {
    const startedAt = performance.now();
    const result = await environment.run(() =>
      withHeartbeat(
        5,
        async (_signal, progress) => {
          await until(
            () => {
              progress();
              return performance.now() - startedAt > 200;
            },
            { everyMs: 10 },
          );
          return 'done';
        },
        undefined,
        80,
      ),
    );
    expect(result).toBe('done');
  });
});
