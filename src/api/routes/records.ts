import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { appendAudit, listAudit } from '../../store/audit.ts';
import { closeIncident, incidentId, listIncidents } from '../../store/incidents.ts';
import { listReleases, readRelease } from '../../store/releases.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import {
  DeploymentPath,
  Flag,
  IncidentSchema,
  Name,
  Paging,
  ProjectPath,
  ReasonBody,
  ReleaseSchema,
  pageOf,
} from '../schemas.ts';

const AuditEntry = z.object({
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  object: z.string(),
  detail: z.record(z.string(), z.unknown()).readonly(),
});

/** What is written once and read ever after: releases, incidents, audit. */
export function recordRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;
  return async (app) => {
    app.get(
      '/v1/releases',
      {
        schema: {
          tags: ['releases'],
          summary: 'Releases, newest first',
          querystring: Paging.extend({ project: Name.optional() }),
          response: { 200: pageOf(ReleaseSchema) },
        },
      },
      async (request) => await listReleases(db, request.query.project, request.query),
    );

    app.get(
      '/v1/projects/:project/releases/:version',
      {
        schema: {
          tags: ['releases'],
          summary: 'One release',
          params: ProjectPath.extend({ version: z.string().min(1).max(128) }),
          response: { 200: ReleaseSchema },
        },
      },
      async (request) => {
        const { project, version } = request.params;
        const release = await readRelease(db, project, version);
        if (release === undefined) throw refuse('NotFound', `There is no release ${version} of ${project}.`);
        return release;
      },
    );

    app.get(
      '/v1/incidents',
      {
        schema: {
          tags: ['incidents'],
          summary: 'Incidents, newest first',
          querystring: z.object({ project: Name.optional(), open: Flag.optional() }),
          response: { 200: z.array(IncidentSchema).readonly() },
        },
      },
      async (request) => await listIncidents(db, request.query),
    );

    app.post(
      '/v1/incidents/:project/:environment/:number/close',
      {
        config: { role: 'operator' },
        schema: {
          tags: ['incidents'],
          summary: 'The post-mortem is written',
          params: DeploymentPath,
          body: ReasonBody,
          response: { 200: z.object({ closed: z.boolean() }) },
        },
      },
      async (request) => {
        const identity = whoAsks(request);
        const id = incidentId(request.params);
        await appendAudit(db, {
          actor: identity.name,
          action: 'incident.close',
          object: id,
          detail: { token: identity.id, reason: request.body.reason },
        });
        return { closed: await closeIncident(db, id, new Date().toISOString()) };
      },
    );

    app.get(
      '/v1/audit',
      {
        config: { role: 'operator' },
        schema: {
          tags: ['audit'],
          summary: 'Who did what, newest first',
          querystring: Paging.extend({ object: z.string().optional(), actor: z.string().optional() }),
          response: { 200: pageOf(AuditEntry) },
        },
      },
      async (request) => await listAudit(db, request.query, request.query),
    );
    await Promise.resolve();
  };
}
