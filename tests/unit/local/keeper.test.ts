import { describe, expect, test } from '@jest/globals';
import type { FailureType } from '../../../src/domain/failure-kinds.ts';
import type { DaemonExit } from '../../../src/effects/daemon.ts';
import { type End, type KeeperOptions, createRetries, keepRunning, pauseMs } from '../../../src/local/keeper.ts';

/** How one start goes on: how long it lives, and what it says at its end; `undefined` says nothing, as a killed one does. */
interface Life {
  readonly ms?: number;
  readonly says?: FailureType;
  readonly exitCode?: number;
  /** The start itself does not come off. */
  readonly cannotStart?: string;
}

/** Plays lives one after the other on a clock of its own, until they are over. */
async function play(lives: readonly Life[], changes: () => boolean = () => false) {
  let nowMs = 0;
  let pid = 0;
  const waits: number[] = [];
  const ends: End[] = [];
  const stop = new AbortController();
  const rest = [...lives];
  const live = () => {
    const life = rest.shift();
    if (life === undefined) {
      stop.abort();
      return { pid: 0, exited: Promise.resolve<DaemonExit>({ exitCode: 0, signal: null }), lastWords: () => undefined };
    }
    if (life.cannotStart !== undefined) throw new Error(life.cannotStart);
    pid += 1;
    return {
      pid,
      // Its time passes when somebody waits for its end.
      get exited(): Promise<DaemonExit> {
        nowMs += life.ms ?? 10;
        const { exitCode = null } = life;
        return Promise.resolve({ exitCode, signal: exitCode === null ? 'SIGKILL' : null });
      },
      lastWords: () => (life.says === undefined ? undefined : { type: life.says, message: `${life.says} it was` }),
    };
  };
  const options: KeeperOptions = {
    first: live(),
    start: async () => await Promise.resolve(live()),
    stop: stop.signal,
    notice: async () => await Promise.resolve(async () => await Promise.resolve(changes())),
    onEnd: (end) => ends.push(end),
    clock: {
      now: () => nowMs,
      wait: async (ms) => {
        waits.push(ms);
        nowMs += ms;
        // Whoever is told to wait for ever in a test has waited long enough.
        if (waits.length > 200) stop.abort();
        await Promise.resolve();
      },
    },
  };
  await keepRunning(options);
  return { waits, ends, left: rest.length };
}

describe('a process that is kept running', () => {
  test('is started again at once after an accident, and after a long life every accident is the first one', async () => {
    const { waits, ends } = await play([{ ms: 60_000 }, { ms: 31_000 }, { ms: 60_000 }]);
    expect(waits).toEqual([0, 0, 0]);
    expect(ends.map(({ failures }) => failures)).toEqual([0, 0, 0]);
    expect(ends[0]).toMatchObject({ pid: 1, kind: 'killed', detail: 'SIGKILL', pauseMs: 0 });
  });

  test('that ends at once again and again is tried less and less often, once a minute in the end', async () => {
    const { waits, ends } = await play(Array.from({ length: 12 }, () => ({ exitCode: 1 })));
    expect(waits).toEqual([0, 250, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]);
    expect(ends.at(-1)).toMatchObject({ failures: 12, detail: 'exit code 1' });
  });

  test('that is killed again and again is never away for long: what it did goes on elsewhere or waits for it', async () => {
    const { waits, ends } = await play(Array.from({ length: 6 }, () => ({ ms: 4_000 })));
    expect(waits).toEqual([0, 250, 1_000, 1_000, 1_000, 1_000]);
    expect(ends.at(-1)).toMatchObject({ kind: 'killed', failures: 6 });
  });

  test('that waits for something beside it is tried every five seconds, so that its return is noticed', async () => {
    const { waits, ends } = await play(
      Array.from({ length: 9 }, () => ({ exitCode: 3, says: 'StoreUnavailable' }) as const),
    );
    expect(waits).toEqual([0, 250, 1_000, 2_000, 5_000, 5_000, 5_000, 5_000, 5_000]);
    expect(ends[0]).toMatchObject({
      kind: 'waiting',
      detail: 'exit code 3, StoreUnavailable: StoreUnavailable it was',
    });
  });

  test.each(['BuildRefused', 'ConfigurationInvalid'] as const)(
    'that says %s is not started again, however long it is waited, and it is said once',
    async (says) => {
      const { waits, ends, left } = await play([{ exitCode: 1, says }, { ms: 60_000 }]);
      expect(ends).toEqual([expect.objectContaining({ kind: 'refused', pauseMs: undefined, failures: 1 })]);
      expect(left).toBe(1);
      expect(waits.length).toBe(201);
      expect(new Set(waits)).toEqual(new Set([5_000]));
    },
  );

  test('that was refused is started again as soon as something has changed', async () => {
    let looks = 0;
    const { waits, ends, left } = await play(
      [{ exitCode: 1, says: 'BuildRefused' }, { ms: 60_000 }],
      () => (looks += 1) === 4,
    );
    expect(waits).toEqual([5_000, 5_000, 5_000, 0]);
    expect(ends.map(({ kind }) => kind)).toEqual(['refused', 'killed']);
    expect(left).toBe(0);
  });

  test('that cannot even be started is tried as one that crashed', async () => {
    const { ends, waits } = await play([
      { ms: 60_000 },
      { cannotStart: 'ENOSPC' },
      { cannotStart: 'ENOSPC' },
      { ms: 60_000 },
    ]);
    expect(ends.map(({ detail }) => detail)).toEqual([
      'SIGKILL',
      'could not be started: ENOSPC',
      'could not be started: ENOSPC',
      'SIGKILL',
    ]);
    expect(waits).toEqual([0, 0, 250, 0]);
  });

  test('a change that cannot be found out is none, and what could not be noted is noted later', async () => {
    const stop = new AbortController();
    let notes = 0;
    let looks = 0;
    let starts = 0;
    const gone = { exitCode: 1, signal: null };
    await keepRunning({
      first: { pid: 1, exited: Promise.resolve(gone), lastWords: () => ({ type: 'BuildRefused', message: 'no' }) },
      start: () => {
        starts += 1;
        stop.abort();
        return Promise.resolve({ pid: 2, exited: Promise.resolve(gone), lastWords: () => undefined });
      },
      stop: stop.signal,
      notice: () => {
        notes += 1;
        if (notes < 3) return Promise.reject(new Error('Temporal does not answer'));
        return Promise.resolve(() => {
          looks += 1;
          return looks < 3 ? Promise.reject(new Error('Temporal does not answer')) : Promise.resolve(true);
        });
      },
      onEnd: () => undefined,
      clock: { now: () => 0, wait: () => Promise.resolve() },
    });
    expect({ notes, looks, starts }).toEqual({ notes: 3, looks: 3, starts: 1 });
  });

  test('is never started again once it was told to stop', async () => {
    const stop = new AbortController();
    let starts = 0;
    const ends: End[] = [];
    await keepRunning({
      first: {
        pid: 1,
        exited: Promise.resolve().then(() => {
          stop.abort();
          return { exitCode: 0, signal: null };
        }),
        lastWords: () => undefined,
      },
      start: () => {
        starts += 1;
        return Promise.reject(new Error('not to be called'));
      },
      stop: stop.signal,
      notice: () => Promise.reject(new Error('not to be called')),
      onEnd: (end) => ends.push(end),
    });
    expect(starts).toBe(0);
    expect(ends).toEqual([]);
  });
});

test('the pauses never become shorter by failing more often', () => {
  for (const [kind, longest] of [
    ['crashed', 60_000],
    ['waiting', 5_000],
    ['killed', 1_000],
  ] as const) {
    const pauses = Array.from({ length: 50 }, (_, times) => pauseMs(kind, times));
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    expect(pauses.at(-1)).toBe(longest);
  }
});

describe('retries', () => {
  test('say a reason once for each length of the pause, and another reason at once', () => {
    const retries = createRetries(3_000);
    const said = (reason: string): readonly [number, boolean] => {
      const { pauseMs: ms, news } = retries.failed(reason);
      return [ms, news];
    };
    expect(Array.from({ length: 11 }, () => said('no registry'))).toEqual([
      [3_000, true],
      [3_000, false],
      [3_000, false],
      [3_000, false],
      [5_000, true],
      [10_000, true],
      [20_000, true],
      [40_000, true],
      [60_000, true],
      [60_000, false],
      [60_000, false],
    ]);
    expect(said('no router')).toEqual([60_000, true]);
    retries.worked();
    expect(said('no router')).toEqual([3_000, true]);
  });
});
