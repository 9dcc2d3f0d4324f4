import type { DeploymentRef } from '../domain/deployment.ts';
import type { Db, Row } from './schema.ts';

/** A decision as it was recorded. */
export type StoredDecision = Omit<Row<'decisions'>, 'id' | 'project' | 'environment' | 'number'>;

/**
 * A decision, counted or ignored; never changed.
 *
 * @returns false when it was there already.
 */
export async function recordDecisionRow(db: Db, ref: DeploymentRef, decision: StoredDecision): Promise<boolean> {
  const { project, environment, number } = ref;
  const added = await db
    .insertInto('decisions')
    .values({ project, environment, number, ...decision })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return added.numInsertedOrUpdatedRows === 1n;
}
