import { Context } from '@temporalio/activity';
import { failure } from '../domain/failures.ts';

/** How long work may go without progress before it counts as hung: 5 minutes. Judgement. */
const defaultStallAfterMs = 300_000;
/** What work may say nothing for beside a wait that it has been told of, ms. Judgement. */
const besideSilenceMs = 60_000;
/** How long stalled work is given to clean up after it was told to stop, before the activity fails without it. Judgement. */
const stallGraceMs = 5_000;
/**
 * Heartbeats of all work of this process together, a second. Each is a write of the server's: fifty stages at once, each every half second,
 * would be a hundred of them, where a server of one machine makes a few hundred (`npm run bench -- parallel`). Judgement.
 */
const beatsPerS = 25;
/** But never more than this between two, ms: a third of the time-out, for an abort comes with the answer to one. */
const longestPauseMs = 1_000;

/** How much work of this process is beating. */
let beating = 0;

/** When work counts as hung that has to wait for so long without a word. */
export function stallAfter(silenceMs: number): number {
  return Math.max(defaultStallAfterMs, silenceMs + besideSilenceMs);
}

/** How long work waits for its next heartbeat, ms: as long as it wants to, or longer where much is under way. */
export function pauseMs(everyMs: number, alike: number): number {
  return Math.max(everyMs, Math.min(longestPauseMs, (alike * 1_000) / beatsPerS));
}

/**
 * Runs `work` while telling Temporal that it lives, and lets it hear of a cancellation.
 *
 * A timer beats for a hung push just as well as for a busy one. So work says when it gets on, and after `stallAfterMs` without
 * that it is failed.
 *
 * @param everyMs - between two heartbeats; a third of the heartbeat time-out or less. Longer, up to that third, while much is under way.
 * @param work - must end when its signal is aborted. It calls `progress` whenever it gets on; what it gives there travels with the
 *   heartbeats, and the next attempt finds it in `activityInfo().heartbeatDetails`. Small, and never a secret.
 * @param detail - asked at each heartbeat instead of remembering what `progress` was given last.
 * @param stallAfterMs - Infinity where the work watches its own silence, as `runProcess` does.
 * @throws the CancelledFailure that Temporal expects, after a cancellation, whatever the work threw: any other error would be
 *   reported as a failure and tried again.
 * @throws `StepStalled` (not retried).
 */
export async function withHeartbeat<T>(
  everyMs: number,
  work: (signal: AbortSignal, progress: (detail?: unknown) => void) => Promise<T>,
  detail?: () => unknown,
  stallAfterMs: number = defaultStallAfterMs,
): Promise<T> {
  const context = Context.current();
  const cancelled = context.cancellationSignal;
  const stalled = new AbortController();
  let last: unknown;
  let progressedAt = performance.now();

  function progress(given?: unknown): void {
    progressedAt = performance.now();
    if (given !== undefined) last = given;
  }
  function beat(): void {
    context.heartbeat(detail === undefined ? last : detail());
    if (performance.now() - progressedAt < stallAfterMs) return;
    const seconds = Math.round(stallAfterMs / 1000);
    stalled.abort(failure('StepStalled', `no progress for ${seconds} s, so it is taken for hung`));
  }

  let timer: NodeJS.Timeout | undefined;
  function beatOn(): void {
    beat();
    timer = setTimeout(beatOn, pauseMs(everyMs, beating));
  }
  beating += 1;
  try {
    // The first one at once: an attempt that is already cancelled hears of it only by an answer to a heartbeat.
    beatOn();
    const running = work(AbortSignal.any([cancelled, stalled.signal]), progress);
    return await Promise.race([running, stalledFor(stalled.signal)]);
  } catch (error) {
    if (cancelled.aborted) throw cancelled.reason;
    if (stalled.signal.aborted) throw stalled.signal.reason;
    throw error;
  } finally {
    clearTimeout(timer);
    beating -= 1;
  }
}

/** Rejects some time after the signal, for work that does not listen would keep the activity open for ever. */
function stalledFor(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      setTimeout(() => reject(signal.reason as Error), stallGraceMs).unref();
    });
  });
}
