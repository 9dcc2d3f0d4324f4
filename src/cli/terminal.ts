import type { CliError, Ending, NextCommand } from './exit.ts';
import { type Painter, createPainter } from './words.ts';

/** The part of a stream that commands use; a test gives its own. */
export interface Sink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface TerminalOptions {
  readonly json: boolean;
  readonly stdout?: Sink;
  readonly stderr?: Sink;
  readonly stdin?: { readonly isTTY?: boolean | undefined };
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** What `--json` prints, once, however it went. */
export interface Document {
  readonly schema: string;
  readonly outcome: Ending;
  readonly [field: string]: unknown;
}

/** Where a command speaks: results to stdout, everything said on the way to stderr. */
export interface Terminal {
  readonly json: boolean;
  readonly paint: Painter;
  /** For what draws by itself. */
  readonly colour: boolean;
  readonly columns: number;
  /** Whether a person can be asked. */
  readonly interactive: boolean;
  /** Whether lines already written can be replaced. */
  readonly live: boolean;
  readonly stdout: Sink;
  /** The result: as text, or with `--json` as the one document. */
  result(kind: string, data: Readonly<Record<string, unknown>>, text: () => string, ending?: Ending): void;
  /** A result that comes piece by piece (`logs`): a line of text or, with `--json`, one object a line. */
  piece(data: Readonly<Record<string, unknown>>, text: string): void;
  say(text: string): void;
  /** What to type next. */
  suggest(next: readonly NextCommand[]): void;
  fail(error: CliError): void;
}

const documentVersion = 1;

export function createTerminal(options: TerminalOptions): Terminal {
  const stdout = options.stdout ?? process.stdout;
  const stderr = options.stderr ?? process.stderr;
  const env = options.env ?? process.env;
  const dumb = env['TERM'] === 'dumb';
  const forced = env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0';
  const colour = (env['NO_COLOR'] ?? '') === '' && (forced || (stdout.isTTY === true && !dumb));
  const ci = env['CI'] !== undefined && env['CI'] !== 'false';
  const paint = createPainter({ colour, ascii: dumb || /\b(C|POSIX)$/.test(env['LC_ALL'] ?? '') });
  const document = (kind: string, ending: Ending, data: Readonly<Record<string, unknown>>): Document => ({
    schema: `slipway/${kind}/${documentVersion}`,
    outcome: ending,
    ...data,
  });
  const suggest = (next: readonly NextCommand[]): void => {
    for (const { command, when } of next) stderr.write(`  ${paint.bold(command)}\n      ${paint.dim(when)}\n`);
  };
  return {
    json: options.json,
    paint,
    colour,
    stdout,
    columns: Math.max(40, Math.min(140, stdout.columns ?? 100)),
    interactive:
      options.stdin === undefined ? process.stdin.isTTY && stdout.isTTY === true && !ci : options.stdin.isTTY === true,
    live: stdout.isTTY === true && !dumb && !ci && !options.json,
    result(kind, data, text, ending = 'ok') {
      stdout.write(options.json ? `${JSON.stringify(document(kind, ending, data))}\n` : `${text()}\n`);
    },
    piece(data, text) {
      stdout.write(options.json ? `${JSON.stringify(data)}\n` : `${text}\n`);
    },
    say(text) {
      stderr.write(`${text}\n`);
    },
    suggest,
    fail(error) {
      if (options.json && error.printed) return;
      if (options.json) {
        const { message, next, detail, type } = error;
        const status = error.ending === 'action-required' ? { status: 'action_required', reason: type } : {};
        const extra = detail === undefined ? {} : { detail };
        stdout.write(
          `${JSON.stringify(document('problem', error.ending, { ...status, type, message, ...extra, next }))}\n`,
        );
        return;
      }
      stderr.write(`${paint.paint('bad', 'slipway:')} ${error.message}\n`);
      if (error.next.length > 0) stderr.write('Next:\n');
      suggest(error.next);
      // Shown by GitHub Actions beside the step, and nowhere else.
      if (env['GITHUB_ACTIONS'] === 'true') {
        stderr.write(`::error title=slipway ${error.type}::${error.message.replaceAll('\n', '%0A')}\n`);
      }
    },
  };
}
