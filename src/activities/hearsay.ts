import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import type { FailureType } from '../domain/failure-kinds.ts';
import { type FailureDetails, ProviderError, describeFailure } from '../domain/failures.ts';
import { type Redactor, hideUrlPasswords } from '../effects/redact.ts';

/**
 * What a program, a server or a container said, as it may leave an activity: whatever an activity returns, heartbeats or throws is kept in a
 * history, a store and a notice, and a service prints the secrets it was given when it looks for a mistake.
 */
export interface Hearsay {
  /** False where the secrets could not be read; then nothing that was said is repeated. */
  readonly known: boolean;
  /**
   * The text without secrets and without the passwords of URLs; where the secrets are not known, a sentence in its place.
   *
   * @param most - how many characters of it are kept; all by default. It is cut after the secrets were taken out, for the first half of one is
   *   one too.
   */
  text(said: string, most?: number): string;
  /**
   * The error with the same done to its message, its details, its stack and its causes; where the secrets are not known, only its type, unless
   * it says nothing but what Slipway wrote. A cancellation stays what it is.
   */
  error(error: unknown): unknown;
}

const withheld = 'what was said is not repeated, for the secrets of this environment could not be read';

/** Failures whose message is made of names that Slipway knows, with no word of a program or a server. */
const ownWords: readonly FailureType[] = [
  'SecretMissing',
  'ImageNotFound',
  'ReleaseMissing',
  'FenceRefused',
  'FenceUnavailable',
];
/** Of a text that is cut anyway so much is looked at, characters: a service may write lines of any length. Judgement. */
const lookedAt = 8_192;
/** As {@link describeFailure}: no honest chain of causes is longer. */
const deepest = 20;

/** @param redactor - knows the secrets; undefined where they could not be read. */
export function createHearsay(redactor: Redactor | undefined): Hearsay {
  if (redactor === undefined) {
    return { known: false, text: () => `(${withheld})`, error: (error) => (staysAsItIs(error) ? error : bare(error)) };
  }

  const text = (said: string, most = Infinity): string => {
    if (most === Infinity) return hideUrlPasswords(redactor.text(said));
    const clean = said.length > lookedAt ? redactor.beginning(said.slice(0, lookedAt)) : redactor.text(said);
    return hideUrlPasswords(clean).slice(0, most);
  };
  const clean = (error: unknown, depth: number): unknown => {
    if (staysAsItIs(error)) return error;
    if (!isError(error)) return typeof error === 'string' ? text(error) : error;
    const cause = error.cause === undefined || depth >= deepest ? undefined : clean(error.cause, depth + 1);
    const made = madeAnew(error, text(error.message), (details) => mapTexts(redactor.value(details)), cause);
    if (error.stack !== undefined) made.stack = text(error.stack);
    return made;
  };
  return { known: true, text, error: (error) => clean(error, 0) };
}

function mapTexts<T>(value: T): T {
  if (typeof value === 'string') return hideUrlPasswords(value) as T;
  if (Array.isArray(value)) return value.map(mapTexts) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, mapTexts(each as unknown)])) as T;
}

/** Cancellations and what Temporal itself raised: another object would be another thing to the worker. */
function staysAsItIs(error: unknown): boolean {
  if (error instanceof ApplicationFailure) return false;
  return error instanceof TemporalFailure || (isError(error) && error.name === 'AbortError');
}

function madeAnew(
  error: Error,
  message: string,
  clean: (details: FailureDetails) => FailureDetails,
  cause: unknown,
): Error {
  if (error instanceof ProviderError) {
    return new ProviderError(error.type, message, {
      details: clean(error.details),
      nonRetryable: !error.retryable,
      ...(cause === undefined ? {} : { cause }),
    });
  }
  if (error instanceof ApplicationFailure) {
    return ApplicationFailure.create({
      message,
      type: error.type ?? 'Internal',
      nonRetryable: error.nonRetryable ?? false,
      details: (error.details ?? []).map((details) => clean(details as FailureDetails)),
      ...(isError(cause) ? { cause } : {}),
    });
  }
  const other = new Error(message, cause === undefined ? undefined : { cause });
  other.name = error.name;
  return other;
}

/** Without a word that somebody else may have said. */
function bare(error: unknown): ProviderError {
  const { type, message } = describeFailure(error);
  const retryable = retryableOf(error);
  return new ProviderError(type, ownWords.includes(type) ? message : `${type}: ${withheld}`, {
    ...(retryable === undefined ? {} : { nonRetryable: !retryable }),
  });
}

function retryableOf(error: unknown): boolean | undefined {
  if (error instanceof ProviderError) return error.retryable;
  return error instanceof ApplicationFailure ? error.nonRetryable !== true : undefined;
}

/** By shape, as the errors of another realm are no `instanceof Error` of ours. */
function isError(error: unknown): error is Error {
  return typeof error === 'object' && error !== null && typeof (error as Partial<Error>).message === 'string';
}
