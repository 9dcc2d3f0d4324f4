import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import type { StagePlan } from '../../../src/domain/run.ts';
import { type StageEnd, nextStages } from '../../../src/domain/stage-graph.ts';

function stage(name: string, more: Partial<StagePlan> = {}): StagePlan {
  return { name, steps: [], timeoutMs: 1, ...more };
}

/** Plays a run: what starts ends as `ends` says, all that runs at once in one go. */
function play(
  stages: readonly StagePlan[],
  ends: Readonly<Record<string, 'passed' | 'failed'>> = {},
  { concurrency = 64, abortAfter }: { readonly concurrency?: number; readonly abortAfter?: number } = {},
): { readonly rounds: string[][]; readonly ended: ReadonlyMap<string, StageEnd> } {
  const ended = new Map<string, StageEnd>();
  const rounds: string[][] = [];
  let stopping = false;
  for (;;) {
    const aborted = abortAfter !== undefined && rounds.length >= abortAfter;
    const { start, settle } = nextStages(stages, { ended, running: new Set(), stopping, aborted }, concurrency);
    for (const {
      stage: { name },
      end,
    } of settle)
      ended.set(name, end);
    if (start.length === 0) return { rounds, ended };
    rounds.push(start.map(({ name }) => name));
    for (const { name, failFast } of start) {
      ended.set(name, ends[name] ?? 'passed');
      stopping ||= ends[name] === 'failed' && failFast !== false;
    }
  }
}

/** Names that a stage has to wait for, as the documentation says it; a stage of a matrix is not needed by its own name. */
function neededBy(stages: readonly StagePlan[], index: number): readonly string[] {
  const { needs, group } = stages[index]!;
  const others = needs === undefined ? stages.slice(0, index) : stages.filter(({ name }) => needs.includes(name));
  return others
    .filter((other) =>
      needs === undefined ? group === undefined || other.group?.name !== group.name : other.group === undefined,
    )
    .map(({ name }) => name);
}

describe('stages', () => {
  test('without needs run one after the other, and the first that fails is the last', () => {
    const stages = [stage('a'), stage('b'), stage('c')];
    expect(play(stages).rounds).toEqual([['a'], ['b'], ['c']]);
    const failed = play(stages, { b: 'failed' });
    expect(failed.rounds).toEqual([['a'], ['b']]);
    expect(failed.ended.get('c')).toBe('blocked');
  });

  test('run at once where they do not need each other', () => {
    const stages = [
      stage('install'),
      stage('lint', { needs: ['install'] }),
      stage('unit', { needs: ['install'] }),
      stage('report', { needs: ['unit'] }),
      stage('docs', { needs: [] }),
    ];
    expect(play(stages).rounds).toEqual([['install', 'docs'], ['lint', 'unit'], ['report']]);
    expect(play(stages, {}, { concurrency: 1 }).rounds).toEqual([
      ['install'],
      ['lint'],
      ['unit'],
      ['report'],
      ['docs'],
    ]);
  });

  test('of a matrix run at once up to its own limit', () => {
    const group = { name: 'unit', limit: 2 };
    const legs = ['1', '2', '3'].map((leg) => stage(`unit-${leg}`, { group }));
    const stages = [stage('install'), ...legs, stage('report', { needs: ['unit'] }), stage('last')];
    expect(play(stages).rounds).toEqual([['install'], ['unit-1', 'unit-2'], ['unit-3'], ['report'], ['last']]);
  });

  test('for failure and for always run when something failed; for failure only then', () => {
    const stages = [
      stage('unit'),
      stage('package'),
      stage('explain', { outcome: 'failure' }),
      stage('clean', { outcome: 'always' }),
    ];
    expect(play(stages, { unit: 'failed' }).rounds).toEqual([['unit'], ['explain'], ['clean']]);
    const passed = play(stages);
    expect(passed.rounds).toEqual([['unit'], ['package'], ['clean']]);
    expect(passed.ended.get('explain')).toBe('skipped');
  });

  test('with failFast off let what does not need them go on', () => {
    const stages = [
      stage('lint', { needs: [], failFast: false }),
      stage('unit', { needs: [] }),
      stage('after-lint', { needs: ['lint'] }),
      stage('after-unit', { needs: ['unit'] }),
    ];
    const { rounds, ended } = play(stages, { lint: 'failed' });
    expect(rounds).toEqual([['lint', 'unit'], ['after-unit']]);
    expect(ended.get('after-lint')).toBe('blocked');
  });

  test('skipped by their condition harm nothing that comes after them', () => {
    const { rounds, ended } = play([stage('a', { skip: 'Not today.' }), stage('b', { needs: ['a'] })]);
    expect(rounds).toEqual([['b']]);
    expect(ended.get('a')).toBe('skipped');
  });

  test('for always are all that still runs after an abort', () => {
    const stages = [
      stage('a'),
      stage('b'),
      stage('sad', { outcome: 'failure' }),
      stage('clean', { outcome: 'always' }),
    ];
    expect(play(stages, {}, { abortAfter: 1 }).rounds).toEqual([['a'], ['clean']]);
  });

  test('whatever the graph: each ends once, never before what it needs, never too many at once', () => {
    const graphs = fc
      .array(
        fc.record({
          needs: fc.option(fc.array(fc.nat(20), { maxLength: 4 }), { nil: undefined }),
          outcome: fc.constantFrom<'success' | 'failure' | 'always'>('success', 'failure', 'always'),
          failFast: fc.boolean(),
          fails: fc.boolean(),
          skip: fc.boolean(),
          group: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
        }),
        { minLength: 1, maxLength: 12 },
      )
      .map((made) =>
        made.map(({ needs, outcome, failFast, fails, skip, group }, index) => ({
          fails,
          plan: stage(`s${index}`, {
            outcome,
            failFast,
            ...(needs === undefined
              ? {}
              : {
                  needs: [...new Set(needs.map((at) => at % (index + 1)).filter((at) => at < index))].map(
                    (at) => `s${at}`,
                  ),
                }),
            ...(skip ? { skip: 'No.' } : {}),
            ...(group === undefined ? {} : { group: { name: group, limit: 2 } }),
          }),
        })),
      );
    fc.assert(
      fc.property(graphs, fc.integer({ min: 1, max: 5 }), (made, concurrency) => {
        const stages = made.map(({ plan }) => plan);
        const ends = Object.fromEntries(
          made.map(({ plan, fails }) => [plan.name, fails ? 'failed' : 'passed'] as const),
        );
        const { rounds, ended } = play(stages, ends, { concurrency });
        expect(ended.size).toBe(stages.length);
        const order = rounds.flat();
        expect(new Set(order).size).toBe(order.length);
        for (const round of rounds) {
          expect(round.length).toBeLessThanOrEqual(concurrency);
          for (const name of ['x', 'y']) {
            expect(
              round.filter((one) => stages.find((each) => each.name === one)?.group?.name === name).length,
            ).toBeLessThanOrEqual(2);
          }
        }
        for (const [index, plan] of stages.entries()) {
          if (!order.includes(plan.name)) continue;
          const round = rounds.findIndex((each) => each.includes(plan.name));
          for (const name of neededBy(stages, index)) {
            expect(rounds.slice(round).flat()).not.toContain(name);
          }
          // An `always` without a condition of its own is never left out.
          if (plan.outcome === 'success') expect(ended.get(plan.name)).not.toBe('blocked');
        }
        for (const plan of stages) {
          if (plan.outcome === 'always' && plan.skip === undefined) expect(order).toContain(plan.name);
        }
      }),
      { numRuns: 500 },
    );
  });
});
