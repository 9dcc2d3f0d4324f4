import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { routesOf } from '../../definition/routes.ts';
import { runKey } from '../../definition/run-key.ts';
import { routeEvent } from '../../domain/routing.ts';
import type { SourceEvent } from '../../domain/run.ts';
import { type ForgeKind, createForge } from '../../providers/forges/index.ts';
import type { Forge, ForgeRequest } from '../../providers/forges/port.ts';
import { acceptRun, noteIgnored } from '../../store/inbox.ts';
import { runId } from '../../workflows/messages.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import type { KnownProject } from '../project-reader.ts';
import { createRateLimit, webhookRate } from '../rate-limit.ts';
import { ProjectPath } from '../schemas.ts';

const bodyLimitBytes = 5 * 1024 * 1024;

const Answer = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('accepted'),
    run: z.object({
      project: z.string(),
      number: z.number().int(),
      key: z.string(),
      id: z.string().describe('Of the workflow.'),
    }),
    created: z.boolean().describe('False when an earlier delivery had asked for the same run.'),
  }),
  z.object({ status: z.literal('ignored'), reason: z.string() }),
]);
type Answer = z.output<typeof Answer>;

/** Deliveries of forges. What is answered with 202 is on disk. */
export function webhookRoutes({ deps, projects, starter }: ApiContext): FastifyPluginAsyncZod {
  const { store, settings } = deps;
  const limit = createRateLimit({
    burst: settings.webhookBurst ?? webhookRate.burst,
    perMinute: settings.webhooksPerMinute ?? webhookRate.perMinute,
  });

  async function take(forge: Forge, project: KnownProject, request: ForgeRequest): Promise<Answer> {
    if (!forge.verify(request, project.secrets)) {
      throw refuse('SignatureInvalid', `The signature is not that of the webhook of ${project.name}.`);
    }
    // Only what was signed is counted: nobody else may use the project's share up.
    const waitSeconds = limit.take(project.name);
    if (waitSeconds > 0) {
      throw refuse('TooMany', `${project.name} has sent too many webhooks; wait ${waitSeconds} s.`, {
        retryAfterSeconds: waitSeconds,
      });
    }
    const delivery = forge.identify(request);
    const message = forge.read(request);
    const why = message.kind === 'ignored' ? message.why : whyNot(project, message.event);
    if (message.kind === 'ignored' || why !== undefined) {
      await noteIgnored(store.db, project.name, delivery, why ?? '');
      return { status: 'ignored', reason: why ?? '' };
    }
    const { event } = message;
    const accepted = await acceptRun(
      store.db,
      { project: project.name, key: runKey(event), event, acceptedAt: new Date().toISOString() },
      delivery,
    );
    if (!accepted.started) starter.run(accepted.input);
    const { key, number, created } = accepted;
    return {
      status: 'accepted',
      run: { project: project.name, number, key, id: runId(project.name, key) },
      created,
    };
  }

  return async (app) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser(
      ['application/json', 'application/x-www-form-urlencoded'],
      { parseAs: 'buffer', bodyLimit: bodyLimitBytes },
      (_request, body, done) => done(null, body),
    );
    const schema = {
      tags: ['webhooks'],
      response: { 202: Answer },
      consumes: ['application/json', 'application/x-www-form-urlencoded'],
    };

    app.post(
      '/webhooks/github/:project',
      {
        config: { role: null },
        bodyLimit: bodyLimitBytes,
        schema: { ...schema, params: ProjectPath, summary: 'A delivery of GitHub' },
      },
      async (request, reply) => {
        const project = await projects.read(request.params.project);
        return await reply.code(202).send(await take(forgeOf(project), project, requestOf(request)));
      },
    );

    app.post(
      '/github-webhook/',
      {
        config: { role: null },
        bodyLimit: bodyLimitBytes,
        schema: { ...schema, summary: 'A delivery of GitHub for the one project whose repository sent it' },
      },
      async (request, reply) => {
        const raw = requestOf(request);
        const forge = createForge('github');
        forge.identify(raw);
        const found = await projects.ofRepository(forge.repositories(raw));
        const [project] = found;
        if (project === undefined) throw refuse('NotFound', 'No project has the repository that this delivery names.');
        if (found.length > 1) {
          throw refuse('Conflict', 'Several projects have this repository; use /webhooks/github/<project> for each.');
        }
        return await reply.code(202).send(await take(forge, project, raw));
      },
    );
    await Promise.resolve();
  };
}

function forgeOf(project: KnownProject): Forge {
  const kind: ForgeKind = project.definition.repository.forge.kind;
  return createForge(kind);
}

/** Why an event leads to no run; undefined when it does. */
function whyNot(project: KnownProject, event: SourceEvent): string | undefined {
  const decision = routeEvent(event, routesOf(project.definition));
  return decision.kind === 'ignored' ? decision.why : undefined;
}

function requestOf(request: FastifyRequest): ForgeRequest {
  return { headers: request.headers, body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0) };
}
