import { patched } from '@temporalio/workflow';
import type { ProjectRetention, Removal } from '../activities/contracts.ts';
import { describeFailure } from '../domain/failures.ts';
import { call } from './call.ts';
import { machineAbsenceMs } from './proxies/limits.ts';
import { reconciling, removing, removingPushed } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/** A project with more than this many batches of old logs is gone on with the next day. Judgement. */
const mostBatches = 100;

export interface RetentionReport {
  readonly removed: readonly Removal[];
  /** What could not be looked at or removed; it is tried again the next day. */
  readonly problems: readonly string[];
}

/**
 * Removes what is no longer kept: old logs, images, backups, databases put aside, and what dead workers left. One thing that cannot be
 * removed keeps nothing else.
 */
export async function applyRetention(): Promise<RetentionReport> {
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
    if (patched('2026-11-26-evidence')) {
      await attempt(`evidence of ${project}`, async () => [
        await call(removing.removeOldEvidence, `evidence of ${project}`, kept),
      ]);
    }
    for (const environment of environments) {
      const place = { ...kept, environment };
      const name = `${project}/${environment}`;
      await attempt(`backups of ${name}`, async () => [
        await call(removing.removeOldBackups, `backups of ${name}`, place),
      ]);
      await attempt(`databases of ${name}`, async () => [
        await call(removing.removeOldDatabases, `databases of ${name}`, place),
      ]);
      if (patched('2026-11-26-old-plans')) {
        await attempt(`saved plans of ${name}`, async () => [
          await call(removing.removeOldPlans, `saved plans of ${name}`, { project, environment }),
        ]);
      }
    }
    await attempt(`images of ${project}`, async () => [
      await call(removing.removeOldImages, `images of ${project}`, { ...kept, on: 'targets' }),
    ]);
    if (kept.registry === true && patched('2026-11-26-registry-retention')) {
      await attempt(`pushed images of ${project}`, async () => [
        await call(removingPushed.removePushedImages, `pushed images of ${project}`, { project }),
      ]);
    }
  }
  for (const machine of plan.machines) {
    // The files of one that is away are its own.
    const limits = { taskQueue: machine, scheduleToStartTimeout: machineAbsenceMs };
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
