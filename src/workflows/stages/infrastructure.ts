import { isCancellation } from '@temporalio/workflow';
import type { PlanInput } from '../../activities/contracts.ts';
import type { DeploymentInput } from '../../domain/deployment.ts';
import { describeFailure } from '../../domain/failures.ts';
import { changesAnything } from '../../domain/infrastructure.ts';
import type { Plan } from '../../domain/plan.ts';
import type { Journal } from '../journal.ts';
import { call } from '../call.ts';
import { planning, renewing } from '../proxies/deployment.ts';
import { long } from '../proxies/run.ts';
import { taskQueues } from '../queues.ts';
import type { Rollout } from '../strategies/strategy.ts';

/** What is said wherever something is taken back after infrastructure was applied. */
export const infrastructureStays = 'The infrastructure that was applied stays: it is not taken back by itself.';

/**
 * Makes the plan of a deployment, with scans of its images that are not too old, and a saved plan of its infrastructure that belongs to the present
 * state. Where there is nothing to look up and no infrastructure it is one read, as it always was.
 */
export async function planAll(deployment: DeploymentInput, summary: string, journal: Journal): Promise<Plan> {
  const first = await journal.call(planning.planDeployment, summary, { ...deployment, renewsScans: true });
  const { scansDue } = first;
  const input: PlanInput =
    scansDue === undefined ? deployment : { ...deployment, scanProblems: await renewScans(deployment, scansDue) };
  const plan = scansDue === undefined ? first : await call(planning.planDeployment, summary, input);
  if (plan.infrastructure === undefined) return plan;
  const { plan: saved } = await call(
    long.ensureInfrastructurePlan,
    `plans the infrastructure with ${plan.infrastructure.kind}`,
    input,
    { taskQueue: taskQueues.deploy },
  );
  return plan.infrastructure.plan === saved ? plan : await call(planning.planDeployment, summary, input);
}

/** @returns why images could not be looked up again; what that costs is for the plan to say. */
async function renewScans(
  { project, version }: DeploymentInput,
  images: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  try {
    return await call(renewing.renewScans, `looks up ${images.join(', ')} again`, { project, version, images });
  } catch (error) {
    if (isCancellation(error)) throw error;
    const { message } = describeFailure(error);
    return Object.fromEntries(images.map((name) => [name, message]));
  }
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
