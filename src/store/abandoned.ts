import { sql } from 'kysely';
import type { ClosedWorkflow } from '../domain/abandoned.ts';
import type { DeploymentResult } from '../domain/deployment.ts';
import type { RunOutcome } from '../domain/outcome.ts';
import type { RunInput, RunRef } from '../domain/run.ts';
import { appendAudit } from './audit.ts';
import { settleDeploymentRow } from './settlements.ts';
import { holdRuns, settleRunRow } from './runs.ts';
import { type StageView, endOpenStages, readStages } from './stages.ts';
import type { Db, Row } from './schema.ts';
import { inTransaction } from './transaction.ts';

/** Who writes down what a workflow could not say itself any more. */
export const reconciler = 'reconciler';

export interface OpenRows {
  /** Only rows in which nothing has happened for so long. */
  readonly olderThanMs: number;
  /** Rows behind this id; 0 for the first page. */
  readonly after: number;
  readonly limit: number;
}

export type OpenRun = Pick<Row<'runs'>, 'id' | 'project' | 'key' | 'number' | 'phase'>;
export type OpenDeployment = Pick<
  Row<'deployments'>,
  'id' | 'project' | 'environment' | 'number' | 'kind' | 'version' | 'phase' | 'runKey' | 'startedBy' | 'startedAt'
>;

/** Runs without an outcome that Temporal has had, oldest first; one that it never had is the sweeper's of the inbox. */
export async function openRuns(db: Db, { olderThanMs, after, limit }: OpenRows): Promise<readonly OpenRun[]> {
  return await db
    .selectFrom('runs')
    .select(['id', 'project', 'key', 'number', 'phase'])
    .where('outcome', 'is', null)
    .where('id', '>', after)
    .where('startedAt', '<', ago(olderThanMs))
    .orderBy('id')
    .limit(limit)
    .execute();
}

/** Deployments and rollbacks without an outcome, oldest first. */
export async function openDeployments(
  db: Db,
  { olderThanMs, after, limit }: OpenRows,
): Promise<readonly OpenDeployment[]> {
  return await db
    .selectFrom('deployments')
    .select([
      ...(['id', 'project', 'environment', 'number', 'kind', 'version', 'phase'] as const),
      ...(['runKey', 'startedBy', 'startedAt'] as const),
    ])
    .where('outcome', 'is', null)
    .where('id', '>', after)
    .where('phaseAt', '<', ago(olderThanMs))
    .orderBy('id')
    .limit(limit)
    .execute();
}

/** What the end of a run is told with. */
export interface EndedRun {
  readonly input: RunInput;
  readonly stages: readonly StageView[];
}

/**
 * Ends a run in the place of its workflow, with whatever of it was still shown as going on; audited in the same commit. One that has an
 * outcome is left as it is.
 *
 * @returns what the notice needs, also when an earlier call with the same words had ended it; undefined when it ended otherwise.
 */
export async function endAbandonedRun(
  db: Db,
  run: RunRef,
  end: { readonly outcome: RunOutcome; readonly reason: string },
  why: Readonly<Record<string, ClosedWorkflow>>,
  workflowId: string,
): Promise<EndedRun | undefined> {
  return await inTransaction(db, async (tx) => {
    await holdRuns(tx, [run]);
    const row = await tx
      .selectFrom('runs')
      .select(['input', 'outcome', 'reason'])
      .where('project', '=', run.project)
      .where('number', '=', run.number)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    if (row.outcome === null) {
      await appendAudit(tx, { actor: reconciler, action: 'run.end', object: workflowId, detail: { ...end, ...why } });
      await endOpenParts(tx, run);
      await settleRunRow(tx, run, end);
    } else if (row.outcome !== end.outcome || row.reason !== end.reason) return undefined;
    return { input: row.input, stages: await readStages(tx, run.project, run.number) };
  });
}

/** Stages and steps without a verdict, and logs without an end: nothing more will come of them. */
async function endOpenParts(tx: Db, run: RunRef): Promise<void> {
  await endOpenStages(tx, run, 'its workflow was ended from outside');
  await tx
    .updateTable('logStreams')
    .set({ closedAt: sql<string>`now()` })
    .where('project', '=', run.project)
    .where('run', '=', run.number)
    .where('closedAt', 'is', null)
    .execute();
}

/**
 * Ends a deployment or rollback in the place of its workflow; audited in the same commit. One that has an outcome is left as it is.
 *
 * @returns whether it ended so, now or by an earlier call with the same words.
 */
export async function endAbandonedDeployment(
  db: Db,
  result: DeploymentResult,
  version: string,
  why: Readonly<Record<string, ClosedWorkflow>>,
  workflowId: string,
): Promise<boolean> {
  const { outcome, reason, project, environment, number } = result;
  return await inTransaction(db, async (tx) => {
    if (await settleDeploymentRow(tx, result, version, new Date().toISOString())) {
      const detail = { outcome, reason, ...why };
      await appendAudit(tx, { actor: reconciler, action: 'deployment.end', object: workflowId, detail });
      return true;
    }
    const row = await tx
      .selectFrom('deployments')
      .select(['outcome', 'reason'])
      .where('project', '=', project)
      .where('environment', '=', environment)
      .where('number', '=', number)
      .executeTakeFirst();
    return row?.outcome === outcome && row.reason === reason;
  });
}

function ago(ms: number): ReturnType<typeof sql<string>> {
  return sql<string>`now() - make_interval(secs => ${ms / 1000})`;
}
