import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StageReport } from '../../src/domain/run.ts';
import type { Verdict } from '../../src/domain/verdict.ts';
import { deploymentId } from '../../src/workflows/messages.ts';
import { broken, isOpen, stayUntil } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

function reported(verdict: Verdict, detail = ''): StageReport {
  return { name: 'check', verdict, steps: [], startedAt: '2026-01-01T00:00:00.000Z', durationMs: 1, detail };
}

describe('a run', () => {
  test('of one stage without images has three activities in a row, and one beside the last', async () => {
    const { world, when } = createScenario(env);
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    const names = world.calls.map((call) => call.name);
    expect(names.slice(0, 2)).toEqual(['prepareRun', 'runStage']);
    expect(names.slice(2).sort()).toEqual(['releaseWorkspace', 'settleRun']);
  });

  test('builds and pushes where the plan says so, and hands its images to the settling', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api', 'worker'] };
    await (await when.push()).result();
    expect(world.calls.map((call) => call.name)).toEqual(expect.arrayContaining(['buildImages', 'pushImages']));
    expect(world.called('settleRun')[0]?.input).toMatchObject({ images: [{ name: 'api' }, { name: 'worker' }] });
  });

  test('of a pull request builds to see whether it can, and pushes nothing', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'validate', images: ['api'] };
    await (await when.push()).result();
    expect(world.called('buildImages')).toHaveLength(1);
    expect(world.called('pushImages')).toHaveLength(0);
  });

  test.each([
    ['failed', 'failed'],
    ['errored', 'errored'],
  ] as const)('ends %s with its stage, and builds nothing', async (verdict, outcome) => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'], environments: ['production'] };
    world.on('runStage', () => reported(verdict, 'two tests are red'));
    const result = await (await when.push()).result();
    expect(result).toEqual({ outcome, reason: expect.stringContaining('two tests are red') });
    expect(world.called('buildImages')).toHaveLength(0);
    expect(world.settledRuns).toMatchObject([{ outcome, stages: [{ verdict }] }]);
  });

  test('goes on past a stage that only warned', async () => {
    const { world, when } = createScenario(env);
    world.on('runStage', () => reported('inconclusive'));
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
  });

  test.each([
    ['DefinitionInvalid', 'failed'],
    ['CommitNotFound', 'failed'],
    ['ToolMissing', 'errored'],
  ])('that cannot be prepared for %s ends %s and is settled without a plan', async (type, outcome) => {
    const { world, when } = createScenario(env);
    world.on('prepareRun', () => {
      throw broken(type, 'line 3: no such thing');
    });
    const result = await (await when.push()).result();
    expect(result).toEqual({ outcome, reason: expect.stringContaining('line 3: no such thing') });
    expect(world.settledRuns).toHaveLength(1);
    expect(world.called('releaseWorkspace')).toHaveLength(0);
  });

  test('whose build fails carries the last lines of it', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'] };
    world.on('buildImages', () => {
      throw broken('BuildFailed', 'api: COPY failed: no such file');
    });
    const result = await (await when.push()).result();
    expect(result).toEqual({ outcome: 'failed', reason: expect.stringContaining('COPY failed') });
  });

  test('aborted during a stage ends the stage first, then settles as aborted', async () => {
    const { world, when, then } = createScenario(env);
    let ended = false;
    world.on('runStage', async () => {
      try {
        await stayUntil(() => false);
      } finally {
        ended = true;
      }
      return reported('passed');
    });
    const run = await when.push();
    await then.called('runStage');
    await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'wrong branch' }] });
    expect(await run.result()).toEqual({ outcome: 'aborted', reason: 'ada aborted it: wrong branch.' });
    expect(ended).toBe(true);
    expect(world.settledRuns).toMatchObject([{ outcome: 'aborted' }]);
  });

  test('is not aborted any more once it is being settled', async () => {
    const { world, given, when, then } = createScenario(env);
    const settle = given.gate('settleRun');
    const run = await when.push();
    await then.called('settleRun');
    await expect(run.executeUpdate('abort', { args: [{ by: 'ada' }] })).rejects.toMatchObject({
      cause: { type: 'TooLate' },
    });
    settle();
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.settledRuns).toHaveLength(1);
  });

  test('cancelled in Temporal is aborted, not left behind', async () => {
    const { world, when, then } = createScenario(env);
    world.on('runStage', async () => {
      await stayUntil(() => false);
      return reported('passed');
    });
    const run = await when.push();
    await then.called('runStage');
    await run.cancel();
    expect(await run.result()).toMatchObject({ outcome: 'aborted' });
  });

  test('does a stage again whose worker died', async () => {
    const { world, when } = createScenario(env);
    world.on('runStage', () => {
      if (world.called('runStage').length === 1) throw broken('WorkerLost', 'gone', false);
      return reported('passed');
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('prepareRun')).toHaveLength(1);
    expect(world.called('runStage')).toHaveLength(2);
  });

  test('begins anew elsewhere when the machine of its checkout is gone', async () => {
    const { world, when } = createScenario(env);
    world.on('prepareRun', async (input) => {
      const plan = await env.natural('prepareRun')(input as never, world);
      const queue = world.called('prepareRun').length === 1 ? 'nobody-polls-this' : 'build';
      return { ...(plan as object), workspace: { queue, path: '/nowhere', patienceMs: 300 } } as never;
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('prepareRun')).toHaveLength(2);
    expect(world.called('runStage')).toHaveLength(1);
  });

  test('starts one deployment for each environment of its route and does not wait for them', async () => {
    const { world, given, when } = createScenario(env);
    world.runPlan = { environments: ['staging', 'production'] };
    const plan = given.gate('planDeployment');
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    const ids = ['staging', 'production'].map((environment) =>
      deploymentId({ project: world.project, environment, number: 1 }),
    );
    for (const id of ids) expect(await isOpen(env.client, id)).toBe(true);
    plan();
    for (const id of ids) {
      expect(await env.client.workflow.getHandle(id).result()).toMatchObject({ outcome: 'succeeded' });
    }
  });

  test('says where it is to who asks', async () => {
    const { given, when, then } = createScenario(env);
    const check = given.gate('runStage');
    const run = await when.push();
    await then.called('runStage');
    expect(await run.query('run')).toMatchObject({ phase: 'checking', plan: { version: '1.0.1' } });
    check();
    await run.result();
    expect(await run.query('run')).toMatchObject({ phase: 'closed', stages: [{ name: 'check' }] });
  });

  test('can be found by its phase, which makes an event and no task of its own', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'] };
    const run = await when.push();
    await run.result();
    const events = (await run.fetchHistory()).events ?? [];
    const phases = events.flatMap(({ upsertWorkflowSearchAttributesEventAttributes: upsert }) => {
      const data = upsert?.searchAttributes?.indexedFields?.['SlipwayPhase']?.data;
      return data === undefined || data === null ? [] : [JSON.parse(Buffer.from(data).toString()) as string];
    });
    expect(phases).toEqual(['checking', 'building', 'pushing', 'settling', 'closed']);
    // One for each activity in a row and one for the start; two end beside each other.
    const tasks = events.filter((event) => Boolean(event.workflowTaskCompletedEventAttributes));
    expect(tasks.length).toBeLessThanOrEqual(1 + world.calls.length);
  });
});
