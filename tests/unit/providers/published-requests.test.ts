import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { githubBody, githubQuery, gitlabFields } from '../../support/published-requests.ts';

const state = z.enum(['error', 'failure', 'pending', 'success']);

test('a schema that is held to the type of the client is strict', () => {
  const schema = githubBody('repos/create-commit-status')({ state, context: z.string().optional() });
  expect(schema.safeParse({ state: 'success', context: 'slipway' }).success).toBe(true);
  expect(schema.safeParse({ state: 'success', target: 'x' }).success).toBe(false);
  expect(schema.safeParse({ context: 'slipway' }).success).toBe(false);
});

test('what the clients do not know fails the type check', () => {
  const refused = [
    // @ts-expect-error -- the field is `description`
    githubBody('repos/create-commit-status')({ state, descripton: z.string().optional() }),
    // @ts-expect-error -- `state` is demanded
    githubBody('repos/create-commit-status')({ context: z.string().optional() }),
    // @ts-expect-error -- and may not be left out
    githubBody('repos/create-commit-status')({ state: state.optional() }),
    // @ts-expect-error -- no state of GitHub
    githubBody('repos/create-commit-status')({ state: z.enum(['passed']) }),
    // @ts-expect-error -- a text here
    githubBody('pulls/create')({ head: z.number(), base: z.string() }),
    // @ts-expect-error -- the parameter is `per_page`
    githubQuery('pulls/list')({ perPage: z.coerce.number().optional() }),
    // @ts-expect-error -- GitLab has it in snake case
    gitlabFields('Commits.editStatus')({ state: z.enum(['failed']), targetUrl: z.string().optional() }),
    // @ts-expect-error -- no state of GitLab
    gitlabFields('Commits.editStatus')({ state: z.enum(['failure']) }),
    // @ts-expect-error -- `ref` and `tag` are demanded
    gitlabFields('Deployments.create')({ environment: z.string(), sha: z.string() }),
    // @ts-expect-error -- the parameter is `source_branch`
    gitlabFields('MergeRequests.all')({ source_branches: z.string().optional() }),
  ];
  expect(refused).toHaveLength(10);
});
