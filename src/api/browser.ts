import type { FastifyRequest } from 'fastify';
import { signedPrefix } from './page-links.ts';

/** Whether a person looks at the answer with a browser: programs send a token, and what a page loads asks for no HTML. */
export function isBrowser(request: FastifyRequest): boolean {
  const { authorization, accept = '' } = request.headers;
  return authorization === undefined && /\btext\/html\b/i.test(accept);
}

/** The path and query that were asked for, without a host that somebody may have put before it: a place to send a browser to. */
export function ownAddress(request: FastifyRequest): string {
  const { pathname, search } = new URL(request.url, 'http://slipway.invalid');
  // Two slashes at the beginning would be another host.
  return `${pathname.replace(/^\/+/, '/')}${search}`;
}

/** The address of a page that was asked for by a signed path; undefined where it was not. */
export function unsignedAddress(request: FastifyRequest): string | undefined {
  const [, address] = new RegExp(`^${signedPrefix}/[^/]+(/v1/.*)$`).exec(ownAddress(request)) ?? [];
  return address;
}
