import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { temporal } from '@temporalio/proto';
import { deploymentId, environmentId, provableDecision, rolloutId } from '../../src/workflows/messages.ts';
import { quietPolicy, stayUntil, twoPeople, watched } from '../support/fake-activities.ts';
import { testProofs } from '../support/proofs.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { createScenario, production } from '../support/workflow-env-scenario.ts';

/** Events and bytes of a run and its deployment together, everything that is written for them included. */
const budget = { events: 600, bytes: 1_000_000 };

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv({ server: 'real' });
}, 180_000);

afterAll(() => env.close(), 180_000);

test('a run with images and a deployment with backup, migration, approval by two and a 30-minute watch stays within its history', async () => {
  const { world, given, when } = createScenario(env);
  given.live();
  world.runPlan = {
    environments: [production],
    buildImages: 'push',
    images: ['api', 'worker'],
    stages: ['lint', 'test', 'integration'].map((name) => ({ name, steps: ['one', 'two'], timeoutMs: 60_000 })),
  };
  world.migrations = [{ name: '002_more.sql', checksum: 'x', kind: 'expand' }];
  // A clock that runs 600 times as fast: who waits asks again after 1 s instead of 10 min, and the watch takes 3 s. An activity that
  // heartbeats cannot take part in skipped time, for its heartbeat would be overdue.
  world.policy = { ...quietPolicy, approval: twoPeople, queue: { ...quietPolicy.queue, askAgainMs: 1_000 } };
  world.on('watchRelease', async () => {
    const began = performance.now();
    await stayUntil(() => performance.now() - began > 3_000);
    return watched('passed', 'no band was crossed');
  });
  const run = await when.push();
  await run.result();
  const ref = { project: world.project, environment: production, number: 1 };
  const deployment = env.client.workflow.getHandle(deploymentId(ref));
  for (const by of ['tech-lead', 'devops']) {
    await env.until(async () => {
      const view = await deployment.query<{ phase: string; plan?: { hash: string } }>('deployment');
      if (view.phase !== 'awaiting-approval') return false;
      const words = { by, groups: [by], plan: view.plan?.hash ?? '' };
      const proof = testProofs.prove(provableDecision(deployment.workflowId, 'approve', words));
      await deployment.executeUpdate('approve', { args: [{ ...words, proof }] });
      return true;
    }, `the word of ${by}`);
  }
  expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  let events = 0;
  let bytes = 0;
  for (const id of [run.workflowId, deploymentId(ref), rolloutId(ref), environmentId(ref.project, production)]) {
    const history = await env.client.workflow.getHandle(id).fetchHistory();
    events += history.events?.length ?? 0;
    bytes += temporal.api.history.v1.History.encode(history).finish().byteLength;
  }
  process.stdout.write(`history of run and deployment: ${String(events)} events, ${String(bytes)} bytes\n`);
  expect(events).toBeLessThan(budget.events);
  expect(bytes).toBeLessThan(budget.bytes);
});
