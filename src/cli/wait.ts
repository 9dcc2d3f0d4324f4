import { setTimeout as delay } from 'node:timers/promises';
import { type CommandContext, interrupted } from './context.ts';
import { CliError } from './exit.ts';

/** A thing that is read again and again until it is over. */
export interface Watched<T> {
  /** As it is named in messages: `hello/production/3`. */
  readonly what: string;
  read(): Promise<T>;
  isOver(state: T): boolean;
  /** The whole page, drawn again and again on a terminal. */
  page(state: T): string;
  /** One line, printed whenever it changes where lines cannot be replaced. */
  line(state: T): string;
  /** Where to look again, and how to stop it. */
  readonly goOn: string;
  readonly abort?: string | undefined;
}

const pollMs = 400;
const mostFailures = 20;

/**
 * Follows something to its end. On a terminal its page is drawn in place, and the last state stays in the scrollback; elsewhere a line is
 * printed to stderr whenever something changes.
 *
 * @throws CliError `timeout` - `--timeout` was reached.
 * @throws CliError `interrupted` - Ctrl-C.
 */
export async function follow<T>(context: CommandContext, watched: Watched<T>): Promise<T> {
  const { terminal, signal, timeoutMs } = context;
  const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  const live = terminal.live ? (await import('log-update')).createLogUpdate(process.stdout) : undefined;
  let lastLine = '';
  let failures = 0;
  try {
    for (;;) {
      try {
        const state = await watched.read();
        failures = 0;
        if (watched.isOver(state)) return state;
        if (live !== undefined) live(`${watched.page(state)}\n`);
        else if (watched.line(state) !== lastLine) terminal.say((lastLine = watched.line(state)));
      } catch (error) {
        if (signal.aborted) throw interrupted(watched.what, watched.goOn, watched.abort);
        failures += 1;
        // An API that is being replaced is back in a moment; what is watched goes on without it.
        if (!(error instanceof CliError) || error.ending !== 'errored' || failures > mostFailures) throw error;
      }
      if (signal.aborted) throw interrupted(watched.what, watched.goOn, watched.abort);
      if (performance.now() + pollMs > deadline) {
        throw new CliError('timeout', `${watched.what} is not over within the time given; it goes on.`, {
          next: [{ command: watched.goOn, when: 'to look again' }],
        });
      }
      await delay(pollMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    // Cleared, because the caller prints the last state as the result.
    live?.clear();
    live?.done();
  }
}
