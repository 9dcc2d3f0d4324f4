import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { PlanPolicy } from '../../src/domain/plan.ts';
import { environmentId, rollbackId } from '../../src/workflows/messages.ts';
import { broken, quietPolicy, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const minuteMs = 60_000;
const ops = { by: 'ops', reason: 'users complain' };
/** Sessions may go on for long, the service ends slowly, and it starts slowly. */
const patient: PlanPolicy['limits'] = {
  readyMs: 12 * minuteMs,
  settleMs: 21 * minuteMs,
  stopGraceMs: 7 * minuteMs,
  drainMs: 20 * minuteMs,
  keepPreviousMs: 300,
};

function serving(policy: Partial<PlanPolicy> = {}): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  scenario.world.policy = { ...quietPolicy, ...policy };
  return scenario;
}

interface Limits {
  readonly name: string;
  /** Of one try, ms. */
  readonly tryMs: number;
  /** Of all of them with everything in between, ms. */
  readonly allMs: number;
  /** Between two heartbeats, ms; 0 where it has none. */
  readonly silenceMs: number;
}

/** What each activity that a workflow has asked for was given, in their order. */
async function limitsOf(handle: WorkflowHandle): Promise<Limits[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => {
    if (scheduled === undefined || scheduled === null) return [];
    const { activityType, startToCloseTimeout, scheduleToCloseTimeout, heartbeatTimeout } = scheduled;
    return [
      {
        name: activityType?.name ?? '',
        tryMs: Number(startToCloseTimeout?.seconds ?? 0) * 1_000,
        allMs: Number(scheduleToCloseTimeout?.seconds ?? 0) * 1_000,
        silenceMs: Number(heartbeatTimeout?.seconds ?? 0) * 1_000,
      },
    ];
  });
}

async function limitsFor(handle: WorkflowHandle, name: string): Promise<Limits[]> {
  return (await limitsOf(handle)).filter((one) => one.name === name);
}

describe('waits that a definition makes long', () => {
  const stopMs = patient.drainMs + patient.stopGraceMs;
  const startMs = patient.readyMs + patient.stopGraceMs;

  function expectRoom([limits]: readonly Limits[], waitsMs: number): void {
    expect(limits?.tryMs).toBeGreaterThan(waitsMs);
    // Three tries, and the workers may have been away for a while.
    expect(limits?.allMs).toBeGreaterThan(3 * waitsMs);
  }

  test('fit into a start, and into the undos of a roll-out', async () => {
    const { world, when } = serving({ limits: patient });
    world.on('watchRelease', () => watched('failed', 'bad'));
    const deployment = await when.deploy();
    expect(await deployment.result()).toMatchObject({ outcome: 'rolled-back' });
    const [start, again] = await limitsFor(deployment.rollOut, 'ensureReleaseRunning');
    expect(start?.tryMs).toBeGreaterThan(startMs);
    expect(start?.allMs).toBeGreaterThanOrEqual(2 * (start?.tryMs ?? 0));
    expectRoom(again === undefined ? [] : [again], startMs);
    expectRoom(await limitsFor(deployment.rollOut, 'ensureReleaseStopped'), stopMs);
  });

  test('are one for the start and one for the probes of what has no traffic yet', async () => {
    const { world, when, then } = serving({ limits: { ...patient, keepPreviousMs: 86_400_000 } });
    const deployment = await when.deploy();
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    await when.ask('rollback', { ...ops, to: '0.7.0' });
    await then.environmentIs((view) => view.live?.version === '0.7.0' && view.current === null, 'it to be live');
    expect(world.called('ensureReleaseRunning').map(({ input }) => (input as { readyMs: number }).readyMs)).toEqual([
      patient.readyMs,
      patient.readyMs,
    ]);
    const probes = world.called('runProbes').map(({ input }) => input as { through: string; settleMs?: number });
    expect(probes.map(({ through, settleMs = 0 }) => [through, settleMs])).toEqual([
      ['slot', patient.settleMs],
      ['router', 0],
      ['slot', patient.settleMs],
      ['router', 0],
    ]);
    const number = (await then.view()).live?.deployment ?? 0;
    const rollback = env.client.workflow.getHandle(
      rollbackId({ project: world.project, environment: production, number }),
    );
    const [ofRollOut] = await limitsFor(deployment.rollOut, 'runProbes');
    const [ofRollback] = await limitsFor(rollback, 'runProbes');
    expect(ofRollOut?.tryMs).toBeGreaterThan(patient.settleMs);
    expect(ofRollOut?.allMs).toBeGreaterThanOrEqual(2 * (ofRollOut?.tryMs ?? 0));
    expectRoom(ofRollback === undefined ? [] : [ofRollback], patient.settleMs);
  });

  test('fit into a rollback by hand', async () => {
    const { world, when, then } = serving({ limits: { ...patient, keepPreviousMs: 86_400_000 } });
    await (await when.deploy()).result();
    const { number } = await when.ask<{ number: number }>('rollback', ops);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    const ref = { project: world.project, environment: production, number };
    expectRoom(await limitsFor(env.client.workflow.getHandle(rollbackId(ref)), 'ensureReleaseStopped'), stopMs);
  });

  test('fit into the retirement of the release before', async () => {
    const { world, when } = serving({ limits: patient });
    await (await when.deploy()).result();
    await env.until(() => !world.place(production).slots.has('blue'), 'blue to be stopped');
    const handle = env.client.workflow.getHandle(environmentId(world.project, production));
    expectRoom(await limitsFor(handle, 'ensureReleaseStopped'), stopMs);
  });

  test('that are short leave an undo its three minutes', async () => {
    const { world, when } = serving();
    world.on('watchRelease', () => watched('failed', 'bad'));
    const deployment = await when.deploy();
    await deployment.result();
    const [, again] = await limitsFor(deployment.rollOut, 'ensureReleaseRunning');
    const [stop] = await limitsFor(deployment.rollOut, 'ensureReleaseStopped');
    expect([again?.tryMs, stop?.tryMs]).toEqual([3 * minuteMs, 3 * minuteMs]);
  });
});

test('a plan may be silent for as long as one could take on a worker that does not heartbeat yet', async () => {
  const deployment = await serving().when.deploy();
  await deployment.result();
  const plans = [deployment.handle, deployment.rollOut].map((handle) => limitsFor(handle, 'planDeployment'));
  const silences = (await Promise.all(plans)).flat().map(({ silenceMs }) => silenceMs);
  expect(silences.length).toBeGreaterThan(0);
  expect(Math.min(...silences)).toBeGreaterThan(8_000);
});

describe('no wait is for ever', () => {
  test('of a deployment that cannot ask for its turn: it expires with the longest wait for one', async () => {
    const { world, when, then } = serving({ queue: { ...quietPolicy.queue, timeoutMs: 10 * minuteMs } });
    world.on('requestTurn', () => {
      throw broken('TemporalUnavailable', 'no answer', false);
    });
    const deployment = await when.deploy();
    const result = await deployment.resultInTime();
    expect(result).toMatchObject({ outcome: 'expired' });
    expect(result.reason).toMatch(/^The turn could not be asked for within 10 min: .*no answer/);
    // The next one finds nothing in its way.
    world.on('requestTurn', (input) => env.natural('requestTurn')(input as never, world) as never);
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    expect((await then.view()).queue).toEqual([]);
  });

  test('of one whose word has arrived though nobody said so: the environment takes it back', async () => {
    const scenario = serving({ queue: { ...quietPolicy.queue, timeoutMs: 10 * minuteMs } });
    const { world, when, then } = scenario;
    await (await when.deploy()).result();
    await when.ask('freeze', { ...ops, reason: 'fair' });
    world.on('requestTurn', async (input) => {
      await env.natural('requestTurn')(input as never, world);
      throw broken('TemporalUnavailable', 'no answer', false);
    });
    const deployment = await when.deploy();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'expired' });
    expect((await then.view()).queue).toEqual([]);
  });

  test('of one whose turn goes on all the same: its outcome is that of the turn', async () => {
    const { world, when } = serving({ queue: { ...quietPolicy.queue, timeoutMs: 10 * minuteMs } });
    world.on('requestTurn', async (input) => {
      await env.natural('requestTurn')(input as never, world);
      throw broken('TemporalUnavailable', 'no answer', false);
    });
    expect(await (await when.deploy()).resultInTime()).toMatchObject({ outcome: 'succeeded' });
  });

  test('of an environment whose rollback gets no number: who asked is told, and the next turn begins', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('openRollback', () => {
      throw broken('StoreUnavailable', 'no store', false);
    });
    const refused = when.ask('rollback', { ...ops, to: '0.7.0' }).then(
      () => 'accepted',
      (error: unknown) => (error as { readonly cause?: { readonly type?: string } }).cause?.type,
    );
    await then.called('openRollback');
    await env.skip(11 * minuteMs);
    expect(await refused).toBe('StoreUnavailable');
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
  });
});
