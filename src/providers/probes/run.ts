import { setTimeout as delay } from 'node:timers/promises';
import type { ProbeSpec } from '../../definition/specs/probe.ts';
import type { Probe, ProbeSubject, ProbeTry } from './port.ts';

/** What became of a probe with all its tries. */
export interface ProbeResult extends ProbeTry {
  readonly name: string;
  readonly tries: number;
  readonly durationMs: number;
}

/** Shortest pause between two tries that do not count, ms: a port that refuses at once is not asked without end. Judgement. */
const leastPauseMs = 100;

/**
 * Tries a probe until it passes or its tries are used up; the last try is what counts.
 *
 * @param how.settleMs - a failure of a try that began earlier than this uses up none of its tries. Default 0. Not for the kind `container`:
 * what has ended, or was started again, does not get well by being asked once more, and its start was waited for.
 * @param how.onTry - after each try, for the heartbeat; `counts` is false where a failure of it does not.
 * @throws the signal's reason; nothing else.
 */
export async function runProbe(
  probe: Probe,
  spec: Pick<ProbeSpec, 'kind' | 'retries' | 'intervalMs' | 'timeoutMs'>,
  subject: ProbeSubject,
  signal: AbortSignal,
  how: { readonly settleMs?: number; readonly onTry?: (last: ProbeTry, counts: boolean) => void } = {},
): Promise<ProbeResult> {
  const began = performance.now();
  const settled = began + (spec.kind === 'container' ? 0 : (how.settleMs ?? 0));
  let counted = 0;
  for (let tries = 1; ; tries += 1) {
    const counts = performance.now() >= settled;
    if (counts) counted += 1;
    const last = await probe.check(subject, AbortSignal.any([signal, AbortSignal.timeout(spec.timeoutMs)]));
    signal.throwIfAborted();
    how.onTry?.(last, counts);
    if (last.verdict === 'passed' || counted > spec.retries) {
      const again = tries > 1 ? ` (try ${tries})` : '';
      return {
        ...last,
        detail: `${last.detail}${again}`,
        name: probe.name,
        tries,
        durationMs: Math.round(performance.now() - began),
      };
    }
    const leftMs = Math.max(0, Math.ceil(settled - performance.now()));
    const pauseMs = counts ? spec.intervalMs : Math.min(Math.max(spec.intervalMs, leastPauseMs), leftMs);
    await delay(pauseMs, undefined, { signal });
  }
}
