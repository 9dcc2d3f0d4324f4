import { describe, expect, test } from '@jest/globals';
import { failure } from '../../../src/domain/failures.ts';
import { outcomeOfFailure, succeededReason } from '../../../src/domain/run-ending.ts';

describe('a failure of a run', () => {
  test.each(['DefinitionInvalid', 'BuildFailed', 'StepTimedOut', 'PackageTaken', 'GateBlocked'] as const)(
    '%s: what was pushed is bad',
    (type) => expect(outcomeOfFailure(failure(type, 'it is so'))).toBe('failed'),
  );

  test.each(['RepositoryUnreachable', 'GateErrored', 'ScanErrored', 'WorkspaceLost'] as const)(
    '%s: something around it is',
    (type) => expect(outcomeOfFailure(failure(type, 'it is so'))).toBe('errored'),
  );

  test('what is of no type is nothing that was pushed', () => {
    expect(outcomeOfFailure(new Error('what?'))).toBe('errored');
  });
});

describe('what a run that succeeded says of itself', () => {
  const stage = { name: 'test', timeoutMs: 1_000, steps: ['npm test'] };
  const plan = { stages: [stage, { ...stage, name: 'lint' }], environments: [] };

  test('its stages, and how many were skipped', () => {
    expect(succeededReason(plan, [{}, {}], [], [])).toBe('2 stages passed.');
    expect(succeededReason(plan, [{}, { skipped: true }], [], [])).toBe('1 stage passed, 1 skipped.');
  });

  test('what it made, and where that goes', () => {
    const bound = { ...plan, environments: ['staging', 'production'] };
    expect(succeededReason(bound, [{}, {}], [{ name: 'app' }], [{ name: 'a' }, { name: 'b' }])).toBe(
      '2 stages passed, 1 image, 2 files published, goes to staging, production.',
    );
  });

  test('why nothing was run', () => {
    expect(succeededReason({ ...plan, skipped: 'The commit asks to be skipped.' }, [], [], [])).toBe(
      'Nothing was run: The commit asks to be skipped.',
    );
  });
});
