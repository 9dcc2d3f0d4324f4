import type { NoticeLog } from '../providers/notifiers/log.ts';

/** How often it is looked for notices that are to be sent again, ms; the first is due 10 s after it failed. Judgement. */
const everyMs = 10_000;

/**
 * Sends again, as long as the worker runs, what some channel has not taken. A store that is away is asked again the next time.
 *
 * @param resend - `resendNotices`.
 * @returns ends it; what is being sent is waited for by nobody, for a dead sender is succeeded.
 */
export function keepResending(resend: () => Promise<unknown>, logger: NoticeLog, intervalMs = everyMs): () => void {
  let busy = false;
  const look = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      await resend();
    } catch (error) {
      logger.warn({ err: error }, 'notices that were not delivered could not be looked for');
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => void look(), intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}
