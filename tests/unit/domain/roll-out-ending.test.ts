import { describe, expect, test } from '@jest/globals';
import { failure } from '../../../src/domain/failures.ts';
import {
  type Undone,
  blameFor,
  endingOfDeath,
  endingOfWatch,
  isWordOfProbe,
  outcomeOfUndo,
  owesData,
  sayStop,
} from '../../../src/domain/roll-out-ending.ts';
import { quietPolicy } from '../../support/fake-activities.ts';

type Policy = Parameters<typeof endingOfWatch>[0];

const at = '2026-11-26T14:00:00.000Z';

function policy(onInconclusive: 'succeed' | 'hold', automatic: boolean): Policy {
  return { watch: { ...quietPolicy.watch, onInconclusive }, rollback: { automatic, restore: 'ask' } };
}

describe('what a failure says of the release', () => {
  test.each(['ContainerUnhealthy', 'MigrationFailed', 'GateBlocked', 'ReleaseDegraded'] as const)(
    '%s: it is bad',
    (type) => expect(blameFor(failure(type, 'it is so'))).toBe('failed'),
  );

  test.each(['EngineUnavailable', 'MetricsUnavailable', 'BackupFailed', 'FenceRefused'] as const)(
    '%s: something around it is',
    (type) => expect(blameFor(failure(type, 'it is so'))).toBe('errored'),
  );

  test('what is of no type is nothing the release has done', () => {
    expect(blameFor(new Error('what?'))).toBe('errored');
  });

  test('only what a probe throws has the say of a watch', () => {
    const types = ['ReleaseDegraded', 'MetricsUnavailable', 'ContainerUnhealthy', 'TrafficNotMoved'] as const;
    expect(types.map((type) => isWordOfProbe(failure(type, 'it is so')))).toEqual([true, true, false, false]);
  });
});

describe('what it means that a release is found dead when it is to be settled', () => {
  const reason = 'It does not run. It was about to lose its backup.';

  test('it is as bad as by a watch that failed', () => {
    expect(endingOfDeath(policy('succeed', true), 'It does not run', at, 'passed')).toEqual({
      kind: 'bad',
      outcome: 'failed',
      reason,
      decidedAt: at,
      watch: 'passed',
    });
  });

  test('and stays with its backup where nothing is taken back by itself, also where it was not watched', () => {
    expect(endingOfDeath(policy('succeed', false), 'It does not run', at, undefined)).toEqual({
      kind: 'hold',
      reason: `${reason} Automatic rollback is off here: roll back, or unlock with what is live.`,
    });
  });
});

describe('what a watch means', () => {
  test('a pass passes, whatever the policy', () => {
    expect(endingOfWatch(policy('hold', false), 'passed', 'all is well', at)).toEqual({
      kind: 'passed',
      reason: 'all is well.',
      watch: 'passed',
    });
  });

  test('nothing to judge by is what the policy says of it', () => {
    expect(endingOfWatch(policy('succeed', true), 'inconclusive', 'two requests', at).kind).toBe('passed');
    expect(endingOfWatch(policy('hold', true), 'inconclusive', 'two requests', at)).toEqual({
      kind: 'hold',
      reason: 'two requests. The watch was inconclusive: roll back, or unlock with what is live.',
      watch: 'inconclusive',
    });
  });

  test('what could not be found out is never a pass, and never taken back by itself', () => {
    for (const each of [policy('succeed', true), policy('succeed', false), policy('hold', true)]) {
      expect(endingOfWatch(each, 'errored', 'no figures', at)).toMatchObject({ kind: 'hold', watch: 'errored' });
    }
  });

  test('a bad release goes back, but where somebody has switched that off', () => {
    expect(endingOfWatch(policy('succeed', true), 'failed', 'errors: 7 %', at)).toEqual({
      kind: 'bad',
      outcome: 'failed',
      reason: 'errors: 7 %',
      decidedAt: at,
      watch: 'failed',
    });
    expect(endingOfWatch(policy('succeed', false), 'failed', 'errors: 7 %', at)).toMatchObject({
      kind: 'hold',
      reason: expect.stringContaining('Automatic rollback is off here'),
    });
  });
});

test("a person's word says who, and which of the two", () => {
  expect(sayStop({ kind: 'abort', by: 'ann', reason: 'wrong day' })).toBe('ann aborted it: wrong day.');
  expect(sayStop({ kind: 'take-back', by: 'ben', reason: 'it is slow' })).toBe('ben rolled it back: it is slow.');
});

describe('how an undo ends', () => {
  const bad = { kind: 'bad', outcome: 'errored', reason: 'the router is away', decidedAt: at } as const;
  const stopped = (kind: 'abort' | 'take-back'): Undone['ending'] => ({
    kind: 'stopped',
    stop: { kind, by: 'ann', reason: 'wrong day' },
    at,
  });
  const undone: Undone = {
    ending: bad,
    why: 'the router is away',
    complete: true,
    data: undefined,
    moved: true,
    servesAgain: '1.4.0',
  };

  test.each<[string, Partial<Undone>, string, RegExp]>([
    ['the release before serves', {}, 'rolled-back', /1\.4\.0 serves again\.$/],
    ['something is left', { complete: false }, 'rollback-failed', /Then `retry`, `reconcile` or `unlock`\.$/],
    ['something is left after an abort', { complete: false, ending: stopped('abort') }, 'rollback-failed', /report/],
    [
      'data waits for a word',
      { data: { action: 'held', detail: 'three writes since' } },
      'held',
      /word: three writes since\.$/,
    ],
    ['it was the first release', { servesAgain: undefined }, 'rollback-unavailable', /nothing serves\.$/],
    ['nothing had served yet', { moved: false }, 'errored', /^the router is away\.$/],
    ['an abort', { ending: stopped('abort') }, 'aborted', /^the router is away\.$/],
    ['an abort of the first release', { ending: stopped('abort'), servesAgain: undefined }, 'aborted', /away\.$/],
    ['a rollback that was asked for', { ending: stopped('take-back') }, 'rolled-back', /serves again/],
    ['one before traffic had moved', { ending: stopped('take-back'), moved: false }, 'aborted', /away\.$/],
  ])('%s', (_, difference, outcome, reason) => {
    expect(outcomeOfUndo({ ...undone, ...difference })).toEqual({ outcome, reason: expect.stringMatching(reason) });
  });
});

describe('data that somebody still has to bring back', () => {
  test.each<[string, Parameters<typeof owesData>[0], boolean]>([
    ['all is back', { complete: true, data: { action: 'swapped', detail: 'back' }, touched: true }, false],
    ['none had to come back', { complete: true, data: undefined, touched: true }, false],
    ['none was touched', { complete: false, data: undefined, touched: false }, false],
    ['the undo did not come to it', { complete: false, data: undefined, touched: true }, true],
    ['it waits for a word', { complete: true, data: { action: 'held', detail: 'writes' }, touched: true }, true],
    [
      'it is back, and what was written since is not kept',
      { complete: true, data: { action: 'swapped', detail: 'back', unexported: 'the disk is full' }, touched: true },
      true,
    ],
    ['another undo is left', { complete: false, data: { action: 'down', detail: 'down' }, touched: true }, false],
  ])('%s', (_, known, owed) => {
    expect(owesData(known)).toBe(owed);
  });
});
