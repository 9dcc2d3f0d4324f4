import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import type { AuditReport } from '../../domain/audit-report.ts';
import { renderAuditReport } from '../../domain/audit-report-text.ts';
import { ProviderError } from '../../domain/failures.ts';
import { readAuditReport } from '../../store/audit-report.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { Name } from '../schemas.ts';

const Moment = z
  .string()
  .refine((value) => /^\d{4}-\d{2}-\d{2}/.test(value) && !Number.isNaN(Date.parse(value)), {
    error: 'must be a day or a moment in ISO 8601, such as `2026-11-01`',
  })
  .transform((value) => new Date(value).toISOString());
const Period = z.object({
  project: Name.optional(),
  since: Moment.describe('From then on.'),
  until: Moment.describe('Before this. Default: now.').optional(),
});
/** What lists hold is for `src/domain/audit-report.ts` to say. */
const Report = z.looseObject({ since: z.string(), until: z.string() }) as unknown as z.ZodType<AuditReport>;
const KeptPath = z.object({
  project: Name,
  // As `reportAudit` names them.
  file: z.string().regex(/^\d{8}T\d{6}Z\.(?:json|md)$/),
});

/** Reports of who did and decided what in a period: made now, or kept by their schedule. */
export function auditReportRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const read = async (period: z.output<typeof Period>): Promise<AuditReport> => {
    const until = period.until ?? new Date().toISOString();
    if (until <= period.since) throw refuse('InvalidInput', 'The end of the period is not after its beginning.');
    return await readAuditReport(deps.store.db, { ...period, until });
  };
  return async (app) => {
    app.get(
      '/v1/audit/report',
      {
        config: { role: 'operator' },
        schema: {
          tags: ['audit'],
          summary: 'Who did and decided what in a period, and what was lived with',
          description: '`report.md` is the same as a page.',
          querystring: Period,
          response: { 200: Report },
        },
      },
      async (request) => await read(request.query),
    );

    app.get(
      '/v1/audit/report.md',
      {
        config: { role: 'operator' },
        schema: { tags: ['audit'], summary: 'The same as Markdown', querystring: Period },
      },
      async (request, reply) =>
        await reply
          .type('text/markdown; charset=utf-8')
          .header('x-content-type-options', 'nosniff')
          .send(renderAuditReport(await read(request.query))),
    );

    app.get(
      '/v1/projects/:project/audit-reports/:file',
      {
        config: { role: 'operator' },
        schema: {
          tags: ['audit'],
          summary: 'A report that was made by schedule, as JSON or Markdown',
          description: 'What there is, `GET /v1/upkeep/rounds?kind=audit` tells.',
          params: KeptPath,
        },
      },
      async (request, reply) => {
        const { project, file } = request.params;
        try {
          const kept = await text(await deps.blobs.read(`audit/${project}/${file}`));
          return await reply
            .type(file.endsWith('.md') ? 'text/markdown; charset=utf-8' : 'application/json; charset=utf-8')
            .header('x-content-type-options', 'nosniff')
            .send(kept);
        } catch (error) {
          if (error instanceof ProviderError && error.type === 'NotFound') {
            throw refuse('NotFound', `There is no report ${file} of ${project}.`);
          }
          throw error;
        }
      },
    );
    await Promise.resolve();
  };
}
