import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { type Pack, pack } from 'tar-stream';
import { z } from 'zod';
import { documentationAddress } from '../../domain/documentation.ts';
import type { BlobStore } from '../../providers/blobs/port.ts';
import {
  type ArtifactRecord,
  type KeptArtifactRow,
  listArtifacts,
  listCaches,
  readHitRates,
} from '../../store/kept-files.ts';
import type { ApiContext } from '../context.ts';
import { foreignPageHeaders } from '../foreign-pages.ts';
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
    address: z
      .string()
      .nullable()
      .describe('Path of the first page of its documentation; null where it is just files.'),
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
export function keptFileRoutes({ deps, pageRoute }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  async function need(path: {
    readonly project: string;
    readonly number: number;
    readonly stage: string;
    readonly name: string;
  }): Promise<KeptArtifactRow> {
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
      async (request) => {
        const { project, number: run } = request.params;
        const kept = await listArtifacts(db, project, run);
        return kept.map(({ entry, ...artifact }) => ({
          ...artifact,
          address: entry === null ? null : documentationAddress({ project, run }, { ...artifact, entry }),
        }));
      },
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

    await pageRoute(app, {
      path: '/v1/projects/:project/runs/:number/documentation/:stage/:name/*',
      tags: ['runs'],
      summary: 'A page of documentation that a stage has generated',
      description: 'Foreign content, in a sandbox: it has an origin of its own and reaches nothing.',
      params: ArtifactPath.extend({ '*': z.string().min(1).max(4_096) }),
      own: false,
      answer: async (params, _, reply) => {
        const artifact = await need(params);
        const { entry, files } = artifact;
        if (entry === null) throw refuse('NotFound', `The artifact ${artifact.name} is no documentation.`);
        const path = posix.join(posix.dirname(entry), params['*']);
        const file = files.find((each) => each.path === path);
        if (file === undefined) throw refuse('NotFound', `The documentation ${artifact.name} has no such page.`);
        return await reply
          .headers({ ...foreignPageHeaders(path), 'content-length': file.sizeBytes })
          .send(await deps.blobs.read(file.blob));
      },
    });

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
