import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { routesOf } from '../../definition/routes.ts';
import { runKeyOf } from '../../definition/run-key.ts';
import { routeEvent } from '../../domain/routing.ts';
import type { SourceEvent } from '../../domain/run.ts';
import { appendAudit } from '../../store/audit.ts';
import { acceptRun } from '../../store/inbox.ts';
import { listLogs } from '../../store/logs.ts';
import { readRelease } from '../../store/releases.ts';
import { type RunRecord, listRuns, readRun } from '../../store/runs.ts';
import { readStages } from '../../store/stages.ts';
import type { Identity } from '../../store/tokens.ts';
import { accept, readAllow } from '../../workflows/inbound.ts';
import { abortRunUpdate, allowRunUpdate, provableWord, runId } from '../../workflows/messages.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { findLogs } from '../log-search.ts';
import { openedBy } from '../page-links.ts';
import { refuse } from '../problems.ts';
import {
  AbortBody,
  AllowBody,
  Flag,
  FoundLogSchema,
  LogQuery,
  Name,
  Paging,
  ProjectPath,
  RunBody,
  RunOutcome,
  RunPath,
  RunSchema,
  RunSummarySchema,
  StageSchema,
  pageOf,
} from '../schemas.ts';

const tags = ['runs'];
/** Lines that one search answers with, and those of one log. Judgement: nobody reads more. */
const noCommit = '0'.repeat(40);
const Started = z.object({
  run: z.object({ project: z.string(), number: z.number().int(), key: z.string(), id: z.string() }),
  created: z.boolean().describe('False when the same key had asked for it before.'),
});
type Started = z.output<typeof Started>;

/** Runs: lists, one with everything, starting and stopping them by hand. */
export function runRoutes({ deps, projects, starter, commands }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  async function need(path: { readonly project: string; readonly number: number }): Promise<RunRecord> {
    const run = await readRun(db, path.project, path.number);
    if (run === undefined) throw refuse('NotFound', `There is no run ${path.number} of ${path.project}.`);
    return run;
  }

  async function begin(
    identity: Identity,
    asked: {
      readonly project: string;
      readonly key: string;
      readonly event: SourceEvent;
      readonly release?: string | undefined;
      readonly parameters?: Readonly<Record<string, string>> | undefined;
      readonly checksOnly?: true | undefined;
    },
  ): Promise<Started> {
    const { project, key, event, release, parameters, checksOnly } = asked;
    await appendAudit(db, {
      actor: identity.name,
      action: 'run.start',
      object: runId(project, key),
      detail: { token: identity.id, event, release: release ?? null, parameters: parameters ?? null },
    });
    const accepted = await acceptRun(db, {
      project,
      key,
      event,
      acceptedAt: new Date().toISOString(),
      requestedBy: identity.name,
      ...(release === undefined ? {} : { release }),
      ...(parameters === undefined ? {} : { parameters }),
      ...(checksOnly === undefined ? {} : { checksOnly }),
    });
    const known = accepted.input;
    const isOther = known.event.ref !== event.ref || known.event.after !== event.after || known.release !== release;
    if (isOther || !isDeepStrictEqual(known.parameters ?? {}, parameters ?? {})) {
      throw refuse(
        'Conflict',
        `The idempotency key was used for another run, number ${accepted.number} of ${project}.`,
      );
    }
    if (!accepted.started) starter.run(known);
    return { run: { project, number: accepted.number, key, id: runId(project, key) }, created: accepted.created };
  }

  return async (app) => {
    app.get(
      '/v1/runs',
      {
        schema: {
          tags,
          summary: 'Runs, newest first',
          querystring: Paging.extend({
            project: Name.optional(),
            ref: z.string().optional(),
            outcome: RunOutcome.optional(),
            open: Flag.optional(),
          }),
          response: { 200: pageOf(RunSummarySchema) },
        },
      },
      async (request) => await listRuns(db, request.query, request.query),
    );

    app.get(
      '/v1/projects/:project/runs/:number',
      {
        config: { pageInstead: (params) => openedBy('/v1/projects/:project/runs/:number/report.html', params) },
        schema: {
          tags,
          summary: 'One run with everything',
          description: 'A browser without a token is sent to the page that shows what the run has shown.',
          params: RunPath,
          response: { 200: RunSchema },
        },
      },
      async (request) => await need(request.params),
    );

    app.get(
      '/v1/projects/:project/runs/:number/stages',
      { schema: { tags, summary: 'Its stages', params: RunPath, response: { 200: z.array(StageSchema).readonly() } } },
      async (request) => await readStages(db, request.params.project, request.params.number),
    );

    app.get(
      '/v1/projects/:project/runs/:number/logs',
      {
        schema: {
          tags,
          summary: 'Its logs, or the lines of them that contain a text',
          params: RunPath,
          querystring: LogQuery,
          response: { 200: z.array(FoundLogSchema).readonly() },
        },
      },
      async (request) => {
        const { project, number } = request.params;
        return await findLogs(deps.logs, await listLogs(db, { project, run: number }), request.query);
      },
    );

    app.post(
      '/v1/projects/:project/runs',
      {
        config: { role: 'developer' },
        schema: {
          tags,
          summary: 'Starts a run by hand',
          params: ProjectPath,
          headers: z.looseObject({ 'idempotency-key': z.string().min(1).max(200).optional() }),
          body: RunBody,
          response: { 202: Started },
        },
      },
      async (request, reply) => {
        const { project: name } = request.params;
        const { ref, release, parameters } = request.body;
        const identity = whoAsks(request);
        const project = await projects.read(name);
        const after = (request.body.commit ?? (await resolve(name, ref))).toLowerCase();
        const event: SourceEvent = { kind: 'manual', ref, before: noCommit, after, author: identity.name };
        // Its commit may have others for those that are not given.
        const known = { values: parameters ?? {}, complete: false };
        const decision = routeEvent(event, routesOf(project.definition), undefined, known);
        if (decision.kind === 'ignored') throw refuse('InvalidInput', decision.why);
        if (release !== undefined && (await readRelease(db, name, release)) === undefined) {
          throw refuse('NotFound', `There is no release ${release} of ${name}.`);
        }
        const given = request.body.idempotencyKey ?? request.headers['idempotency-key'] ?? randomUUID();
        return await reply
          .code(202)
          .send(await begin(identity, { project: name, key: runKeyOf(given), event, release, parameters }));
      },
    );

    app.post(
      '/v1/projects/:project/runs/:number/rerun',
      {
        config: { role: 'developer' },
        schema: {
          tags,
          summary: 'Does a run again, from its start or from approval with what it had built',
          params: RunPath,
          headers: z.looseObject({ 'idempotency-key': z.string().min(1).max(200).optional() }),
          body: z.strictObject({ from: z.enum(['start', 'approval']).default('start') }).nullish(),
          response: { 202: Started },
        },
      },
      async (request, reply) => {
        const run = await need(request.params);
        const from = request.body?.from ?? 'start';
        const { project, version, input } = run;
        if (from === 'approval' && (version === null || (await readRelease(db, project, version)) === undefined)) {
          throw refuse(
            'Conflict',
            `Run ${run.number} of ${project} has recorded no release; do it again from its start.`,
          );
        }
        const given = request.headers['idempotency-key'] ?? randomUUID();
        const release = from === 'approval' ? (version ?? undefined) : input.release;
        // What was to deploy nothing deploys nothing when it is done again: that was its project's word, not the caller's.
        const { event, parameters, checksOnly } = input;
        const again = { project, key: runKeyOf(given), event, release, parameters, checksOnly };
        const started = await begin(whoAsks(request), again);
        return await reply.code(202).send(started);
      },
    );

    app.post(
      '/v1/projects/:project/runs/:number/abort',
      {
        config: { role: 'developer' },
        schema: {
          tags,
          summary: 'Ends a run',
          params: RunPath,
          body: AbortBody,
          response: { 202: z.object({ accepted: z.literal(true) }) },
        },
      },
      async (request, reply) => {
        const run = await need(request.params);
        const identity = whoAsks(request);
        const answer = await commands.tell(
          runId(run.project, run.key),
          abortRunUpdate,
          { by: identity.name, ...request.body },
          { identity, action: 'run.abort' },
          () => closed(request.params),
        );
        return await reply.code(202).send(answer);
      },
    );

    app.post(
      '/v1/projects/:project/runs/:number/allow',
      {
        config: { role: 'approver' },
        schema: {
          tags,
          summary: 'Lets the run of a pull request from a fork go on, for the commit that is named',
          params: RunPath,
          body: AllowBody,
          response: { 202: z.object({ accepted: z.literal(true) }) },
        },
      },
      async (request, reply) => {
        const run = await need(request.params);
        const identity = whoAsks(request);
        const word = accept(readAllow({ by: identity.name, commit: request.body.commit }));
        const answer = await commands.decide(
          allowRunUpdate,
          word,
          provableWord(runId(run.project, run.key), word),
          { identity, action: 'run.allow' },
          () => closed(request.params),
        );
        return await reply.code(202).send(answer);
      },
    );
    await Promise.resolve();
  };

  /** Why a run takes no command any more. */
  async function closed(path: { readonly project: string; readonly number: number }): Promise<never> {
    const { project, number, outcome, reason } = await need(path);
    if (outcome === null) throw refuse('Conflict', `Run ${number} of ${project} is not running yet.`);
    throw refuse('TooLate', `Run ${number} of ${project} has ended ${outcome}: ${reason ?? ''}`);
  }

  async function resolve(project: string, ref: string): Promise<string> {
    if (deps.resolveRef === undefined) {
      throw refuse(
        'InvalidInput',
        'This installation cannot look at repositories; say which commit of the ref to run.',
      );
    }
    return await deps.resolveRef(project, ref);
  }
}
