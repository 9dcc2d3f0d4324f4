/**
 * How a run or a deployment can end, everywhere by these names: code, store, API, CLI, notices.
 *
 * `held`: past the point of no return, or data that a person must decide on. `errored`: Slipway could not find out or could not do it;
 * `failed`: the thing itself is bad.
 */
export const outcomes = [
  'succeeded',
  'failed',
  'errored',
  'rejected',
  'expired',
  'superseded',
  'aborted',
  'rolled-back',
  'rollback-failed',
  'rollback-unavailable',
  'held',
] as const;

export type Outcome = (typeof outcomes)[number];

/** What a run can end with: a run is CI, so nothing of a deployment happens to it. */
export type RunOutcome = Extract<
  Outcome,
  'succeeded' | 'failed' | 'errored' | 'rejected' | 'expired' | 'aborted' | 'superseded'
>;

export type NoticeLevel = 'info' | 'warning' | 'error' | 'critical';

/** Outcomes after which the environment takes no further deployment until a person has said what is true. */
export const holdingOutcomes: readonly Outcome[] = ['rollback-failed', 'rollback-unavailable', 'held'];
