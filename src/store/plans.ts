import type { DeploymentRef } from '../domain/deployment.ts';
import type { Plan } from '../domain/plan.ts';
import { whereRef } from './deployment-rows.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/** Keeps a plan under its hash, and as the one that holds. */
export async function recordPlan(db: Db, plan: Plan): Promise<void> {
  const { project, environment, number } = plan.deployment;
  await db
    .insertInto('plans')
    .values({ project, environment, number, hash: plan.hash, plan: json(plan), plannedAt: plan.plannedAt })
    .onConflict((conflict) =>
      conflict
        .columns(['project', 'environment', 'number', 'hash'])
        .doUpdateSet((set) => ({ plan: set.ref('excluded.plan'), plannedAt: set.ref('excluded.plannedAt') })),
    )
    .execute();
  await whereRef(db.updateTable('deployments').set({ planHash: plan.hash }), plan.deployment).execute();
}

/** A plan by its hash, or the newest of the deployment. */
export async function readPlan(db: Db, ref: DeploymentRef, hash?: string): Promise<Plan | undefined> {
  let query = whereRef(db.selectFrom('plans').select('plan'), ref).orderBy('plannedAt', 'desc');
  if (hash !== undefined) query = query.where('hash', '=', hash);
  return (await query.executeTakeFirst())?.plan;
}
