import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { broken, planOf } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

describe('a forge that is to be told of deployments', () => {
  function told(world: Scenario['world']): readonly (readonly [string, string])[] {
    return world.called('tellDeployment').map(({ input }) => {
      const { state, description } = input as { state: string; description: string };
      return [state, description.split(':', 1)[0]!];
    });
  }

  test('hears what it waits for, that it runs and how it ended, in order, and of the release once', async () => {
    const { world, given, when } = createScenario(env);
    world.on('planDeployment', (input) => ({
      ...planOf(input, world),
      tellsDeployments: true as const,
      releases: true as const,
    }));
    const open = given.gate('ensureReleaseRunning');
    const deployment = await when.deploy({ runKey: 'run' });
    await deployment.until('rolling-out');
    open();
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    const states = told(world).map(([state]) => state);
    expect(states.at(-1)).toBe('success');
    // Never backwards.
    const order = ['waiting', 'running', 'success'];
    expect(states.map((state) => order.indexOf(state))).toEqual(
      states.map((state) => order.indexOf(state)).toSorted((a, b) => a - b),
    );
    expect(states).toContain('running');
    expect(world.called('publishRelease').map(({ input }) => input)).toMatchObject([
      { version: deployment.input.version, runKey: 'run', plan: expect.stringMatching(/./) },
    ]);
  });

  test('hears that nothing of it is live after it was aborted, and there is no release', async () => {
    const { world, given, when, then } = createScenario(env);
    world.on('planDeployment', (input) => ({
      ...planOf(input, world),
      tellsDeployments: true as const,
      releases: true as const,
    }));
    // Never opened, it ends by the abort: a start that goes on may be live and settled before the word has come to the roll-out.
    given.gate('ensureReleaseRunning');
    const deployment = await when.deploy();
    await then.called('ensureReleaseRunning');
    await deployment.abort({ by: 'ada', reason: 'not today' });
    expect(await deployment.result()).toMatchObject({ outcome: 'aborted' });
    expect(told(world).at(-1)).toEqual(['inactive', 'aborted']);
    expect(world.called('publishRelease')).toEqual([]);
  });

  test('costs nothing where it refuses, and hears nothing where nobody asked for it', async () => {
    const { world, when } = createScenario(env);
    const quiet = await when.deploy();
    expect(await quiet.result()).toMatchObject({ outcome: 'succeeded' });
    expect([...world.called('tellDeployment'), ...world.called('publishRelease')]).toEqual([]);
    world.on('planDeployment', (input) => ({
      ...planOf(input, world),
      tellsDeployments: true as const,
      releases: true as const,
    }));
    for (const name of ['tellDeployment', 'publishRelease'] as const) {
      world.on(name, () => {
        throw broken('ForgeRefused', 'may not');
      });
    }
    const told = await when.deploy({ runKey: 'run' });
    expect(await told.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('publishRelease')).toHaveLength(1);
  });

  test('hears after a rollback by hand what serves again and what was left, whatever it says to that', async () => {
    const { world, given, when, then } = createScenario(env);
    given.live();
    world.on('tellDeployment', () => {
      throw broken('ForgeRefused', 'may not');
    });
    await (await when.deploy()).result();
    await when.ask('rollback', { by: 'ops', reason: 'it looks wrong' });
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    const description = 'ops rolled back: it looks wrong';
    // Both are told at once, in any order.
    const told = world.called('tellDeployment').map(({ input }) => input);
    expect(told).toHaveLength(2);
    expect(told).toEqual(
      expect.arrayContaining(
        [
          { deployment: { environment: production, number: 2 }, version: '0.9.0', state: 'success', description },
          { deployment: { environment: production, number: 1 }, version: '1.0.1', state: 'inactive', description },
        ].map((each) => expect.objectContaining({ ...each, deployment: expect.objectContaining(each.deployment) })),
      ),
    );
    expect((await then.view()).hold).toBeNull();
  });
});
