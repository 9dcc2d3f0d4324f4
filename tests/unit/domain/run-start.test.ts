import { describe, expect, test } from '@jest/globals';
import {
  type StartRule,
  type Starter,
  fullRef,
  mostStartsInARow,
  rowOf,
  ruleFor,
  whyNoStart,
} from '../../../src/domain/run-start.ts';

const starter: Starter = { project: 'shop', number: 12, event: { ref: 'refs/heads/main' } };

/** A run at the end of a row of so many. */
function rowEnding(length: number): Starter {
  const above = Array.from({ length: length - 2 }, (_, index) => ({ project: `p${index}`, number: index + 1 }));
  return {
    ...starter,
    startedBy: { project: 'last', number: 9, key: 'k', stage: 's', above },
  };
}

describe('whether a run may start another one', () => {
  test('nothing stands against one of another project', () => {
    expect(whyNoStart(starter, 'api')).toBeUndefined();
  });

  test.each([
    ['its own', starter, 'shop', 'shop#12 → shop'],
    ['one that has started it', rowEnding(2), 'last', 'last#9 → shop#12 → last'],
    ['one further up', rowEnding(4), 'p0', 'p0#1 → p1#2 → last#9 → shop#12 → p0'],
  ])('never one of %s project', (_, from, target, way) => {
    expect(whyNoStart(from, target)).toBe(`It would go in a circle: ${way}.`);
  });

  test('only so many in a row', () => {
    expect(whyNoStart(rowEnding(mostStartsInARow - 1), 'api')).toBeUndefined();
    expect(whyNoStart(rowEnding(mostStartsInARow), 'api')).toMatch(/^5 runs have started each other already/);
  });

  test('never for a fork', () => {
    expect(whyNoStart({ ...starter, event: { ref: 'refs/pull/7/head', fork: true } }, 'api')).toMatch(/fork/);
  });
});

test('the row of a run ends with itself', () => {
  expect(rowOf(starter)).toEqual([{ project: 'shop', number: 12 }]);
  expect(rowOf(rowEnding(3)).map(({ project }) => project)).toEqual(['p0', 'last', 'shop']);
});

describe('the rule of the other project', () => {
  const rule = (more: Partial<StartRule> = {}): StartRule => ({
    project: 'shop',
    from: ['**'],
    refs: ['main'],
    deploys: false,
    ...more,
  });

  test.each<[string, readonly StartRule[], string, boolean]>([
    ['nobody may where nothing is said', [], 'refs/heads/main', false],
    ['the one that is named may', [rule()], 'refs/heads/main', true],
    ['another one may not', [rule({ project: 'sho' })], 'refs/heads/main', false],
    ['only of the refs that are named', [rule()], 'refs/heads/develop', false],
    ['a tag goes by its name', [rule({ refs: ['v*'] })], 'refs/tags/v1.2.0', true],
    ['only from the refs that are named', [rule({ from: ['release/*'] })], 'refs/heads/main', false],
  ])('%s', (_, rules, ref, may) => {
    expect(ruleFor(rules, starter, ref) !== undefined).toBe(may);
  });

  test('is the first that fits', () => {
    const rules = [rule({ from: ['release/*'], deploys: true }), rule(), rule({ deploys: true })];
    expect(ruleFor(rules, starter, 'refs/heads/main')?.deploys).toBe(false);
  });

  test('a pull request goes by its number', () => {
    const pull = { ...starter, event: { ref: 'refs/pull/7/head' } };
    expect(ruleFor([rule({ from: ['main'] })], pull, 'refs/heads/main')).toBeUndefined();
    expect(ruleFor([rule({ from: ['pull/**'] })], pull, 'refs/heads/main')).toBeDefined();
  });
});

test.each([
  ['main', 'refs/heads/main'],
  ['refs/tags/v1', 'refs/tags/v1'],
])('%s is %s in full', (ref, full) => {
  expect(fullRef(ref)).toBe(full);
});
