/** The bundle's entry: every workflow there is, by name. */
export { deployRelease } from './deploy-release.ts';
export { environment } from './environment.ts';
export { pollRepositories } from './poll-repositories.ts';
export { rollOutRelease } from './roll-out-release.ts';
export { rollbackRelease } from './rollback-release.ts';
export { runPipeline } from './run-pipeline.ts';
export { applyRetention, reconcileRecords } from './scheduled.ts';
export { startScheduledRun } from './start-scheduled-run.ts';
