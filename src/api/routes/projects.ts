import { createHash } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { largestDocumentBytes } from '../../definition/document.ts';
import { definitionInvalid, loadProject } from '../../definition/load.ts';
import { appendAudit } from '../../store/audit.ts';
import { listProjects, listRevisions, putProject, readProject } from '../../store/projects.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { unifiedDiff } from '../diff.ts';
import { refuse } from '../problems.ts';
import { ProjectPath } from '../schemas.ts';

const Project = z
  .object({
    name: z.string(),
    revision: z.number().int(),
    hash: z.string().describe('SHA-256 of the text.'),
    text: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'Project' });

const tags = ['projects'];

/** The documents of projects: every change is shown as a diff and written down. */
export function projectRoutes({ deps, projects, schedules }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;
  return async (app) => {
    app.get(
      '/v1/projects',
      {
        schema: { tags, summary: 'All projects', response: { 200: z.array(Project.omit({ text: true })).readonly() } },
      },
      async () => await listProjects(db),
    );

    app.get(
      '/v1/projects/:project',
      { schema: { tags, summary: 'project.yaml as it is in force', params: ProjectPath, response: { 200: Project } } },
      async (request) => {
        const found = await readProject(db, request.params.project);
        if (found === undefined) throw refuse('NotFound', `There is no project ${request.params.project}.`);
        return found;
      },
    );

    app.get(
      '/v1/projects/:project/revisions',
      {
        schema: {
          tags,
          summary: 'Who changed what, newest first',
          params: ProjectPath,
          response: {
            200: z
              .array(
                z.object({
                  revision: z.number().int(),
                  hash: z.string(),
                  diff: z.string(),
                  by: z.string(),
                  createdAt: z.string(),
                }),
              )
              .readonly(),
          },
        },
      },
      async (request) => await listRevisions(db, request.params.project),
    );

    app.route({
      method: ['PUT', 'POST'],
      url: '/v1/projects/:project',
      config: { role: 'admin' },
      bodyLimit: 4 * largestDocumentBytes,
      schema: {
        tags,
        summary: 'Puts project.yaml in force',
        params: ProjectPath,
        querystring: z.object({
          dryRun: z.enum(['true', 'false']).optional().describe('Only shows what would change.'),
        }),
        body: z.strictObject({ text: z.string() }),
        response: {
          200: z.object({
            revision: z.number().int(),
            changed: z.boolean(),
            diff: z.string().describe('Unified, against the revision before; empty for the first one.'),
          }),
        },
      },
      handler: async (request) => {
        const { project: name } = request.params;
        const { text } = request.body;
        const loaded = loadProject({ file: 'project.yaml', text });
        if (!loaded.ok) throw definitionInvalid(loaded.problems);
        if (loaded.value.project !== name) {
          throw refuse('InvalidInput', `The document is of ${loaded.value.project}, not of ${name}.`);
        }
        const before = await readProject(db, name);
        const diff = before === undefined ? '' : unifiedDiff(before.text, text, 'project.yaml');
        const hash = createHash('sha256').update(text).digest('hex');
        const changed = before?.hash !== hash;
        if (request.query.dryRun === 'true' || !changed) {
          return { revision: before?.revision ?? 0, changed, diff };
        }
        const identity = whoAsks(request);
        await appendAudit(db, {
          actor: identity.name,
          action: 'project.put',
          object: `project/${name}`,
          detail: { token: identity.id, hash, diff },
        });
        const put = await putProject(db, { name, text, hash, diff, by: identity.name });
        projects.forget(name);
        schedules.keep(loaded.value);
        return { ...put, diff };
      },
    });
    await Promise.resolve();
  };
}
