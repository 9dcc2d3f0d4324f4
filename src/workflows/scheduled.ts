import { log } from '@temporalio/workflow';
import type {
  AbandonedEnd,
  AbandonedPage,
  AbandonedRequest,
  ProjectRetention,
  Removal,
} from '../activities/contracts.ts';
import { type Abandoned, type ClosedWorkflow, endOfDeployment, endOfRun } from '../domain/abandoned.ts';
import { describeFailure } from '../domain/failures.ts';
import { call, reconciling, removing } from './options.ts';
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

/** A project with more than this many batches of old logs is gone on with the next day. Judgement. */
const mostBatches = 100;
/** A machine that has had no word for so long is away, and its files are its own, ms. */
const machineMs = 60_000;

/** Input of `applyRetention`; a schedule gives none. */
export interface RetentionInput {
  readonly machineMs?: number;
}

export interface RetentionReport {
  readonly removed: readonly Removal[];
  /** What could not be looked at or removed; it is tried again the next day. */
  readonly problems: readonly string[];
}

/**
 * Removes what is no longer kept: old logs, images, backups, databases put aside, and what dead workers left. One thing that cannot be
 * removed keeps nothing else.
 */
export async function applyRetention(input: RetentionInput = {}): Promise<RetentionReport> {
  const plan = await call(reconciling.readRetention, 'reads what every project keeps', undefined);
  const removed: Removal[] = [];
  const problems = [...plan.problems];
  const show = (): void => showRetention(removed, problems);
  const attempt = async (what: string, work: () => Promise<readonly Removal[]>): Promise<boolean> => {
    let done = true;
    try {
      removed.push(...(await work()).filter(({ count, left }) => count > 0 || left !== undefined));
    } catch (error) {
      problems.push(`${what}: ${describeFailure(error).message}`);
      done = false;
    }
    show();
    return done;
  };

  await attempt('rows', () =>
    call(reconciling.removeOldRows, 'removes deliveries, keys of facts and events', undefined),
  );
  for (const { environments, ...kept } of plan.projects) {
    const { project } = kept;
    await attempt(`logs of ${project}`, () => removeLogs(kept));
    for (const environment of environments) {
      const place = { ...kept, environment };
      const name = `${project}/${environment}`;
      await attempt(`backups of ${name}`, async () => [
        await call(removing.removeOldBackups, `backups of ${name}`, place),
      ]);
      await attempt(`databases of ${name}`, async () => [
        await call(removing.removeOldDatabases, `databases of ${name}`, place),
      ]);
    }
    await attempt(`images of ${project}`, async () => [
      await call(removing.removeOldImages, `images of ${project}`, { ...kept, on: 'targets' }),
    ]);
  }
  for (const machine of plan.machines) {
    const limits = { taskQueue: machine, scheduleToStartTimeout: input.machineMs ?? machineMs };
    const answers = await attempt(`files of ${machine}`, async () => [
      await call(removing.removeLeftFiles, `files left on ${machine}`, undefined, limits),
    ]);
    // What is away is not waited for once more for every project.
    if (!answers) continue;
    for (const { project, runs, backups, damagedDatabasesMs } of plan.projects) {
      const kept = { project, runs, backups, damagedDatabasesMs };
      await attempt(`images of ${project} on ${machine}`, async () => [
        await call(removing.removeOldImages, `images of ${project} on ${machine}`, { ...kept, on: 'builder' }, limits),
      ]);
    }
  }
  return { removed, problems };
}

async function removeLogs(kept: ProjectRetention): Promise<readonly Removal[]> {
  const removed: Removal[] = [];
  for (let batch = 0; batch < mostBatches; batch += 1) {
    const one = await call(removing.removeOldLogs, `logs of ${kept.project}`, kept);
    removed.push(one);
    if (one.more !== true) break;
  }
  const [first] = removed;
  if (first === undefined) return [];
  const sum = (of: (one: Removal) => number): number => removed.reduce((total, one) => total + of(one), 0);
  return [{ what: first.what, count: sum(({ count }) => count), sizeBytes: sum(({ sizeBytes }) => sizeBytes) }];
}

function showRetention(removed: readonly Removal[], problems: readonly string[]): void {
  showPage('retention', [
    ...removed.map(({ what, count, sizeBytes, left }) =>
      [`${what}: ${count} removed, ${sizeBytes} bytes`, left].filter((part) => part !== undefined).join('; '),
    ),
    ...problems.map((problem) => `**not done** ${problem}`),
  ]);
}
