import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Activities } from '../../src/activities/contracts.ts';
import { type FakeState, broken, quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

/** A release serves; the next brings infrastructure along, and two people are asked. */
function withInfrastructure(turn: 'release' | 'hold' = 'release'): Scenario & { readonly infrastructure: FakeState } {
  const scenario = createScenario(env);
  scenario.given.live();
  const infrastructure: FakeState = { state: 'before', wanted: 'queue.orders', made: 0, plans: new Map() };
  scenario.world.infrastructure = infrastructure;
  scenario.world.policy = { ...quietPolicy, approval: { ...twoPeople, turn } };
  return { ...scenario, infrastructure };
}

function names(scenario: Scenario, ...wanted: readonly (keyof Activities)[]): readonly string[] {
  return scenario.world.calls.map(({ name }) => name).filter((name) => wanted.includes(name));
}

async function approve(deployment: Awaited<ReturnType<Scenario['when']['deploy']>>): Promise<void> {
  await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
  await deployment.decide('approve', { by: 'max', groups: ['devops'] });
}

describe('infrastructure', () => {
  test('is planned with the deployment, asked for with it, and applied as approved before the release starts', async () => {
    const scenario = withInfrastructure();
    const { world, when, infrastructure } = scenario;
    const deployment = await when.deploy();
    const { plan } = await deployment.until('awaiting-approval');
    const saved = infrastructure.plans.get(deployment.input.number)?.plan;
    expect(saved).toMatch(/^[0-9a-f]{64}$/);
    expect(plan?.infrastructure).toMatchObject({ plan: saved, summary: { changes: [{ address: 'queue.orders' }] } });
    expect(plan?.identity.infrastructure).toEqual({ kind: 'terraform', plan: saved });
    await env.until(() => world.notices.length > 0, 'the notice');
    expect(world.notices[0]?.lines).toContainEqual('infrastructure: 1 to create; never taken back by itself');
    expect(world.called('applyInfrastructure')).toEqual([]);
    await approve(deployment);
    const result = await deployment.result();
    expect(result).toMatchObject({ outcome: 'succeeded' });
    expect(result.steps[1]).toMatchObject({
      name: 'infrastructure',
      verdict: 'passed',
      detail: 'applied: 1 to create',
    });
    expect(world.called('applyInfrastructure').map(({ input }) => input)).toMatchObject([
      { plan: saved, version: '1.0.1' },
    ]);
    expect(infrastructure.state).toBe('queue.orders');
    expect(names(scenario, 'ensureBackup', 'applyInfrastructure', 'ensureReleaseRunning')).toEqual([
      'ensureBackup',
      'applyInfrastructure',
      'ensureReleaseRunning',
    ]);
  });

  test.each(['release', 'hold'] as const)(
    'whose state changed after the approval is planned again and asked for again; the old word does not count (turn: %s)',
    async (turn) => {
      const { world, when, infrastructure } = withInfrastructure(turn);
      const deployment = await when.deploy();
      const first = (await deployment.until('awaiting-approval')).plan?.hash;
      await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
      infrastructure.state = 'somebody was here';
      await deployment.decide('approve', { by: 'max', groups: ['devops'] });
      await env.until(async () => {
        const view = await deployment.view();
        return view.phase === 'awaiting-approval' && view.plan?.hash !== first;
      }, 'the approval of another plan');
      const again = await deployment.view();
      expect(world.called('applyInfrastructure')).toEqual([]);
      expect(again.approval?.counted).toEqual([]);
      await approve(deployment);
      expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
      expect(infrastructure.state).toBe('queue.orders');
    },
  );

  test('whose state changes at the last moment is not applied: nothing is changed, and the reason says what to do', async () => {
    const { world, when, infrastructure } = withInfrastructure();
    world.on('ensureBackup', (input) => {
      infrastructure.state = 'somebody was here';
      return env.natural('ensureBackup')(input as never, world) as never;
    });
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await approve(deployment);
    expect(await deployment.result()).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining('the saved plan is stale') as unknown,
    });
    expect(infrastructure.state).toBe('somebody was here');
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.called('ensureReleaseRunning')).toEqual([]);
  });

  test('that the tool refuses to apply fails the release, and says that what was applied stays', async () => {
    const { world, when } = withInfrastructure();
    world.on('applyInfrastructure', () => {
      throw broken('InfrastructureFailed', 'the quota is full');
    });
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await approve(deployment);
    const { outcome, reason } = await deployment.result();
    expect(outcome).toBe('failed');
    expect(reason).toContain('the quota is full');
    expect(reason).toContain('The infrastructure that was applied stays');
    expect(world.serving(production)).toBe('0.9.0');
  });

  test('stays when the release is rolled back, and the report says so', async () => {
    const { world, when, infrastructure } = withInfrastructure();
    world.on('runProbes', (input) => {
      const report = env.natural('runProbes')(input as never, world) as Awaited<ReturnType<Activities['runProbes']>>;
      return (input.version === '0.9.0' ? report : { ...report, verdict: 'failed' }) as never;
    });
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await approve(deployment);
    const result = await deployment.result();
    expect(result.outcome).toBe('failed');
    expect(result.rollback?.steps.find(({ name }) => name === 'clean-up')?.detail).toContain(
      'The infrastructure that was applied stays',
    );
    expect(infrastructure.state).toBe('queue.orders');
  });

  test('with nothing to change is not applied at all', async () => {
    const { world, when } = withInfrastructure();
    world.on('planDeployment', (input) => {
      const plan = env.natural('planDeployment')(input as never, world) as Awaited<
        ReturnType<Activities['planDeployment']>
      >;
      const { summary, ...rest } = plan.infrastructure!;
      const nothing = summary && { ...summary, changes: [], counts: { ...summary.counts, create: 0 } };
      return { ...plan, infrastructure: { ...rest, ...(nothing && { summary: nothing }) } };
    });
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await approve(deployment);
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('applyInfrastructure')).toEqual([]);
  });

  test('that cannot be planned ends the deployment before anybody is asked', async () => {
    const { world, when } = withInfrastructure();
    world.on('ensureInfrastructurePlan', () => {
      throw broken('InfrastructureLocked', 'ada@laptop holds the lock 4711');
    });
    const deployment = await when.deploy();
    expect(await deployment.result()).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining('holds the lock 4711') as unknown,
    });
    expect(world.notices).toEqual([]);
  });
});

describe('a saved plan', () => {
  const ended = (scenario: Scenario): number => scenario.world.called('ensurePlansDiscarded').length;

  test('is gone when its deployment was rejected, expired or aborted', async () => {
    for (const how of ['rejected', 'expired', 'aborted'] as const) {
      const scenario = withInfrastructure();
      const { when, infrastructure } = scenario;
      const deployment = await when.deploy();
      await deployment.until('awaiting-approval');
      expect(infrastructure.plans.size).toBe(1);
      if (how === 'rejected') await deployment.decide('reject', { by: 'lin', groups: ['tech-lead'] });
      if (how === 'aborted') await deployment.abort();
      const result = how === 'expired' ? deployment.resultInTime() : deployment.result();
      expect(await result).toMatchObject({ outcome: how });
      expect(infrastructure.plans.size).toBe(0);
      expect(ended(scenario)).toBe(1);
    }
  });

  test('is gone when it was applied, and when it could not be', async () => {
    for (const refuses of [false, true]) {
      const scenario = withInfrastructure();
      if (refuses) {
        scenario.world.on('applyInfrastructure', () => {
          throw broken('InfrastructureFailed', 'the quota is full');
        });
      }
      const deployment = await scenario.when.deploy();
      await deployment.until('awaiting-approval');
      await approve(deployment);
      expect(await deployment.result()).toMatchObject({ outcome: refuses ? 'failed' : 'succeeded' });
      expect(scenario.infrastructure.plans.size).toBe(0);
    }
  });

  test('is gone when another plan could not be made after it', async () => {
    const scenario = withInfrastructure();
    const { world, when, infrastructure } = scenario;
    world.on('ensureInfrastructurePlan', (input) => {
      env.natural('ensureInfrastructurePlan')(input as never, world);
      throw broken('InfrastructureFailed', 'no such queue');
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'failed' });
    expect(infrastructure.plans.size).toBe(0);
  });

  test('that cannot be removed makes no other outcome of it, and does not keep it open', async () => {
    const scenario = withInfrastructure();
    scenario.world.on('ensurePlansDiscarded', () => {
      throw broken('InfrastructureFailed', 'the cloud says no');
    });
    const deployment = await scenario.when.deploy();
    await deployment.until('awaiting-approval');
    await approve(deployment);
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(ended(scenario)).toBe(1);
  });
});

test('without infrastructure nothing of it is asked', async () => {
  const { world, when } = createScenario(env);
  await (await when.deploy()).result();
  expect(
    (['ensureInfrastructurePlan', 'applyInfrastructure', 'ensurePlansDiscarded'] as const).flatMap((name) =>
      world.called(name),
    ),
  ).toEqual([]);
});
