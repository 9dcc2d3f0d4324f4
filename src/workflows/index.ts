/** The bundle's entry: every workflow there is, by name. */
export { applyRetention } from './apply-retention.ts';
export { bringHotfixBack } from './bring-hotfix-back.ts';
export { deployRelease } from './deploy-release.ts';
export { environment } from './environment.ts';
export { offerBaseUpdates } from './offer-base-updates.ts';
export { offerDependencyUpdates } from './offer-dependency-updates.ts';
export { pollRepositories } from './poll-repositories.ts';
export { reconcileRecords } from './reconcile-records.ts';
export { recoverRecords } from './recover-records.ts';
export { reportAudit } from './report-audit.ts';
export { reviewRegistry } from './review-registry.ts';
export { rollOutRelease } from './roll-out-release.ts';
export { rollbackRelease } from './rollback-release.ts';
export { runPipeline } from './run-pipeline.ts';
export { scanLive } from './scan-live.ts';
export { startScheduledRun } from './start-scheduled-run.ts';
export { watchDisks } from './watch-disks.ts';
