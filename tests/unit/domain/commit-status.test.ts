import { describe, expect, test } from '@jest/globals';
import { type ToldRun, type ToldStatus, commitStatus } from '../../../src/domain/commit-status.ts';

type Said = ToldStatus['state'] | 'left-out' | 'skipped' | 'superseded';

const abstentions: Partial<Record<Said, ToldStatus['state']>> = {
  ...{ 'left-out': 'success', skipped: 'pending', superseded: 'error' },
};

function run(number: number, said: Said, more: Partial<ToldRun> = {}): ToldRun {
  const abstention = abstentions[said];
  const status = abstention === undefined ? { state: said } : { state: abstention, abstains: true };
  return {
    ...{ number, kind: 'push', ref: 'refs/heads/main', author: 'ada', startedBy: undefined, release: undefined },
    told: { slipway: { ...(status as ToldStatus), description: said } },
    ...more,
  };
}

const pull = { kind: 'pull-request', ref: 'refs/pull/7/head' } as const;

function held(...runs: readonly ToldRun[]): string | undefined {
  const [own] = runs;
  const status = own && commitStatus('slipway', own, runs);
  return status && `${status.state} by ${status.run}`;
}

describe('the status of a commit', () => {
  test.each<[string, readonly ToldRun[], string | undefined]>([
    ['of one run', [run(1, 'success')], 'success by 1'],
    ['the worst of a push and a pull request', [run(1, 'failure'), run(2, 'success', pull)], 'failure by 1'],
    ['what goes on, before a success', [run(1, 'pending'), run(2, 'success', pull)], 'pending by 1'],
    ['what failed, before what goes on', [run(1, 'error'), run(2, 'pending', pull)], 'error by 1'],
    ['of the run that was done again', [run(1, 'failure'), run(2, 'success')], 'success by 2'],
    [
      'not of a later one of another ref',
      [run(1, 'failure'), run(2, 'success', { ref: 'refs/heads/x' })],
      'failure by 1',
    ],
    ['not of who left it out', [run(1, 'failure'), run(2, 'left-out', pull)], 'failure by 1'],
    ['not of who left it out when done again', [run(1, 'failure'), run(2, 'left-out')], 'failure by 1'],
    ['of who left it out where nobody else speaks', [run(1, 'left-out')], 'success by 1'],
    ['of a pull request that was skipped, where nobody else speaks', [run(1, 'skipped', pull)], 'pending by 1'],
    ['of the push, where its pull request was skipped', [run(1, 'success'), run(2, 'skipped', pull)], 'success by 1'],
    ['not of a skip, where the push failed', [run(1, 'failure'), run(2, 'skipped', pull)], 'failure by 1'],
    [
      'of a run by hand, after a skip',
      [run(1, 'skipped', pull), run(2, 'success', { kind: 'manual' })],
      'success by 2',
    ],
    [
      'not of a pull request that is skipped for its new target',
      [run(1, 'failure', pull), run(2, 'success', pull), run(3, 'skipped', pull)],
      'pending by 3',
    ],
    ['of who failed before it was skipped', [run(1, 'failure', pull), run(2, 'skipped', pull)], 'failure by 1'],
    [
      'of what was there, while a release of it is deployed',
      [run(1, 'success'), run(2, 'pending', { release: '1-a' })],
      'success by 1',
    ],
    ['of who took the place of another', [run(1, 'superseded'), run(2, 'success', { kind: 'manual' })], 'success by 2'],
    ['of who was superseded alone', [run(1, 'superseded')], 'error by 1'],
    ['not of a release without checks', [run(1, 'failure'), run(2, 'success', { release: '1-a' })], 'failure by 1'],
    ['not of a schedule', [run(1, 'success'), run(2, 'failure', { kind: 'schedule' })], 'success by 1'],
    ['of schedules by themselves', [run(2, 'failure', { kind: 'schedule' }), run(3, 'success')], 'failure by 2'],
    [
      'the worst of two schedules',
      [
        run(1, 'failure', { kind: 'schedule', author: 'schedule night' }),
        run(2, 'success', { kind: 'schedule', author: 'schedule hour' }),
      ],
      'failure by 1',
    ],
    ['of a context that nobody told of', [run(1, 'success', { told: {} })], undefined],
  ])('%s', (_, runs, expected) => {
    expect(held(...runs)).toBe(expected);
    // Who tells does not matter, nor in which order the store gives them.
    const [own] = runs;
    const turned = own && commitStatus('slipway', own, [...runs].reverse());
    expect(turned && `${turned.state} by ${turned.run}`).toBe(expected);
  });
});
