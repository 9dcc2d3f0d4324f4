import { setTimeout as delay } from 'node:timers/promises';
import { type LinePattern, compilePattern } from '../definition/patterns.ts';
import { ProviderError } from '../domain/failures.ts';

/** Finds critical lines in what a release writes. */
export interface CriticalLines {
  /**
   * The first pattern that a line matches. Only its first 4,096 characters are looked at.
   *
   * @throws the signal's reason.
   */
  find(line: string, signal: AbortSignal): Promise<string | undefined>;
}

/** What is looked at of a line, characters: more than people write, and a bound of what one costs. Judgement. */
const longestLine = 4_096;
/**
 * How long lines are matched before everything else has its turn, ms: heartbeats of other projects' rollbacks run on the same thread, and without
 * one for 3 s an activity is given up. Judgement.
 */
const turnMs = 20;

/**
 * Repository and release are of one hand: it may write a pattern and the lines that cost the most. So matching pauses for as long as it has
 * worked, which leaves the worker half of its thread however much is written; the log is read later then.
 *
 * @throws ProviderError `DefinitionInvalid` (not retried) - a pattern that an earlier version of Slipway took and this one does not.
 */
export function createCriticalLines(sources: readonly string[], now = () => performance.now()): CriticalLines {
  const patterns = sources.map(compiled);
  let spentMs = 0;
  return {
    async find(line, signal) {
      const text = line.slice(0, longestLine);
      for (const pattern of patterns) {
        const began = now();
        const matches = pattern.test(text);
        spentMs += now() - began;
        if (spentMs >= turnMs) {
          const pauseMs = spentMs;
          spentMs = 0;
          await delay(pauseMs, undefined, { signal });
        }
        if (matches) return pattern.source;
      }
      return undefined;
    },
  };
}

function compiled(source: string): LinePattern {
  try {
    return compilePattern(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ProviderError('DefinitionInvalid', `The pattern of log lines \`${source}\` ${reason}.`);
  }
}
