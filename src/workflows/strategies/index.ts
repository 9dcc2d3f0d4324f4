import type { StrategyKind, StrategySpec } from '../../domain/policy.ts';
import { blueGreen } from './blue-green.ts';
import type { DeploymentStrategy } from './strategy.ts';

/** Every kind that a definition may name; a new one there does not compile until it has its module here. */
export const strategies: Readonly<Record<StrategySpec['kind'] & StrategyKind, DeploymentStrategy>> = {
  'blue-green': blueGreen,
};
