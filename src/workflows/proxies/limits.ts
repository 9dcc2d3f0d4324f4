/**
 * What the proxies of this folder have in common. There is one for each class of activity, in a file by what it is for: `run`, `deployment`, `undo`,
 * `record`, `word`, `upkeep`. Each spells its own limits; `../call.ts` calls.
 *
 * `cancellationType` is always named: the SDK's real default is TRY_CANCEL whatever its documentation says, and an undo that starts while the
 * cancelled change still runs is two hands on one target.
 */
import { type FailureType, failures } from '../../domain/failure-kinds.ts';

/** After these, doing the same again does not help. */
export const nonRetryableErrorTypes: string[] = (Object.keys(failures) as FailureType[]).filter(
  (type) => !failures[type].retryable,
);

/** A dead worker is noticed after this long, and an abort arrives within a third of it. */
export const heartbeatTimeout = 3_000;
/** Longest honest run of what does not heartbeat; it is also how a worker killed in the middle of one is noticed. */
export const shortMs = 8_000;

/** How long the workers may be away, for a new build or a machine that starts again, before what they were at is given up. Judgement. */
export const absenceMs = 3_600_000;

/** A machine none of whose workers has taken a task for so long is away, ms: nobody waits for what upkeep does there. Judgement. */
export const machineAbsenceMs = 60_000;
