import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { isStorable } from '../../domain/storable-text.ts';
import type { ForgeDelivery, ForgeRequest } from './port.ts';

/** Longer is no id of a forge, and has no place in the store. */
const longestId = 200;

/** A header, given once; the first where it was given several times. */
export function header({ headers }: ForgeRequest, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/** The first of several headers that is there: forges that come from another one send its headers too. */
export function firstHeader(request: ForgeRequest, names: readonly string[]): string | undefined {
  return names.map((name) => header(request, name)).find((value) => value !== undefined && value !== '');
}

/**
 * @param id - as the forge gave it; a hash of event and body where it gave none, so that the same delivery has the same id again.
 * @throws ProviderError `InvalidInput` (not retried)
 */
export function deliveryOf(
  request: ForgeRequest,
  found: { readonly event: string | undefined; readonly id: string | undefined; readonly needs: string },
): ForgeDelivery {
  const { event, id, needs } = found;
  const isName = (text: string): boolean => text.length <= longestId && isStorable(text);
  if (event === undefined || !isName(event) || (id !== undefined && !isName(id))) {
    throw new ProviderError('InvalidInput', `The request has no ${needs} as every delivery of this forge has.`);
  }
  return { event, id: id ?? createHash('sha256').update(event).update('\0').update(request.body).digest('hex') };
}

/** Whether two texts are the same, in a time that tells nothing of where they differ. */
export function isSame(given: string, expected: string): boolean {
  // Of equal length whatever was given.
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** Whether one of the secrets makes the HMAC-SHA256 that was given in hexadecimal digits. Every one is tried. */
export function isSignedBy(
  secrets: readonly string[],
  given: string | undefined,
  signed: Buffer | string,
  encoding: 'hex' | 'base64' = 'hex',
): boolean {
  return secrets
    .map((secret) => secret !== '' && isSame(given ?? '', createHmac('sha256', secret).update(signed).digest(encoding)))
    .some(Boolean);
}

/** The JSON of a body, which some forges can send as a field of a form. */
export function textOf(request: ForgeRequest): string {
  const form = header(request, 'content-type')?.startsWith('application/x-www-form-urlencoded') === true;
  return form ? (new URLSearchParams(request.body.toString()).get('payload') ?? '') : request.body.toString();
}

/** @throws ProviderError `InvalidInput` (not retried) */
export function parseJson(request: ForgeRequest): unknown {
  try {
    return JSON.parse(textOf(request)) as unknown;
  } catch {
    throw new ProviderError('InvalidInput', 'The body is no JSON, or was cut off.');
  }
}

/** @throws ProviderError `InvalidInput` (not retried) */
export function parse<S extends z.ZodType>(forge: string, schema: S, value: unknown): z.output<S> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new ProviderError(
    'InvalidInput',
    `The body is not what ${forge} sends for this event: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}.`,
  );
}
