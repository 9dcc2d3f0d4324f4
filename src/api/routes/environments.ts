import { randomUUID } from 'node:crypto';
import type { UpdateDefinition } from '@temporalio/client';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { appendAudit } from '../../store/audit.ts';
import { openDeployment } from '../../store/deployments.ts';
import { type EnvironmentRecord, listEnvironments, readEnvironment } from '../../store/environments.ts';
import { readRelease } from '../../store/releases.ts';
import { readInvolved } from '../../store/runs.ts';
import { readUpkeep } from '../../store/upkeep.ts';
import {
  type EnvironmentView,
  environmentId,
  freezeUpdate,
  reconcileUpdate,
  retryUpdate,
  rollbackUpdate,
  thawUpdate,
  unlockUpdate,
} from '../../workflows/messages.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import {
  DeployBody,
  DeploymentRefSchema,
  EnvironmentPath,
  EnvironmentSchema,
  FreezeBody,
  Name,
  ReasonBody,
  RollbackBody,
  UnlockBody,
} from '../schemas.ts';

const tags = ['environments'];
const base = '/v1/projects/:project/environments/:environment';
const IdempotencyKey = z.looseObject({ 'idempotency-key': z.string().min(1).max(200).optional() });

/** Environments: what is live and what waits, and what people do to them. */
export function environmentRoutes({ deps, projects, starter, commands }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  /** Which environments there are is for the project to say; nobody makes one by asking for it. */
  async function need(path: { readonly project: string; readonly environment: string }): Promise<void> {
    const { definition } = await projects.read(path.project);
    if (Object.hasOwn(definition.environments, path.environment)) return;
    throw refuse('NotFound', `${path.project} has no environment ${path.environment}.`);
  }

  async function look(record: EnvironmentRecord): Promise<EnvironmentView> {
    const [view, scan] = await Promise.all([
      commands.viewEnvironment(record.project, record.name),
      readScan(record.project, record.name),
    ]);
    return { ...(view === undefined ? fromStore(record) : withPrevious(view, record)), scan };
  }

  async function readScan(project: string, environment: string): Promise<NonNullable<EnvironmentView['scan']> | null> {
    const [round] = (await readUpkeep(db, { kind: 'scan', project })).filter(
      (each) => each.environment === environment,
    );
    if (round === undefined) return null;
    const { verdict, summary, at, lines } = round;
    return { verdict, summary, at, lines };
  }

  return async (app) => {
    app.get(
      '/v1/environments',
      {
        schema: {
          tags,
          summary: 'All environments with what is live in them',
          querystring: z.object({ project: Name.optional() }),
          response: { 200: z.array(EnvironmentSchema).readonly() },
        },
      },
      async (request) => await Promise.all((await listEnvironments(db, request.query.project)).map(look)),
    );

    app.get(
      base,
      { schema: { tags, summary: 'One environment', params: EnvironmentPath, response: { 200: EnvironmentSchema } } },
      async (request) => {
        const { project, environment } = request.params;
        const record = await readEnvironment(db, project, environment);
        if (record !== undefined) return await look(record);
        await need(request.params);
        return fromStore({ project, name: environment, live: null, previous: null, hold: null, updatedAt: '' });
      },
    );

    app.post(
      `${base}/deployments`,
      {
        config: { role: 'developer' },
        schema: {
          tags,
          summary: 'Deploys a recorded release; plan and approval are those of the environment',
          params: EnvironmentPath,
          headers: IdempotencyKey,
          body: DeployBody,
          response: { 202: DeploymentRefSchema },
        },
      },
      async (request, reply) => {
        const { project, environment } = request.params;
        const identity = whoAsks(request);
        await need(request.params);
        const release = await readRelease(db, project, request.body.version);
        if (release === undefined) {
          throw refuse('NotFound', `There is no release ${request.body.version} of ${project}.`);
        }
        const given = request.body.idempotencyKey ?? request.headers['idempotency-key'] ?? randomUUID();
        await appendAudit(db, {
          actor: identity.name,
          action: 'environment.deploy',
          object: environmentId(project, environment),
          detail: { token: identity.id, version: release.version },
        });
        const builders = release.runKey === null ? [] : await readInvolved(db, project, release.runKey);
        const { input } = await openDeployment(db, {
          project,
          environment,
          version: release.version,
          ...(release.runKey === null ? {} : { runKey: release.runKey }),
          requestedBy: identity.name,
          author: release.author,
          involved: [...new Set([identity.name, ...builders])],
          priority: 'routine',
          requestedAt: new Date().toISOString(),
          kind: 'rollout',
          request: `api:${given}`,
          startedBy: 'api',
        });
        if (input.version !== release.version) {
          throw refuse('Conflict', `The idempotency key was used for version ${input.version}.`);
        }
        starter.deployment(input);
        return await reply.code(202).send({ project, environment, number: input.number });
      },
    );

    app.post(
      `${base}/rollback`,
      {
        config: { role: 'operator' },
        schema: {
          tags,
          summary: 'Goes back to the previous release, or to a version',
          params: EnvironmentPath,
          headers: IdempotencyKey,
          body: RollbackBody,
          response: { 202: DeploymentRefSchema },
        },
      },
      async (request, reply) => {
        await need(request.params);
        const identity = whoAsks(request);
        const requestId = request.headers['idempotency-key'] ?? randomUUID();
        const { number } = await commands.tellEnvironment(
          request.params,
          rollbackUpdate,
          {
            by: identity.name,
            reason: request.body.reason,
            requestId,
            ...(request.body.to === undefined ? {} : { to: request.body.to }),
          },
          { identity, action: 'environment.rollback', idempotencyKey: requestId },
        );
        return await reply.code(202).send({ ...request.params, number });
      },
    );

    const command = <M extends { readonly by: string }, B extends z.ZodType>(
      verb: string,
      summary: string,
      update: UpdateDefinition<EnvironmentView, [M]>,
      body: B,
      toMessage: (body: z.output<B>, by: string) => M,
    ): void => {
      app.post(
        `${base}/${verb}`,
        {
          config: { role: 'operator' },
          schema: {
            tags,
            summary,
            params: EnvironmentPath,
            headers: IdempotencyKey,
            body,
            response: { 200: EnvironmentSchema },
          },
        },
        async (request) => {
          await need(request.params);
          const identity = whoAsks(request);
          const message = toMessage(request.body as z.output<B>, identity.name);
          const idempotencyKey = request.headers['idempotency-key'];
          const order = { identity, action: `environment.${verb}`, idempotencyKey };
          return await commands.tellEnvironment(request.params, update, message, order);
        },
      );
    };
    command('unlock', 'Says what is live, and lets deployments in again', unlockUpdate, UnlockBody, (body, by) => ({
      by,
      reason: body.reason,
      stateIs: body.stateIs,
    }));
    command('reconcile', 'Takes what the target says as the truth', reconcileUpdate, ReasonBody, (body, by) => ({
      by,
      reason: body.reason,
    }));
    command('retry', 'Tries the undoing that failed again', retryUpdate, ReasonBody, (body, by) => ({
      by,
      reason: body.reason,
    }));
    command('freeze', 'Lets no deployment in', freezeUpdate, FreezeBody, (body, by) => ({
      by,
      reason: body.reason,
      ...(body.until === undefined ? {} : { until: body.until }),
    }));
    command('thaw', 'Lets deployments in again', thawUpdate, z.strictObject({}).nullish(), (_, by) => ({ by }));
    await Promise.resolve();
  };
}

/** The workflow forgets a release as soon as its slot is stopped or taken by another; a rollback to it is only slower from then on. */
function withPrevious(view: EnvironmentView, { previous }: EnvironmentRecord): EnvironmentView {
  if (view.previous !== null || previous === null || view.live === null) return view;
  return previous.version === view.live.version ? view : { ...view, previous, previousStopped: true };
}

function fromStore({ project, name, live, previous, hold }: EnvironmentRecord): EnvironmentView {
  return {
    project,
    environment: name,
    live,
    previous,
    current: null,
    queue: [],
    hold: hold === null ? null : { state: 'held', since: hold.since, reason: hold.reason, by: 'slipway' },
    frozenUntil: null,
    retireAt: null,
  };
}
