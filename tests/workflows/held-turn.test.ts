import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  // The real server: the time-skipping one loses a workflow's task that is under way while its clock jumps to the expiry.
  env = await createWorkflowEnv({ server: 'real' });
}, 180_000);

afterAll(() => env.close(), 180_000);

test('a turn that is held while people decide goes to the next when their time is over', async () => {
  const { world, when, then } = createScenario(env);
  const rules = [{ group: 'devops', count: 1 }];
  world.policy = { ...quietPolicy, approval: { ...twoPeople, turn: 'hold', rules, timeoutMs: 4_000 } };
  const first = await when.deploy({ runNumber: 12 });
  await first.until('awaiting-approval');
  world.policy = quietPolicy;
  const second = await when.deploy();
  await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
  expect(await first.result()).toMatchObject({
    outcome: 'expired',
    reason: expect.stringContaining(`\`slipway rerun ${world.project}#12 --from-approval\``),
  });
  expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
  expect(world.outcomesOf(first.input)).toEqual(['expired']);
});
