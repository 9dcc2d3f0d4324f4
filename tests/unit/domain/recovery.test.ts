import { describe, expect, test } from '@jest/globals';
import type { DeploymentInput, DeploymentResult } from '../../../src/domain/deployment.ts';
import type { Outcome } from '../../../src/domain/outcome.ts';
import {
  type FoundDeployment,
  type FoundRelease,
  type RecoverySight,
  type SeenSlot,
  planRecovery,
  releasesNamed,
} from '../../../src/domain/recovery.ts';
import type { LiveRelease, Slot } from '../../../src/domain/release.ts';

const place = { project: 'hello', environment: 'production' };

function at(day: number): string {
  return new Date(Date.UTC(2026, 0, day % 1_000)).toISOString();
}

function live(number: number, slot: Slot = number % 2 === 1 ? 'blue' : 'green'): LiveRelease {
  return {
    version: `${number}-abc`,
    commit: `${number}`.repeat(40).slice(0, 40),
    images: [],
    slot,
    deployment: number,
    since: at(number),
  };
}

function slot(number: number, over: Partial<SeenSlot> = {}): SeenSlot {
  const { version, commit, images, slot: where, deployment, since } = live(number);
  return { release: { version, commit, images }, slot: where, deployment, since, healthy: true, ...over };
}

function found(
  number: number,
  outcome: Outcome | 'open' | 'silent',
  leaves: LiveRelease | null = live(number),
  over: Partial<FoundDeployment> = {},
): FoundDeployment {
  const input: DeploymentInput = {
    ...{ ...place, number, version: `${number}-abc`, requestedBy: 'linus', author: 'linus', priority: 'routine' },
    ...{ requestedAt: at(number), runKey: `run-${number}` },
  };
  const row = { kind: 'rollout' as const, input, startedAt: at(number) };
  if (outcome === 'silent') return { ...row, ...over };
  if (outcome === 'open') return { ...row, open: { phase: 'awaiting-approval' }, ...over };
  const result: DeploymentResult = {
    ...place,
    number,
    outcome,
    reason: `It ${outcome}.`,
    steps: [],
    ...(leaves === null ? {} : { live: leaves }),
  };
  return { ...row, ended: { result, at: at(number) }, ...over };
}

function release(number: number): FoundRelease {
  const { version, commit } = live(number);
  return {
    release: {
      ...{ project: 'hello', version, build: number, commit, images: [], migrations: [] },
      definition: 'd',
      author: 'linus',
      runKey: null,
    },
    definition: '{}',
    from: 'kept',
  };
}

/** A store that has lost everything, and an installation that runs 2 after 1. */
function sight(over: Partial<RecoverySight> = {}): RecoverySight {
  return {
    ...place,
    routed: { slot: 'green', version: '2-abc' },
    slots: [slot(1), slot(2)],
    found: [],
    word: undefined,
    recorded: { row: null, lastRun: 0, deployments: [], nameless: [], releases: [], turns: [] },
    releases: new Map([1, 2].map((number) => [`${number}-abc`, release(number)])),
    seenNumber: 0,
    seenRun: 0,
    ...over,
  };
}

describe('a store that has lost everything', () => {
  test('gets live, previous, their deployments and releases by what runs, also where Temporal remembers nothing', () => {
    const { writes, lines, problems } = planRecovery(sight());
    expect(problems).toEqual([]);
    expect(writes.live).toMatchObject({
      live: { version: '2-abc', slot: 'green' },
      previous: { version: '1-abc', slot: 'blue' },
    });
    expect(writes.deployments.map(({ input, ended }) => [input.number, ended?.result.outcome])).toEqual([
      [1, 'succeeded'],
      [2, 'succeeded'],
    ]);
    expect(writes.releases.map(({ release: { version } }) => version)).toEqual(['1-abc', '2-abc']);
    expect(writes).toMatchObject({ lastNumber: 2, lastRun: 2 });
    expect(writes.hold).toBeUndefined();
    expect(lines).toEqual([
      'release 1-abc of commit 111111111111, as a worker kept it',
      'release 2-abc of commit 222222222222, as a worker kept it',
      `deployment hello/production/1 of 1-abc: succeeded at ${at(1)}`,
      `deployment hello/production/2 of 2-abc: succeeded at ${at(2)}`,
      'live: 2-abc in green, of deployment 2; on record is nothing',
      'previous: 1-abc in blue, of deployment 1; on record is nothing',
      'the next deployment is number 3; by the record it would be 1',
      'the next run of hello is number 3; by the record it would be 1',
    ]);
  });

  test('knows by the ends of deployments what was before, where it runs no more', () => {
    const { writes } = planRecovery(
      sight({
        slots: [slot(2)],
        found: [found(1, 'succeeded'), found(2, 'succeeded'), found(3, 'rolled-back', live(2))],
      }),
    );
    expect(writes.live?.previous).toMatchObject({ version: '1-abc', deployment: 1 });
    expect(writes.deployments.map(({ input, requests, startedBy }) => [input.number, requests, startedBy])).toEqual([
      [1, ['run:run-1', 'number:1'], 'run'],
      [2, ['run:run-2', 'number:2'], 'run'],
      [3, ['run:run-3', 'number:3'], 'run'],
    ]);
    expect(writes.lastNumber).toBe(3);
  });

  test('does not go back to what a rollback has left', () => {
    // 1, then 2, then back to 1: 2 stands beside it still, healthy.
    const back: FoundDeployment = found(3, 'succeeded', { ...live(1), deployment: 3 }, { kind: 'rollback' });
    const told = planRecovery(
      sight({
        routed: { slot: 'blue', version: '1-abc' },
        found: [found(1, 'succeeded'), found(2, 'succeeded'), back],
      }),
    );
    expect(told.writes.live).toMatchObject({ live: { version: '1-abc' }, previous: null });
    expect(told.writes.deployments.at(-1)).toMatchObject({
      kind: 'rollback',
      startedBy: 'environment',
      requests: ['number:3'],
    });
    const untold = planRecovery(sight({ routed: { slot: 'blue', version: '1-abc' } }));
    expect(untold.writes.live).toMatchObject({ live: { version: '1-abc' }, previous: null });
    expect(untold.writes.deployments.map(({ input }) => input.number)).toEqual([1]);
    // But nothing gets its number again.
    expect(untold.writes.lastNumber).toBe(2);
  });

  test('gets what is open back, with its plan, and one that was ended from outside is said', () => {
    const plan = { hash: 'h' } as NonNullable<NonNullable<FoundDeployment['open']>['plan']>;
    const { writes, problems } = planRecovery(
      sight({ found: [found(4, 'open', null, { open: { phase: 'awaiting-approval', plan } }), found(5, 'silent')] }),
    );
    expect(writes.deployments.find(({ input }) => input.number === 4)).toMatchObject({
      phase: 'awaiting-approval',
      plan,
    });
    expect(writes.deployments.some(({ input }) => input.number === 5)).toBe(false);
    expect(problems).toEqual([expect.stringContaining('hello/production/5 was ended from outside')]);
    expect(writes.lastNumber).toBe(5);
  });

  test('is held as its workflow says, or by how the last one ended', () => {
    const hold = { reason: 'look', since: at(2) };
    const word = { live: live(2), previous: null, hold, numbers: [7] };
    expect(planRecovery(sight({ word })).writes).toMatchObject({
      hold: { outcome: 'held', number: 2, ...hold },
      lastNumber: 7,
    });
    const failed = planRecovery(sight({ found: [found(2, 'succeeded'), found(3, 'rollback-failed', live(2))] }));
    expect(failed.writes.hold).toEqual({
      outcome: 'rollback-failed',
      reason: 'It rollback-failed.',
      since: at(3),
      number: 3,
    });
    const lifted = planRecovery(sight({ found: [found(3, 'held', live(2)), found(4, 'succeeded', live(2))] }));
    expect(lifted.writes.hold).toBeUndefined();
    expect(
      planRecovery(sight({ word: { ...word, hold: null }, found: [found(3, 'held', live(2))] })).writes.hold,
    ).toBeUndefined();
  });

  test('counts on from above everything that names a number, but for the clock', () => {
    const { writes } = planRecovery(
      sight({ seenNumber: 9, seenRun: 40, found: [found(1_795_000_000_000, 'succeeded', live(2))] }),
    );
    expect(writes).toMatchObject({ lastNumber: 9, lastRun: 40 });
  });

  test('says what cannot be made out, and writes the rest', () => {
    const releases = new Map<string, FoundRelease | string>([
      ['1-abc', 'Its commit is gone.'],
      ['2-abc', release(2)],
    ]);
    const { writes, problems } = planRecovery(sight({ releases }));
    expect(problems).toEqual([expect.stringMatching(/^Release 1-abc cannot be made out: Its commit is gone\./)]);
    expect(writes.releases).toHaveLength(1);
    expect(writes.live?.previous?.version).toBe('1-abc');
  });
});

describe('what is live', () => {
  test.each([
    ['the router has no route and something runs', { routed: undefined }, 'no route of it'],
    ['the router sends it where nothing is', { slots: [slot(1)] }, 'where nothing is'],
    ['another release is there', { routed: { slot: 'green', version: '9-abc' } as const }, '2-abc is there'],
  ])('is not said where %s', (_, over, said) => {
    const { writes, problems } = planRecovery(sight(over));
    expect(writes.live).toBeUndefined();
    expect(writes.deployments).toEqual([]);
    expect(problems[0]).toContain(said);
  });

  test('is nothing where the router sends the traffic nowhere', () => {
    expect(planRecovery(sight({ routed: null })).writes.live).toEqual({ live: null, previous: null });
    expect(planRecovery(sight({ routed: undefined, slots: [], releases: new Map() })).problems).toEqual([]);
  });

  test('is said to be another one than its workflow thinks', () => {
    const { problems } = planRecovery(sight({ word: { live: live(1), previous: null, hold: null, numbers: [] } }));
    expect(problems).toEqual([expect.stringContaining('`slipway reconcile hello/production`')]);
  });
});

describe('a store from an old copy', () => {
  const recorded = {
    row: { live: live(1), previous: null, held: false, lastNumber: 1 },
    lastRun: 1,
    deployments: [1],
    nameless: [],
    releases: ['1-abc'],
    turns: [{ kind: 'rollout' as const, outcome: 'succeeded' as const, live: live(1), at: at(1) }],
  };

  test('gets what is newer, and keeps what it has', () => {
    const { writes } = planRecovery(sight({ recorded, releases: new Map([['2-abc', release(2)]]) }));
    expect(writes.deployments.map(({ input }) => input.number)).toEqual([2]);
    expect(writes.live).toMatchObject({ live: { version: '2-abc' }, previous: { version: '1-abc' } });
    expect(writes).toMatchObject({ lastNumber: 2, lastRun: 2 });
  });

  test('that has everything gets nothing', () => {
    const complete = {
      row: { live: live(2), previous: live(1), held: false, lastNumber: 2 },
      lastRun: 2,
      deployments: [1, 2],
      nameless: [],
      releases: ['1-abc', '2-abc'],
      turns: [1, 2].map((number) => ({
        kind: 'rollout' as const,
        outcome: 'succeeded' as const,
        live: live(number),
        at: at(number),
      })),
    };
    const { lines, writes } = planRecovery(sight({ recorded: complete, releases: new Map() }));
    expect(lines).toEqual([]);
    expect(writes).toEqual({ releases: [], deployments: [] });
  });

  test('that has of a deployment only its end, which a worker kept, gets who asked for it and what it was', () => {
    const turn = (number: number) => ({
      ...{ kind: 'rollback' as const, outcome: 'succeeded' as const, live: live(number), at: at(number), number },
    });
    const ends = {
      // As two rollbacks to what nobody had before: there is nothing to go back to.
      row: { live: live(2), previous: null, held: false, lastNumber: 2 },
      lastRun: 2,
      deployments: [1, 2],
      nameless: [1, 2],
      releases: ['1-abc', '2-abc'],
      turns: [turn(1), turn(2)],
    };
    const remembered = [found(1, 'succeeded'), found(2, 'succeeded')];
    const { writes, lines } = planRecovery(
      sight({ recorded: ends, found: remembered, releases: new Map(), slots: [slot(2)] }),
    );
    expect(writes.deployments.map(({ kind, input }) => [input.number, kind, input.requestedBy])).toEqual(
      remembered.map(({ input }) => [input.number, 'rollout', input.requestedBy]),
    );
    expect(writes.live).toMatchObject({ live: { version: '2-abc' }, previous: { version: '1-abc' } });
    expect(lines).toHaveLength(4);
    // Where Temporal knows no more either, that is all there is.
    expect(planRecovery(sight({ recorded: ends, releases: new Map(), slots: [slot(2)] })).lines).toEqual([]);
  });

  test('what it wrote is what it finds the next time: nothing is missing then', () => {
    const first = planRecovery(sight());
    const turns = first.writes.deployments.map(({ kind, ended }) => ({
      kind,
      outcome: ended!.result.outcome,
      live: ended!.result.live ?? null,
      at: ended!.at,
    }));
    const written = {
      row: { ...first.writes.live!, held: false, lastNumber: first.writes.lastNumber! },
      lastRun: first.writes.lastRun!,
      deployments: first.writes.deployments.map(({ input }) => input.number),
      nameless: [],
      releases: ['1-abc', '2-abc'],
      turns,
    };
    expect(planRecovery(sight({ recorded: written, releases: new Map() })).lines).toEqual([]);
  });
});

test('every release that the records name is looked for, once, by the commit where one is known', () => {
  const named = releasesNamed(sight({ found: [found(1, 'succeeded'), found(4, 'open', null)] }));
  expect(named.map(({ version, commit }) => [version, commit === ''])).toEqual([
    ['1-abc', false],
    ['2-abc', false],
    ['4-abc', true],
  ]);
});
