import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { broken, planOf, quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  // The test server stands still when three workflows signal each other in a circle, as an abort of such a deployment has them do.
  env = await createWorkflowEnv({ server: 'real' });
}, 180_000);

afterAll(() => env.close(), 180_000);

/** An environment that has had its first turn. */
async function running(): Promise<Scenario> {
  const scenario = createScenario(env);
  await (await scenario.when.deploy()).result();
  await scenario.then.environmentIs((view) => view.current === null, 'the first turn to be over');
  scenario.world.calls.length = 0;
  scenario.world.phases.length = 0;
  return scenario;
}

const hinted = { waitsForNobody: true } as const;

describe('a deployment that waits for nobody', () => {
  test('takes a free turn, and is planned once, with the turn in hand', async () => {
    const { world, when } = await running();
    const deployment = await when.deploy(hinted);
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded', live: { version: '1.0.2' } });
    expect(world.called('planDeployment')).toMatchObject([{ workflowId: deployment.rollOut.workflowId }]);
    expect(world.called('requestTurn')).toEqual([]);
    expect(world.outcomesOf(deployment.input)).toEqual(['succeeded']);
    expect(world.phases.map(({ phase }) => phase)).not.toContain('queued');
    expect(await deployment.view()).toMatchObject({
      plan: { hash: expect.any(String) },
      phase: 'closed',
    });
  });

  test('shows its plan while it is rolled out', async () => {
    const { given, when, then } = await running();
    const watch = given.gate('watchRelease');
    const deployment = await when.deploy(hinted);
    await then.called('watchRelease');
    expect(await deployment.view()).toMatchObject({ phase: 'rolling-out', plan: { risk: expect.anything() } });
    watch();
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('tells its environment how long the release before is kept', async () => {
    const { world, when, then } = await running();
    const keepPreviousMs = 3_600_000;
    world.policy = { ...quietPolicy, limits: { ...quietPolicy.limits, keepPreviousMs } };
    await (await when.deploy(hinted)).result();
    const { retireAt } = await then.environmentIs((view) => view.current === null, 'the turn to be over');
    expect(Date.parse(retireAt ?? '') - Date.now()).toBeLessThanOrEqual(keepPreviousMs);
  });

  test('plans and asks as everybody does where no environment runs yet', async () => {
    const { world, when } = createScenario(env);
    const deployment = await when.deploy(hinted);
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('requestTurn')).toHaveLength(1);
  });

  test('waits behind a turn that is not over, with a plan that everybody can see', async () => {
    const { world, given, when, then } = await running();
    const watch = given.gate('watchRelease');
    const first = await when.deploy();
    await then.called('watchRelease');
    const second = await when.deploy(hinted);
    await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
    expect(await second.view()).toMatchObject({ phase: 'queued', plan: { hash: expect.any(String) } });
    watch();
    expect(await first.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.violations).toEqual([]);
  });

  test('that cannot be planned does not push out one that waits and could be', async () => {
    const { world, given, when, then } = await running();
    world.policy = { ...quietPolicy, queue: { ...quietPolicy.queue, mode: 'supersede' } };
    const watch = given.gate('watchRelease');
    await when.deploy();
    await then.called('watchRelease');
    const good = await when.deploy(hinted);
    await then.environmentIs((view) => view.queue.length === 1, 'the good one to wait');
    const number = world.nextNumber(production);
    world.on('planDeployment', (input) => {
      if (input.number === number) throw broken('GateBlocked', 'a gate is in its way');
      return planOf(input, world);
    });
    expect(await (await when.deploy(hinted)).result()).toMatchObject({ reason: expect.stringContaining('a gate') });
    watch();
    expect(await good.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('waits where the environment is frozen', async () => {
    const { when, then } = await running();
    await when.ask('freeze', { by: 'ada', reason: 'Christmas' });
    const deployment = await when.deploy(hinted);
    await then.environmentIs((view) => view.queue.length === 1, 'it to wait');
    await when.ask('thaw', { by: 'ada' });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('is asked for after all where its plan says that people approve it', async () => {
    const { world, when } = await running();
    world.policy = { ...quietPolicy, approval: twoPeople };
    const deployment = await when.deploy(hinted);
    await deployment.until('awaiting-approval');
    expect(world.called('ensureReleaseRunning')).toEqual([]);
    await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
    await deployment.decide('approve', { by: 'max', groups: ['devops'] });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('requestTurn')).toMatchObject([{ input: { ask: 2, approved: true } }]);
  });

  test.each([
    ['MigrationIncompatible', 'errored'],
    ['SecretMissing', 'failed'],
    ['DatabaseRefused', 'errored'],
  ])('and cannot be planned for %s ends %s, and gives the turn back', async (type, outcome) => {
    const { world, when, then } = await running();
    world.on('planDeployment', (input) => {
      if (input.number === 2) throw broken(type, 'nothing to plan with');
      return planOf(input, world);
    });
    const deployment = await when.deploy(hinted);
    expect(await deployment.result()).toMatchObject({
      outcome,
      reason: expect.stringMatching(/^There is no plan: .*nothing to plan with/),
    });
    expect(await then.environmentIs((view) => view.current === null, 'the turn to be over')).toMatchObject({
      hold: null,
      live: { version: '1.0.1' },
    });
    expect(await (await when.deploy(hinted)).result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('can be aborted while it is planned', async () => {
    const { world, given, when, then } = await running();
    // Never opened, it ends by the abort: a plan that is there may be rolled out before the word has come to the roll-out.
    given.gate('planDeployment');
    const deployment = await when.deploy(hinted);
    await then.called('planDeployment');
    await deployment.abort();
    expect(await deployment.result()).toMatchObject({ outcome: 'aborted' });
    expect(world.called('ensureReleaseRunning')).toEqual([]);
    expect(await then.view()).toMatchObject({ hold: null, live: { version: '1.0.1' } });
  });
});
