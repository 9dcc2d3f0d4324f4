import { log } from '@temporalio/workflow';
import type { AbandonedEnd, AbandonedPage, AbandonedRequest } from '../activities/contracts.ts';
import { type Abandoned, type ClosedWorkflow, endOfDeployment, endOfRun } from '../domain/abandoned.ts';
import { describeFailure } from '../domain/failures.ts';
import { call } from './call.ts';
import { reconciling } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/**
 * Nothing younger is taken for abandoned, and nothing whose workflow closed since, ms. Judgement: longer than any start may take (the sweeper
 * of the inbox comes by every 10 s and gives a start 10 s) and than facts may lie in a spool while the store is well.
 */
const graceMs = 120_000;
/** Of one look, so that a store restored from long ago does not make one endless history; the next look goes on. Judgement. */
const mostAtOnce = 200;

/** Input of `reconcileRecords`; a schedule gives none. */
export interface ReconcileInput {
  readonly graceMs?: number;
}

export interface ReconcileReport {
  readonly looked: number;
  readonly ended: number;
  /** Ended by their own workflow after all, or not to be ended now; the next look comes by again. */
  readonly left: number;
}

/**
 * Ends runs, deployments and rollbacks in the store whose workflows are over and have not said so: terminated, out of time, or unknown to
 * Temporal. Never touches one that any open workflow may still end.
 */
export async function reconcileRecords(input: ReconcileInput = {}): Promise<ReconcileReport> {
  const ended: string[] = [];
  let looked = 0;
  let left = 0;
  for (const kind of ['runs', 'deployments'] as const) {
    for (let after: number | null = 0; after !== null && ended.length < mostAtOnce;) {
      const request: AbandonedRequest = { of: kind, after, graceMs: input.graceMs ?? graceMs };
      const page: AbandonedPage = await call(reconciling.readAbandoned, `looks at open ${kind}`, request);
      looked += page.looked;
      for (const row of page.abandoned.slice(0, mostAtOnce - ended.length)) {
        if (await settle(row)) ended.push(row.workflow.workflowId);
        else left += 1;
      }
      after = page.next;
    }
  }
  showPage('reconcile', [
    `${looked} open rows looked at`,
    ...ended.map((id) => `ended \`${id}\` in the place of its workflow`),
    left === 0 ? undefined : `${left} left for the next look`,
  ]);
  return { looked, ended: ended.length, left };
}

/** One row that cannot be ended keeps no other waiting. */
async function settle(row: Abandoned): Promise<boolean> {
  const end = endOf(row);
  const { outcome } = end.kind === 'run' ? end : end.result;
  try {
    return await call(reconciling.settleAbandoned, `${row.workflow.workflowId}: ${outcome}`, end);
  } catch (error) {
    log.warn('a row could not be ended', {
      workflowId: row.workflow.workflowId,
      message: describeFailure(error).message,
    });
    return false;
  }
}

function endOf(row: Abandoned): AbandonedEnd {
  if (row.kind === 'run') {
    const { project, key, number, workflow } = row;
    return { kind: 'run', run: { project, key, number }, ...endOfRun(row), why: { workflow } };
  }
  const why: Record<string, ClosedWorkflow> = { workflow: row.workflow };
  if (row.turn !== undefined) why['turn'] = row.turn;
  return { kind: 'deployment', result: endOfDeployment(row), version: row.version, why };
}
