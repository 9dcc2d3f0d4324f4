/** Lists of deployments, as GitHub and GitLab have them (docs.github.com REST, deployments; docs.gitlab.com, deployments API). */
import { z } from 'zod';
import type { Asked, Endpoint, Shared } from './forge-stand-ins.ts';
import { githubBody, githubQuery, gitlabFields } from './published-requests.ts';

const number = z.coerce.number().int();

export function githubDeployments(known: Shared, repository: string): readonly Endpoint[] {
  const made: { readonly id: number; readonly sha: string; readonly environment: string; readonly payload: unknown }[] =
    [];
  const statuses = new Map<number, { readonly state: string; readonly description: string }[]>();
  return [
    {
      method: 'GET',
      path: new RegExp(`${repository}/deployments$`),
      query: githubQuery('repos/list-deployments')({
        sha: z.string().optional(),
        ref: z.string().optional(),
        task: z.string().optional(),
        environment: z.string().optional(),
        per_page: number.max(100).optional(),
        page: number.optional(),
      }),
      answer: ({ query }) => [
        200,
        made.filter(({ sha, environment }) => sha === query.get('sha') && environment === query.get('environment')),
      ],
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/deployments$`),
      body: githubBody('repos/create-deployment')({
        ref: z.string(),
        task: z.string().optional(),
        auto_merge: z.boolean().optional(),
        required_contexts: z.array(z.string()).optional(),
        payload: z.union([z.record(z.string(), z.unknown()), z.string()]).optional(),
        environment: z.string().optional(),
        description: z.string().nullish(),
        transient_environment: z.boolean().optional(),
        production_environment: z.boolean().optional(),
      }),
      answer({ body }) {
        const {
          ref,
          environment = 'production',
          payload,
        } = body as { ref: string; environment?: string; payload?: unknown };
        const one = { id: made.length + 1, sha: ref, environment, payload };
        made.push(one);
        return [201, one];
      },
    },
    {
      method: 'GET',
      path: new RegExp(`${repository}/deployments/(\\d+)/statuses$`),
      query: githubQuery('repos/list-deployment-statuses')({
        per_page: number.max(100).optional(),
        page: number.optional(),
      }),
      // The newest first.
      answer: ({ params }) => [200, [...(statuses.get(Number(params[0])) ?? [])].reverse()],
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/deployments/(\\d+)/statuses$`),
      body: githubBody('repos/create-deployment-status')({
        state: z.enum(['error', 'failure', 'inactive', 'in_progress', 'queued', 'pending', 'success']),
        target_url: z.url().optional(),
        log_url: z.url().optional(),
        description: z.string().max(140).optional(),
        environment: z.string().optional(),
        environment_url: z.url().optional(),
        auto_inactive: z.boolean().optional(),
      }),
      answer({ params, body }) {
        const id = Number(params[0]);
        const deployment = made.find((one) => one.id === id);
        if (deployment === undefined) return [404, { message: 'Not Found' }];
        const { state, description = '' } = body as { state: string; description?: string };
        statuses.set(id, [...(statuses.get(id) ?? []), { state, description }]);
        const key = (deployment.payload as { slipway: string }).slipway;
        known.deployments.set(key, [...(known.deployments.get(key) ?? []), state]);
        return [201, { id: 1, state, description }];
      },
    },
  ];
}

const over = ['success', 'failed', 'canceled'];

export function gitlabDeployments(
  known: Shared,
  project: string,
  fields: (asked: Asked) => Record<string, unknown>,
): readonly Endpoint[] {
  const made: { readonly id: number; readonly sha: string; readonly environment: string; status: string }[] = [];
  const note = ({ environment, sha, status }: (typeof made)[number]): void => {
    const key = `${environment}/${sha}`;
    known.deployments.set(key, [...(known.deployments.get(key) ?? []), status]);
  };
  return [
    {
      method: 'GET',
      path: new RegExp(`${project}/deployments$`),
      query: gitlabFields('Deployments.all')({
        order_by: z.enum(['id', 'iid', 'created_at', 'updated_at', 'ref']).optional(),
        sort: z.enum(['asc', 'desc']).optional(),
        environment: z.string().optional(),
        status: z.enum(['created', 'running', 'success', 'failed', 'canceled', 'blocked']).optional(),
        page: number.optional(),
        per_page: number.max(100).optional(),
        pagination: z.enum(['keyset', 'offset']).optional(),
      }),
      answer: ({ query }) => [
        200,
        made.filter(({ environment }) => environment === query.get('environment')).toReversed(),
      ],
    },
    {
      method: 'POST',
      path: new RegExp(`${project}/deployments$`),
      body: gitlabFields('Deployments.create')({
        environment: z.string(),
        sha: z.string(),
        ref: z.string(),
        tag: z.boolean(),
        status: z.enum(['running', 'success', 'failed', 'canceled']),
      }),
      answer(asked) {
        const { environment, sha, status } = fields(asked) as Record<string, string>;
        const one = { id: made.length + 1, sha: sha ?? '', environment: environment ?? '', status: status ?? '' };
        made.push(one);
        note(one);
        return [201, one];
      },
    },
    {
      method: 'PUT',
      path: new RegExp(`${project}/deployments/(\\d+)$`),
      body: gitlabFields('Deployments.edit')({ status: z.enum(['running', 'success', 'failed', 'canceled']) }),
      answer(asked) {
        const one = made.find(({ id }) => id === Number(asked.params[0]));
        if (one === undefined) return [404, { message: '404 Not found' }];
        if (over.includes(one.status)) return [400, { message: 'Status cannot transition' }];
        one.status = String(fields(asked)['status']);
        note(one);
        return [200, one];
      },
    },
  ];
}
