import type { BackupReport } from '../../activities/contracts.ts';
import type { DataRollback } from '../../domain/deployment.ts';
import { dataWork } from '../proxies/deployment.ts';
import { took } from '../progress.ts';
import type { Rollout } from '../strategies/strategy.ts';
import { bringDataBack } from './data-back.ts';

/** Dumps database and configuration as the policy says, and proves the dump before anything is changed. */
export async function backUp(run: Omit<Rollout, 'backup'>): Promise<BackupReport | undefined> {
  const { database, configuration, prove } = run.plan.policy.backup;
  if (!database && !configuration) return undefined;
  run.journal.enter('backing-up');
  return await run.journal.step(
    'back up',
    () =>
      run.journal.call(dataWork.ensureBackup, prove && database ? 'backs up, and proves it by a restore' : 'backs up', {
        ...run.nextChange(),
        database,
        configuration,
        prove,
      }),
    (report) => ({
      verdict: 'passed',
      detail: `${report.sizeBytes} bytes${report.proofMs > 0 ? `, proved by a restore in ${took(report.proofMs)}` : ''}`,
    }),
  );
}

/**
 * Registers how the data goes back. Before the new release starts, for it may write as soon as it runs.
 *
 * One that neither migrated nor had traffic gets nothing taken back, though a worker or a job inside may have written: a restore takes away what
 * users wrote since the backup, by the release that serves them all the while, and is not done without a reason. What was written is not looked for
 * either: the database tells what has changed since the backup, not who changed it.
 *
 * @param settle - is given what was done.
 */
export function registerDataUndo(run: Rollout, settle: (data: DataRollback) => void): void {
  const { live, backup, plan, slot } = run;
  if (backup?.blob === undefined) return;
  run.saga.register({
    heading: 'restore-data',
    run: async () => {
      if (!run.done.migrated && !run.done.moved) {
        const { version } = plan.identity.release;
        return `left as it is: ${version} in ${slot} neither migrated nor had traffic; what it may have written by itself while it ran is still there`;
      }
      const { restore } = plan.policy.rollback;
      const input = { to: live?.version ?? 'none', backup, restore, migrated: run.done.migrated };
      const data = await bringDataBack({ ...run.nextChange(true), ...input });
      settle(data);
      return `${data.action}: ${data.detail}`;
    },
  });
}
