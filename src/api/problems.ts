import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type FailureType, failures, isFailureType } from '../domain/failure-kinds.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { sentences } from '../domain/sentences.ts';
import { isBrowser, unsignedAddress } from './browser.ts';
import { ownPageHeaders, problemPage, signInPage } from './own-pages.ts';

/** A problem document, RFC 9457. */
export const Problem = z
  .looseObject({
    type: z.string().describe('`urn:slipway:problem:` and the name of the failure.'),
    title: z.string().describe('What kind of failure it is, in a few words: the same for every one of its type.'),
    status: z.number().int(),
    detail: z.string().describe('What happened, and where, and what to do about it.'),
    instance: z.string().optional().describe('Id to look for in the log of the API.'),
    errors: z
      .array(z.looseObject({ pointer: z.string(), detail: z.string() }))
      .optional()
      .describe('What is wrong with the request, field by field.'),
  })
  .meta({ id: 'Problem' });
export type Problem = z.output<typeof Problem>;

const mediaType = 'application/problem+json';

/** Refuses a request; the only thing that routes throw. */
export function refuse(
  type: FailureType,
  message: string,
  extra: Readonly<Record<string, unknown>> = {},
): ProviderError {
  return new ProviderError(type, message, { details: extra });
}

/** Every answer that is not as asked for is made here. */
export function installProblems(app: FastifyInstance): void {
  app.setErrorHandler(async (error, request, reply) => await sendProblem(request, reply, toProblem(error), error));
  app.setNotFoundHandler(async (request, reply) => {
    const detail = `There is nothing at ${request.method} ${request.url.split('?')[0] ?? ''}.`;
    return await sendProblem(request, reply, problem('NotFound', detail), undefined);
  });
}

async function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  found: Problem,
  error: unknown,
): Promise<FastifyReply> {
  if (found.status >= 500) {
    request.log.error({ err: error, instance: found.instance }, 'a request failed');
  }
  if (found.status === 401) reply.header('www-authenticate', 'Bearer');
  const seconds = found['retryAfterSeconds'];
  if (typeof seconds === 'number') reply.header('retry-after', seconds);
  if (request.routeOptions.config.page !== undefined && isBrowser(request)) {
    return await reply
      .code(found.status)
      .headers(ownPageHeaders)
      .serializer((payload: unknown) => String(payload))
      .send(pageOf(request, found));
  }
  // Past the zod serialiser of the route, which knows only what the route answers when all is well.
  return await reply
    .code(found.status)
    .type(mediaType)
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(found);
}

/** The same for somebody who looks at it with a browser: where a token helps, the form that takes one. */
function pageOf(request: FastifyRequest, { type, title, detail }: Problem): string {
  const again = unsignedAddress(request);
  if (again === undefined && type === typeOf('NotAuthenticated')) return signInPage('It is for people with a token.');
  return problemPage(title, detail, again);
}

/** What is wrong, in words that may leave the machine. */
export function toProblem(error: unknown): Problem {
  if (typeof error !== 'object' || error === null) return internal('Internal');
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({
      pointer: instancePath === '' ? '/' : instancePath,
      detail: message ?? 'is not what it should be',
    }));
    return {
      ...problem('InvalidInput', `The ${error.validationContext ?? 'request'} is not as it should be.`),
      status: 422,
      errors,
    };
  }
  if (isResponseSerializationError(error)) return internal('Internal');
  const { code, statusCode } = error as { readonly code?: unknown; readonly statusCode?: unknown };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return problem('TooLarge', 'The body of the request is too large.');
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return { ...problem('InvalidInput', 'The Content-Type of the request is not one that is read here.'), status: 415 };
  }
  if (typeof code === 'string' && (code.startsWith('FST_ERR_CTP') || code.startsWith('FST_ERR_VALIDATION'))) {
    return problem('InvalidInput', 'The body of the request cannot be read.');
  }
  if (statusCode === 429) return problem('TooMany', (error as Error).message);
  if (statusCode === 503) return internal('TimedOut');
  const { type, message, details } = describeFailure(error);
  const { status } = failures[type];
  if (status >= 500) {
    const told = internal(type);
    return error instanceof ProviderError && sayable.includes(type)
      ? { ...told, detail: sentences(message, failures[type].sentence) }
      : told;
  }
  // A route may know a more exact status than the table: 416 for a range is bad input too.
  const exact = details['status'];
  return { ...details, ...problem(type, message), ...(typeof exact === 'number' ? { status: exact } : {}) };
}

/** What the API itself says of Temporal and of workers that do not answer (commands.ts): whoever asked must know whether it may still happen. */
const sayable: readonly FailureType[] = ['TimedOut', 'TemporalUnavailable'];

/** Of a failure of ours only its name and an id are told: messages of databases and stack traces are for the log. */
function internal(type: FailureType): Problem {
  const instance = `urn:uuid:${randomUUID()}`;
  const told = isFailureType(type) ? type : 'Internal';
  return {
    ...problem(told, 'The request could not be done. The log of the API has the cause under this id.'),
    instance,
  };
}

/** `SignatureInvalid` → `Signature invalid`: made of the name of its type, so that none can be without one. */
function titleOf(type: FailureType): string {
  return type.replaceAll(/(?<!^)[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function problem(type: FailureType, detail: string): Problem {
  const { status, sentence } = failures[type];
  return { type: typeOf(type), title: titleOf(type), status, detail: sentences(detail, sentence) };
}

function typeOf(type: FailureType): string {
  return `urn:slipway:problem:${type}`;
}
