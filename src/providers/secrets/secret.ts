import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';
import type { Secret } from './port.ts';

/**
 * Wraps a value so that it does not get out by being printed.
 *
 * @param versionKey - makes the version useless to whoever wants to guess the value: a bare hash of a weak password can be looked up.
 */
export function createSecret(value: string, versionKey: string): Secret {
  const version = createHmac('sha256', versionKey).update(value).digest('hex').slice(0, 16);
  const shown = (): string => '[secret]';
  return Object.freeze({
    version,
    reveal: () => value,
    toString: shown,
    toJSON: shown,
    [inspect.custom]: shown,
  });
}
