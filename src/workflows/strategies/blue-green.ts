import { migrateData, moveTraffic, probeRelease, startRelease } from '../stages/roll-out.ts';
import type { DeploymentStrategy } from './strategy.ts';

/** The new release beside the old one, all traffic at once, the old one kept as a way back. */
export const blueGreen: DeploymentStrategy = {
  kind: 'blue-green',

  async rollOut(run) {
    const migrateLate = run.plan.policy.migrationPhase === 'after-switch';
    await startRelease(run);
    if (!migrateLate) await migrateData(run);
    await probeRelease(run, 'slot');
    await moveTraffic(run);
    if (migrateLate) await migrateData(run);
    await probeRelease(run, 'router');
  },

  pointOfNoReturn(run) {
    const breaking = run.plan.identity.migrations.filter((migration) => migration.kind === 'contract');
    const canRestore = run.backup?.blob !== undefined && run.plan.policy.rollback.restore === 'automatic';
    if (!run.done.migrated || breaking.length === 0 || canRestore) return undefined;
    const names = breaking.map((migration) => migration.name).join(', ');
    return `the release before cannot work with the migrated data (${names}), and the data may not be restored without a person's word`;
  },
};
