import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { environmentId, rollbackId, rolloutId } from '../../src/workflows/messages.ts';
import { broken, isOpen, quietPolicy, stayUntil, twoPeople, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  // The real server: these are about workflows that are terminated, and about messages that meet.
  env = await createWorkflowEnv({ server: 'real' });
}, 180_000);

afterAll(() => env.close(), 180_000);

const ops = { by: 'ops', reason: 'it looks wrong' };
const migration = { name: '002_damage.sql', checksum: 'x', kind: 'expand' } as const;

/** A release serves. */
function serving(): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  return scenario;
}

/** The numbers of the turns in the order they began. */
function turns({ world }: Scenario): string[] {
  return [...new Set(world.called('readEnvironment').map((call) => call.workflowId))]
    .filter((id) => id.startsWith('rollout/'))
    .map((id) => id.split('/').at(-1) ?? '');
}

/** The environment is busy with number 1 until the returned function is called. */
async function busy({ given, when, then }: Scenario): Promise<() => void> {
  const release = given.gate('watchRelease', (input: { readonly number: number }) => input.number === 1);
  await when.deploy();
  await then.called('watchRelease');
  return release;
}

describe('the queue', () => {
  test('gives the turn in the order of asking, a hotfix before the rest', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    const release = await busy(scenario);
    for (const [number, priority] of [
      [2, 'routine'],
      [3, 'routine'],
      [4, 'hotfix'],
    ] as const) {
      await when.deploy({ priority });
      await then.environmentIs(
        (view) => view.queue.some((entry) => entry.number === number),
        `${String(number)} to wait`,
      );
    }
    release();
    await env.until(
      () => world.outcomesOf({ project: '', environment: production, number: 3 }).length > 0,
      'all to end',
    );
    // Each one's plan is another once the one before it is live, so each closes without a change first and comes back.
    expect(turns(scenario).filter((turn) => turn !== '1')[0]).toBe('4');
    expect(world.violations).toEqual([]);
  });

  test('with supersede lets only the newest wait; the others end superseded', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    world.policy = { ...quietPolicy, queue: { ...quietPolicy.queue, mode: 'supersede' } };
    const release = await busy(scenario);
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue[0]?.number === 2, 'the second to wait');
    const third = await when.deploy();
    expect(await second.result()).toMatchObject({ outcome: 'superseded' });
    release();
    expect(await third.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.serving(production)).toBe('1.0.3');
  });

  test('lets nobody wait longer than he may, also beside a turn that takes longer', async () => {
    const scenario = serving();
    const { world, when } = scenario;
    const release = await busy(scenario);
    world.policy = { ...quietPolicy, queue: { ...quietPolicy.queue, timeoutMs: 300 } };
    const second = await when.deploy();
    const reason = expect.stringContaining(`\`slipway deploy ${world.project}/${production} ${second.input.version}\``);
    expect(await second.result()).toMatchObject({ outcome: 'expired', reason });
    release();
  });

  test('stands still while the environment is frozen, and goes on when it thaws', async () => {
    const { given, when, then } = serving();
    given.live();
    const first = await when.deploy();
    await first.result();
    await when.ask('freeze', { by: 'ops', reason: 'holidays' });
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
    expect((await then.view()).hold).toMatchObject({ state: 'frozen', reason: 'holidays' });
    await when.ask('thaw', { by: 'ops' });
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('thaws by itself at the time that was given', async () => {
    const { when, then } = serving();
    await (await when.deploy()).result();
    const thawsAt = Date.now() + 500;
    await when.ask('freeze', { by: 'ops', reason: 'lunch', until: new Date(thawsAt).toISOString() });
    const second = await when.deploy();
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    const { startTime } = await second.rollOut.describe();
    // The server's clock is this machine's.
    expect(startTime.getTime()).toBeGreaterThanOrEqual(thawsAt);
    expect((await then.view()).hold).toBeNull();
  });
});

describe('a rollback that a person asks for', () => {
  test('goes to the release before at once, stops the other, opens an incident and is settled under its own number', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const { number } = await when.ask<{ number: number }>('rollback', ops);
    expect(number).toBe(2);
    await then.environmentIs(
      (view) => view.live?.version === '0.9.0' && view.current === null,
      'the one before to be live',
    );
    const ref = { project: '', environment: production, number };
    await env.until(() => world.resultOf(ref) !== undefined, 'it to be settled');
    const result = world.resultOf(ref);
    expect(result).toMatchObject({
      outcome: 'rolled-back',
      rollback: { to: '0.9.0', incident: 'INC-2', trigger: 'ops: it looks wrong' },
    });
    expect(result?.rollback?.steps.map((step) => step.name)).toHaveLength(7);
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.place(production).slots.has('green')).toBe(false);
    expect(world.called('ensureDataRolledBack')).toHaveLength(0);
    expect((await then.view()).retireAt).toBeNull();
    const page = await env.client.workflow
      .getHandle(rollbackId({ ...ref, project: world.project }))
      .query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(page.currentDetails).toContain('back to 0.9.0 · rolled-back\n');
    expect(page.currentDetails).toContain(`\n- ${result?.reason}\n`);
  });

  test('moves traffic before it looks at anything', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const before = world.calls.length;
    await when.ask('rollback', ops);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    const names = world.calls.slice(before).map((call) => call.name);
    expect(names.find((name) => !name.startsWith('record'))).toBe('openRollback');
    const ref = { project: world.project, environment: production, number: 2 };
    const { events } = await env.client.workflow.getHandle(rollbackId(ref)).fetchHistory();
    const scheduled = (events ?? []).flatMap((event) => event.activityTaskScheduledEventAttributes ?? []);
    expect(scheduled[0]?.activityType?.name).toBe('ensureTraffic');
  });

  test('during the watch is done by the roll-out itself', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    world.on('watchRelease', async () => {
      await stayUntil(() => false);
      return watched('passed', '');
    });
    const deployment = await when.deploy();
    await then.called('watchRelease');
    await when.tell('rollback', ops);
    expect(await deployment.result()).toMatchObject({
      outcome: 'rolled-back',
      reason: expect.stringContaining('ops rolled it back: it looks wrong'),
      rollback: { to: '0.9.0' },
    });
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.called('openRollback')).toHaveLength(0);
  });

  test('before the first change stops the roll-out and goes back itself', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    const first = await when.deploy();
    await first.result();
    let stay = true;
    world.on('ensureBackup', async (input) => {
      await stayUntil(() => !stay);
      return env.natural('ensureBackup')(input as never, world) as never;
    });
    const second = await when.deploy();
    await then.called('ensureBackup', 2);
    await when.ask('rollback', ops);
    expect(await second.result()).toMatchObject({ outcome: 'aborted' });
    stay = false;
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'the rollback to end');
    expect(world.violations).toEqual([]);
  });

  test('to a version that runs no more starts it beside the live one first', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    await when.ask('rollback', { ...ops, to: '0.7.0' });
    await then.environmentIs((view) => view.live?.version === '0.7.0' && view.current === null, 'it to be live');
    expect(world.serving(production)).toBe('0.7.0');
    const changes = world.calls.filter((call) => call.workflowId.startsWith('rollback/')).map((call) => call.name);
    expect(changes.indexOf('ensureReleaseRunning')).toBeLessThan(changes.indexOf('ensureTraffic'));
  });

  test('to the release before, whose container somebody has removed, starts it again and moves then', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.place(production).slots.delete('blue');
    world.on('ensureTraffic', (input) => {
      const { slots } = world.place(production);
      if (input.slot !== null && !slots.has(input.slot)) throw broken('ReleaseMissing', 'nothing is in blue');
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    await when.ask('rollback', { ...ops, to: '0.9.0' });
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.notices.map(({ event }) => event)).not.toContain('undo-keeps-failing');
  });

  test('to a release that cannot be started changes no traffic, and holds', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('ensureReleaseRunning', () => {
      throw broken('ImageNotFound', 'no such image');
    });
    await when.ask('rollback', { ...ops, to: '0.7.0' });
    const view = await then.environmentIs((seen) => seen.hold !== null, 'it to be held');
    expect(view).toMatchObject({ hold: { state: 'incident' }, live: { version: '1.0.1' } });
    expect(world.serving(production)).toBe('1.0.1');
    // The hold is there before its record is: nobody starts anything meanwhile.
    const settled = (): string[] => world.outcomesOf({ project: '', environment: production, number: 2 });
    await env.until(() => settled().length > 0, 'its outcome');
    expect(settled()).toEqual(['rollback-failed']);
  });

  test.each([
    [true, 'critical', ['INC-2']],
    [false, 'error', []],
  ] as const)(
    'is told at once (production %s: %s), also when it does not work',
    async (isProduction, level, incidents) => {
      const { world, when, then } = serving();
      world.policy = { ...quietPolicy, production: isProduction };
      await (await when.deploy()).result();
      world.on('ensureReleaseRunning', () => {
        throw broken('ContainerUnhealthy', 'no pulse');
      });
      await when.ask('rollback', { ...ops, to: '0.7.0' });
      await then.environmentIs((seen) => seen.hold !== null, 'it to be held');
      const ref = { project: '', environment: production, number: 2 };
      await env.until(() => world.resultOf(ref) !== undefined, 'its outcome');
      expect(world.resultOf(ref)?.outcome).toBe('rollback-failed');
      const told = (event: string) => world.notices.filter((notice) => notice.event === event);
      expect(told('rollback-triggered')).toMatchObject([
        { level, lines: expect.arrayContaining(['ops: it looks wrong']) },
      ]);
      expect(told('health-check-failed')).toMatchObject([{ level }]);
      expect(world.called('openIncident')).toHaveLength(incidents.length);
      expect([world.resultOf(ref)?.rollback?.incident].filter((id) => id !== undefined)).toEqual(incidents);
    },
  );

  test('is told and has its incident, before it is known how it ends', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    await (await when.deploy()).result();
    const open = scenario.given.gate('ensureTraffic', ({ back }: { readonly back?: boolean }) => back === true);
    await when.ask('rollback', ops);
    await then.called('openIncident');
    await env.until(() => world.notices.some(({ event }) => event === 'rollback-triggered'), 'the notice');
    expect(world.outcomesOf({ project: '', environment: production, number: 2 })).toEqual([]);
    open();
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
  });

  test('asked for twice at once goes back once', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const numbers = await Promise.all([
      when.ask<{ number: number }>('rollback', ops),
      when.ask<{ number: number }>('rollback', { by: 'lin', reason: 'errors' }),
    ]);
    expect(new Set(numbers.map((one) => one.number)).size).toBe(1);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    expect(world.called('openRollback').length).toBeLessThanOrEqual(2);
    expect(await when.ask<{ number: number }>('rollback', { ...ops, to: '0.9.0' }).catch(typeOf)).toBe('Conflict');
  });

  test.each([
    ['nothing', undefined],
    ['no reason', { by: 'ops' }],
    ['no name', { reason: 'because' }],
  ])('with %s is refused by update and ignored by signal', async (_, message) => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    expect(await when.ask('rollback', message as never).catch(typeOf)).toBe('InvalidInput');
    await when.tell('rollback', message as never);
    await (await when.deploy()).result();
    expect((await then.view()).live?.version).toBe('1.0.2');
    expect(world.called('openRollback')).toHaveLength(0);
  });

  test('goes on when the store gives no number in time', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('openRollback', () => {
      throw broken('StoreUnavailable', 'no store', false);
    });
    await when.tell('rollback', ops);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    expect(world.serving(production)).toBe('0.9.0');
  });
});

describe('a rollback that is aborted', () => {
  const stop = { by: 'lin', reason: 'the wrong one' };
  const second = { project: '', environment: production, number: 2 };

  test.each(['update', 'signal'] as const)(
    'by %s before traffic has moved leaves what serves, and holds',
    async (how) => {
      const scenario = serving();
      const { world, when, then } = scenario;
      await (await when.deploy()).result();
      world.on('ensureReleaseRunning', async () => await stayUntil(() => false));
      await when.ask('rollback', { ...ops, to: '0.7.0' });
      await then.environmentIs((view) => view.current?.number === 2, 'the rollback to begin');
      await then.called('ensureReleaseRunning', 2);
      const handle = env.client.workflow.getHandle(rollbackId({ ...second, project: world.project }));
      if (how === 'update') expect(await handle.executeUpdate('abort', { args: [stop] })).toEqual({ accepted: true });
      else await handle.signal('abort', stop);
      const view = await then.environmentIs((seen) => seen.hold !== null, 'it to be held');
      expect(view).toMatchObject({ hold: { state: 'held' }, live: { version: '1.0.1' } });
      expect(view.hold?.reason).toMatch(
        /lin stopped the rollback to 0\.7\.0: the wrong one\. What serves is as before/,
      );
      await env.until(() => world.resultOf(second) !== undefined, 'its outcome');
      expect(world.resultOf(second)).toMatchObject({
        outcome: 'held',
        live: { version: '1.0.1' },
        rollback: { to: '0.7.0' },
      });
      expect(world.serving(production)).toBe('1.0.1');
      // A rollback is not undone: the next try finds what this one has begun.
      expect(world.called('ensureReleaseStopped')).toHaveLength(0);
    },
  );

  test('ends the endless trying to move traffic', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('ensureTraffic', () => {
      throw broken('RouterUnavailable', 'no router', false);
    });
    await when.ask('rollback', ops);
    await env.until(() => world.notices.some(({ event }) => event === 'undo-keeps-failing'), 'the page');
    const page = world.notices.find(({ event }) => event === 'undo-keeps-failing');
    expect(page?.lines).toContain(`slipway abort ${world.project}/production/2 --reason …`);
    await env.client.workflow.getHandle(rollbackId({ ...second, project: world.project })).signal('abort', stop);
    const view = await then.environmentIs((seen) => seen.hold !== null, 'it to be held');
    expect(view.hold?.reason).toContain('What serves now must be looked at');
    expect(await when.ask('retry', ops).catch(typeOf)).not.toBe('Conflict');
  });

  test('after traffic has moved leaves the new one serving, and the rest undone', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('runProbes', async () => {
      await stayUntil(() => false);
      return { verdict: 'passed' as const, probes: [] };
    });
    await when.ask('rollback', ops);
    await then.called('runProbes', 3);
    await env.client.workflow.getHandle(rollbackId({ ...second, project: world.project })).signal('abort', stop);
    const view = await then.environmentIs((seen) => seen.hold !== null, 'it to be held');
    expect(view).toMatchObject({ live: { version: '0.9.0' } });
    expect(view.hold?.reason).toContain('0.9.0 serves, and the rest is left');
    expect(world.serving(production)).toBe('0.9.0');
  });

  test('while it waits for the turn never begins', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    const first = await when.deploy();
    await first.result();
    // The roll-out that is to be stopped takes its time, and the rollback waits for it.
    let stay = true;
    world.on('ensureBackup', async (input) => {
      while (stay) await stayUntil(() => !stay).catch(() => undefined);
      return env.natural('ensureBackup')(input as never, world) as never;
    });
    await when.deploy();
    await then.called('ensureBackup', 2);
    const { number } = await when.ask<{ number: number }>('rollback', ops);
    await when.tell('withdrawTurn', { number, ...stop });
    const ref = { project: '', environment: production, number };
    await env.until(() => world.resultOf(ref) !== undefined, 'its outcome');
    expect(world.resultOf(ref)).toMatchObject({ outcome: 'aborted', reason: 'lin aborted it: the wrong one.' });
    stay = false;
    await then.environmentIs((view) => view.current === null, 'the turn to end');
    expect(world.serving(production)).toBe('1.0.1');
    expect((await then.view()).hold).toBeNull();
  });

  test('by way of its environment is stopped all the same', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    world.on('ensureReleaseRunning', async () => await stayUntil(() => false));
    await when.ask('rollback', { ...ops, to: '0.7.0' });
    await then.called('ensureReleaseRunning', 2);
    await when.tell('withdrawTurn', { number: 2, ...stop });
    await then.environmentIs((seen) => seen.hold?.state === 'held', 'it to be held');
  });
});

describe('a turn that ends without a report', () => {
  test('before its first change costs its deployment and nothing else', async () => {
    const { given, when, then } = serving();
    given.gate('ensureBackup', (input: { readonly number: number }) => input.number === 1);
    const first = await when.deploy();
    await then.called('ensureBackup');
    await first.rollOut.terminate('by mistake');
    expect(await first.result()).toMatchObject({ outcome: 'errored' });
    expect((await then.view()).hold).toBeNull();
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('after it leaves the environment unknown until somebody reconciles', async () => {
    const { world, given, when, then } = serving();
    given.gate('watchRelease', (input: { readonly number: number }) => input.number === 1);
    const first = await when.deploy();
    await then.called('watchRelease');
    await first.rollOut.terminate('by mistake');
    expect(await first.result()).toMatchObject({ outcome: 'errored', reason: expect.stringContaining('reconcile') });
    expect((await then.view()).hold).toMatchObject({ state: 'unknown' });
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
    const view = await when.ask('reconcile', ops);
    expect(view).toMatchObject({ hold: null, live: { version: '1.0.1', slot: 'green' } });
    await then.called('recordLive');
    expect(world.words).toEqual([{ live: '1.0.1', how: 'reconcile' }]);
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('an environment that is held', () => {
  async function held(): Promise<Scenario> {
    const scenario = serving();
    scenario.world.on('watchRelease', () => watched('failed', 'bad'));
    scenario.world.on('ensureReleaseStopped', () => {
      throw broken('EngineRefused', 'no');
    });
    expect(await (await scenario.when.deploy()).result()).toMatchObject({ outcome: 'rollback-failed' });
    scenario.world.on('watchRelease', () => watched('passed', 'fine'));
    scenario.world.on(
      'ensureReleaseStopped',
      (input) => env.natural('ensureReleaseStopped')(input as never, scenario.world) as never,
    );
    return scenario;
  }

  test('is let go by who says what is live', async () => {
    const { world, when, then } = await held();
    expect(await when.ask('unlock', { ...ops, stateIs: '7.7.7' }).catch(typeOf)).toBe('Conflict');
    // They run, or nothing does, but the traffic goes elsewhere: believed, what serves would be retired.
    expect(await when.ask('unlock', { ...ops, stateIs: '1.0.1' }).catch(typeOf)).toBe('Conflict');
    expect(await when.ask('unlock', { ...ops, stateIs: 'none' }).catch(typeOf)).toBe('Conflict');
    expect(world.words).toEqual([]);
    expect(await when.ask('unlock', { ...ops, stateIs: '0.9.0' })).toMatchObject({
      hold: null,
      live: { version: '0.9.0' },
    });
    await then.called('recordLive');
    expect(world.words).toEqual([{ live: '0.9.0', how: 'unlock' }]);
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(await when.ask('unlock', { ...ops, stateIs: '0.9.0' }).catch(typeOf)).toBe('Conflict');
  });

  test('is let go by the signal too, as people send it from the Temporal UI', async () => {
    const { when, then } = await held();
    await when.tell('unlock', { ...ops, stateIs: '0.9.0' });
    await then.environmentIs((view) => view.hold === null, 'it to be let go');
  });

  test('tries its rollback again on a person’s word', async () => {
    const { world, when, then } = await held();
    await when.ask('retry', ops);
    await then.environmentIs((view) => view.hold === null && view.current === null, 'the rollback to have worked');
    expect(world.serving(production)).toBe('0.9.0');
  });
});

describe('data that could not be put back', () => {
  test.each([
    ['nothing was migrated, so the policy asks', 'ask', [], 'ask'],
    ['nothing was migrated, so the policy restores', 'automatic', [], 'automatic'],
    ['it was migrated, so the person’s word restores', 'ask', [migration], 'automatic'],
  ] as const)('is tried again: %s', async (_, restore, migrations, again) => {
    const { world, when, then } = serving();
    world.policy = { ...quietPolicy, rollback: { automatic: true, restore } };
    world.migrations = [...migrations];
    world.on('watchRelease', () => watched('failed', 'bad'));
    world.on('ensureDataRolledBack', () => {
      throw broken('RestoreFailed', 'no server', true);
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'rollback-failed' });
    const before = world.called('ensureDataRolledBack').length;
    world.on('ensureDataRolledBack', () => ({ action: 'swapped' as const, detail: 'swapped' }));
    await when.ask('retry', ops);
    await then.environmentIs((view) => view.hold === null && view.current === null, 'the data to be back');
    const calls = world.called('ensureDataRolledBack').slice(before);
    expect(calls.map(({ input }) => input)).toEqual([
      expect.objectContaining({ restore: again, migrated: migrations.length > 0 }),
    ]);
  });

  test('is owed to nobody when the release neither served nor migrated', async () => {
    const { world, when, then } = serving();
    const refusal = { name: 'health', verdict: 'failed', durationMs: 1, detail: 'refused' } as const;
    world.on('runProbes', () => ({ verdict: 'failed' as const, probes: [refusal] }));
    world.on('ensureReleaseStopped', () => {
      throw broken('EngineRefused', 'no');
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'rollback-failed' });
    world.on('runProbes', (input) => env.natural('runProbes')(input as never, world) as never);
    world.on('ensureReleaseStopped', (input) => env.natural('ensureReleaseStopped')(input as never, world) as never);
    await when.ask('retry', ops);
    await then.environmentIs((view) => view.hold === null && view.current === null, 'the rollback to have worked');
    expect(world.called('ensureDataRolledBack')).toHaveLength(0);
  });
});

describe('the release before', () => {
  test('is removed when its time has come', async () => {
    const { world, when, then } = serving();
    world.policy = { ...quietPolicy, limits: { ...quietPolicy.limits, keepPreviousMs: 300 } };
    await (await when.deploy()).result();
    await then.environmentIs((view) => view.previous === null && view.retireAt === null, 'blue to be retired');
    // It is forgotten first and stopped then.
    await env.until(() => !world.place(production).slots.has('blue'), 'blue to be stopped');
    expect(world.serving(production)).toBe('1.0.1');
  });

  test('is removed at the same time after a turn whose plan had changed, and that ended without another', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const { retireAt } = await then.view();
    world.policy = { ...quietPolicy, approval: { ...twoPeople, rules: [{ group: 'devops', count: 1 }] } };
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    world.configuration = 'another';
    await deployment.decide('approve', { by: 'lin' });
    // The turn was taken and given back: it is asked for anew, with the new plan.
    await then.called('planDeployment', 4);
    await deployment.until('awaiting-approval');
    await then.environmentIs((view) => view.current === null, 'the turn to be over');
    await deployment.decide('reject', { by: 'lin' });
    expect(await deployment.result()).toMatchObject({ outcome: 'rejected' });
    expect(await then.view()).toMatchObject({ previous: { version: '0.9.0' }, retireAt });
  });

  test('is removed at the same time after a turn that ended before its first change', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const { retireAt } = await then.view();
    world.on('ensureBackup', () => {
      throw broken('DiskFull', 'no room');
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'errored' });
    expect(await then.view()).toMatchObject({ previous: { version: '0.9.0' }, retireAt });
  });

  test('is removed at the same time after a turn that was terminated before its first change', async () => {
    const scenario = serving();
    const { given, when, then } = scenario;
    await (await when.deploy()).result();
    const { retireAt } = await then.view();
    const open = given.gate('ensureBackup');
    const deployment = await when.deploy();
    await then.called('ensureBackup', 2);
    await deployment.rollOut.terminate('by mistake');
    expect(await deployment.result()).toMatchObject({ outcome: 'errored' });
    open();
    expect(await then.view()).toMatchObject({ hold: null, previous: { version: '0.9.0' }, retireAt });
  });

  test('makes room for the next one without waiting for its time', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    expect((await then.view()).retireAt).not.toBeNull();
    await (await when.deploy()).result();
    expect(world.place(production).slots.get('blue')?.version).toBe('1.0.2');
    expect((await then.view()).previous?.version).toBe('1.0.1');
  });
});

describe('an environment that lost its memory', () => {
  test('follows the turn that went on without it, and gives no other before that has ended', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    const release = await busy(scenario);
    const id = environmentId(world.project, production);
    await env.client.workflow.getHandle(id).terminate('by mistake');
    const second = await when.deploy();
    await then.environmentIs((view) => view.current?.number === 1 && view.queue.length === 1, 'it to follow the first');
    release();
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.violations).toEqual([]);
    const first = { project: '', environment: production, number: 1 };
    await env.until(() => world.outcomesOf(first).length > 0, 'the outcome of the first');
    expect(world.outcomesOf(first)).toEqual(['succeeded']);
  });

  test('takes back the turn it follows when it is told to roll back', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    await busy(scenario);
    await env.client.workflow.getHandle(environmentId(world.project, production)).terminate('by mistake');
    await when.deploy();
    await then.environmentIs((view) => view.current?.number === 1 && view.queue.length === 1, 'it to follow the first');
    await when.tell('rollback', ops);
    await env.until(
      () => world.outcomesOf({ project: '', environment: production, number: 1 })[0] === 'rolled-back',
      'it to be taken back',
    );
  });

  test('whose requester is gone as well settles for it', async () => {
    const scenario = serving();
    const { world, given, when, then } = scenario;
    const release = given.gate('watchRelease');
    const first = await when.deploy();
    await then.called('watchRelease');
    await first.handle.terminate('by mistake');
    release();
    await env.until(() => world.outcomesOf(first.input).length > 0, 'its outcome');
    expect(world.outcomesOf(first.input)).toEqual(['succeeded']);
  });

  test('is not ended by a cancellation, nor stopped by messages that make no sense', async () => {
    const { world, when, then } = serving();
    await (await when.deploy()).result();
    const id = environmentId(world.project, production);
    await env.client.workflow.getHandle(id).cancel();
    for (const signal of ['requestTurn', 'withdrawTurn', 'proceed', 'changing', 'unlock', 'rollback']) {
      await env.client.workflow.getHandle(id).signal(signal);
      await when.tell(signal, { number: 'one' });
    }
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(await isOpen(env.client, id)).toBe(true);
    expect((await then.view()).live?.version).toBe('1.0.2');
  });

  test('continues as new between turns with everything it knew', async () => {
    const { world, when, then } = serving();
    world.maxHistoryEvents = 20;
    for (let number = 1; number <= 3; number += 1) {
      expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    }
    const handle = env.client.workflow.getHandle(environmentId(world.project, production));
    const { runId } = await handle.describe();
    await (await when.deploy()).result();
    await env.until(async () => (await handle.describe()).runId !== runId, 'a new run');
    const view = await then.environmentIs((seen) => seen.live?.version === '1.0.4', 'it to know what is live');
    expect(view.previous?.version).toBe('1.0.3');
    expect(view.retireAt).not.toBeNull();
    const again = await handle.describe();
    expect(again.status.name).toBe('RUNNING');
    // A request that was answered in an earlier run is known to be.
    const first = world.rows.get(`${production}/1`)?.input;
    await when.tell('requestTurn', {
      deployment: first,
      planHash: 'x',
      approved: true,
      policy: quietPolicy,
      requestedAt: new Date().toISOString(),
    });
    await (await when.deploy()).result();
    expect(await isOpen(env.client, rolloutId({ project: world.project, environment: production, number: 1 }))).toBe(
      false,
    );
    expect(world.outcomesOf({ project: '', environment: production, number: 1 })).toEqual(['succeeded']);
  });
});

function typeOf(error: unknown): string {
  const cause = (error as { readonly cause?: { readonly type?: string } }).cause;
  return cause?.type ?? String(error);
}
