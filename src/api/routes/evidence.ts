import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type EvidenceFile, evidenceFilesOf, evidencePrefix } from '../../domain/evidence-files.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { EvidenceFileSchema, Name, RunPath } from '../schemas.ts';

const tags = ['runs'];

const FilePath = RunPath.extend({ image: Name, file: z.string().min(1).max(100) });

/** What is known of the images of a run, as files: bills of materials, scans, and what was attested of how they were made. */
export function evidenceRoutes({ deps, pageRoute }: ApiContext): FastifyPluginAsyncZod {
  async function listOf(project: string, run: number): Promise<readonly EvidenceFile[]> {
    return evidenceFilesOf(project, run, await deps.blobs.list(evidencePrefix(project, run)));
  }

  return async (app) => {
    app.get(
      '/v1/projects/:project/runs/:number/evidence',
      {
        config: { role: 'viewer' },
        schema: {
          tags,
          summary: 'Bills of materials, scans and provenance of its images, as files',
          description: 'Kept as long as the run is, and as what a live, previous or good release was made of.',
          params: RunPath,
          response: { 200: z.array(EvidenceFileSchema).readonly() },
        },
      },
      async (request) => {
        const { project, number } = request.params;
        return (await listOf(project, number)).map((one) => ({ ...one, address: addressOf(project, number, one) }));
      },
    );

    await pageRoute(app, {
      path: '/v1/projects/:project/runs/:number/evidence/:image/:file',
      tags,
      summary: 'One of these files',
      description: 'To be kept, not shown. A browser gets it as it gets pages, from the link in the report.',
      params: FilePath,
      own: false,
      answer: async ({ project, number, image, file }, _, reply) => {
        // By the list, so that no name leads anywhere else.
        const found = (await listOf(project, number)).find((one) => one.image === image && one.file === file);
        if (found === undefined) {
          throw refuse(
            'NotFound',
            `Run ${number} of ${project} has no ${file} of ${image}, or it is not kept any more.`,
          );
        }
        return await reply
          .headers({
            'content-type': 'application/octet-stream',
            'content-disposition': `attachment; filename="${image}.${file}"`,
            'content-length': found.sizeBytes,
            'x-content-type-options': 'nosniff',
            'content-security-policy': "sandbox; default-src 'none'",
          })
          .send(await deps.blobs.read(`${evidencePrefix(project, number)}/${image}/${file}`));
      },
    });
  };
}

/** Path of the API by which a file is had. */
export function addressOf(project: string, run: number, { image, file }: EvidenceFile): string {
  return `/v1/projects/${project}/runs/${run}/evidence/${image}/${file}`;
}
