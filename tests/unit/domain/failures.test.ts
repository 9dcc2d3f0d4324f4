import { describe, expect, test } from '@jest/globals';
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common';
import { failures, isFailureType } from '../../../src/domain/failure-kinds.ts';
import { ProviderError, describeFailure, failure, failureType, toFailure } from '../../../src/domain/failures.ts';

function fromActivity(cause: Error): ActivityFailure {
  return new ActivityFailure('Activity task failed', 'pushImage', '7', 'NON_RETRYABLE_FAILURE', 'worker', cause);
}

describe('the table', () => {
  test('names are PascalCase, statuses are HTTP errors and every sentence tells what to do', () => {
    for (const [type, kind] of Object.entries(failures)) {
      expect(type).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(kind.status).toBeGreaterThanOrEqual(400);
      expect(kind.status).toBeLessThan(600);
      expect(kind.sentence).toMatch(/^[A-Z].{20,}[.…]$/);
    }
  });

  test('inherited names are not types', () => {
    expect(isFailureType('BuildFailed')).toBe(true);
    expect(isFailureType('toString')).toBe(false);
    expect(isFailureType(undefined)).toBe(false);
  });
});

describe('failure', () => {
  test('takes retryability from the table unless it is told otherwise', () => {
    expect(failure('BuildFailed', 'no').nonRetryable).toBe(true);
    expect(failure('RegistryUnavailable', 'gone').nonRetryable).toBe(false);
    expect(failure('RegistryUnavailable', 'gone', { nonRetryable: true }).nonRetryable).toBe(true);
  });
});

describe('toFailure', () => {
  test('translates the error of a provider with its details', () => {
    const translated = toFailure(new ProviderError('PortTaken', 'port 8080 is taken', { details: { port: 8080 } }));
    expect(translated).toBeInstanceOf(ApplicationFailure);
    expect(translated).toMatchObject({ type: 'PortTaken', nonRetryable: true, details: [{ port: 8080 }] });
  });

  test('leaves a cancellation alone, for a wrapped one is retried as a failure', () => {
    const cancelled = new CancelledFailure('stop');
    expect(toFailure(cancelled)).toBe(cancelled);
    const aborted = new DOMException('stop', 'AbortError');
    expect(toFailure(aborted)).toBe(aborted);
  });

  test('calls everything unknown an internal failure that may be tried again', () => {
    expect(toFailure(new TypeError('x is undefined'))).toMatchObject({ type: 'Internal', nonRetryable: false });
    expect(toFailure('just a string')).toMatchObject({ type: 'Internal', message: 'just a string' });
  });
});

describe('failureType', () => {
  test('digs through what Temporal wraps round it', () => {
    expect(failureType(fromActivity(failure('DiskFull', 'no room')))).toBe('DiskFull');
    expect(failureType(fromActivity(new CancelledFailure('stop')))).toBe('Aborted');
    expect(failureType(new TerminatedFailure('gone'))).toBe('Terminated');
    expect(failureType(new ProviderError('PortTaken', 'taken'))).toBe('PortTaken');
    expect(failureType({ not: 'an error' })).toBe('Internal');
  });

  test('the outermost type of the table wins over what caused it', () => {
    const wrapped = failure('BackupFailed', 'no backup', { cause: failure('DiskFull', 'no room') });
    expect(failureType(wrapped)).toBe('BackupFailed');
  });

  test('a foreign type is passed over for its cause', () => {
    const foreign = ApplicationFailure.create({
      type: 'Error',
      message: 'outer',
      cause: failure('PortTaken', 'inner'),
    });
    expect(describeFailure(foreign)).toMatchObject({ type: 'PortTaken', message: 'inner', status: 409 });
  });

  test('a time-out tells a lost worker from slow work, and prefers the last real failure', () => {
    expect(failureType(new TimeoutFailure('t', undefined, 'HEARTBEAT'))).toBe('WorkerLost');
    expect(failureType(new TimeoutFailure('t', undefined, 'START_TO_CLOSE'))).toBe('TimedOut');
    const carrying = new TimeoutFailure('t', undefined, 'SCHEDULE_TO_CLOSE');
    Object.assign(carrying, { cause: failure('EngineUnavailable', 'docker is away') });
    expect(failureType(carrying)).toBe('EngineUnavailable');
  });

  test('a ring of causes ends', () => {
    const first = new Error('first');
    const second = new Error('second', { cause: first });
    first.cause = second;
    expect(failureType(first)).toBe('Internal');
  });
});
