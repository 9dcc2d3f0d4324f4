import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { appendAudit } from '../../store/audit.ts';
import { createToken, listTokens, revokeToken, roles } from '../../store/tokens.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { Name, TokenSchema } from '../schemas.ts';

const tags = ['tokens'];

/** Tokens, by those who may give them out; and whose the present one is. */
export function tokenRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;
  return async (app) => {
    app.get(
      '/v1/me',
      {
        schema: {
          tags,
          summary: 'Whose token this is',
          response: { 200: TokenSchema.pick({ id: true, name: true, role: true, groups: true }) },
        },
      },
      (request) => whoAsks(request),
    );

    app.get(
      '/v1/tokens',
      {
        config: { role: 'admin' },
        schema: {
          tags,
          summary: 'All tokens, without what would let anyone use them',
          response: { 200: z.array(TokenSchema).readonly() },
        },
      },
      async () => await listTokens(db),
    );

    app.post(
      '/v1/tokens',
      {
        config: { role: 'admin' },
        schema: {
          tags,
          summary: 'Makes a token; it is shown this once',
          body: z.strictObject({
            name: z.string().trim().min(1).max(100).describe('Of the person or program, as decisions will name it.'),
            role: z.enum(roles),
            groups: z.array(Name).max(50).default([]).describe('Groups of the person, as approval rules name them.'),
            expiresAt: z.iso.datetime().optional(),
          }),
          response: { 201: z.object({ id: z.string(), token: z.string() }) },
        },
      },
      async (request, reply) => {
        const identity = whoAsks(request);
        const { name, role, groups, expiresAt } = request.body;
        await appendAudit(db, {
          actor: identity.name,
          action: 'token.create',
          object: `token/${name}`,
          detail: { token: identity.id, role, groups, expiresAt: expiresAt ?? null },
        });
        return await reply
          .code(201)
          .send(await createToken(db, { name, role, groups, createdBy: identity.name, expiresAt }));
      },
    );

    app.post(
      '/v1/tokens/:id/revoke',
      {
        config: { role: 'admin' },
        schema: {
          tags,
          summary: 'From now on nobody can use it',
          params: z.object({ id: z.uuid() }),
          response: { 200: z.object({ revoked: z.literal(true) }) },
        },
      },
      async (request) => {
        const identity = whoAsks(request);
        const { id } = request.params;
        await appendAudit(db, {
          actor: identity.name,
          action: 'token.revoke',
          object: `token/${id}`,
          detail: { token: identity.id },
        });
        if (!(await revokeToken(db, id))) throw refuse('NotFound', `There is no token ${id} that could be revoked.`);
        return { revoked: true as const };
      },
    );
    await Promise.resolve();
  };
}
