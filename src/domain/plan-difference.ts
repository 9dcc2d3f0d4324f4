import type { PlanIdentity } from './plan.ts';

/**
 * Why a plan is another one than the plan before it, for people who approved that: what of its identity differs, one phrase each, the nearest to
 * what they looked at first.
 */
export function planDifference(before: PlanIdentity, after: PlanIdentity): readonly string[] {
  const differs = (of: (identity: PlanIdentity) => unknown): boolean =>
    JSON.stringify(sorted(of(before) ?? null)) !== JSON.stringify(sorted(of(after) ?? null));
  const secrets = namesOf(before.secrets, after.secrets);
  return [
    ...(differs(({ live }) => live)
      ? [`what is live is ${after.live?.version ?? 'nothing'} now, and was ${before.live?.version ?? 'nothing'}`]
      : []),
    ...(differs(({ release }) => release) ? ['the release has other images'] : []),
    ...(differs(({ migrations }) => migrations) ? ['other migrations are pending'] : []),
    ...(differs(({ configuration }) => configuration) ? ['the configuration of the environment changed'] : []),
    ...(secrets.length > 0 ? [`secrets changed: ${secrets.join(', ')}`] : []),
    ...(differs(({ infrastructure }) => infrastructure) ? ['the infrastructure would be changed otherwise'] : []),
    ...(differs(({ strategy }) => strategy) ? ['the strategy changed'] : []),
    ...(differs(({ target }) => target) ? ['the target changed'] : []),
    ...(differs(({ definition }) => definition) ? ['the definition of repository or project changed'] : []),
  ];
}

function namesOf(before: PlanIdentity['secrets'], after: PlanIdentity['secrets']): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => before[name] !== after[name]).sort();
}

/** Keys in one order: plans come from activities, whose objects need not have been made alike. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}
