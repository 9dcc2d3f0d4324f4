import type { DeploymentInput } from '../../domain/deployment.ts';
import { changesAnything } from '../../domain/infrastructure.ts';
import type { Plan } from '../../domain/plan.ts';
import type { Journal } from '../journal.ts';
import { call, long, read } from '../options.ts';
import { taskQueues } from '../queues.ts';
import type { Rollout } from '../strategies/strategy.ts';

/** What is said wherever something is taken back after infrastructure was applied. */
export const infrastructureStays = 'The infrastructure that was applied stays: it is not taken back by itself.';

/**
 * Makes the plan of a deployment, with a saved plan of its infrastructure that belongs to the present state. Where there is no infrastructure
 * it is one read, as it always was.
 */
export async function planAll(input: DeploymentInput, summary: string, journal: Journal): Promise<Plan> {
  const plan = await journal.call(read.planDeployment, summary, input);
  if (plan.infrastructure === undefined) return plan;
  const { plan: saved } = await call(
    long.ensureInfrastructurePlan,
    `plans the infrastructure with ${plan.infrastructure.kind}`,
    input,
    { taskQueue: taskQueues.deploy },
  );
  return plan.infrastructure.plan === saved ? plan : await call(read.planDeployment, summary, input);
}

/**
 * Applies exactly the saved plan that was approved.
 *
 * @param begin - called right before something may be changed.
 */
export async function applyInfrastructure(run: Omit<Rollout, 'backup'>, begin: () => void): Promise<void> {
  const { infrastructure } = run.plan;
  if (infrastructure?.summary === undefined || !changesAnything(infrastructure.summary)) return;
  const { plan, kind } = infrastructure;
  run.journal.enter('rolling-out', 'applies the infrastructure');
  // No undo: what a resource was before is in no plan, and what it held is gone with it. The report says so.
  run.saga.register({ heading: 'clean-up', run: () => Promise.resolve(infrastructureStays) });
  begin();
  await run.journal.step(
    'infrastructure',
    () =>
      run.journal.call(
        long.applyInfrastructure,
        `applies the saved plan ${plan.slice(0, 8)} with ${kind}`,
        { ...run.nextChange(), version: run.deployment.version, plan },
        { taskQueue: taskQueues.deploy },
      ),
    ({ how, detail }) => ({ verdict: 'passed', detail: `${how}: ${detail}` }),
  );
}
