import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import {
  type EnvironmentState,
  type NumberRange,
  emptyState,
  enqueue,
  hasAnswer,
  includesNumber,
  isClear,
  nextDueMs,
  nextInQueue,
  splitOverdue,
  withNumber,
} from '../../../src/workflows/environment-state.ts';
import type { TurnRequest } from '../../../src/workflows/messages.ts';
import { quietPolicy } from '../../support/fake-activities.ts';

function request(
  number: number,
  priority: 'rollback' | 'hotfix' | 'routine' = 'routine',
  mode: 'keep-all' | 'supersede' = 'keep-all',
): TurnRequest {
  const at = '2026-01-01T00:00:00.000Z';
  return {
    deployment: {
      project: 'p',
      environment: 'e',
      number,
      version: `1.0.${String(number)}`,
      requestedBy: 'x',
      author: 'x',
      priority,
      requestedAt: at,
    },
    planHash: 'h',
    approved: true,
    policy: { ...quietPolicy, queue: { mode, timeoutMs: 1_000 } },
    requestedAt: at,
  };
}

function numbers(queue: readonly TurnRequest[]): number[] {
  return queue.map((entry) => entry.deployment.number);
}

describe('the queue', () => {
  test.each([
    [[], undefined],
    [[request(3), request(1)], 3],
    [[request(3), request(4, 'hotfix')], 4],
    [[request(3, 'hotfix'), request(4, 'rollback'), request(5, 'rollback')], 4],
  ])('gives the turn by priority, then by who asked first (%#)', (queue, first) => {
    expect(nextInQueue(queue)?.deployment.number).toBe(first);
  });

  test('keeps all, in the order of asking', () => {
    const { queue, superseded } = enqueue([request(2)], request(1));
    expect([numbers(queue), numbers(superseded)]).toEqual([[2, 1], []]);
  });

  test.each([
    ['an older one leaves', [request(1)], request(2, 'routine', 'supersede'), [2], [1]],
    ['one that is older than what waits does not enter', [request(3)], request(2, 'routine', 'supersede'), [3], [2]],
    [
      'a hotfix is not superseded by a routine one',
      [request(1, 'hotfix')],
      request(2, 'routine', 'supersede'),
      [1, 2],
      [],
    ],
    ['a routine one is superseded by a hotfix', [request(1)], request(2, 'hotfix', 'supersede'), [2], [1]],
  ])('with supersede %s', (_, waiting, arriving, left, out) => {
    const { queue, superseded } = enqueue(waiting, arriving);
    expect([numbers(queue), numbers(superseded)]).toEqual([left, out]);
  });

  test('has a deployment once, with its last word', () => {
    const { queue } = enqueue([request(1), request(2)], { ...request(1), planHash: 'new' });
    expect(queue.map((entry) => [entry.deployment.number, entry.planHash])).toEqual([
      [2, 'h'],
      [1, 'new'],
    ]);
  });

  test('lets go who has waited too long', () => {
    const at = Date.parse('2026-01-01T00:00:01.000Z');
    expect(numbers(splitOverdue([request(1)], at - 1).waiting)).toEqual([1]);
    expect(numbers(splitOverdue([request(1)], at).overdue)).toEqual([1]);
  });
});

describe('the numbers that have been answered', () => {
  test('are all remembered and no others, in as few ranges as there are gaps', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 })), (given) => {
        const ranges = given.reduce<readonly NumberRange[]>((known, number) => withNumber(known, number), []);
        for (let number = 0; number <= 61; number += 1) {
          expect(includesNumber(ranges, number)).toBe(given.includes(number));
        }
        for (const [index, [from, to]] of ranges.entries()) {
          expect(from).toBeLessThanOrEqual(to);
          const next = ranges[index + 1];
          if (next !== undefined) expect(next[0]).toBeGreaterThan(to + 1);
        }
      }),
    );
  });
});

describe('whether a release may be rolled out at once', () => {
  const now = Date.parse('2026-01-01T12:00:00.000Z');
  const live = { version: '1.0.1', commit: 'c', images: [], slot: 'blue', deployment: 1, since: '' } as const;
  const retireAt = (at: string): Partial<EnvironmentState> => ({ retire: { at, release: live } });
  const said = { by: 'ann', reason: 'r', since: '2026-01-01T00:00:00.000Z' };

  test.each<[string, Partial<EnvironmentState>, boolean]>([
    ['nothing is known of it', {}, true],
    ['the release before goes later', retireAt('2026-01-01T12:00:01.000Z'), true],
    ['the release before goes now', retireAt('2026-01-01T12:00:00.000Z'), false],
    ['somebody waits', { queue: [request(1)] }, false],
    ['somebody has taken the turn', { first: { deployment: request(1).deployment, ask: 1 } }, false],
    ['a person wants back', { rollbacks: [{ ...request(1), request: { by: 'ann', reason: 'r' } }] }, false],
    ['it is held', { hold: { ...said, state: 'held' } }, false],
    ['it is frozen', { freeze: said }, false],
  ])('%s', (_, difference, clear) => {
    expect(isClear({ ...emptyState('p', 'e'), ...difference }, now)).toBe(clear);
  });

  test('what comes first by the clock is what it wakes for', () => {
    const none = { retire: null, freeze: null };
    expect(nextDueMs(none, now)).toBeUndefined();
    expect(nextDueMs({ ...none, freeze: said }, now)).toBeUndefined();
    const both = {
      retire: { at: '2026-01-01T12:00:09.000Z', release: live },
      freeze: { ...said, until: '2026-01-01T12:00:05.000Z' },
    };
    expect(nextDueMs(both, now)).toBe(5_000);
    // What is over already is due at once, and not in the past.
    expect(nextDueMs(both, now + 60_000)).toBe(1);
  });
});

test('an ask has its answer when the deployment is settled, or its plan of then was given back', () => {
  const known = { settled: [[1, 3]] as NumberRange[], answered: { '5': 2 } };
  expect([1, 3, 4].map((number) => hasAnswer(known, number, 1))).toEqual([true, true, false]);
  expect([1, 2, 3].map((ask) => hasAnswer(known, 5, ask))).toEqual([true, true, false]);
});
