import type { FailureType } from '../../domain/failure-kinds.ts';
import { ProviderError } from '../../domain/failures.ts';

/** What a PostgreSQL driver's error says beside its message. */
interface DatabaseError extends Error {
  readonly code?: string;
  readonly position?: string;
  readonly detail?: string;
  readonly hint?: string;
}

const refusedStates = /^(28|3D000|42501)/;
const unreachableStates = /^(08|53|57P)/;
const diskFullState = '53100';
/** Five letters and digits (postgresql.org/docs/current/errcodes-appendix.html); Node's own codes are longer, or begin so. */
const serverCode = /^(?!E[A-Z_]+$)[0-9A-Z]{5}$/;

/** The server's code, when it was the server who spoke. */
export function sqlState(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as DatabaseError).code : undefined;
  return code !== undefined && serverCode.test(code) ? code : undefined;
}

/**
 * Tells apart whether the database could not be had (`DatabaseUnreachable`, retried), would not have us (`DatabaseRefused`), has no room
 * (`DiskFull`), or answered something that the caller has to name (`otherwise`).
 */
export function databaseError(error: unknown, database: string, otherwise: FailureType): ProviderError {
  if (error instanceof ProviderError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const state = sqlState(error);
  if (state !== undefined && refusedStates.test(state)) {
    return new ProviderError('DatabaseRefused', `${database} refuses the connection: ${message}`, { cause: error });
  }
  if (state === diskFullState) {
    return new ProviderError('DiskFull', `there is no room on the disk of the server of ${database}: ${message}`, {
      cause: error,
      details: { sqlState: state },
    });
  }
  if (state === undefined || unreachableStates.test(state)) {
    return new ProviderError('DatabaseUnreachable', `${database} does not answer: ${message}`, { cause: error });
  }
  const { detail, hint } = error as DatabaseError;
  return new ProviderError(otherwise, `${database}: ${message}`, {
    cause: error,
    details: { sqlState: state, ...(detail === undefined ? {} : { detail }), ...(hint === undefined ? {} : { hint }) },
  });
}

/** 1-based line of a character position, for errors that name one. */
export function lineOf(text: string, error: unknown): number | undefined {
  const position = Number((error as DatabaseError).position);
  return Number.isInteger(position) && position > 0 ? text.slice(0, position - 1).split('\n').length : undefined;
}
