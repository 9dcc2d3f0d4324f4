import type { FastifyInstance } from 'fastify';
import { isStorable } from '../domain/storable-text.ts';
import { refuse } from './problems.ts';

/** Refuses requests with texts that the store cannot hold, before anybody has begun to do what they ask. */
export function installTextCheck(app: FastifyInstance): void {
  app.addHook('preValidation', (request) => {
    for (const [where, given] of [
      ['address', request.params],
      ['query', request.query],
      ['body', request.body],
    ] as const) {
      if (!isClean(given)) {
        throw refuse('InvalidInput', `The ${where} has a text with a NUL or with half a character.`);
      }
    }
    const key = request.headers['idempotency-key'];
    if (typeof key === 'string' && !isStorable(key)) throw refuse('InvalidInput', 'The Idempotency-Key has a NUL.');
    return Promise.resolve();
  });
}

/** A body that was taken as bytes is checked by whoever reads it. */
function isClean(value: unknown): boolean {
  if (typeof value === 'string') return isStorable(value);
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return true;
  return Object.entries(value).every(([key, each]) => isStorable(key) && isClean(each));
}
