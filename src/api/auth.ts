import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Db } from '../store/schema.ts';
import type { Role } from '../store/tables/engine.ts';
import { type Identity, findIdentity, readIdentity, roles } from '../store/tokens.ts';
import { isBrowser } from './browser.ts';
import { type PageLinks, pagesCookie } from './page-links.ts';
import { refuse } from './problems.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose token the request carries; undefined on routes that need none. */
    identity: Identity | undefined;
    /** Until when a signed path is good, ms since 1970; undefined where the request did not come by one. */
    signedUntil: number | undefined;
  }
  interface FastifyContextConfig {
    /** The least role that may use the route; `null` is for everybody. Default `viewer`. */
    readonly role?: Role | null;
    /** What opens it besides a token. Absent, as for everything that is no page: nothing. */
    readonly page?: PageAccess;
    /** Where a browser that comes without a token is sent: to the page that shows the same. */
    readonly pageInstead?: (params: Readonly<Record<string, string>>) => string;
  }
}

/** The cookie of the form, or the seal in the path and nothing else. */
export type PageAccess =
  | { readonly by: 'cookie' }
  | { readonly by: 'seal'; readonly opens: (params: Readonly<Record<string, string>>) => string };

/** A token that was revoked is refused after this at the latest. Without it every request would ask the store. */
const rememberedMs = 2_000;
const mostRemembered = 1_000;

/** No token, no answer: every route but those that say `role: null` needs one, and routes that change something a role. */
export function installAuth(app: FastifyInstance, db: Db, links: PageLinks): void {
  const remembered = new Map<string, { readonly identity: Identity; readonly until: number }>();
  app.decorateRequest('identity', undefined);
  app.decorateRequest('signedUntil', undefined);
  app.addHook('onRequest', async (request, reply) => {
    const { role: needed, page, pageInstead } = request.routeOptions.config;
    if (needed === null || request.is404) return;
    if (pageInstead !== undefined && isBrowser(request)) {
      const address = pageInstead(request.params as Readonly<Record<string, string>>);
      return await reply.header('cache-control', 'no-store').redirect(address, 303);
    }
    request.identity = page === undefined ? await bearer(request) : await pageReader(request, page);
    requireRole(request.identity, needed ?? 'viewer');
  });

  async function bearer(request: FastifyRequest): Promise<Identity> {
    const [scheme, token] = request.headers.authorization?.split(' ') ?? [];
    if (scheme?.toLowerCase() !== 'bearer' || token === undefined) {
      throw refuse('NotAuthenticated', 'The request carries no token.');
    }
    return await known(`token ${token}`, () => findIdentity(db, token), 'The token is unknown, expired or revoked.');
  }

  /** A seal or a cookie says whose token was shown, and is worth as much as that token still is. */
  async function pageReader(request: FastifyRequest, page: PageAccess): Promise<Identity> {
    if (page.by === 'cookie') {
      if (request.headers.authorization !== undefined) return await bearer(request);
      const reader = links.remembered(request.cookies[pagesCookie]);
      if (reader === undefined) throw refuse('NotAuthenticated', 'The request carries no token.');
      return await ofReader(reader);
    }
    const params = request.params as Readonly<Record<string, string>>;
    const { reader, until } = links.open(params['seal'] ?? '', page.opens(params));
    request.signedUntil = until;
    return await ofReader(reader);
  }

  function ofReader(id: string): Promise<Identity> {
    return known(`id ${id}`, () => readIdentity(db, id), 'The token that this was made for is expired or revoked.');
  }

  async function known(key: string, read: () => Promise<Identity | undefined>, otherwise: string): Promise<Identity> {
    const before = remembered.get(key);
    if (before !== undefined && before.until > performance.now()) return before.identity;
    remembered.delete(key);
    const identity = await read();
    if (identity === undefined) throw refuse('NotAuthenticated', otherwise);
    if (remembered.size >= mostRemembered) remembered.clear();
    remembered.set(key, { identity, until: performance.now() + rememberedMs });
    return identity;
  }
}

/** @throws ProviderError `NotAllowed` (not retried) */
function requireRole(identity: Identity, needed: Role): void {
  if (roles.indexOf(identity.role) >= roles.indexOf(needed)) return;
  throw refuse('NotAllowed', `${identity.name} is ${identity.role}; this needs the role ${needed}.`);
}

/** Who is asking, on a route that needs a token. */
export function whoAsks(request: FastifyRequest): Identity {
  if (request.identity === undefined) throw refuse('NotAuthenticated', 'The request carries no token.');
  return request.identity;
}
