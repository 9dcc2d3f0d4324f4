/** Everything that a notice can be about: the fourteen events of the specification, and the outcomes that need a word of their own. */
export const noticeEvents = [
  'started',
  'tests-passed',
  'tests-failed',
  'build-succeeded',
  'build-failed',
  'run-succeeded',
  'run-failed',
  'staging-deployed',
  'approval-requested',
  'production-deployed',
  'health-check-failed',
  'rollback-triggered',
  'code-quality-warning',
  'security-alert',
  'rejected',
  'expired',
  'superseded',
  'aborted',
  'rolled-back',
  'rollback-failed',
  'rollback-unavailable',
  'held',
  'undo-keeps-failing',
] as const;

export type NoticeEvent = (typeof noticeEvents)[number];
