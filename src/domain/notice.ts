import type { NoticeLevel } from './outcome.ts';

/**
 * Everything that a notice can be about: the fourteen events of the specification, the outcomes that need a word of their own, and what a
 * person should know while something is under way (an undo that keeps failing, a rollback or a start that takes long, a figure of a watch in its
 * warn band), or has to do by hand (a hotfix that was not asked back).
 */
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
  'watch-warning',
  'disk-filling',
  'start-slow',
  'rollback-slow',
  'merge-back-failed',
] as const;

/** Of what calls somebody at night: only production does, elsewhere people read of it in the morning (specification, A-33). */
export function alarmLevel(production: boolean): NoticeLevel {
  return production ? 'critical' : 'error';
}

export type NoticeEvent = (typeof noticeEvents)[number];

/** A message to people, ready to be shown by any channel. */
export interface Message {
  readonly event: NoticeEvent;
  readonly level: NoticeLevel;
  readonly project: string;
  readonly environment?: string | undefined;
  /** One line without markup. */
  readonly title: string;
  /** Lines without markup. */
  readonly lines: readonly string[];
}
