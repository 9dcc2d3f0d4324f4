import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { RunPlan, StagePlan, StageReport } from '../../src/domain/run.ts';
import type { RunStart } from '../../src/domain/run-start.ts';
import { runId } from '../../src/workflows/messages.ts';
import { type World, broken, stayUntil } from '../support/fake-activities.ts';
import { until } from '../support/until.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

interface Pair {
  readonly front: Scenario;
  readonly api: World;
  readonly stage: StagePlan;
}

/** Two projects: a stage of the first starts a run of the second. */
function createPair(more: Partial<RunStart> = {}, timeoutMs = 3_600_000): Pair {
  const front = createScenario(env);
  const api = env.world();
  const starts: RunStart = { project: api.project, parameters: { suite: 'all' }, wait: true, ...more };
  const stage: StagePlan = { name: 'contract', steps: [], timeoutMs, starts };
  front.world.runPlan = { stages: [stage] };
  return { front, api, stage };
}

function child(api: World): WorkflowHandle {
  return env.client.workflow.getHandle(runId(api.project, 'k1-contract'));
}

function report(verdict: StageReport['verdict'], detail: string): StageReport {
  return { name: 'check', verdict, steps: [], startedAt: '2026-01-01T00:00:00.000Z', durationMs: 1, detail };
}

describe('a stage that starts a run of another project', () => {
  test('asks for it once, with its parameters, and passes with it', async () => {
    const { front, api } = createPair();
    expect(await (await front.when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(front.world.called('acceptStartedRun').map(({ input }) => input)).toMatchObject([
      { stage: 'contract', starts: { parameters: { suite: 'all' } }, by: { key: 'k1' } },
    ]);
    expect(front.world.called('runStage')).toHaveLength(0);
    expect(api.settledRuns).toMatchObject([{ outcome: 'succeeded' }]);
    expect(front.world.settledRuns[0]?.stages).toMatchObject([
      { name: 'contract', verdict: 'passed', detail: `${api.project}#1 succeeded: 1 stage passed.` },
    ]);
  });

  test('says what it has started to who asks', async () => {
    const { front, api } = createPair();
    let open = false;
    api.on('runStage', async () => {
      await stayUntil(() => open);
      return report('passed', '');
    });
    const run = await front.when.push();
    await until(() => api.called('runStage').length > 0, { what: 'the other run to begin' });
    expect(await run.query('run')).toMatchObject({
      starts: [{ stage: 'contract', project: api.project, number: 1 }],
    });
    open = true;
    await run.result();
  });

  test.each([
    ['failed', 'failed', 'failed'],
    ['errored', 'errored', 'ended errored'],
  ] as const)('is %s when that run is', async (verdict, outcome, words) => {
    const { front, api } = createPair();
    api.on('runStage', () => report(verdict, 'the contract is broken'));
    expect(await (await front.when.push()).result()).toEqual({
      outcome,
      reason: `contract ${verdict}: ${api.project}#1 ${words}: check ${verdict}: the contract is broken.`,
    });
  });

  test('that does not wait passes as soon as it has begun', async () => {
    const { front, api } = createPair({ wait: false });
    let open = false;
    api.on('runStage', async () => {
      await stayUntil(() => open);
      return report('passed', '');
    });
    expect(await (await front.when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(front.world.settledRuns[0]?.stages).toMatchObject([{ detail: `${api.project}#1 has begun.` }]);
    expect((await child(api).describe()).status.name).toBe('RUNNING');
    open = true;
    expect(await child(api).result()).toMatchObject({ outcome: 'succeeded' });
  });

  test.each([
    ['NotAllowed', 'failed'],
    ['InvalidInput', 'failed'],
    ['RepositoryRefused', 'errored'],
  ] as const)('that may not or cannot, for %s, is %s and says why', async (type, outcome) => {
    const { front } = createPair();
    front.world.on('acceptStartedRun', () => {
      throw broken(type, 'its startedBy does not say so');
    });
    expect(await (await front.when.push()).result()).toEqual({
      outcome,
      reason: expect.stringContaining('its startedBy does not say so'),
    });
    expect(front.world.settledRuns[0]?.stages).toMatchObject([{ name: 'contract', verdict: outcome }]);
  });

  test('waits no longer than it may, and ends what it has waited for', async () => {
    const { front, api } = createPair({}, 1_500);
    api.on('runStage', async () => {
      await stayUntil(() => false);
      return report('passed', '');
    });
    const run = await front.when.push();
    await until(() => api.called('runStage').length > 0, { what: 'the other run to begin' });
    expect(await run.result()).toMatchObject({
      outcome: 'errored',
      reason: `contract errored: ${api.project}#1 did not end within 1.5 s, and was aborted.`,
    });
    expect(await child(api).result()).toMatchObject({
      outcome: 'aborted',
      reason: expect.stringContaining('stage contract aborted it: it was waited for'),
    });
  });

  test.each([
    ['waited for ends', true, 'aborted'],
    ['not waited for goes on', false, 'succeeded'],
  ])('is aborted: what is %s', async (_, wait, outcome) => {
    const { front, api, stage } = createPair({ wait });
    front.world.runPlan = { stages: [stage, { name: 'later', steps: ['x'], timeoutMs: 60_000 }] };
    let open = false;
    front.world.on('runStage', async () => {
      await stayUntil(() => false);
      return report('passed', '');
    });
    api.on('runStage', async () => {
      await stayUntil(() => open);
      return report('passed', '');
    });
    const run = await front.when.push();
    await until(() => api.called('runStage').length > 0, { what: 'the other run to begin' });
    if (!wait) await front.then.called('runStage');
    await run.executeUpdate('abort', { args: [{ by: 'ada' }] });
    expect(await run.result()).toMatchObject({ outcome: 'aborted' });
    open = !wait;
    expect(await child(api).result()).toMatchObject({ outcome });
  });

  test('ends it when a stage beside it fails', async () => {
    const { front, api, stage } = createPair();
    front.world.runPlan = {
      stages: [
        { ...stage, needs: [] },
        { name: 'unit', steps: ['x'], timeoutMs: 60_000, needs: [] },
      ],
    };
    api.on('runStage', async () => {
      await stayUntil(() => false);
      return report('passed', '');
    });
    front.world.on('runStage', async () => {
      await stayUntil(() => api.called('runStage').length > 0);
      return { ...report('failed', 'two tests are red'), name: 'unit' };
    });
    expect(await (await front.when.push()).result()).toMatchObject({ outcome: 'failed' });
    expect(await child(api).result()).toMatchObject({ outcome: 'aborted' });
  });

  test('goes on with what it has started when the checkout begins anew elsewhere', async () => {
    const { front, api, stage } = createPair();
    let open = false;
    api.on('runStage', async () => {
      await stayUntil(() => open);
      return report('passed', '');
    });
    const unit: StagePlan = { name: 'unit', steps: ['x'], timeoutMs: 60_000, needs: [] };
    front.world.on('prepareRun', async (input) => {
      const plan = (await env.natural('prepareRun')(input as never, front.world)) as RunPlan;
      const first = front.world.called('prepareRun').length === 1;
      open = !first;
      const queue = first ? 'nobody-polls-this' : 'build';
      return {
        ...plan,
        stages: [{ ...stage, needs: [] }, unit],
        workspace: { queue, path: '/nowhere', patienceMs: 2_000 },
      };
    });
    expect(await (await front.when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(front.world.called('prepareRun')).toHaveLength(2);
    expect(front.world.called('acceptStartedRun')).toHaveLength(1);
    expect(api.settledRuns).toMatchObject([{ outcome: 'succeeded' }]);
  });

  test('waits for one that the API has begun before it could', async () => {
    const { front, api } = createPair();
    front.world.on('acceptStartedRun', async (asked, world) => {
      const accepted = (await env.natural('acceptStartedRun')(asked as never, world)) as { readonly input: object };
      await env.client.workflow.start('runPipeline', {
        workflowId: runId(api.project, 'k1-contract'),
        taskQueue: 'orchestration',
        args: [accepted.input],
      });
      return accepted as never;
    });
    expect(await (await front.when.push()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(front.world.settledRuns[0]?.stages).toMatchObject([
      { detail: `${api.project}#1 succeeded: 1 stage passed.` },
    ]);
    expect(api.settledRuns).toHaveLength(1);
  });
});
