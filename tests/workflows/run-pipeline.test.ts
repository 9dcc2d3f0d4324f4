import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import type { RunPlan, StagePlan, StageReport } from '../../src/domain/run.ts';
import type { Verdict } from '../../src/domain/verdict.ts';
import { deploymentId } from '../../src/workflows/messages.ts';
import { type World, broken, isOpen, stayUntil } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { until } from '../support/until.ts';
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

  test('publishes when its images are built and before they are pushed, and says so to whoever comes after', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'], publish: ['client', 'wheel'] };
    expect(await (await when.push()).result()).toMatchObject({ reason: expect.stringContaining('2 files published') });
    const names = world.calls.map((call) => call.name);
    expect(names.slice(2, 5)).toEqual(['buildImages', 'publishPackages', 'pushImages']);
    const packages = [{ name: 'client' }, { name: 'wheel' }];
    expect(world.called('pushImages')[0]?.input).toMatchObject({ packages });
    expect(world.called('settleRun')[0]?.input).toMatchObject({ packages });
  });

  test('publishes without an image too, and nothing when a check has failed', async () => {
    const first = createScenario(env);
    first.world.runPlan = { publish: ['wheel'] };
    await (await first.when.push()).result();
    expect(first.world.called('publishPackages')).toHaveLength(1);
    const second = createScenario(env);
    second.world.runPlan = { publish: ['wheel'] };
    second.world.on('runStage', () => reported('failed', 'two tests are red'));
    await (await second.when.push()).result();
    expect(second.world.called('publishPackages')).toHaveLength(0);
  });

  test.each([
    ['PackageTaken', 'failed'],
    ['PackageRefused', 'failed'],
    ['IndexRefused', 'errored'],
  ] as const)('whose publishing ends with %s is %s, at once, and pushes nothing', async (type, outcome) => {
    const { world, when } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'], publish: ['wheel'], environments: ['production'] };
    world.on('publishPackages', () => {
      throw broken(type, 'the index says no');
    });
    const result = await (await when.push()).result();
    expect(result).toEqual({ outcome, reason: expect.stringContaining('the index says no') });
    expect(world.called('publishPackages')).toHaveLength(1);
    expect(world.called('pushImages')).toHaveLength(0);
    expect(world.called('settleRun')[0]?.input).not.toHaveProperty('packages');
  });

  test('whose publishing ends half-way has on its record what had left by then', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { publish: ['client', 'wheel'], environments: ['production'] };
    const published = { package: 'client', file: 'client-1.0.0.tgz', index: 'npm' };
    world.on('publishPackages', () => {
      throw ApplicationFailure.create({
        ...{ type: 'IndexRefused', message: 'the index says no. Not known to be published: app.whl.' },
        ...{ nonRetryable: true, details: [{ published: [published], unpublished: ['app.whl'] }] },
      });
    });
    const result = await (await when.push()).result();
    expect(result).toEqual({
      outcome: 'errored',
      reason: expect.stringContaining('Not known to be published: app.whl.'),
    });
    expect(world.called('settleRun')[0]?.input).toMatchObject({ packages: [published] });
  });

  test.each(['GateBlocked', 'GateErrored', 'BuildFailed', 'ImageVulnerable'] as const)(
    'publishes nothing after %s of its images',
    async (type) => {
      const { world, when } = createScenario(env);
      world.runPlan = { buildImages: 'push', images: ['api'], publish: ['wheel'] };
      world.on('buildImages', () => {
        throw broken(type, 'the images are bad');
      });
      await (await when.push()).result();
      expect(world.called('buildImages')).toHaveLength(1);
      expect(world.called('publishPackages')).toHaveLength(0);
    },
  );

  test('that is aborted while it builds publishes nothing', async () => {
    const { world, when, then } = createScenario(env);
    world.runPlan = { buildImages: 'push', images: ['api'], publish: ['wheel'] };
    world.on('buildImages', async () => {
      await stayUntil(() => false);
      return [];
    });
    const run = await when.push();
    await then.called('buildImages');
    await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'not that one' }] });
    expect(await run.result()).toMatchObject({ outcome: 'aborted' });
    expect(world.called('publishPackages')).toHaveLength(0);
    expect(world.called('pushImages')).toHaveLength(0);
  });

  test('publishes again when the index was away', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { publish: ['wheel'] };
    world.on('publishPackages', (_, at) => {
      if (at.called('publishPackages').length < 3) throw broken('IndexUnavailable', 'it is away', false);
      return [];
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('publishPackages')).toHaveLength(3);
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

  test('whose stage could not be run says so of the stage as well', async () => {
    const { world, when } = createScenario(env);
    world.on('runStage', () => {
      throw broken('ToolMissing', 'the image of the step cannot be had');
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'errored' });
    const stages = [{ name: 'check', verdict: 'errored', detail: 'the image of the step cannot be had' }];
    expect(world.settledRuns).toMatchObject([{ outcome: 'errored', stages }]);
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
    const stages = [{ name: 'check', verdict: 'inconclusive', detail: 'The run was aborted.' }];
    expect(world.settledRuns).toMatchObject([{ outcome: 'aborted', stages }]);
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

  const gone = { queue: 'nobody-polls-this', patienceMs: 300 };
  /** With the patience of the product: a busy machine may be slow to take a stage, and is not gone for that. */
  const there = { queue: 'build' };

  test('begins anew elsewhere when the machine of its checkout is gone', async () => {
    const { world, when } = createScenario(env);
    world.on('prepareRun', async (input) => {
      const plan = await env.natural('prepareRun')(input as never, world);
      const place = world.called('prepareRun').length === 1 ? gone : there;
      return { ...(plan as object), workspace: { ...place, path: '/nowhere' } } as never;
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('prepareRun')).toHaveLength(2);
    expect(world.called('runStage')).toHaveLength(1);
    const why = /^At 20\d\d-\S+ \S+ UTC the machine nobody-polls-this had taken no work for 300 ms\.$/;
    expect(world.called('prepareRun')[0]?.input).not.toHaveProperty('anew');
    expect(world.called('prepareRun')[1]?.input).toMatchObject({
      anew: { checkout: 2, why: expect.stringMatching(why) },
    });
    expect(world.called('recordLostMachine').map(({ input }) => input)).toMatchObject([
      { why: expect.stringMatching(/^At 20.* for 300 ms\. The run begins anew on the next machine that takes it\.$/) },
    ]);
  });

  describe('with stages that need each other', () => {
    const staged = (name: string, more: Partial<StagePlan> = {}): StagePlan => ({
      name,
      steps: ['x'],
      timeoutMs: 60_000,
      ...more,
    });
    const names = (world: World): string[] =>
      world.called('runStage').map(({ input }) => (input as { readonly stage: string }).stage);

    test('starts each as soon as what it needs has ended, and those that need nothing of each other at once', async () => {
      const { world, given, when, then } = createScenario(env);
      world.runPlan = {
        stages: [
          staged('install'),
          staged('lint', { needs: ['install'] }),
          staged('unit', { needs: ['install'] }),
          staged('report', { needs: ['lint', 'unit'] }),
        ],
      };
      const lint = given.gate('runStage', (input: { readonly stage: string }) => input.stage === 'lint');
      const run = await when.push();
      await then.called('runStage', 3);
      expect(names(world)).toEqual(['install', expect.stringMatching(/lint|unit/), expect.stringMatching(/lint|unit/)]);
      lint();
      expect(await run.result()).toMatchObject({ outcome: 'succeeded', reason: '4 stages passed.' });
      expect(names(world).at(-1)).toBe('report');
      expect(world.settledRuns[0]?.stages.map(({ name }) => name)).toEqual(['install', 'lint', 'unit', 'report']);
    });

    test('never runs more at once than it may', async () => {
      const { world, when } = createScenario(env);
      let [running, most] = [0, 0];
      world.runPlan = {
        concurrency: 2,
        stages: ['a', 'b', 'c', 'd', 'e'].map((name) => staged(name, { needs: [] })),
      };
      world.on('runStage', async ({ stage }) => {
        running += 1;
        most = Math.max(most, running);
        const began = Date.now();
        await stayUntil(() => Date.now() - began > 100);
        running -= 1;
        return { ...reported('passed'), name: stage };
      });
      expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
      expect(most).toBe(2);
    });

    test('ends what runs beside a stage that fails, and then runs what runs always and on failure', async () => {
      const { world, when } = createScenario(env);
      let ended = false;
      world.runPlan = {
        stages: [
          staged('unit', { needs: [] }),
          staged('slow', { needs: [] }),
          staged('package'),
          staged('explain', { outcome: 'failure' }),
          staged('clean', { outcome: 'always' }),
        ],
      };
      world.on('runStage', async ({ stage }) => {
        if (stage === 'slow') {
          try {
            await stayUntil(() => false);
          } finally {
            ended = true;
          }
        }
        if (stage === 'unit') await stayUntil(() => names(world).includes('slow'));
        return { ...reported(stage === 'unit' ? 'failed' : 'passed', 'two tests are red'), name: stage };
      });
      const result = await (await when.push()).result();
      expect(result).toEqual({ outcome: 'failed', reason: 'unit failed: two tests are red.' });
      expect(ended).toBe(true);
      expect(names(world).slice(2)).toEqual(['explain', 'clean']);
      expect(world.settledRuns[0]?.stages).toMatchObject([
        { name: 'unit', verdict: 'failed' },
        { name: 'slow', verdict: 'inconclusive', detail: 'Ended because unit failed.' },
        { name: 'explain', verdict: 'passed' },
        { name: 'clean', verdict: 'passed' },
      ]);
    });

    test('with failFast off lets them finish', async () => {
      const { world, when } = createScenario(env);
      world.runPlan = { stages: [staged('unit', { needs: [], failFast: false }), staged('slow', { needs: [] })] };
      world.on('runStage', async ({ stage }) => {
        if (stage === 'slow') await stayUntil(() => world.called('runStage').length === 2);
        return { ...reported(stage === 'unit' ? 'failed' : 'passed'), name: stage };
      });
      expect(await (await when.push()).result()).toMatchObject({ outcome: 'failed' });
      expect(world.settledRuns[0]?.stages).toMatchObject([{ verdict: 'failed' }, { name: 'slow', verdict: 'passed' }]);
    });

    test('cleans up after a stage that could not be judged, and after an abort', async () => {
      const { world, when } = createScenario(env);
      const stages = [staged('unit'), staged('clean', { outcome: 'always' })];
      world.runPlan = { stages };
      world.on('runStage', ({ stage }) => {
        if (stage === 'unit') throw broken('SecretMissing', 'the secret TOKEN is missing');
        return { ...reported('passed'), name: stage };
      });
      expect(await (await when.push()).result()).toEqual({
        outcome: 'errored',
        reason: expect.stringContaining('the secret TOKEN is missing'),
      });
      expect(names(world)).toEqual(['unit', 'clean']);

      const other = createScenario(env);
      other.world.runPlan = { stages };
      other.world.on('runStage', async ({ stage }) => {
        if (stage === 'unit') await stayUntil(() => false);
        return { ...reported('passed'), name: stage };
      });
      const run = await other.when.push();
      await other.then.called('runStage');
      await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'wrong branch' }] });
      expect(await run.result()).toMatchObject({ outcome: 'aborted' });
      expect(names(other.world)).toEqual(['unit', 'clean']);
    });

    test('aborted twice does not wait for the cleaning up either', async () => {
      const { world, when, then } = createScenario(env);
      world.runPlan = { stages: [staged('unit'), staged('clean', { outcome: 'always' })] };
      world.on('runStage', async ({ stage }) => {
        await stayUntil(() => false);
        return { ...reported('passed'), name: stage };
      });
      const run = await when.push();
      await then.called('runStage');
      await run.executeUpdate('abort', { args: [{ by: 'ada' }] });
      await then.called('runStage', 2);
      await run.executeUpdate('abort', { args: [{ by: 'ada' }] });
      expect(await run.result()).toMatchObject({ outcome: 'aborted' });
    });

    test('tells of stages that their condition has kept from running', async () => {
      const { world, when } = createScenario(env);
      world.runPlan = { stages: [staged('unit'), staged('publish', { skip: 'The branch is x, not main.' })] };
      expect(await (await when.push()).result()).toEqual({
        outcome: 'succeeded',
        reason: '1 stage passed, 1 skipped.',
      });
      expect(world.settledRuns[0]?.stages[1]).toMatchObject({
        name: 'publish',
        verdict: 'inconclusive',
        skipped: true,
        detail: 'The branch is x, not main.',
      });
    });

    test('begins anew once, however many of them ran on the machine that is gone', async () => {
      const { world, when } = createScenario(env);
      const stages = ['a', 'b', 'c'].map((name) => staged(name, { needs: [] }));
      world.on('prepareRun', async (input) => {
        const plan = (await env.natural('prepareRun')(input as never, world)) as RunPlan;
        const place = world.called('prepareRun').length === 1 ? gone : there;
        return { ...plan, stages, workspace: { ...place, path: '/nowhere' } };
      });
      expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
      expect(world.called('prepareRun')).toHaveLength(2);
      expect(names(world).sort()).toEqual(['a', 'b', 'c']);
    });
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

describe('a run whose project tells its forge', () => {
  type Told = {
    readonly statuses: readonly { context: string; state: string; description: string }[];
    comment?: { body: string; ofRecord?: true };
  };
  const pullRequest = {
    kind: 'pull-request',
    ref: 'refs/pull/7/head',
    before: '0'.repeat(40),
    after: 'b'.repeat(40),
    author: 'ada',
    pullRequest: 7,
  } as const;
  const told = (inputs: readonly { input: unknown }[]): Told[] => inputs.map(({ input }) => input as Told);

  test('tells every stage and the whole, each change once and in order, and waits for the last word', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsForge: true };
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    const calls = told(world.called('tellForge'));
    const history = (context: string): string[] =>
      calls.flatMap(({ statuses }) =>
        statuses.filter((status) => status.context === context).map(({ state }) => state),
      );
    for (const context of ['slipway', 'slipway/check']) {
      expect(history(context).at(-1)).toBe('success');
      expect(history(context).length).toBe(new Set(history(context)).size);
    }
    expect(calls.every(({ comment }) => comment === undefined)).toBe(true);
  });

  test('leaves nothing pending at the forge when it is aborted, and says nothing after a later word', async () => {
    const { world, when, then } = createScenario(env);
    world.runPlan = { tellsForge: true };
    world.on('runStage', async () => {
      await stayUntil(() => false);
      return reported('passed');
    });
    let aborted = false;
    const heard: Told['statuses'][number][] = [];
    world.on('tellForge', async ({ statuses }) => {
      // The forge is slow: the word that the stage has begun is under way when the abort comes.
      await until(() => aborted, { what: 'the abort' });
      heard.push(...statuses);
    });
    const run = await when.push();
    await then.called('runStage');
    await then.called('tellForge');
    await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'wrong branch' }] });
    aborted = true;
    expect(await run.result()).toMatchObject({ outcome: 'aborted' });
    for (const context of ['slipway', 'slipway/check']) {
      expect(heard.findLast((status) => status.context === context)).toMatchObject({ state: 'error' });
    }
  });

  test('comments its pull request once, at its end, with nothing of the repository as markup', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsForge: true };
    world.on('runStage', () => reported('failed', '@everybody <b>`rm -rf`'));
    const settled = world.settledRuns.length;
    world.on('tellForge', (input) => {
      // What it shows is on record by then.
      if (input.comment !== undefined) expect(world.settledRuns.length).toBe(settled + 1);
    });
    await (await when.push({ event: pullRequest })).result();
    const calls = told(world.called('tellForge'));
    expect(calls.filter(({ comment }) => comment !== undefined)).toHaveLength(1);
    expect(calls.at(-1)).toMatchObject({
      comment: {
        pullRequest: 7,
        ofRecord: true,
        body: expect.stringContaining("`check failed: @everybody <b>'rm -rf'.`"),
      },
    });
    expect(calls.flatMap(({ statuses }) => statuses)).toEqual(
      expect.arrayContaining([expect.objectContaining({ context: 'slipway/check', state: 'failure' })]),
    );
  });

  test.each([
    ['asked to be skipped', 'The commit asks to be skipped.'],
    ['that changes nothing that a route looks at', 'None of the 2 changed paths is one that a route for 7 looks at.'],
  ])('of a pull request %s: its check stays open, and nothing is called a success', async (_, skipped) => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsForge: true, skipped, stages: [] };
    await (await when.push({ event: pullRequest })).result();
    const calls = told(world.called('tellForge'));
    const statuses = calls.flatMap((call) => call.statuses);
    expect(statuses).toEqual([
      { context: 'slipway', state: 'pending', description: `Nothing was run: ${skipped}`, abstains: true },
    ]);
    const comments = calls.flatMap(({ comment }) => (comment === undefined ? [] : [comment.body]));
    expect(comments).toEqual([expect.stringMatching(/^\*\*skipped\*\*: run /)]);
  });

  test('of a branch that is skipped: nothing is told, for its commit may be that of a pull request', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsForge: true, skipped: 'The commit asks to be skipped.', stages: [] };
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('tellForge')).toEqual([]);
  });

  test('of a stage that its condition skips says so, and nothing of it is red', async () => {
    const { world, when } = createScenario(env);
    const condition = 'It is for main only.';
    const docs = { name: 'docs', steps: ['docs'], timeoutMs: 1000, skip: condition };
    const onFailure = { name: 'clean', steps: ['clean'], timeoutMs: 1000, outcome: 'failure' as const };
    const check = { name: 'check', steps: ['check'], timeoutMs: 1000 };
    world.runPlan = { tellsForge: true, stages: [check, docs, onFailure] };
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    const statuses = told(world.called('tellForge')).flatMap((call) => call.statuses);
    const last = (context: string): unknown => statuses.findLast((status) => status.context === context);
    // Another run of the commit may have run it.
    expect(last('slipway/docs')).toMatchObject({
      ...{ state: 'success', description: `skipped: ${condition}`, abstains: true },
    });
    expect(last('slipway/check')).not.toHaveProperty('abstains');
    expect(last('slipway/clean')).toMatchObject({
      state: 'success',
      description: 'skipped: Nothing before it failed.',
    });
    expect(statuses.map(({ state }) => state)).not.toContain('error');
  });

  test('ends as it would have, whatever the forge says', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsForge: true };
    world.on('tellForge', () => {
      throw broken('ForgeRefused', 'no such repository');
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.settledRuns).toMatchObject([{ outcome: 'succeeded' }]);
  });

  test('tells what was found once, after it was written down, and ends as it would have', async () => {
    const { world, when } = createScenario(env);
    world.runPlan = { tellsFindings: true };
    world.on('runStage', () => reported('failed', 'bad'));
    world.on('tellFindings', () => {
      expect(world.settledRuns).toHaveLength(1);
      throw broken('ForgeRefused', 'no issues here');
    });
    expect(await (await when.push()).result()).toMatchObject({ outcome: 'failed' });
    expect(world.called('tellFindings')).toMatchObject([{ input: { ref: 'refs/heads/main' } }]);
  });

  test.each([
    ['DefinitionInvalid', 'failed', 'failure'],
    ['RepositoryRefused', 'errored', 'error'],
    ['WorkspaceLost', 'errored', 'error'],
  ] as const)(
    'that never had a plan (%s) is told with its reason, once it is on record',
    async (type, outcome, state) => {
      const { world, when } = createScenario(env);
      world.on('prepareRun', () => {
        throw ApplicationFailure.create({
          type,
          message: 'slipway.yaml:3: no such step.\nmore of it',
          nonRetryable: true,
        });
      });
      const settled = world.settledRuns.length;
      world.on('tellForge', () => {
        expect(world.settledRuns.length).toBe(settled + 1);
      });
      const run = await when.push({ event: pullRequest });
      expect(await run.result()).toMatchObject({ outcome });
      const [call, ...more] = told(world.called('tellForge'));
      expect(more).toEqual([]);
      expect(call).toMatchObject({
        commit: pullRequest.after,
        runKey: expect.any(String),
        statuses: [
          { context: 'slipway', state, description: expect.stringContaining('slipway.yaml:3: no such step.') },
        ],
        comment: { pullRequest: 7, ofRecord: true },
      });
      expect(call?.statuses[0]?.description).not.toContain('more of it');
    },
  );

  test.each([
    ['by hand, whose answer whoever asked has', undefined, 0],
    [
      'by another project, whose status has a name of its own',
      { project: 'upstream', number: 1, key: 'k', stage: 'downstream', above: [] },
      1,
    ],
  ])('that was refused, started %s', async (_, startedBy, words) => {
    const { world, when } = createScenario(env);
    world.on('prepareRun', () => {
      throw broken('InvalidInput', 'main does not lead to the commit');
    });
    const { before, after, author } = pullRequest;
    const run = await when.push({
      event: { kind: 'manual', ref: 'refs/heads/main', before, after, author },
      ...(startedBy === undefined ? {} : { startedBy }),
    });
    expect(await run.result()).toMatchObject({ outcome: 'failed' });
    expect(world.called('tellForge')).toHaveLength(words);
  });

  test('says nothing where nobody asked for it', async () => {
    const { world, when } = createScenario(env);
    await (await when.push()).result();
    expect(world.called('tellForge')).toEqual([]);
    expect(world.called('tellFindings')).toEqual([]);
  });
});
