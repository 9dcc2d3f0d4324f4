import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { Activities } from '../../src/activities/contracts.ts';
import { runId } from '../../src/workflows/messages.ts';
import { type World, broken, quietPolicy, stayUntil, twoPeople, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  // The real server, and workers that keep no workflow in memory: every task replays the whole history.
  env = await createWorkflowEnv({ server: 'real', maxCachedWorkflows: 0 });
}, 180_000);

afterAll(() => env.close(), 180_000);

const migration = { name: '002_more.sql', checksum: 'x', kind: 'expand' } as const;

describe('an activity that falls silent', () => {
  test.each<keyof Activities>(['ensureBackup', 'ensureReleaseRunning', 'runMigrations', 'runProbes', 'watchRelease'])(
    '%s, is taken for dead after 3 s and done again',
    async (name) => {
      const { world, given, when } = createScenario(env);
      given.live();
      world.migrations = [migration];
      let first = true;
      // It does not hear that it was given up; it ends with the test, for a worker waits for its activities.
      let wake = (): void => undefined;
      const asleep = new Promise<void>((resolve) => (wake = resolve));
      world.on(name, (async (input: never) => {
        if (first) {
          first = false;
          await asleep;
          throw broken('Cancelled', 'nobody waits for this any more');
        }
        return await env.natural(name)(input, world);
      }) as never);
      try {
        expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
      } finally {
        wake();
      }
      expect(world.calls.filter((call) => call.name === name && call.attempt === 2)).toHaveLength(1);
    },
  );
});

describe('all workers are ended and others begin', () => {
  test.each<keyof Activities>([
    'planDeployment',
    'requestTurn',
    'ensureBackup',
    'ensureReleaseRunning',
    'runMigrations',
    'runProbes',
    'ensureTraffic',
    'watchRelease',
    'settleDeployment',
  ])('in %s, and nobody notices', async (name) => {
    const { world, given, when, then } = createScenario(env);
    given.live();
    world.migrations = [migration];
    const go = given.gate(name);
    const deployment = await when.deploy();
    await then.called(name);
    await env.restartWorkers();
    go();
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.serving(production)).toBe('1.0.1');
    expect(world.outcomesOf(deployment.input)).toEqual(['succeeded']);
    expect(world.violations).toEqual([]);
  });

  test('in the middle of going back, and everything is taken back all the same', async () => {
    const { world, given, when, then } = createScenario(env);
    given.live();
    world.migrations = [migration];
    world.on('watchRelease', () => watched('failed', 'bad'));
    const go = given.gate('ensureDataRolledBack');
    const deployment = await when.deploy();
    await then.called('ensureDataRolledBack');
    await env.restartWorkers();
    go();
    expect(await deployment.result()).toMatchObject({
      outcome: 'rolled-back',
      rollback: { data: { action: 'swapped' } },
    });
    expect(world.serving(production)).toBe('0.9.0');
  });

  test('while people decide, and their word still counts', async () => {
    const { world, when } = createScenario(env);
    world.policy = { ...quietPolicy, approval: twoPeople };
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    expect(await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] })).toBe('1 counted');
    await env.restartWorkers();
    expect(await deployment.decide('approve', { by: 'max', groups: ['devops'] })).toBe('2 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('in a run, and its stage is done again', async () => {
    const { world, given, when, then } = createScenario(env);
    const go = given.gate('runStage');
    const run = await when.push();
    await then.called('runStage');
    await env.restartWorkers();
    go();
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.settledRuns).toHaveLength(1);
  });
});

describe('a run of another project that a stage waits for', () => {
  function createPair(): { readonly front: Scenario; readonly api: World; readonly child: () => WorkflowHandle } {
    const front = createScenario(env);
    const api = env.world();
    const starts = { project: api.project, parameters: {}, wait: true };
    front.world.runPlan = { stages: [{ name: 'contract', steps: [], timeoutMs: 600_000, starts }] };
    return { front, api, child: () => env.client.workflow.getHandle(runId(api.project, 'k1-contract')) };
  }

  test.each<keyof Activities>(['acceptStartedRun', 'runStage'])(
    'is one, although all workers are ended in %s and others begin',
    async (name) => {
      const { front, api } = createPair();
      let open = false;
      const world = name === 'runStage' ? api : front.world;
      world.on(name, (async (input: never) => {
        await stayUntil(() => open);
        return await env.natural(name)(input, world);
      }) as never);
      const run = await front.when.push();
      await env.until(() => world.called(name).length > 0, `${name} to be called`);
      await env.restartWorkers();
      open = true;
      expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
      expect(api.settledRuns).toMatchObject([{ outcome: 'succeeded' }]);
      expect(front.world.settledRuns).toMatchObject([{ outcome: 'succeeded' }]);
    },
  );

  test('is errored when it ends without a word', async () => {
    const { front, api, child } = createPair();
    api.on('runStage', async ({ stage }) => {
      await stayUntil(() => false);
      return {
        name: stage,
        verdict: 'passed' as const,
        steps: [],
        startedAt: '2026-01-01T00:00:00.000Z',
        durationMs: 1,
      };
    });
    const run = await front.when.push();
    await env.until(() => api.called('runStage').length > 0, 'the other run to begin');
    await child().terminate('by hand');
    expect(await run.result()).toMatchObject({
      outcome: 'errored',
      reason: `contract errored: ${api.project}#1 ended without a word.`,
    });
  });
});
