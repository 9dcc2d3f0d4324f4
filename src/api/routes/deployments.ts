import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { DeploymentPhase, DeploymentRef } from '../../domain/deployment.ts';
import { type DeploymentRecord, listDeployments, readDeployment } from '../../store/deployments.ts';
import { listLogs } from '../../store/logs.ts';
import { readPlan } from '../../store/plans.ts';
import { listSamples } from '../../store/samples.ts';
import { accept, readDecision } from '../../workflows/inbound.ts';
import {
  type DeploymentView,
  approveUpdate,
  deploymentId,
  provableDecision,
  rejectUpdate,
} from '../../workflows/messages.ts';
import { whoAsks } from '../auth.ts';
import type { ApiContext } from '../context.ts';
import { findLogs } from '../log-search.ts';
import { refuse } from '../problems.ts';
import {
  AbortBody,
  ApprovalSchema,
  DecisionBody,
  DeploymentPath,
  DeploymentSchema,
  DeploymentSummarySchema,
  Flag,
  FoundLogSchema,
  LogQuery,
  Name,
  Outcome,
  Paging,
  PlanSchema,
  pageOf,
} from '../schemas.ts';

const tags = ['deployments'];
const base = '/v1/projects/:project/environments/:environment/deployments/:number';
const IdempotencyKey = z.looseObject({ 'idempotency-key': z.string().min(1).max(200).optional() });

/** Deployments: lists, one with its plan and timeline, and what people say to them. */
export function deploymentRoutes({ deps, commands }: ApiContext): FastifyPluginAsyncZod {
  const { db } = deps.store;

  async function need(ref: DeploymentRef): Promise<DeploymentRecord> {
    const deployment = await readDeployment(db, ref);
    if (deployment !== undefined) return deployment;
    throw refuse('NotFound', `There is no deployment ${ref.project}/${ref.environment}/${ref.number}.`);
  }

  return async (app) => {
    app.get(
      '/v1/deployments',
      {
        schema: {
          tags,
          summary: 'Deployments and rollbacks, newest first',
          querystring: Paging.extend({
            project: Name.optional(),
            environment: Name.optional(),
            outcome: Outcome.optional(),
            open: Flag.optional(),
          }),
          response: { 200: pageOf(DeploymentSummarySchema) },
        },
      },
      async (request) => await listDeployments(db, request.query, request.query),
    );

    app.get(
      base,
      {
        schema: {
          tags,
          summary: 'One with its plan, approval, decisions, steps and result',
          params: DeploymentPath,
          response: { 200: DeploymentSchema },
        },
      },
      async (request) => {
        const deployment = await need(request.params);
        const view = deployment.outcome === null ? await commands.viewDeployment(request.params) : undefined;
        return {
          ...withView(deployment, view),
          approval: view?.approval ?? null,
          approvalUntil: view?.approvalUntil ?? null,
        };
      },
    );

    app.get(
      `${base}/plan`,
      {
        schema: {
          tags,
          summary: 'The plan that holds, or the one of a hash',
          params: DeploymentPath,
          querystring: z.object({ hash: z.string().length(64).optional() }),
          response: { 200: PlanSchema },
        },
      },
      async (request) => {
        const plan = await readPlan(db, request.params, request.query.hash);
        if (plan === undefined) throw refuse('NotFound', 'There is no such plan yet.');
        return plan;
      },
    );

    app.get(
      `${base}/logs`,
      {
        schema: {
          tags,
          summary: 'The logs of its stages, or the lines of them that contain a text',
          description:
            'Of `backup`, `migrate`, `start`, `probe`, `switch`, `watch`, `stop` and `restore`, forward and on the way back. Their texts are at /v1/logs/.',
          params: DeploymentPath,
          querystring: LogQuery,
          response: { 200: z.array(FoundLogSchema).readonly() },
        },
      },
      async (request) => await findLogs(deps.logs, await listLogs(db, request.params), request.query),
    );

    app.get(
      `${base}/samples`,
      {
        schema: {
          tags,
          summary: 'What its watch saw',
          params: DeploymentPath,
          response: {
            200: z
              .array(z.object({ at: z.string(), figures: z.record(z.string(), z.number().nullable()).readonly() }))
              .readonly(),
          },
        },
      },
      async (request) => await listSamples(db, request.params),
    );

    for (const [verdict, update] of [
      ['approve', approveUpdate],
      ['reject', rejectUpdate],
    ] as const) {
      app.post(
        `${base}/${verdict}`,
        {
          // Who may decide is for the policy of the environment, by group; the role only says that deciding is what the token is for.
          config: { role: 'approver' },
          schema: {
            tags,
            summary: verdict === 'approve' ? 'Agrees to a plan' : 'Refuses a plan, which ends the deployment',
            params: DeploymentPath,
            headers: IdempotencyKey,
            body: DecisionBody,
            response: { 200: ApprovalSchema },
          },
        },
        async (request) => {
          const identity = whoAsks(request);
          const { plan, comment } = request.body;
          // As the workflow reads it: the proof is of what that one takes.
          const message = accept(readDecision({ by: identity.name, plan, groups: identity.groups, comment }));
          // Who says the same of the same plan again, for the first answer was lost, is given that answer and has decided once.
          const idempotencyKey = request.headers['idempotency-key'] ?? `${verdict}/${identity.id}/${plan}`;
          return await commands.decide(
            update,
            message,
            provableDecision(deploymentId(request.params), verdict, message),
            { identity, action: `deployment.${verdict}`, idempotencyKey },
            () => commands.closedDeployment(request.params),
          );
        },
      );
    }

    app.post(
      `${base}/abort`,
      {
        config: { role: 'operator' },
        schema: {
          tags,
          summary:
            'Ends a deployment, and what it has changed is taken back; a rollback stops where it is, and the environment is held',
          params: DeploymentPath,
          headers: IdempotencyKey,
          body: AbortBody,
          response: { 202: z.object({ accepted: z.literal(true) }) },
        },
      },
      async (request, reply) => {
        const identity = whoAsks(request);
        const { reason, noRollback } = request.body ?? {};
        const answer = await commands.abort(
          request.params,
          {
            by: identity.name,
            ...(reason === undefined ? {} : { reason }),
            ...(noRollback === undefined ? {} : { noRollback }),
          },
          { identity, action: 'deployment.abort', idempotencyKey: request.headers['idempotency-key'] },
        );
        return await reply.code(202).send(answer);
      },
    );
    await Promise.resolve();
  };
}

/** While one of these is said by the roll-out, the workflow of the deployment only waits for it and knows no better. */
const phasesOfTurn: readonly DeploymentPhase[] = [
  'preparing',
  'backing-up',
  'migrating',
  'probing',
  'switching',
  'watching',
  'settling',
  'rolling-back',
];

/** What the workflow says is newer than what has come through the spool, until the roll-out speaks for itself. */
function withView(deployment: DeploymentRecord, view: DeploymentView | undefined): DeploymentRecord {
  if (view === undefined) return deployment;
  const waits = view.phase === 'queued' || view.phase === 'rolling-out';
  return {
    ...deployment,
    phase: waits && phasesOfTurn.includes(deployment.phase) ? deployment.phase : view.phase,
    ...(view.plan === undefined ? {} : { plan: view.plan, planHash: view.plan.hash }),
  };
}
