import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import type { DeploymentResult, RollbackStep, RollbackStepName } from '../../src/domain/deployment.ts';
import { broken, quietPolicy, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const ops = { by: 'ops', reason: 'users complain' };

/** A release serves, and the watch of the next one fails. */
function bad(): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  scenario.world.policy = quietPolicy;
  scenario.world.on('watchRelease', async () => {
    const decidedAt = new Date(await env.server.currentTimeMs()).toISOString();
    return { ...watched('failed', 'bad'), decidedAt };
  });
  return scenario;
}

/** The first try breaks off, and the next one comes some seconds later. */
function slowIncident({ world }: Scenario, seconds: number): void {
  let calls = 0;
  world.on('openIncident', ({ deployment }) => {
    calls += 1;
    if (calls > 1) return `INC-${deployment.number}`;
    const again = { type: 'StoreUnavailable', message: 'no store', nextRetryDelay: `${seconds} seconds` } as const;
    throw ApplicationFailure.create(again);
  });
}

function stepOf(result: DeploymentResult | undefined, name: RollbackStepName): RollbackStep {
  const step = result?.rollback?.steps.find((one) => one.name === name);
  if (step === undefined) throw new Error(`the report has no step ${name}`);
  return step;
}

describe('the second step of a rollback', () => {
  test('lasts until alert and incident are out, and traffic does not wait for it', async () => {
    const scenario = bad();
    slowIncident(scenario, 20);
    const result = await (await scenario.when.deploy()).resultInTime();
    const initiate = stepOf(result, 'initiate');
    expect(initiate).toMatchObject({ verdict: 'passed', targetMs: 30_000 });
    expect(initiate.durationMs).toBeGreaterThanOrEqual(19_000);
    expect(initiate.detail).toBe('environment locked; incident INC-1; people are told');
    expect(result.rollback?.servingAfterMs).toBeLessThan(10_000);
    expect(stepOf(result, 'verify').durationMs).toBeLessThan(10_000);
  });

  test('fails where the alert cannot be sent, and the rollback does not', async () => {
    const scenario = bad();
    const { world, when } = scenario;
    world.on('sendNotice', (notice) => {
      if (notice.event === 'rollback-triggered') throw broken('Internal', 'no channel');
      world.notices.push(notice);
    });
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'rolled-back' });
    expect(stepOf(result, 'initiate')).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('the alert could not be sent'),
    });
  });

  test('is waited for at the end, but not for ever', async () => {
    const scenario = bad();
    const { world, when } = scenario;
    world.on('sendNotice', (notice) => {
      if (notice.event !== 'rollback-triggered') return;
      throw ApplicationFailure.create({ type: 'Internal', message: 'no answer', nextRetryDelay: '10 minutes' });
    });
    const result = await (await when.deploy()).resultInTime();
    expect(stepOf(result, 'initiate')).toMatchObject({
      verdict: 'failed',
      detail: expect.stringContaining('the alert is still on its way'),
    });
    expect(result.rollback?.totalMs).toBeLessThan(60_000);
  });
});

describe('the last step of a rollback', () => {
  test('is everything that is left: the copy, the word to people, the incident and the turn', async () => {
    const { when } = bad();
    expect(stepOf(await (await when.deploy()).result(), 'clean-up')).toMatchObject({
      verdict: 'passed',
      targetMs: 60_000,
      detail: 'the proof copy is dropped; people are told; incident INC-1 is open; the turn is given back',
    });
  });

  test('lasts as long as that', async () => {
    const scenario = bad();
    slowIncident(scenario, 20);
    const result = await (await scenario.when.deploy()).resultInTime();
    expect(stepOf(result, 'clean-up').durationMs).toBeGreaterThanOrEqual(15_000);
  });

  test('says that the environment is held where it is', async () => {
    const scenario = bad();
    scenario.world.on('ensureReleaseStopped', () => {
      throw broken('EngineRefused', 'no');
    });
    const result = await (await scenario.when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'rollback-failed' });
    expect(stepOf(result, 'clean-up').detail).toMatch(/; the environment is held$/);
  });

  test('of a rollback by hand is measured too', async () => {
    const scenario = bad();
    const { world, when, then } = scenario;
    world.on('watchRelease', () => watched('passed', 'fine'));
    await (await when.deploy()).result();
    slowIncident(scenario, 20);
    const { number } = await when.ask<{ number: number }>('rollback', ops);
    await then.called('openIncident');
    await env.skip(30_000);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    const ref = { project: world.project, environment: production, number };
    await env.until(() => world.resultOf(ref) !== undefined, 'its outcome');
    const initiate = stepOf(world.resultOf(ref), 'initiate');
    expect(initiate.durationMs).toBeGreaterThanOrEqual(19_000);
    expect(initiate.detail).toBe('environment locked; incident INC-2; people are told');
    expect(stepOf(world.resultOf(ref), 'clean-up').detail).toBe(
      'people are told; incident INC-2 is open; the turn is given back',
    );
  });
});
