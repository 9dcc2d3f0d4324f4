import {
  ApplicationFailure,
  CancelledFailure,
  TemporalFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common';
import { type FailureKind, type FailureType, failures, isFailureType } from './failure-kinds.ts';
import { sentences } from './sentences.ts';

/** Small and harmless facts beside a message: ids, an exit code, the last lines of an output. Never a secret, never a whole log. */
export type FailureDetails = Readonly<Record<string, unknown>>;

export interface FailureOptions {
  readonly details?: FailureDetails;
  readonly cause?: unknown;
  /** Overrides the table: `true` where the caller knows that another try cannot help. */
  readonly nonRetryable?: boolean;
}

/** What a person or an API needs of any error that came up to a workflow. */
export interface FailureSummary extends FailureKind {
  readonly type: FailureType;
  readonly message: string;
  readonly details: FailureDetails;
}

/** Raised by providers and effects, who know nothing of Temporal; activities turn it into an ApplicationFailure by {@link toFailure}. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly type: FailureType;
  readonly details: FailureDetails;
  /** Whether the same call may work later; the table's word unless the provider knew better. */
  readonly retryable: boolean;

  constructor(type: FailureType, message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.type = type;
    this.details = options.details ?? {};
    this.retryable = options.nonRetryable === undefined ? failures[type].retryable : !options.nonRetryable;
  }
}

/**
 * Makes the only kind of error that activities and workflows throw.
 *
 * @param message - what happened and where, in one sentence; the operator's next step is in the table.
 */
export function failure(type: FailureType, message: string, options: FailureOptions = {}): ApplicationFailure {
  return ApplicationFailure.create({
    type,
    message,
    nonRetryable: options.nonRetryable ?? !failures[type].retryable,
    details: options.details === undefined ? [] : [options.details],
    ...(isError(options.cause) ? { cause: options.cause } : {}),
  });
}

/**
 * Turns whatever was caught into what may leave an activity. Cancellation stays what it is: wrapped, it would be reported as a
 * failure and tried again.
 */
export function toFailure(error: unknown): Error {
  if (error instanceof TemporalFailure) return error;
  if (error instanceof ProviderError) {
    return failure(error.type, error.message, {
      details: error.details,
      cause: error,
      nonRetryable: !error.retryable,
    });
  }
  if (isError(error)) {
    return error.name === 'AbortError' ? error : failure('Internal', error.message, { cause: error });
  }
  return failure('Internal', String(error));
}

/**
 * Says what an error is about, digging through what Temporal wraps round it (ActivityFailure, ChildWorkflowFailure). The outermost
 * error with a type of the table wins; a bare cancellation is `Aborted`; anything unknown is `Internal`.
 */
export function failureType(error: unknown): FailureType {
  return describeFailure(error).type;
}

/** As {@link failureType}, with the message, the details and the table's row beside it. */
export function describeFailure(error: unknown): FailureSummary {
  let innermost: unknown = error;
  // Causes can form a ring when foreign libraries link errors both ways; no honest chain is this long.
  for (
    let current: unknown = error, depth = 0;
    current instanceof Error && depth < 20;
    current = current.cause, depth += 1
  ) {
    const type = ownType(current);
    if (type !== undefined) return { type, message: current.message, details: ownDetails(current), ...failures[type] };
    innermost = current;
  }
  const message = isError(innermost) ? innermost.message : String(innermost);
  return { type: 'Internal', message, details: {}, ...failures.Internal };
}

/** What happened and what to do next, as a person reads it: the message, closed by a full stop, and the table's sentence. */
export function tellFailure(error: unknown): string {
  const { message, sentence } = describeFailure(error);
  return sentences(message, sentence);
}

/** Fields of a failure's details that are lines to read, and how they are introduced. */
const evidence = { tries: 'asked:', checks: 'its own check said:', lastLines: 'its last lines:' } as const;
/** Enough of an output to see a stack trace whole; the log itself has the rest. */
const shownEvidence = 4_000;

/** The message with the lines that the failure carries beside it, for the place where the failed step is shown. */
export function showFailure(error: unknown): string {
  const { message, details } = describeFailure(error);
  const parts = Object.entries(evidence).flatMap(([field, title]) => {
    const lines = details[field];
    if (!Array.isArray(lines) || lines.length === 0) return [];
    const text = lines.map(String).join('\n');
    // A message that holds them already says them once.
    return message.includes(text) ? [] : [`${title}\n${text.slice(-shownEvidence)}`];
  });
  return [message, ...parts].join('\n');
}

/** By shape, for the errors of another realm (the workflow sandbox, a test's vm, DOMException) are no `instanceof Error` of ours. */
function isError(error: unknown): error is Error {
  return (
    typeof error === 'object' &&
    error !== null &&
    typeof (error as Partial<Error>).message === 'string' &&
    typeof (error as Partial<Error>).name === 'string'
  );
}

function ownType(error: Error): FailureType | undefined {
  if (error instanceof ProviderError) return error.type;
  if (error instanceof ApplicationFailure) return isFailureType(error.type) ? error.type : undefined;
  if (error instanceof CancelledFailure) return 'Aborted';
  if (error instanceof TerminatedFailure) return 'Terminated';
  if (error instanceof TimeoutFailure) {
    // A time-out may carry the failure of the last attempt, which says more than the time-out does.
    if (error.cause instanceof ApplicationFailure && isFailureType(error.cause.type)) return undefined;
    return error.timeoutType === 'HEARTBEAT' || error.timeoutType === 'SCHEDULE_TO_START' ? 'WorkerLost' : 'TimedOut';
  }
  return error.name === 'AbortError' ? 'Aborted' : undefined;
}

function ownDetails(error: Error): FailureDetails {
  if (error instanceof ProviderError) return error.details;
  const first: unknown = error instanceof ApplicationFailure ? error.details?.[0] : undefined;
  return typeof first === 'object' && first !== null ? (first as FailureDetails) : {};
}
