import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { Parameters, complaintOf, resolveParameters } from '../../../src/definition/parameters.ts';
import { ProviderError } from '../../../src/domain/failures.ts';

const declared = Parameters.parse({
  where: { type: 'choice', options: ['staging', 'production'], default: 'staging' },
  tests: { type: 'boolean', default: true },
  replicas: { type: 'number', min: 1, max: 5, default: 2 },
  version: { type: 'text', pattern: 'v*.*.*' },
});

describe('parameters', () => {
  test.each([
    ['both ends', { min: 1, max: 5 }, 'must be from 1 to 5'],
    ['an upper end only', { max: 5 }, 'must be at most 5'],
    ['a lower end only', { min: 7 }, 'must be at least 7'],
  ])('a number with %s is told as it was declared', (_, range, told) => {
    const { tries } = Parameters.parse({ tries: { type: 'number', ...range } });
    expect(complaintOf(tries!, '6')).toBe(told);
  });

  test('are what was given, and their defaults', () => {
    expect(resolveParameters(declared, { version: 'v1.2.3', tests: 'false' }, true)).toEqual({
      where: 'staging',
      tests: 'false',
      replicas: '2',
      version: 'v1.2.3',
    });
  });

  test.each([
    [{ version: 'latest' }, 'version'],
    [{ version: 'v1.2.3', where: 'Staging' }, 'where'],
    [{ version: 'v1.2.3', tests: 'yes' }, 'tests'],
    [{ version: 'v1.2.3', replicas: '6' }, 'replicas'],
    [{ version: 'v1.2.3', replicas: '' }, 'replicas'],
    [{ version: 'v1.2.3', replicas: 'NaN' }, 'replicas'],
    [{ version: 'v1.2.3', __proto: 'x' }, '__proto'],
    [{}, 'version'],
  ])('%j do not fit: %s', (given, name) => {
    expect(() => resolveParameters(declared, given, true)).toThrow(
      expect.objectContaining({ type: 'InvalidInput', message: expect.stringContaining(name) }),
    );
  });

  test('that nobody declares are taken as they are', () => {
    expect(resolveParameters({}, { anything: 'x' }, true)).toEqual({ anything: 'x' });
  });

  test('are never more than was declared, whatever is given', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.oneof(fc.string(), fc.constantFrom(...Object.keys(declared))), fc.string()),
        (given) => {
          try {
            const names = Object.keys(resolveParameters(declared, given, true));
            expect(names.every((name) => Object.hasOwn(declared, name))).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(ProviderError);
          }
        },
      ),
    );
  });
});
