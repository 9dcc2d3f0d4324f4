import type { DeploymentRef } from '../domain/deployment.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/** What the watch saw at one moment: `errorRatio`, `p95Ms`, `cpuRatio` …; null where a figure could not be had. */
export interface Sample {
  readonly at: string;
  readonly figures: Readonly<Record<string, number | null>>;
}

export async function recordSample(db: Db, ref: DeploymentRef, sample: Sample): Promise<void> {
  await db
    .insertInto('samples')
    .values({
      project: ref.project,
      environment: ref.environment,
      number: ref.number,
      at: sample.at,
      figures: json(sample.figures),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** In the order of time. */
export async function listSamples(db: Db, ref: DeploymentRef): Promise<readonly Sample[]> {
  return await db
    .selectFrom('samples')
    .select(['at', 'figures'])
    .where('project', '=', ref.project)
    .where('environment', '=', ref.environment)
    .where('number', '=', ref.number)
    .orderBy('at')
    .execute();
}
