import type { Outcome } from '../domain/outcome.ts';

/** Every way a command can end, with the status the shell sees. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  errored: 3,
  'action-required': 4,
  'not-found': 5,
  conflict: 6,
  'not-allowed': 7,
  timeout: 8,
  interrupted: 130,
} as const;

export type Ending = keyof typeof exitCodes;

/** Shown under `--help`; scripts depend on it. */
export const exitCodeTable = `Exit codes:
  0    as asked; a rollback that was asked for and ended rolled-back is
  1    it ended failed, rejected, expired, aborted, rolled-back or held, the definition has problems, or a build of up is refused
  2    wrong use: an unknown option, a field that is refused
  3    errored: could not find out or could not be done, for example because nothing answers
  4    an answer or a confirmation is needed, and nobody can be asked here
  5    not found
  6    conflict: locked, decided before, superseded
  7    not allowed, or not signed in
  8    --timeout was reached while waiting; what was waited for goes on
  130  interrupted; what was waited for goes on`;

/** How a command that waited for a run or a deployment ends. */
export const endingOf: Readonly<Record<Outcome, Ending>> = {
  succeeded: 'ok',
  failed: 'failed',
  errored: 'errored',
  rejected: 'failed',
  expired: 'failed',
  superseded: 'conflict',
  aborted: 'failed',
  'rolled-back': 'failed',
  'rollback-failed': 'failed',
  'rollback-unavailable': 'failed',
  held: 'failed',
};

/** How a command ends whose request was refused with this status. */
export function endingOfStatus(status: number): Ending {
  if (status === 404) return 'not-found';
  if (status === 401 || status === 403) return 'not-allowed';
  if (status === 409 || status === 412 || status === 423) return 'conflict';
  if (status === 400 || status === 413 || status === 422) return 'usage';
  return 'errored';
}

/** A command to type next, and when it is the right one. */
export interface NextCommand {
  readonly command: string;
  readonly when: string;
}

/**
 * The one thing that a command throws: how it ends, what happened, and what to type next.
 *
 * A class because it is thrown through commander, which must let it pass and not take it for its own.
 */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly ending: Ending;
  readonly next: readonly NextCommand[];
  /** Machine-readable name of what happened, for the document that `--json` prints. */
  readonly type: string;
  readonly detail: unknown;
  /** The document of `--json` has been printed; there must not be a second one. */
  readonly printed: boolean;

  constructor(
    ending: Ending,
    message: string,
    options: {
      readonly next?: readonly NextCommand[];
      readonly type?: string;
      readonly detail?: unknown;
      readonly printed?: boolean;
    } = {},
  ) {
    super(message);
    this.ending = ending;
    this.next = options.next ?? [];
    this.type = options.type ?? ending;
    this.detail = options.detail;
    this.printed = options.printed ?? false;
  }
}
