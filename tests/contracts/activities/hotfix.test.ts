import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createForgeActivities } from '../../../src/activities/forges.ts';
import { createRunFactActivities } from '../../../src/activities/run-facts.ts';
import type { DeploymentInput } from '../../../src/domain/deployment.ts';
import type { RunPlan } from '../../../src/domain/run.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { openRun } from '../../../src/store/runs.ts';
import { deploymentId, mergeBackId, runId } from '../../../src/workflows/messages.ts';
import { projectYaml } from '../../support/api.ts';
import { planOf, quietPolicy, twoPeople } from '../../support/fake-activities.ts';
import { type StandIn, startGithubStandIn } from '../../support/forge-stand-ins.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../../support/workflow-env.ts';
import { createScenario } from '../../support/workflow-env-scenario.ts';

/** Workflows on a real Temporal, what a run leads to in a real store, and a forge that is asked over HTTP; only the targets are nothing. */
let env: WorkflowEnv;
let store: TestStore;
let forge: StandIn;

beforeAll(async () => {
  [env, store, forge] = await Promise.all([
    createWorkflowEnv({ server: 'real' }),
    temporaryStore(),
    startGithubStandIn(),
  ]);
}, 120_000);
afterAll(async () => {
  await env.close();
  await store.drop();
  await forge.close();
  expect(forge.violations).toEqual([]);
}, 60_000);

const nothing = (): never => {
  throw new Error('nothing of it is asked here');
};

test('a hotfix goes to staging, waits for people, goes to production, and is asked back into both branches', async () => {
  const { world } = createScenario(env);
  const { project } = world;
  const api = `{ url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }`;
  const text = projectYaml(project).replace('kind: github\n', `kind: github\n    api: ${api}\n`);
  await putProject(store.db, { name: project, text, hash: 'h', diff: '', by: 'ada' });
  const runs = createRunFactActivities({
    store,
    sendNotice: () => Promise.resolve(),
    blobs: { read: nothing },
    freeTurn: () => Promise.resolve(),
  });
  const forges = createForgeActivities({
    store,
    repositories: {
      ...{ ensureCommit: nothing, compare: nothing, changedPaths: nothing, listTree: nothing, readFile: nothing },
      resolveRef: () => Promise.resolve('d'.repeat(40)),
    },
    readSecret: () => Promise.resolve(forge.token),
    settings: { publicUrl: 'https://slipway.example.com' },
  });
  world.runPlan = {
    environments: ['staging', 'production'],
    urgency: { priority: 'hotfix', emergency: true },
  };
  world.on('prepareRun', async (input) => {
    const natural = (await env.natural('prepareRun')(input as never, world)) as RunPlan;
    return { ...natural, run: await openRun(store.db, input) };
  });
  world.on('settleRun', async (settle) => {
    const settled = await runs.settleRun(settle);
    for (const deployment of settled.deployments) world.open(deployment.environment, deployment);
    return settled;
  });
  // What a plan says by the priority and the environment has its own tests, beside this one.
  world.on('planDeployment', (input) => {
    const production = input.environment === 'production';
    const policy = production ? { ...quietPolicy, approval: twoPeople } : { ...quietPolicy, production };
    return { ...planOf(input, world), policy, ...(production ? { mergesBack: true as const } : {}) };
  });
  world.on('mergeBack', (asked) => forges.mergeBack(asked));

  const { input } = await acceptRun(store.db, {
    project,
    key: 'fix',
    event: {
      ...{ kind: 'push', ref: 'refs/heads/hotfix/login', before: '0'.repeat(40), after: 'c'.repeat(40), author: 'eve' },
    },
    acceptedAt: new Date().toISOString(),
  });
  await env.client.workflow.execute('runPipeline', {
    workflowId: runId(project, input.key),
    taskQueue: 'orchestration',
    args: [input],
  });
  const production = env.client.workflow.getHandle(deploymentId({ project, environment: 'production', number: 1 }));
  const waiting = await until(
    async () => {
      const view = await production.query<{ readonly phase: string; readonly plan?: { readonly hash: string } }>(
        'deployment',
      );
      return view.phase === 'awaiting-approval' ? view : undefined;
    },
    { what: 'production to wait for people' },
  );
  expect(world.outcomesOf({ project, environment: 'staging', number: 1 })).toEqual(['succeeded']);
  expect(forge.pullRequests).toEqual([]);
  for (const [by, group] of [
    ['ada', 'tech-lead'],
    ['bob', 'devops'],
  ]) {
    await production.executeUpdate('approve', { args: [{ by, groups: [group], plan: waiting.plan?.hash }] });
  }
  expect(await production.result()).toMatchObject({ outcome: 'succeeded' });
  await env.client.workflow.getHandle(mergeBackId({ project, environment: 'production', number: 1 })).result();
  expect(world.serving('production')).toBe(world.serving('staging'));

  const planned = world.called('planDeployment').map((one) => one.input as DeploymentInput);
  expect(new Set(planned.map(({ environment }) => environment))).toEqual(new Set(['staging', 'production']));
  for (const one of planned) expect(one).toMatchObject({ priority: 'hotfix', emergency: true, runKey: 'fix' });
  expect(forge.pullRequests.map(({ from, into }) => [from, into])).toEqual([
    ['hotfix/login', 'main'],
    ['hotfix/login', 'develop'],
  ]);
}, 60_000);
