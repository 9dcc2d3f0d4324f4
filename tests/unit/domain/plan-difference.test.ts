import { describe, expect, test } from '@jest/globals';
import { planDifference } from '../../../src/domain/plan-difference.ts';
import type { PlanIdentity } from '../../../src/domain/plan.ts';
import { aPlan } from '../../support/story-records.ts';

const { identity } = aPlan();

describe('why a plan is another one', () => {
  test('is nothing where it is the same, however it is written', () => {
    const turned = Object.fromEntries(Object.entries(identity).reverse()) as unknown as PlanIdentity;
    expect(planDifference(identity, turned)).toEqual([]);
  });

  test.each<[string, Partial<PlanIdentity>]>([
    ['what is live is 9.9.9 now, and was ', { live: { version: '9.9.9' } as PlanIdentity['live'] }],
    ['what is live is nothing now', { live: null }],
    ['the configuration of the environment changed', { configuration: 'f'.repeat(64) }],
    ['secrets changed: NEW_KEY', { secrets: { ...identity.secrets, NEW_KEY: 'v2' } }],
    ['other migrations are pending', { migrations: [{ name: '9_x', kind: 'expand' } as never] }],
    ['the infrastructure would be changed otherwise', { infrastructure: { kind: 'terraform', plan: 'p' } }],
    ['the definition of repository or project changed', { definition: 'e'.repeat(64) }],
    ['the target changed', { target: { kind: 'docker', name: 'elsewhere' } }],
  ])('%s', (said, change) => {
    const [first, ...others] = planDifference(
      { ...identity, live: { version: '1.0.0' } as never },
      {
        ...identity,
        live: { version: '1.0.0' } as never,
        ...change,
      },
    );
    expect(first).toContain(said);
    expect(others).toEqual([]);
  });
});
