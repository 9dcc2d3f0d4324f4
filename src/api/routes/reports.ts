import { posix } from 'node:path';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type BuildReport, buildReport, coverageOf, reportPageAddress } from '../../domain/build-report.ts';
import { renderBuildReportPage } from '../../domain/build-report-page.ts';
import { renderBuildReport } from '../../domain/build-report-text.ts';
import { evidenceFilesOf, evidencePrefix } from '../../domain/evidence-files.ts';
import { mostTrendRuns, trendRuns } from '../../domain/run-trend.ts';
import { loadProject } from '../../definition/load.ts';
import { readProject } from '../../store/projects.ts';
import { lastReleasedRun, listPages, readGates, readReports, readRunFigures } from '../../store/reports.ts';
import { readRun } from '../../store/runs.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { foreignPageHeaders } from '../foreign-pages.ts';
import { ownPage, ownPageHeaders } from '../own-pages.ts';
import { openingOf } from '../page-links.ts';
import { refuse } from '../problems.ts';
import { addressOf } from './evidence.ts';
import { BuildReportSchema, Name, RunPath } from '../schemas.ts';

const tags = ['runs'];

const PagePath = RunPath.extend({
  stage: Name,
  position: z.coerce.number().int().min(0).max(1_000),
  '*': z.string().min(1).max(1_000),
});

const SignedPath = z.string().describe('To be put behind the address of the API. Whoever has it can read the page.');
const PageLinks = z
  .object({
    until: z.string().describe('ISO 8601, UTC: an hour from now.'),
    report: SignedPath,
    pages: z.array(z.object({ stage: z.string(), path: z.string(), link: SignedPath })).readonly(),
    documentation: z.array(z.object({ stage: z.string(), name: z.string(), link: SignedPath })).readonly(),
  })
  .meta({ id: 'PageLinks' });

const Shown = z.object({
  runs: z.coerce
    .number()
    .int()
    .min(0)
    .max(mostTrendRuns)
    .default(trendRuns)
    .describe(`Runs before it that its trend shows. Default ${trendRuns}.`),
});

/** What a run showed: its report as data and as Markdown, and the pages that its tools made. */
export function reportRoutes({ deps, links, pageRoute }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  /** Of a run that is the first of its ref, those of the release branch say more than nothing. */
  async function earlierRuns(project: string, ref: string, before: number, limit: number) {
    const own = await readRunFigures(db, { project, ref, before, limit });
    if (own.length > 0 || limit === 0) return { ref, runs: own };
    const stored = await readProject(db, project);
    const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
    if (loaded?.ok !== true) return { ref, runs: own };
    const release = `refs/heads/${loaded.value.repository.releaseBranch}`;
    return { ref: release, runs: await readRunFigures(db, { project, ref: release, before, limit }) };
  }

  async function reportOf(project: string, number: number, runs: number): Promise<BuildReport> {
    const run = await readRun(db, project, number);
    if (run === undefined) throw refuse('NotFound', `There is no run ${number} of ${project}.`);
    const before = await lastReleasedRun(db, project, number);
    const [reports, gates, pages, files, released, earlier] = await Promise.all([
      readReports(db, project, number),
      readGates(db, project, number),
      listPages(db, project, number),
      deps.blobs.list(evidencePrefix(project, number)),
      before === undefined ? [] : readReports(db, project, before),
      earlierRuns(project, run.ref, number, runs),
    ]);
    const {
      version,
      ref,
      commit,
      author,
      outcome,
      reason,
      acceptedAt,
      startedAt,
      settledAt,
      images,
      packages,
      documentation,
    } = run;
    const evidence = evidenceFilesOf(project, number, files).map((one) => {
      return { ...one, address: addressOf(project, number, one) };
    });
    return buildReport({
      run: {
        ...{ project, run: number, version, ref, commit, author, outcome, reason, acceptedAt },
        ...{ startedAt, settledAt },
        ...{ images, packages, documentation, evidence },
      },
      stages: run.stages.map(({ name, verdict, durationMs }) => ({ name, verdict, durationMs })),
      planned: run.plan?.stages ?? [],
      reports,
      gates,
      pages,
      coverageBefore: coverageOf(released),
      earlier,
    });
  }

  return async (app) => {
    app.get(
      '/v1/projects/:project/runs/:number/report',
      {
        schema: {
          tags,
          summary: 'What a run showed: tests, coverage, gates, findings, images, times',
          description: '`report.md` and `report.html` are the same as pages. It is whole when the run is over.',
          params: RunPath,
          querystring: Shown,
          response: { 200: BuildReportSchema },
        },
      },
      async (request) => await reportOf(request.params.project, request.params.number, request.query.runs),
    );

    app.get(
      '/v1/projects/:project/runs/:number/report.md',
      { schema: { tags, summary: 'The same as Markdown', params: RunPath, querystring: Shown } },
      async (request, reply) => {
        const report = await reportOf(request.params.project, request.params.number, request.query.runs);
        return await reply
          .type('text/markdown; charset=utf-8')
          .header('x-content-type-options', 'nosniff')
          .send(renderBuildReport(report));
      },
    );

    await pageRoute(app, {
      path: '/v1/projects/:project/runs/:number/report.html',
      tags,
      summary: 'The same as a page for browsers',
      description:
        'Has no scripts. Where it is read by a signed path its links are signed for the same person and as long.',
      params: RunPath,
      own: true,
      answer: async ({ project, number }, request, reply) => {
        const report = await reportOf(project, number, trendRuns);
        const { signedUntil } = request;
        const linkTo = (address: string): string => {
          if (signedUntil === undefined) return address;
          const { opens, rest } = openingOf(address);
          return links.sign(whoAsks(request).id, opens, rest, signedUntil).path;
        };
        const title = `${project} #${number}: ${report.outcome ?? 'running'}`;
        return await reply.headers(ownPageHeaders).send(ownPage(title, renderBuildReportPage(report, linkTo)));
      },
    });

    app.get(
      '/v1/projects/:project/runs/:number/links',
      {
        schema: {
          tags,
          summary: 'Paths by which a browser opens its report, its pages and its documentation for an hour',
          description: 'Signed for the one who asks. Each opens what it names and nothing else.',
          params: RunPath,
          response: { 200: PageLinks },
        },
      },
      async (request) => {
        const { project, number } = request.params;
        const { pages, documentation } = await reportOf(project, number, 0);
        const signed = (address: string): { readonly path: string; readonly until: string } => {
          const { opens, rest } = openingOf(address);
          return links.sign(whoAsks(request).id, opens, rest);
        };
        const { path: report, until } = signed(reportPageAddress({ project, run: number }));
        return {
          until,
          report,
          pages: pages.map(({ address, ...page }) => ({ ...page, link: signed(address).path })),
          documentation: documentation.map(({ address, ...one }) => ({ ...one, link: signed(address).path })),
        };
      },
    );

    await pageRoute(app, {
      path: '/v1/projects/:project/runs/:number/pages/:stage/:position/*',
      tags,
      summary: 'A page that a tool made, such as that of its coverage',
      description: 'Foreign content, in a sandbox: it has an origin of its own and reaches nothing.',
      params: PagePath,
      own: false,
      answer: async ({ project, number, stage, position, '*': wanted }, _, reply) => {
        const pages = (await listPages(db, project, number)).find(
          (one) => one.stage === stage && one.position === position,
        );
        if (pages === undefined) throw refuse('NotFound', `Run ${number} of ${project} has no such page.`);
        const name = posix.normalize(wanted);
        if (name.startsWith('..') || name.startsWith('/')) throw refuse('NotFound', 'There is no such page.');
        const content = await deps.blobs.read(`${pages.prefix}/${name}`);
        return await reply.headers(foreignPageHeaders(name)).send(content);
      },
    });
  };
}
