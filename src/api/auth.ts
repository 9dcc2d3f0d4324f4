import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Db } from '../store/schema.ts';
import type { Role } from '../store/tables/engine.ts';
import { type Identity, findIdentity, roles } from '../store/tokens.ts';
import { refuse } from './problems.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose token the request carries; undefined on routes that need none. */
    identity: Identity | undefined;
  }
  interface FastifyContextConfig {
    /** The least role that may use the route; `null` is for everybody. Default `viewer`. */
    readonly role?: Role | null;
  }
}

/** A token that was revoked is refused after this at the latest. Without it every request would ask the store. */
const rememberedMs = 2_000;
const mostRemembered = 1_000;

/** No token, no answer: every route but those that say `role: null` needs one, and routes that change something a role. */
export function installAuth(app: FastifyInstance, db: Db): void {
  const remembered = new Map<string, { readonly identity: Identity; readonly until: number }>();
  app.decorateRequest('identity', undefined);
  app.addHook('onRequest', async (request) => {
    const needed = request.routeOptions.config.role;
    if (needed === null || request.is404) return;
    request.identity = await identify(request);
    requireRole(request.identity, needed ?? 'viewer');
  });

  async function identify(request: FastifyRequest): Promise<Identity> {
    const [scheme, token] = request.headers.authorization?.split(' ') ?? [];
    if (scheme?.toLowerCase() !== 'bearer' || token === undefined) {
      throw refuse('NotAuthenticated', 'The request carries no token.');
    }
    const known = remembered.get(token);
    if (known !== undefined && known.until > performance.now()) return known.identity;
    remembered.delete(token);
    const identity = await findIdentity(db, token);
    if (identity === undefined) throw refuse('NotAuthenticated', 'The token is unknown, expired or revoked.');
    if (remembered.size >= mostRemembered) remembered.clear();
    remembered.set(token, { identity, until: performance.now() + rememberedMs });
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
