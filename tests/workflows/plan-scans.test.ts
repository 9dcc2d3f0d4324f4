import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PlanInput } from '../../src/activities/contracts.ts';
import type { Plan } from '../../src/domain/plan.ts';
import { broken } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

/** Scans are too old until somebody has looked the images up again; then they hold, or the release is refused. */
function withOldScans(): Scenario & { readonly inputs: PlanInput[] } {
  const scenario = createScenario(env);
  const inputs: PlanInput[] = [];
  scenario.world.on('planDeployment', (input): Plan => {
    const asked = input;
    inputs.push(asked);
    const plan = env.natural('planDeployment')(input as never, scenario.world) as Plan;
    const isDue = scenario.world.called('renewScans').length === 0 || asked.scanProblems?.['web'] !== undefined;
    if (isDue && asked.renewsScans !== true)
      throw broken('ScanErrored', `too old; ${asked.scanProblems?.['web'] ?? ''}`);
    return isDue ? { ...plan, scansDue: ['web'] } : plan;
  });
  return { ...scenario, inputs };
}

describe('scans of a release that are too old', () => {
  test('are made again once, and the release goes where it was to go', async () => {
    const { world, when, inputs } = withOldScans();
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('renewScans').map(({ input }) => input)).toEqual([
      { project: result.project, version: '1.0.1', images: ['web'] },
    ]);
    expect(inputs.slice(0, 2).map(({ renewsScans, scanProblems }) => ({ renewsScans, scanProblems }))).toEqual([
      { renewsScans: true, scanProblems: undefined },
      { renewsScans: undefined, scanProblems: {} },
    ]);
  });

  test('that cannot be made again are for the plan to judge, with the reason', async () => {
    const { world, when } = withOldScans();
    world.on('renewScans', () => ({ web: 'there is no osv-scanner' }));
    expect(await (await when.deploy()).result()).toMatchObject({
      reason: expect.stringContaining('too old; there is no osv-scanner') as unknown,
    });
    expect(world.called('ensureReleaseRunning')).toEqual([]);
  });

  test('that nobody could be asked for are no reason to go on', async () => {
    const { world, when } = withOldScans();
    world.on('renewScans', () => {
      throw broken('StoreUnavailable', 'the store is away');
    });
    expect(await (await when.deploy()).result()).toMatchObject({
      reason: expect.stringContaining('the store is away') as unknown,
    });
    expect(world.called('ensureReleaseRunning')).toEqual([]);
  });
});

test('scans that hold are not asked for again', async () => {
  const { world, when } = createScenario(env);
  expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
  expect(world.called('renewScans')).toEqual([]);
});
