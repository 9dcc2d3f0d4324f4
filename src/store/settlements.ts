import { sql } from 'kysely';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import { nobody } from '../domain/recovery.ts';
import { deploymentEvent, whereRef } from './deployment-rows.ts';
import { ensureEnvironment } from './environments.ts';
import { publish } from './events.ts';
import { releaseBefore } from './previous.ts';
import type { Db } from './schema.ts';
import { json } from './store.ts';

/**
 * How a deployment or rollback ended: its row, the live release of its environment and the report of its rollback. The first word holds.
 *
 * @returns whether this call was the first.
 */
export async function settleDeploymentRow(
  db: Db,
  result: DeploymentResult,
  version: string,
  at: string,
): Promise<boolean> {
  await ensureRow(db, result, version, at);
  const settled = await whereRef(
    db
      .updateTable('deployments')
      .set({
        phase: 'closed',
        phaseDetail: null,
        phaseAt: at,
        outcome: result.outcome,
        reason: result.reason,
        result: json(result),
        settledAt: at,
      })
      .where('outcome', 'is', null),
    result,
  ).executeTakeFirst();
  if (settled.numUpdatedRows === 0n) return false;
  await settleEnvironment(db, result, at);
  // What a worker that died left open: whoever follows it would wait for ever. One whose end is still on its way has it corrected by that.
  await whereRef(db.updateTable('logStreams').set({ closedAt: at }).where('closedAt', 'is', null), result).execute();
  if (result.rollback !== undefined) {
    await db
      .insertInto('rollbacks')
      .values({
        project: result.project,
        environment: result.environment,
        number: result.number,
        trigger: result.rollback.trigger,
        toVersion: result.rollback.to ?? null,
        report: json(result.rollback),
        servingAfterMs:
          result.rollback.servingAfterMs === undefined ? null : Math.round(result.rollback.servingAfterMs),
        totalMs: Math.round(result.rollback.totalMs),
        at,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  await publish(db, [deploymentEvent(result, { phase: 'closed', outcome: result.outcome, reason: result.reason })]);
  return true;
}

/** A rollback that began while the store was away took its number from the clock, and nobody has written it down. */
async function ensureRow(db: Db, result: DeploymentResult, version: string, at: string): Promise<void> {
  const { project, environment, number } = result;
  await ensureEnvironment(db, project, environment);
  const input: DeploymentInput = {
    project,
    environment,
    number,
    version,
    requestedBy: nobody,
    author: 'unknown',
    priority: 'rollback',
    requestedAt: at,
  };
  const { requestedBy, author, priority, requestedAt } = input;
  await db
    .insertInto('deployments')
    .values({
      project,
      environment,
      number,
      version,
      requestedBy,
      author,
      priority,
      requestedAt,
      kind: 'rollback',
      request: `number:${number}`,
      runKey: null,
      input: json(input),
      startedBy: 'environment',
      phaseAt: at,
      startedAt: null,
      phaseDetail: null,
      planHash: null,
      outcome: null,
      reason: null,
      result: null,
      settledAt: null,
    })
    .onConflict((conflict) => conflict.columns(['project', 'environment', 'number']).doNothing())
    .execute();
}

/** Outcomes that say what is live, even when that is nothing. */
const tellsWhatIsLive: readonly Outcome[] = ['succeeded', 'rolled-back', 'rollback-unavailable'];
const holds: readonly Outcome[] = ['rollback-failed', 'rollback-unavailable', 'held'];
/** Outcomes that end a hold: nothing is rolled out into a held environment, but it may be rolled back, and the rollback tried again. */
const lifts: readonly Outcome[] = ['succeeded', 'rolled-back'];

async function settleEnvironment(db: Db, result: DeploymentResult, at: string): Promise<void> {
  const environment = db
    .updateTable('environments')
    .where('project', '=', result.project)
    .where('name', '=', result.environment);
  const { live } = result;
  if (live !== undefined) {
    const row = await whereRef(db.selectFrom('deployments').select('kind'), result).executeTakeFirst();
    const before = row?.kind === 'rollback' ? await releaseBefore(db, result) : undefined;
    await environment
      .set({
        // The same release again (a roll-out that took itself back) leaves the previous one as it is.
        previous:
          before === undefined
            ? sql`case when live->>'version' is distinct from ${live.version} then live else previous end`
            : before === null
              ? null
              : json(before),
        live: json(live),
        updatedAt: at,
      })
      .execute();
  } else if (tellsWhatIsLive.includes(result.outcome)) {
    await environment.set({ live: null, updatedAt: at }).execute();
  }
  if (holds.includes(result.outcome)) {
    const hold = { outcome: result.outcome, reason: result.reason, since: at, number: result.number };
    await environment.set({ hold: json(hold) }).execute();
  } else if (lifts.includes(result.outcome)) {
    await environment.set({ hold: null }).execute();
  }
}
