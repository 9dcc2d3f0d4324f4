import type { PlanIdentity } from '../domain/plan.ts';
import { canonicalHash } from './canonical.ts';

/**
 * The hash that an approval is bound to.
 *
 * The fields are named one by one, so that something carried along by accident (a risk, an estimate) does not void approvals, and a new
 * field of the identity does not compile until somebody has put it here.
 */
export function planHash(identity: PlanIdentity): string {
  const { release, definition, configuration, secrets, migrations, strategy, target, live, infrastructure, ...rest } =
    identity;
  noneLeft(rest);
  return canonicalHash({
    release,
    definition,
    configuration,
    secrets,
    migrations,
    strategy,
    target: { kind: target.kind, name: target.name },
    live,
    // Absent and not null: a plan without infrastructure has the hash that it always had.
    ...(infrastructure === undefined
      ? {}
      : { infrastructure: { kind: infrastructure.kind, plan: infrastructure.plan } }),
  });
}

/** Compiles only while every field of the identity was named; what came along at run time is left out. */
function noneLeft(rest: Record<string, never>): Record<string, never> {
  return rest;
}
