import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import {
  type FoundRelease,
  type RecordedEnvironment,
  type RecoveredDeployment,
  type RecoveryWrites,
  nobody,
} from '../domain/recovery.ts';
import { appendAudit } from './audit.ts';
import { ensureEnvironment } from './environments.ts';
import { publish } from './events.ts';
import { recordPlan } from './plans.ts';
import { readLiveTurns } from './previous.ts';
import { putDefinition } from './projects.ts';
import { recordRelease } from './releases.ts';
import type { Db } from './schema.ts';
import { settleDeploymentRow } from './settlements.ts';
import { json } from './store.ts';
import { inTransaction } from './transaction.ts';

type Place = Pick<DeploymentRef, 'project' | 'environment'>;

/** What the store knows of an environment that it may have lost the rest of. */
export async function readRecorded(db: Db, { project, environment }: Place): Promise<RecordedEnvironment> {
  const [row, owner, deployments, releases, turns] = await Promise.all([
    db
      .selectFrom('environments')
      .select(['live', 'previous', 'hold', 'lastNumber'])
      .where('project', '=', project)
      .where('name', '=', environment)
      .executeTakeFirst(),
    db.selectFrom('projects').select('lastRun').where('name', '=', project).executeTakeFirst(),
    db
      .selectFrom('deployments')
      .select(['number', 'kind', 'requestedBy'])
      .where('project', '=', project)
      .where('environment', '=', environment)
      .execute(),
    db.selectFrom('releases').select('version').where('project', '=', project).execute(),
    readLiveTurns(db, { project, environment }),
  ]);
  if (owner === undefined) throw new ProviderError('NotFound', `There is no project ${project}.`);
  return {
    row:
      row === undefined
        ? null
        : { live: row.live, previous: row.previous, held: row.hold !== null, lastNumber: row.lastNumber },
    lastRun: owner.lastRun,
    deployments: deployments.map(({ number }) => number),
    // As the store makes one for an end that it knows nothing else of.
    nameless: deployments
      .filter(({ kind, requestedBy }) => kind === 'rollback' && requestedBy === nobody)
      .map(({ number }) => number),
    releases: releases.map(({ version }) => version),
    turns,
  };
}

/**
 * Writes what {@link planRecovery} has found to be missing, all of it or nothing, with its entry in the audit. A row that came meanwhile stays as
 * it is.
 *
 * @throws ProviderError `Conflict` (not retried) - another release has the version of one of these.
 */
export async function writeRecovery(
  db: Db,
  place: Place,
  writes: RecoveryWrites,
  audit: { readonly by: string; readonly object: string; readonly detail: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { project, environment } = place;
  await inTransaction(db, async (tx) => {
    await appendAudit(tx, {
      actor: audit.by,
      action: 'environment.recovered',
      object: audit.object,
      detail: audit.detail,
    });
    await ensureEnvironment(tx, project, environment);
    for (const release of writes.releases) await insertRelease(tx, release);
    for (const deployment of writes.deployments) {
      if (!(await completeDeployment(tx, deployment))) await insertDeployment(tx, deployment);
    }
    const mine = tx.updateTable('environments').where('project', '=', project).where('name', '=', environment);
    const at = new Date().toISOString();
    if (writes.live !== undefined) {
      const { live, previous } = writes.live;
      await mine
        .set({
          live: live === null ? null : json(live),
          previous: previous === null ? null : json(previous),
          updatedAt: at,
        })
        .execute();
      await publish(tx, [{ kind: 'environment', project, environment, data: { live: live?.version ?? null } }]);
    }
    // Without what settled above has left: the plan has said whether it is held.
    await mine.set({ hold: writes.hold === undefined ? sql`hold` : json(writes.hold) }).execute();
    if (writes.lastNumber !== undefined) {
      await mine.set({ lastNumber: sql<number>`greatest(last_number, ${writes.lastNumber}::integer)` }).execute();
    }
    if (writes.lastRun !== undefined) {
      await tx
        .updateTable('projects')
        .set({ lastRun: sql<number>`greatest(last_run, ${writes.lastRun}::integer)` })
        .where('name', '=', project)
        .execute();
    }
  });
}

async function insertRelease(tx: Db, { release, definition }: FoundRelease): Promise<void> {
  const { runKey, ...rest } = release;
  await putDefinition(tx, release.definition, definition);
  await recordRelease(tx, { ...rest, ...(runKey === null ? {} : { runKey }) });
}

/** Where a row was made of an end alone: who asked for it, and for what. How it ended stays as it is. */
async function completeDeployment(tx: Db, recovered: RecoveredDeployment): Promise<boolean> {
  const { kind, input, requests, startedBy, startedAt } = recovered;
  const { project, environment, number, version, runKey, requestedBy, author, priority, requestedAt } = input;
  const taken = await tx
    .selectFrom('deployments')
    .select('request')
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('number', '<>', number)
    .where('request', 'in', [...requests])
    .execute();
  const request = requests.find((one) => taken.every((other) => other.request !== one));
  const { numUpdatedRows } = await tx
    .updateTable('deployments')
    .set({
      ...{ kind, version, requestedBy, author, priority, requestedAt, startedBy, startedAt },
      ...{ runKey: runKey ?? null, input: json(input) },
      ...(request === undefined ? {} : { request }),
    })
    .where('project', '=', project)
    .where('environment', '=', environment)
    .where('number', '=', number)
    .where('kind', '=', 'rollback')
    .where('requestedBy', '=', nobody)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

async function insertDeployment(tx: Db, recovered: RecoveredDeployment): Promise<void> {
  const { kind, input, requests, startedBy, startedAt, phase, plan, ended } = recovered;
  const { project, environment, number, version, runKey, requestedBy, author, priority, requestedAt } = input;
  for (const request of requests) {
    const inserted = await tx
      .insertInto('deployments')
      .values({
        ...{ project, environment, number, kind, request, version, requestedBy, author, priority, requestedAt },
        ...{
          runKey: runKey ?? null,
          input: json(input),
          startedBy,
          startedAt,
          phase: ended === undefined ? phase : 'settling',
        },
        ...{ phaseDetail: null, planHash: null, outcome: null, reason: null, result: null, settledAt: null },
      })
      // The number came meanwhile, or the request is that of another deployment: the next one is tried.
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    if (inserted.numInsertedOrUpdatedRows === 1n) break;
  }
  if (plan !== undefined) await recordPlan(tx, plan);
  if (ended !== undefined) await settleDeploymentRow(tx, ended.result, version, ended.at);
}
