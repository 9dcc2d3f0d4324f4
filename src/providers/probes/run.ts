import { setTimeout as delay } from 'node:timers/promises';
import type { ProbeSpec } from '../../definition/specs/probe.ts';
import type { Probe, ProbeSubject, ProbeTry } from './port.ts';

/** What became of a probe with all its tries. */
export interface ProbeResult extends ProbeTry {
  readonly name: string;
  readonly tries: number;
  readonly durationMs: number;
}

/**
 * Tries a probe until it passes or its tries are used up; the last try is what counts.
 *
 * @param onTry - after each try, for the heartbeat.
 * @throws the signal's reason; nothing else.
 */
export async function runProbe(
  probe: Probe,
  spec: Pick<ProbeSpec, 'retries' | 'intervalMs' | 'timeoutMs'>,
  subject: ProbeSubject,
  signal: AbortSignal,
  onTry: (last: ProbeTry) => void = () => undefined,
): Promise<ProbeResult> {
  const began = performance.now();
  for (let tries = 1; ; tries += 1) {
    const last = await probe.check(subject, AbortSignal.any([signal, AbortSignal.timeout(spec.timeoutMs)]));
    signal.throwIfAborted();
    onTry(last);
    if (last.verdict === 'passed' || tries > spec.retries) {
      const again = tries > 1 ? ` (try ${tries})` : '';
      return {
        ...last,
        detail: `${last.detail}${again}`,
        name: probe.name,
        tries,
        durationMs: Math.round(performance.now() - began),
      };
    }
    await delay(spec.intervalMs, undefined, { signal });
  }
}
