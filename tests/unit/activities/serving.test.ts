import { describe, expect, test } from '@jest/globals';
import type { Place } from '../../../src/activities/places.ts';
import { requireServing } from '../../../src/activities/serving.ts';
import type { RunningRoute, RunningServer } from '../../../src/providers/routers/port.ts';
import type { SlotState } from '../../../src/providers/targets/port.ts';

const blue: RunningServer = { slot: 'blue', release: '1.0.0', role: 'backup', weight: 100, up: true };
const green: RunningServer = { slot: 'green', release: '1.0.1', role: 'live', weight: 100, up: true };

/** Asks of green, whose container and router say this; null: nothing is in it. */
async function ask(
  state: Partial<SlotState> | null,
  running: readonly RunningServer[] | null | 'unreachable' = [green, blue],
  /** What it says when it is asked again. */
  then = running,
): Promise<void> {
  let asked = 0;
  const readTraffic = (): Promise<{ readonly running: RunningRoute | null | 'unreachable' }> => {
    const now = asked === 0 ? running : then;
    asked += 1;
    return Promise.resolve({
      running: now === null || now === 'unreachable' ? now : { generation: 'abc', servers: now },
    });
  };
  const place = {
    spec: { project: 'hello', name: 'production' },
    router: { readTraffic },
  } as unknown as Place;
  const inBlue = { slot: 'blue', state: 'running', release: { version: '1.0.0' } } as SlotState;
  const inGreen = { slot: 'green', state: 'running', release: { version: '1.0.1' }, ...state } as SlotState;
  await requireServing(place, state === null ? [inBlue] : [inBlue, inGreen], 'green');
}

describe('a release that is to lose its backup', () => {
  test('serves where it runs and the router reaches it', async () => {
    await expect(ask({})).resolves.toBeUndefined();
  });

  test.each([
    [{ state: 'exited', exitCode: 137 }, 'is exited with exit code 137'],
    [{ state: 'restarting', exitCode: 1 }, 'is restarting with exit code 1'],
    [{ state: 'paused' }, 'is paused'],
    [{ state: 'created' }, 'is created'],
  ] as const)('does not by the engine’s word: %j', async (state, said) => {
    await expect(ask(state)).rejects.toMatchObject({
      type: 'ReleaseDegraded',
      retryable: false,
      message: `1.0.1 in green of hello/production does not run: it ${said}.`,
    });
  });

  test('does not where its container is gone', async () => {
    await expect(ask(null)).rejects.toMatchObject({
      type: 'ReleaseDegraded',
      message: 'Nothing is in green of hello/production any more.',
    });
  });

  test('does not by the router’s word', async () => {
    await expect(ask({}, [{ ...green, up: false }, blue])).rejects.toMatchObject({
      type: 'ReleaseDegraded',
      retryable: false,
      message: 'The router does not reach 1.0.1 in green of hello/production.',
    });
  });

  test('serves where the router had not looked again yet', async () => {
    await expect(ask({}, [{ ...green, up: false }, blue], [green, blue])).resolves.toBeUndefined();
  });

  test('is asked for again where the router does not answer, and the backup stays meanwhile', async () => {
    await expect(ask({}, 'unreachable')).rejects.toMatchObject({ type: 'RouterUnavailable', retryable: true });
  });

  test('goes by the engine’s word alone where the router has none', async () => {
    // It knows nothing of the route, or its live server is another one: what is to be serves as soon as the file is applied.
    await expect(ask({}, null)).resolves.toBeUndefined();
    await expect(ask({}, [{ ...green, role: 'off', weight: 0, up: false }, blue])).resolves.toBeUndefined();
    await expect(ask({ state: 'exited' }, null)).rejects.toMatchObject({ type: 'ReleaseDegraded' });
  });

  test('is not judged by the other one', async () => {
    await expect(ask({}, [green, { ...blue, up: false }])).resolves.toBeUndefined();
  });
});
