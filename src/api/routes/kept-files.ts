import { pipeline } from 'node:stream/promises';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { type Pack, pack } from 'tar-stream';
import { z } from 'zod';
import type { BlobStore } from '../../providers/blobs/port.ts';
import { type ArtifactRecord, listArtifacts, listCaches, readHitRates } from '../../store/kept-files.ts';
import type { ApiContext } from '../context.ts';
import { refuse } from '../problems.ts';
import { Name, ProjectPath, RunPath } from '../schemas.ts';

const Instant = z.string();
const Artifact = z
  .object({
    project: z.string(),
    run: z.number().int(),
    stage: z.string(),
    name: z.string(),
    sizeBytes: z.number().int(),
    createdAt: Instant,
    expiresAt: Instant,
    files: z.array(z.object({ path: z.string(), sizeBytes: z.number().int(), sha256: z.string() })).readonly(),
  })
  .meta({ id: 'Artifact' });

const CacheList = z
  .object({
    sizeBytes: z.number().int().describe('Of all of them, packed.'),
    hitRatio: z.number().nullable().describe('Share of uses in the last 30 days that found something.'),
    caches: z
      .array(
        z.object({
          project: z.string(),
          scope: z.string().describe('The ref whose runs may write it.'),
          name: z.string(),
          key: z.string(),
          sizeBytes: z.number().int(),
          createdAt: Instant,
          usedAt: Instant,
        }),
      )
      .readonly(),
    uses: z
      .array(
        z.object({
          cache: z.string(),
          uses: z.number().int(),
          exact: z.number().int(),
          fallback: z.number().int(),
          hitRatio: z.number().nullable(),
        }),
      )
      .readonly(),
  })
  .meta({ id: 'Caches' });

const ArtifactPath = RunPath.extend({ stage: Name, name: Name });

/** Whatever a file is, a browser only keeps it: it comes from a repository, and this is the address of the API. */
const asDownload = {
  'content-type': 'application/octet-stream',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'",
} as const;

/** Files that stages have left: artifacts for people, caches for later runs. */
export function keptFileRoutes({ deps }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  async function need(path: {
    readonly project: string;
    readonly number: number;
    readonly stage: string;
    readonly name: string;
  }): Promise<ArtifactRecord> {
    const kept = await listArtifacts(db, path.project, path.number);
    const found = kept.find(({ stage, name }) => stage === path.stage && name === path.name);
    if (found !== undefined) return found;
    throw refuse(
      'NotFound',
      `Run ${path.number} of ${path.project} has no artifact ${path.stage}/${path.name}, or it is over its time.`,
    );
  }

  return async (app) => {
    app.get(
      '/v1/projects/:project/runs/:number/artifacts',
      {
        schema: {
          tags: ['runs'],
          summary: 'Files that its stages have left',
          params: RunPath,
          response: { 200: z.array(Artifact).readonly() },
        },
      },
      async (request) => await listArtifacts(db, request.params.project, request.params.number),
    );

    app.get(
      '/v1/projects/:project/runs/:number/artifacts/:stage/:name',
      { schema: { tags: ['runs'], summary: 'All files of an artifact, as a tar archive', params: ArtifactPath } },
      async (request, reply) => {
        const artifact = await need(request.params);
        return await reply
          .headers({ ...asDownload, 'content-disposition': `attachment; filename="${artifact.name}.tar"` })
          .send(archive(deps.blobs, artifact));
      },
    );

    app.get(
      '/v1/projects/:project/runs/:number/artifacts/:stage/:name/*',
      {
        schema: {
          tags: ['runs'],
          summary: 'One file of an artifact',
          params: ArtifactPath.extend({ '*': z.string().min(1).max(4_096) }),
        },
      },
      async (request, reply) => {
        const artifact = await need(request.params);
        const path = request.params['*'];
        const file = artifact.files.find((each) => each.path === path);
        if (file === undefined) throw refuse('NotFound', `The artifact ${artifact.name} has no file ${path}.`);
        return await reply
          .headers({ ...asDownload, 'content-disposition': 'attachment', 'content-length': file.sizeBytes })
          .send(await deps.blobs.read(file.blob));
      },
    );

    app.get(
      '/v1/projects/:project/caches',
      {
        schema: {
          tags: ['projects'],
          summary: 'Files that stages keep from run to run, and how often they are found',
          params: ProjectPath,
          response: { 200: CacheList },
        },
      },
      async (request) => {
        const { project } = request.params;
        const [caches, uses] = await Promise.all([listCaches(db, project), readHitRates(db, project)]);
        const asked = uses.reduce((sum, each) => sum + each.uses, 0);
        const found = uses.reduce((sum, each) => sum + each.exact + each.fallback, 0);
        return {
          sizeBytes: caches.reduce((sum, each) => sum + each.sizeBytes, 0),
          hitRatio: asked === 0 ? null : found / asked,
          caches,
          uses,
        };
      },
    );
    await Promise.resolve();
  };
}

/** Read as fast as it is sent. */
function archive(blobs: BlobStore, { files, createdAt }: ArtifactRecord): Pack {
  const tar = pack();
  const mtime = new Date(createdAt);
  async function work(): Promise<void> {
    for (const { path, sizeBytes, blob } of files) {
      const entry = tar.entry({ name: path, size: sizeBytes, mode: 0o644, mtime });
      await pipeline(await blobs.read(blob), entry);
    }
    tar.finalize();
  }
  work().catch((error: unknown) => tar.destroy(error as Error));
  return tar;
}
