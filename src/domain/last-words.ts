import { type FailureType, failures } from './failure-kinds.ts';
import { describeFailure } from './failures.ts';

/** What a process of Slipway said of its own end. */
export interface LastWords {
  readonly type: FailureType;
  /** What happened; one or several lines. */
  readonly message: string;
}

/** What a process writes last, to its error output, when it cannot go on: type and message, then what to do. */
export function lastWords(error: unknown): string {
  const { type, message, sentence } = describeFailure(error);
  return `${type}: ${message}\n${sentence}\n`;
}

/**
 * Finds {@link lastWords} at the end of what one process has written since its start.
 *
 * @returns undefined where it ended without a word: killed, or by a fault of the program itself.
 */
export function readLastWords(written: string): LastWords | undefined {
  // Every other line of a log is JSON, so nothing from outside can begin one. The first one counts: a message may quote what somebody else wrote,
  // and that must not be taken for the word of this process.
  const begin = [...written.matchAll(/^([A-Z]\w*): /gm)].find(([, type = '']) => Object.hasOwn(failures, type));
  if (begin === undefined) return undefined;
  const type = begin[1] as FailureType;
  const said = written.slice(begin.index + begin[0].length).trim();
  const { sentence } = failures[type];
  return { type, message: said.endsWith(sentence) ? said.slice(0, -sentence.length).trim() : said };
}

/** The first line of what was said: what fits beside other things. */
export function headline({ type, message }: LastWords): string {
  const [first = ''] = message.split('\n');
  return `${type}: ${first.replace(/:$/, '')}`;
}
