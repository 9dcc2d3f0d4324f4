import formbody from '@fastify/formbody';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { findIdentity } from '../store/tokens.ts';
import { whoAsks } from './auth.ts';
import { ownAddress } from './browser.ts';
import type { ApiDependencies } from './dependencies.ts';
import { ownPageHeaders, signInPage } from './own-pages.ts';
import { type PageLinks, openedBy, pagesCookie, rememberedSeconds, signedPrefix } from './page-links.ts';
import { refuse } from './problems.ts';
import { createRateLimit } from './rate-limit.ts';

/** Tokens that one address may try: this many at once, and so many a minute after them. Judgement: nobody types faster. */
const signInRate = { burst: 10, perMinute: 30 } as const;
const mostFormBytes = 4_096;

/** Something that a browser is to show. */
export interface PageRoute<P extends z.ZodObject> {
  /** Begins with `/v1/`; with `*` at its end a folder, of which a signed path opens all. */
  readonly path: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly params: P;
  /** A page of our own is shown at its own address to somebody with the cookie; what a tool made only by a signed path. */
  readonly own: boolean;
  readonly answer: (params: z.output<P>, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;
}

export type PageRegistrar = <P extends z.ZodObject>(app: FastifyInstance, route: PageRoute<P>) => Promise<void>;

/** Registers pages: by token, by cookie, by signed path, and with the form at their address that gives the cookie. */
export function createPageRegistrar(deps: ApiDependencies, links: PageLinks): PageRegistrar {
  const tries = createRateLimit(signInRate);
  const { tls, publicUrl } = deps.settings;
  // Behind a proxy that speaks TLS ours does not.
  const secure = tls !== undefined || publicUrl?.startsWith('https:') === true;

  /** Once a token was shown the browser remembers that pages may be read, and asks for the same address again. */
  async function signIn(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const site = request.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin') {
      throw refuse('InvalidInput', 'The form was sent by a page of somebody else.');
    }
    const waitSeconds = tries.take(request.ip);
    if (waitSeconds > 0) {
      throw refuse('TooMany', `Too many tokens were tried from here; wait ${waitSeconds} s.`, {
        retryAfterSeconds: waitSeconds,
      });
    }
    const { token } = request.body as { readonly token: string };
    const identity = await findIdentity(deps.store.db, token.trim());
    if (identity === undefined) {
      return await reply
        .code(401)
        .headers(ownPageHeaders)
        .send(signInPage('This token is unknown, expired or revoked.'));
    }
    return await reply
      .setCookie(pagesCookie, links.remember(identity.id), {
        ...{ path: '/v1/projects', maxAge: rememberedSeconds, httpOnly: true, sameSite: 'lax', secure },
      })
      .header('cache-control', 'no-store')
      .redirect(ownAddress(request), 303);
  }

  return async (app, { path, tags, summary, description, params, own, answer }) => {
    app.get(
      path,
      { config: { page: { by: 'cookie' } }, schema: { tags, summary, description, params } },
      async (request, reply) => {
        if (own || request.headers.authorization !== undefined) {
          return await answer(request.params as z.output<typeof params>, request, reply);
        }
        const opens = openedBy(path, request.params as Readonly<Record<string, string>>);
        const { path: signed } = links.sign(whoAsks(request).id, opens, ownAddress(request).slice(opens.length));
        return await reply.header('cache-control', 'no-store').redirect(signed, 303);
      },
    );

    app.get(
      `${signedPrefix}/:seal${path}`,
      {
        config: { page: { by: 'seal', opens: (given) => openedBy(path, given) } },
        schema: {
          tags,
          summary: `${summary}, by a signed path`,
          description: 'Needs no token: the path is for one person and one hour, and opens nothing else.',
          security: [],
          params: params.extend({ seal: z.string().max(120) }),
        },
      },
      async (request, reply) => await answer(request.params as z.output<typeof params>, request, reply),
    );

    await app.register(async (scope) => {
      // Only here: a form of a stranger's page is nothing that other routes should understand.
      await scope.register(formbody, { bodyLimit: mostFormBytes });
      scope.post(
        path,
        {
          config: { role: null },
          bodyLimit: mostFormBytes,
          schema: { hide: true, params, body: z.object({ token: z.string().max(500) }) },
        },
        signIn,
      );
    });
  };
}
