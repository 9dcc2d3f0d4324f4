import { randomUUID } from 'node:crypto';
import type { FastifyBaseLogger, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { routesOf } from '../../definition/routes.ts';
import { runKey } from '../../definition/run-key.ts';
import { routeEvent } from '../../domain/routing.ts';
import type { SourceEvent } from '../../domain/run.ts';
import { asksToSkip } from '../../domain/skip.ts';
import { type ForgeKind, createForge, forgeKinds } from '../../providers/forges/index.ts';
import type { Forge, ForgeDelivery, ForgeEvent, ForgeRequest } from '../../providers/forges/port.ts';
import { acceptRun, noteIgnored, readNewestOfCommit } from '../../store/inbox.ts';
import { runId } from '../../workflows/messages.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import type { KnownProject } from '../project-reader.ts';
import { type RateLimit, createRateLimit, strangerRate, webhookRate } from '../rate-limit.ts';
import { ProjectPath } from '../schemas.ts';

const bodyLimitBytes = 5 * 1024 * 1024;
/** One push may move many branches; beyond this somebody mirrors a repository, and wants no run for each. */
const mostEvents = 50;
const nobodysSecret = randomUUID();

const Accepted = z.object({
  run: z.object({
    project: z.string(),
    number: z.number().int(),
    key: z.string(),
    id: z.string().describe('Of the workflow.'),
  }),
  created: z.boolean().describe('False when an earlier delivery had asked for the same run.'),
});
type Accepted = z.output<typeof Accepted>;
const Answer = z.discriminatedUnion('status', [
  Accepted.extend({
    status: z.literal('accepted'),
    more: z.array(Accepted).exactOptional().describe('Further runs, when one delivery tells of several branches.'),
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
  const strangers = createRateLimit(strangerRate);

  async function take(kind: ForgeKind, project: KnownProject, request: ForgeRequest): Promise<Answer> {
    const expected = project.definition.repository.forge.kind;
    if (kind !== expected) {
      throw refuse('NotFound', `${project.name} takes its webhooks at /webhooks/${expected}/${project.name}.`);
    }
    const forge = createForge(kind);
    await prove(forge, project, request);
    return await takeProved(forge, project, request);
  }

  async function takeProved(forge: Forge, project: KnownProject, request: ForgeRequest): Promise<Answer> {
    // Only what was signed is counted: nobody else may use the project's share up.
    charge(limit, project.name, `${project.name} has sent too many webhooks`);
    const delivery = forge.identify(request);
    const message = forge.read(request);
    if (message.kind === 'ignored') return await ignore(project, delivery, message.why);
    if (message.events.length > mostEvents) {
      return await ignore(
        project,
        delivery,
        `${message.events.length} branches and tags moved at once; start by hand what is wanted.`,
      );
    }
    const [first, ...others] = await Promise.all(
      message.events.map(
        // Each has an id of its own, for a delivery that comes again must find the run of each.
        async (found, index) =>
          await accept(project, index === 0 ? delivery : { ...delivery, id: `${delivery.id}#${index}` }, found),
      ),
    );
    const runs = [first, ...others].filter((one) => typeof one === 'object');
    const [run, ...more] = runs;
    if (run === undefined) return { status: 'ignored', reason: typeof first === 'string' ? first : '' };
    return { status: 'accepted', ...run, ...(more.length === 0 ? {} : { more }) };
  }

  /**
   * The project whose repository sent a delivery to the shared address. Whoever has not proved to be that repository is told the same for every
   * address: which ones are known here is nobody else's business.
   */
  async function provedSender(forge: Forge, request: ForgeRequest, log: FastifyBaseLogger): Promise<KnownProject> {
    const found = (await projects.ofRepository(forge.repositories(request))).filter(
      ({ definition }) => definition.repository.forge.kind === 'github',
    );
    const secrets = await Promise.all(
      found.map(async (project) => {
        try {
          return await project.readSecrets();
        } catch (err) {
          log.error({ err, project: project.name }, 'a delivery is refused, for its signature cannot be checked');
          return [];
        }
      }),
    );
    // One of nobody too is compared with something: how long it takes would tell as much as an answer.
    const isProved =
      forge.verify(request, found.length === 0 ? [nobodysSecret] : secrets.flat(), new Date()) === 'valid';
    const [project] = found;
    if (!isProved || project === undefined) {
      throw refuse(
        'SignatureInvalid',
        'The signature is not that of a webhook of a repository that has a project here.',
      );
    }
    if (found.length > 1) {
      throw refuse('Conflict', 'Several projects have this repository; use /webhooks/github/<project> for each.');
    }
    return project;
  }

  async function ignore(project: KnownProject, delivery: ForgeDelivery, why: string): Promise<Answer> {
    await noteIgnored(store.db, project.name, delivery, why);
    return { status: 'ignored', reason: why };
  }

  /** @returns the run, or why there is none. */
  async function accept(project: KnownProject, delivery: ForgeDelivery, found: ForgeEvent): Promise<Accepted | string> {
    const why = whyNot(project, found);
    if (why !== undefined) {
      await noteIgnored(store.db, project.name, delivery, why);
      return why;
    }
    const event = await targeted(project, found, await whole(project, found));
    if (event === undefined) {
      const unmoved = 'Nothing is done for an update of a pull request without new commits.';
      await noteIgnored(store.db, project.name, delivery, unmoved);
      return unmoved;
    }
    const accepted = await acceptRun(
      store.db,
      { project: project.name, key: runKey(event), event, acceptedAt: new Date().toISOString() },
      delivery,
    );
    if (!accepted.started) starter.run(accepted.input);
    const { key, number, created } = accepted;
    return { run: { project: project.name, number, key, id: runId(project.name, key) }, created };
  }

  /**
   * Finds out by the newest run of the same commit whether a pull request has another target, where its delivery does not say.
   *
   * @returns undefined where nothing else would start a run, and it has the same.
   */
  async function targeted(
    project: KnownProject,
    { perhapsRetargetedAt: at, onlyRetargeted }: ForgeEvent,
    event: SourceEvent,
  ): Promise<SourceEvent | undefined> {
    if (at === undefined) return event;
    const { ref, after, into } = event;
    const newest = (await readNewestOfCommit(store.db, { project: project.name, ref, commit: after }))?.event;
    const isMoved = newest?.into !== undefined && into !== undefined && newest.into !== into;
    if (isMoved) return { ...event, retargetedAt: at };
    if (onlyRetargeted) return undefined;
    // An edit after it is of the same run.
    return newest?.retargetedAt === undefined ? event : { ...event, retargetedAt: newest.retargetedAt };
  }

  /** Asks the repository for a commit of which the forge has told the beginning. */
  async function whole(project: KnownProject, { event, wholeIn }: ForgeEvent): Promise<SourceEvent> {
    if (wholeIn === undefined) return event;
    const after = await deps.resolveRef?.(project.name, wholeIn);
    if (after?.startsWith(event.after) === true) return { ...event, after };
    throw refuse(
      'CommitNotFound',
      `${wholeIn} of ${project.name} is not at ${event.after} any more, or cannot be read.`,
    );
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

    for (const kind of forgeKinds) {
      app.post(
        `/webhooks/${kind}/:project`,
        {
          config: { role: null },
          bodyLimit: bodyLimitBytes,
          schema: { ...schema, params: ProjectPath, summary: `A delivery to a project whose forge is \`${kind}\`` },
        },
        async (request, reply) => {
          const project = await projects.read(request.params.project);
          return await reply.code(202).send(await take(kind, project, requestOf(request)));
        },
      );
    }

    app.post(
      '/github-webhook/',
      {
        config: { role: null },
        bodyLimit: bodyLimitBytes,
        onRequest: async (request) => {
          charge(strangers, request.ip, 'Too many deliveries came from here that prove nothing');
          await Promise.resolve();
        },
        schema: { ...schema, summary: 'A delivery of GitHub for the one project whose repository sent it' },
      },
      async (request, reply) => {
        const raw = requestOf(request);
        const forge = createForge('github');
        forge.identify(raw);
        const project = await provedSender(forge, raw, request.log);
        strangers.giveBack(request.ip);
        return await reply.code(202).send(await takeProved(forge, project, raw));
      },
    );
    await Promise.resolve();
  };
}

/** @throws ProviderError `TooMany` (retried) */
function charge(limit: RateLimit, key: string, why: string): void {
  const waitSeconds = limit.take(key);
  if (waitSeconds > 0) throw refuse('TooMany', `${why}; wait ${waitSeconds} s.`, { retryAfterSeconds: waitSeconds });
}

/** @throws ProviderError `SignatureInvalid` (not retried) */
async function prove(forge: Forge, project: KnownProject, request: ForgeRequest): Promise<void> {
  const proof = forge.verify(request, await project.readSecrets(), new Date());
  if (proof === 'valid') return;
  throw refuse(
    'SignatureInvalid',
    proof === 'stale'
      ? `The signature was made too long ago, or the clocks of ${project.name}'s forge and of this machine differ.`
      : `The signature is not that of the webhook of ${project.name}.`,
  );
}

/** Why an event leads to no run; undefined when it does. */
function whyNot(project: KnownProject, { event, paths }: ForgeEvent): string | undefined {
  const decision = routeEvent(event, routesOf(project.definition), paths);
  if (decision.kind === 'ignored') return decision.why;
  // What a pull request has here is its title; its commit is looked at with the checkout, and its forge is told.
  return event.kind === 'push' && asksToSkip(event.kind, event.message) ? 'The commit asks to be skipped.' : undefined;
}

function requestOf(request: FastifyRequest): ForgeRequest {
  return { headers: request.headers, body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0) };
}
