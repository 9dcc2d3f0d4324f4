import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { Activities } from '../../src/activities/contracts.ts';
import type { PlanPolicy } from '../../src/domain/plan.ts';
import { broken, planOf, quietPolicy, stayUntil, watched } from '../support/fake-activities.ts';
import { until } from '../support/until.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const migration = { name: '002_damage.sql', checksum: 'x', kind: 'expand' } as const;

/** A release serves, the new one has a migration. */
function second(policy: Partial<PlanPolicy> = {}): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  scenario.world.migrations = [migration];
  scenario.world.policy = { ...quietPolicy, ...policy };
  return scenario;
}

/** Every activity of the roll-out in its order, and what is owed when it fails there. */
const phases: readonly {
  readonly at: keyof Activities;
  readonly call: number;
  readonly changed: boolean;
  readonly moved: boolean;
}[] = [
  { at: 'ensureBackup', call: 1, changed: false, moved: false },
  { at: 'ensureReleaseRunning', call: 1, changed: true, moved: false },
  { at: 'runMigrations', call: 1, changed: true, moved: false },
  { at: 'runProbes', call: 1, changed: true, moved: false },
  { at: 'ensureTraffic', call: 1, changed: true, moved: true },
  { at: 'runProbes', call: 2, changed: true, moved: true },
  { at: 'watchRelease', call: 1, changed: true, moved: true },
];

/** Makes the nth call of an activity do something else. */
function onCall(scenario: Scenario, name: keyof Activities, call: number, other: () => unknown): void {
  let count = 0;
  scenario.world.on(name, (async (input: never) => {
    count += 1;
    return await (count === call ? other() : env.natural(name)(input, scenario.world));
  }) as never);
}

describe('a roll-out in which everything goes well', () => {
  test('backs up, starts beside, migrates, probes, switches with a backup, watches and leaves the new one alone', async () => {
    const { world, when } = second();
    const result = await (await when.deploy()).result();
    expect(result.steps.map((step) => step.name)).toEqual([
      'back up',
      'start 1.0.1 in green',
      'migrate',
      'probe green',
      'traffic to green',
      'probe through the router',
      'watch',
      'settle',
    ]);
    expect(world.called('ensureTraffic').map((call) => call.input)).toMatchObject([
      { slot: 'green', backup: 'blue' },
      { slot: 'green', backup: null, settles: true },
    ]);
    expect(world.called('ensureProofDropped')).toHaveLength(1);
    expect(world.place(production).slots.get('blue')).toMatchObject({ version: '0.9.0' });
  });

  test('tells its facts beside its calls: an activity of their own have only those before it asks its environment', async () => {
    const { world, when } = second();
    const { steps } = await (await when.deploy()).result();
    const own = world.calls.filter(({ name }) => name.startsWith('record'));
    expect(own).toMatchObject([
      { name: 'recordFacts', input: { facts: [{ kind: 'step', step: { name: 'back up' } }] } },
    ]);
    expect(world.phases.map(({ phase }) => phase)).toEqual([
      'planning',
      'queued',
      'preparing',
      'backing-up',
      'rolling-out',
      'migrating',
      'probing',
      'switching',
      'watching',
      'settling',
    ]);
    const told = steps.map(({ name }, index) => ({ key: `rollout.1/${index + 1}`, name }));
    expect(world.steps).toMatchObject(told);
    expect(world.called('settleDeployment')[0]?.input).toMatchObject({ stepsKey: 'rollout.1', result: { steps } });
  });

  test('ends with a page that says how and why', async () => {
    const { when } = second();
    const deployment = await when.deploy();
    const { reason } = await deployment.result();
    const { currentDetails } = await deployment.rollOut.query<{ currentDetails: string }>(
      '__temporal_workflow_metadata',
    );
    expect(currentDetails).toContain(`→ ${production} · succeeded\n`);
    expect(currentDetails).toContain(`\n- ${reason}\n`);
  });

  test('keeps no backup in the router when its migration breaks the release before', async () => {
    const { world, when } = second();
    world.migrations = [{ ...migration, kind: 'contract' }];
    await (await when.deploy()).result();
    expect(world.called('ensureTraffic')[0]?.input).toMatchObject({ slot: 'green', backup: null });
  });

  test('numbers its changes upwards under one token', async () => {
    const { world, when } = second();
    await (await when.deploy()).result();
    const changes = world.calls
      .map((call) => call.input as { turn?: number; step?: number })
      .filter((input) => input.turn !== undefined);
    expect(new Set(changes.map((change) => change.turn)).size).toBe(1);
    const steps = changes.map((change) => change.step ?? 0);
    expect(new Set(steps).size).toBe(steps.length);
  });

  test('migrates after the switch where the policy says so', async () => {
    const { world, when } = second({ migrationPhase: 'after-switch' });
    await (await when.deploy()).result();
    const names = world.calls.map((call) => call.name);
    expect(names.indexOf('runMigrations')).toBeGreaterThan(names.indexOf('ensureTraffic'));
  });

  test('needs neither backup nor watch where the policy has none', async () => {
    const { world, when } = second({
      backup: { database: false, configuration: false, prove: false },
      watch: { ...quietPolicy.watch, durationMs: 0 },
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('ensureBackup')).toHaveLength(0);
    expect(world.called('watchRelease')).toHaveLength(0);
  });
});

describe('what has no call to go with', () => {
  test('is told by itself: a step that failed is known while its undo still goes on', async () => {
    const scenario = second();
    const { world, given, when } = scenario;
    onCall(scenario, 'ensureReleaseRunning', 1, () => {
      throw broken('ContainerUnhealthy', 'not healthy');
    });
    const goOn = given.gate('ensureReleaseStopped');
    const deployment = await when.deploy();
    await until(() => world.steps.some(({ name }) => name === 'start 1.0.1 in green'), {
      what: 'the step that failed',
    });
    expect(world.phases.at(-1)).toMatchObject({ phase: 'rolling-back' });
    expect(world.outcomesOf(deployment.input)).toEqual([]);
    goOn();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'failed' });
  });
});

describe('the time in which no worker is there', () => {
  /** Of every activity that it scheduled: how long it may take with all its waiting, s; 0 for ever. */
  async function deadlines(handle: WorkflowHandle): Promise<[string, number][]> {
    const { events } = await handle.fetchHistory();
    return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => {
      if (scheduled === undefined || scheduled === null) return [];
      return [[scheduled.activityType?.name ?? '', Number(scheduled.scheduleToCloseTimeout?.seconds ?? 0)]];
    });
  }

  test('is not held against a release: a machine may start again in the middle of anything, and it goes on', async () => {
    const { when } = second();
    const deployment = await when.deploy();
    await deployment.result();
    const short = (await deadlines(deployment.rollOut))
      // Facts for the eyes, which nobody waits for.
      .filter(([name]) => !['recordFacts', 'sendNotice'].includes(name))
      .filter(([, seconds]) => seconds !== 0 && seconds < 1_800);
    expect(short).toEqual([]);
  });

  test('is no excuse for a router that refuses: it is given up after a dozen tries', async () => {
    const { world, when } = second();
    world.on('ensureTraffic', ((input: { readonly back?: boolean }) => {
      if (input.back !== true) throw broken('RouterUnavailable', 'no router', false);
      return env.natural('ensureTraffic')(input as never, world);
    }) as never);
    const result = await (await when.deploy()).resultInTime();
    expect(result).toMatchObject({ outcome: 'rolled-back', reason: expect.stringContaining('no router') });
    const forward = world.called('ensureTraffic').filter(({ input }) => (input as { back?: boolean }).back !== true);
    expect(forward).toHaveLength(12);
  });
});

describe.each(phases)('a roll-out in $at (call $call)', ({ at, call, changed, moved }) => {
  test('that fails leaves the release before serving, and says what happened', async () => {
    const scenario = second();
    onCall(scenario, at, call, () => {
      throw broken('EngineRefused', 'the engine said no');
    });
    const { world, when, then } = scenario;
    const result = await (await when.deploy()).result();
    // A watch that breaks off says nothing of the release: a person decides.
    const outcome = at === 'watchRelease' ? 'held' : moved ? 'rolled-back' : 'errored';
    expect(result).toMatchObject({ outcome, reason: expect.stringContaining('the engine said no') });
    expect(world.serving(production)).toBe(at === 'watchRelease' ? '1.0.1' : '0.9.0');
    expect(world.called('ensureReleaseStopped')).toHaveLength(changed && at !== 'watchRelease' ? 1 : 0);
    expect((await then.view()).hold?.state).toBe(at === 'watchRelease' ? 'held' : undefined);
    expect(world.outcomesOf(result)).toEqual([outcome]);
  });

  test('that is aborted there undoes what there is to undo', async () => {
    const scenario = second();
    const { world, when, then } = scenario;
    onCall(scenario, at, call, () => stayUntil(() => false));
    const deployment = await when.deploy();
    await then.called(at, call);
    await deployment.abort();
    const result = await deployment.result();
    expect(result).toMatchObject({ outcome: 'aborted', reason: 'ops aborted it: changed our mind.' });
    expect(result.rollback === undefined).toBe(!changed);
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.outcomesOf(result)).toEqual(['aborted']);
  });

  test('that is left as it is on a person’s word holds the environment', async () => {
    const scenario = second();
    const { world, when, then } = scenario;
    onCall(scenario, at, call, () => stayUntil(() => false));
    const deployment = await when.deploy();
    await then.called(at, call);
    await deployment.abort({ by: 'ops', reason: 'let me look', noRollback: true });
    const result = await deployment.result();
    expect(result.outcome).toBe(changed ? 'held' : 'aborted');
    expect(world.called('ensureReleaseStopped')).toHaveLength(0);
    expect((await then.view()).hold?.state).toBe(changed ? 'held' : undefined);
  });

  test('whose worker dies does it again and goes on', async () => {
    const scenario = second();
    onCall(scenario, at, call, () => {
      throw broken('WorkerLost', 'the worker went away', false);
    });
    const { world, when } = scenario;
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.serving(production)).toBe('1.0.1');
  });
});

describe('a roll-out that turns out to be bad', () => {
  test('rolls back by itself: traffic first, then the release, then the data, and reports under the seven headings', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => watched('failed', 'errors 12 % over 5 min'));
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'rolled-back', watch: 'failed', live: { version: '0.9.0', slot: 'blue' } });
    const undoing = world.calls.slice(world.calls.findIndex((call) => call.name === 'watchRelease') + 1);
    const changes = undoing.map((call) => call.name).filter((name) => name.startsWith('ensure'));
    expect(changes).toEqual([
      'ensureTraffic',
      'ensureReleaseRunning',
      'ensureReleaseStopped',
      'ensureDataRolledBack',
      'ensureLaterWritesExported',
      'ensureProofDropped',
    ]);
    expect(result.rollback?.steps.map((step) => [step.name, step.verdict])).toEqual([
      ['detect', 'passed'],
      ['initiate', 'passed'],
      ['stop-current', 'passed'],
      ['restore-data', 'passed'],
      ['deploy-previous', 'passed'],
      ['verify', 'passed'],
      ['clean-up', 'passed'],
    ]);
    expect(result.rollback).toMatchObject({ to: '0.9.0', data: { action: 'swapped' }, incident: 'INC-1' });
    expect(result.rollback?.servingAfterMs).toBeGreaterThanOrEqual(0);
    expect(world.notices.map((notice) => notice.event)).toEqual(['started', 'rollback-triggered']);
  });

  test('schedules nothing between the verdict and the move of traffic', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => watched('failed', 'bad'));
    const deployment = await when.deploy();
    await deployment.result();
    const { events } = await deployment.rollOut.fetchHistory();
    const scheduled = (events ?? []).flatMap(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? [],
    );
    expect(scheduled[scheduled.indexOf('watchRelease') + 1]).toBe('ensureTraffic');
  });

  test.each([
    ['ContainerUnhealthy', 'ensureReleaseRunning'],
    ['MigrationFailed', 'runMigrations'],
  ] as const)('fails, not errs, for %s before it had traffic', async (type, at) => {
    const scenario = second();
    onCall(scenario, at, 1, () => {
      throw broken(type, 'its last words');
    });
    const result = await (await scenario.when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('its last words') });
    expect(scenario.world.called('ensureTraffic')).toHaveLength(0);
  });

  test('and is the first release ever is stopped, and nothing serves', async () => {
    const { world, when, then } = createScenario(env);
    world.on('watchRelease', () => watched('failed', 'bad'));
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'rollback-unavailable' });
    expect(result.live).toBeUndefined();
    expect(world.serving(production)).toBeUndefined();
    expect(world.place(production).slots.size).toBe(0);
    expect((await then.view()).hold).toMatchObject({ state: 'incident' });
  });

  test('stays where automatic rollback is off, held for a person', async () => {
    const { world, when } = second({ rollback: { automatic: false, restore: 'automatic' } });
    world.on('watchRelease', () => watched('failed', 'bad'));
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'held', live: { version: '1.0.1' } });
    expect(world.serving(production)).toBe('1.0.1');
  });

  test.each([
    ['failed', 'Automatic rollback is off here'],
    ['errored', 'could not say'],
  ] as const)(
    'stays where automatic rollback is off and its probes through the router have %s, held for a person',
    async (verdict, why) => {
      const scenario = second({ rollback: { automatic: false, restore: 'automatic' } });
      const probe = { name: 'http', verdict, detail: '503 from green', durationMs: 1 } as const;
      onCall(scenario, 'runProbes', 2, () => ({ verdict, probes: [probe] }));
      const { world, when, then } = scenario;
      const result = await (await when.deploy()).result();
      expect(result).toMatchObject({
        outcome: 'held',
        live: { version: '1.0.1' },
        reason: expect.stringContaining('503 from green'),
      });
      expect(result.reason).toContain(why);
      expect(world.serving(production)).toBe('1.0.1');
      // The release before stays as the way back.
      expect(await then.view()).toMatchObject({ hold: { state: 'held' }, previous: { version: '0.9.0' } });
      expect(world.called('ensureReleaseStopped')).toEqual([]);
      expect(world.called('watchRelease')).toEqual([]);
    },
  );

  test('is taken back where automatic rollback is off and it has no traffic yet', async () => {
    const scenario = second({ rollback: { automatic: false, restore: 'automatic' } });
    const probe = { name: 'http', verdict: 'failed', detail: '503 from green', durationMs: 1 } as const;
    onCall(scenario, 'runProbes', 1, () => ({ verdict: 'failed', probes: [probe] }));
    expect(await (await scenario.when.deploy()).result()).toMatchObject({ outcome: 'failed' });
    expect(scenario.world.serving(production)).toBe('0.9.0');
  });

  test('past the point of no return stays, held', async () => {
    const { world, when } = second({ rollback: { automatic: true, restore: 'ask' } });
    world.migrations = [{ ...migration, kind: 'contract' }];
    world.on('watchRelease', () => watched('failed', 'bad'));
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'held', reason: expect.stringContaining('002_damage.sql') });
    expect(world.serving(production)).toBe('1.0.1');
  });

  test('whose data waits for a person is off the traffic all the same', async () => {
    const { world, when, then } = second();
    world.on('watchRelease', () => watched('failed', 'bad'));
    world.on('ensureDataRolledBack', () => ({ action: 'held' as const, detail: 'type: slipway …' }));
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'held', live: { version: '0.9.0' } });
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.called('ensureProofDropped')).toHaveLength(0);
    expect((await then.view()).hold).toMatchObject({ state: 'held' });
  });
});

describe('a release that is dead when it is to be settled', () => {
  const why = '1.0.1 in green of hello/production does not run: it is exited with exit code 137.';

  function dying(policy: Partial<PlanPolicy> = {}): Scenario {
    const scenario = second(policy);
    scenario.world.on('ensureTraffic', (async (input: { readonly settles?: boolean }) => {
      if (input.settles === true) throw broken('ReleaseDegraded', why);
      return await env.natural('ensureTraffic')(input as never, scenario.world);
    }) as never);
    return scenario;
  }

  test.each(['passed', 'inconclusive'] as const)('is taken back as a bad one, though its watch %s', async (verdict) => {
    const { world, when, then } = dying();
    world.on('watchRelease', () => watched(verdict, 'so it seemed'));
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({
      outcome: 'rolled-back',
      watch: verdict,
      reason: `${why} It was about to lose its backup. 0.9.0 serves again.`,
      live: { version: '0.9.0', slot: 'blue' },
      rollback: { to: '0.9.0', trigger: expect.stringContaining(why), data: { action: 'swapped' }, incident: 'INC-1' },
    });
    expect(result.steps.filter(({ name }) => name === 'settle')).toMatchObject([{ verdict: 'failed', detail: why }]);
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.notices.map(({ event }) => event)).toEqual(['started', 'rollback-triggered']);
    expect((await then.view()).hold?.state).toBeUndefined();
  });

  test('has its traffic taken back before anything else is asked for', async () => {
    const { when } = dying();
    const deployment = await when.deploy();
    await deployment.result();
    const { events } = await deployment.rollOut.fetchHistory();
    const scheduled = (events ?? []).flatMap(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? [],
    );
    expect(scheduled.slice(scheduled.indexOf('watchRelease') + 1, scheduled.indexOf('watchRelease') + 3)).toEqual([
      'ensureTraffic',
      'ensureTraffic',
    ]);
  });

  test('stays with its backup where automatic rollback is off, held for a person', async () => {
    const { world, when, then } = dying({ rollback: { automatic: false, restore: 'automatic' } });
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'held', live: { version: '1.0.1' } });
    expect(result.reason).toContain(why);
    expect(result.reason).toContain('Automatic rollback is off here');
    expect(world.place(production)).toMatchObject({ traffic: 'green', backup: 'blue' });
    expect(await then.view()).toMatchObject({ hold: { state: 'held' }, previous: { version: '0.9.0' } });
  });

  test('is settled with its backup where the router cannot say', async () => {
    const { world, when } = second();
    world.on('ensureTraffic', (async (input: { readonly settles?: boolean }) => {
      if (input.settles === true) throw broken('RouterUnavailable', 'no answer');
      return await env.natural('ensureTraffic')(input as never, world);
    }) as never);
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'succeeded', live: { version: '1.0.1' } });
    expect(result.steps.at(-1)).toMatchObject({
      name: 'settle',
      verdict: 'inconclusive',
      detail: expect.stringContaining('still has its backup'),
    });
    expect(world.place(production)).toMatchObject({ traffic: 'green', backup: 'blue' });
  });
});

describe('what people are told of a roll-out', () => {
  const sick = {
    verdict: 'failed',
    probes: [{ name: 'http', verdict: 'failed', detail: '503 from green', durationMs: 1 }],
  } as const;

  test('that it has started, once it changes something and not before', async () => {
    const { world, when } = second();
    await (await when.deploy({ requestedBy: 'lin' })).result();
    expect(world.notices).toMatchObject([
      { event: 'started', level: 'info', environment: production, title: `${world.project} 1.0.1 goes to production` },
    ]);
    expect(world.notices[0]?.lines.join()).toContain('from 0.9.0; asked for by lin');
  });

  test('nothing of one whose plan does not fit', async () => {
    const { world, when } = second();
    world.on('planDeployment', (input) => {
      const plan = planOf(input, world);
      // The second time: it fitted when it was asked for.
      const full = world.called('planDeployment').length > 1;
      return full ? { ...plan, estimate: { ...plan.estimate, problems: ['the disk is full'] } } : plan;
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'errored' });
    expect(world.notices).toEqual([]);
  });

  test.each([
    ['the slot', 1, true, 'critical', 'slot'],
    ['the router', 2, true, 'critical', 'router'],
    // Only production calls somebody at night.
    ['the slot', 1, false, 'error', 'slot'],
  ] as const)(
    'that its probes fail through %s (call %i, production %s): %s',
    async (_, call, isProduction, level, where) => {
      const scenario = second({ production: isProduction });
      onCall(scenario, 'runProbes', call, () => sick);
      const { world, when } = scenario;
      const result = await (await when.deploy()).result();
      const told = world.notices.filter(({ event }) => event === 'health-check-failed');
      expect(told).toMatchObject([{ level, key: expect.stringMatching(new RegExp(`/health-check-failed/${where}$`)) }]);
      expect(told[0]?.lines.join()).toContain('503 from green');
      expect(result.outcome).toBe(call === 1 ? 'failed' : 'rolled-back');
    },
  );

  test('not that they fail when they could not be asked', async () => {
    const scenario = second();
    onCall(scenario, 'runProbes', 1, () => ({ ...sick, verdict: 'errored' }));
    const { world, when } = scenario;
    await (await when.deploy()).result();
    expect(world.notices.map(({ event }) => event)).not.toContain('health-check-failed');
  });

  test('that its container does not get healthy', async () => {
    const scenario = second();
    onCall(scenario, 'ensureReleaseRunning', 1, () => {
      throw broken('ContainerUnhealthy', 'its last words');
    });
    const { world, when } = scenario;
    await (await when.deploy()).result();
    const told = world.notices.find(({ event }) => event === 'health-check-failed');
    expect(told?.lines[0]).toContain('its last words');
  });

  test.each([true, false])('that a probe fails while it is watched, automatic rollback %s', async (automatic) => {
    const { world, when } = second({ rollback: { automatic, restore: 'automatic' } });
    const report = watched('failed', 'a probe failed with all its retries: http: 503');
    world.on('watchRelease', () => ({ ...report, badProbe: 'http: 503' }));
    await (await when.deploy()).result();
    const told = world.notices.filter(({ event }) => event === 'health-check-failed');
    expect(told).toMatchObject([{ level: 'critical', lines: expect.arrayContaining(['http: 503']) }]);
  });

  test.each([
    [true, 'critical'],
    [false, 'error'],
  ] as const)('that it is taken back, in production %s: %s', async (isProduction, level) => {
    const { world, when } = second({ production: isProduction });
    world.on('watchRelease', () => watched('failed', 'bad'));
    await (await when.deploy()).result();
    expect(world.notices.find(({ event }) => event === 'rollback-triggered')).toMatchObject({ level });
  });
});

describe('a watch without a verdict', () => {
  test.each([
    ['inconclusive', 'succeed', 'succeeded'],
    ['inconclusive', 'hold', 'held'],
    ['errored', 'succeed', 'held'],
  ] as const)('that ended %s with the policy %s makes it %s', async (verdict, onInconclusive, outcome) => {
    const { world, when } = second({ watch: { ...quietPolicy.watch, onInconclusive } });
    world.on('watchRelease', () => watched(verdict, 'no request came'));
    expect(await (await when.deploy()).result()).toMatchObject({ outcome, watch: verdict, live: { version: '1.0.1' } });
  });
});

describe('an undo that fails', () => {
  test('is tried three times, the others go on, and the environment is held for a person', async () => {
    const { world, when, then } = second();
    world.on('watchRelease', () => watched('failed', 'bad'));
    world.on('ensureReleaseStopped', () => {
      throw broken('EngineUnavailable', 'no engine', false);
    });
    const result = await (await when.deploy()).resultInTime();
    expect(result).toMatchObject({ outcome: 'rollback-failed' });
    expect(world.called('ensureReleaseStopped')).toHaveLength(3);
    expect(world.called('ensureDataRolledBack')).toHaveLength(1);
    expect(world.serving(production)).toBe('0.9.0');
    expect(result.rollback?.steps.find((step) => step.name === 'stop-current')).toMatchObject({ verdict: 'failed' });
    expect((await then.view()).hold).toMatchObject({ state: 'incident' });
  });

  test('of traffic is repeated without end, with one page at the third failure', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => watched('failed', 'bad'));
    let back = 0;
    world.on('ensureTraffic', (input) => {
      if (input.slot === 'blue' && (back += 1) <= 7) throw broken('RouterUnavailable', 'no router', false);
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    const result = await (await when.deploy()).resultInTime();
    expect(result).toMatchObject({ outcome: 'rolled-back' });
    expect(back).toBe(8);
    expect(world.notices.filter((notice) => notice.event === 'undo-keeps-failing')).toHaveLength(1);
  });

  test('of traffic starts the release before again where it is gone, and moves without a page', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => {
      world.place(production).slots.delete('blue');
      return watched('failed', 'bad');
    });
    world.on('ensureTraffic', (input) => {
      const { slots } = world.place(production);
      if (input.slot !== null && !slots.has(input.slot)) throw broken('ReleaseMissing', 'nothing is in blue');
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'rolled-back' });
    expect(world.serving(production)).toBe('0.9.0');
    expect(world.notices.map(({ event }) => event)).not.toContain('undo-keeps-failing');
  });

  test('of traffic is paged for where the release before is gone and does not start, and goes on', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => {
      world.place(production).slots.delete('blue');
      return watched('failed', 'bad');
    });
    world.on('ensureTraffic', (input) => {
      const { slots } = world.place(production);
      if (input.slot !== null && !slots.has(input.slot)) throw broken('ReleaseMissing', 'nothing is in blue');
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    let starts = 0;
    world.on('ensureReleaseRunning', (input) => {
      if (input.slot === 'blue' && (starts += 1) === 1) throw broken('ContainerUnhealthy', 'its last words');
      return env.natural('ensureReleaseRunning')(input as never, world) as never;
    });
    expect(await (await when.deploy()).resultInTime()).toMatchObject({ outcome: 'rolled-back' });
    const pages = world.notices.filter(({ event }) => event === 'undo-keeps-failing');
    expect(pages).toMatchObject([{ lines: expect.arrayContaining([expect.stringContaining('its last words')]) }]);
  });

  test('of traffic, of an abort, ends when somebody aborts again as the page says', async () => {
    const scenario = second();
    const { world, when, then } = scenario;
    onCall(scenario, 'watchRelease', 1, () => stayUntil(() => false));
    world.on('ensureTraffic', (input) => {
      if (input.slot === 'blue') throw broken('RouterUnavailable', 'no router', false);
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    const deployment = await when.deploy();
    await then.called('watchRelease');
    await deployment.abort();
    await env.until(() => world.notices.some(({ event }) => event === 'undo-keeps-failing'), 'the page');
    await deployment.abort({ by: 'ops', reason: 'I do it by hand', noRollback: true });
    expect(await deployment.result()).toMatchObject({ outcome: 'rollback-failed' });
    expect((await then.view()).hold).toMatchObject({ state: 'incident' });
  });

  test('of traffic ends when a person says to leave it', async () => {
    const { world, when } = second();
    world.on('watchRelease', () => watched('failed', 'bad'));
    world.on('ensureTraffic', (input) => {
      if (input.slot === 'blue') throw broken('RouterUnavailable', 'no router', false);
      return env.natural('ensureTraffic')(input as never, world) as never;
    });
    const deployment = await when.deploy();
    await env.until(() => world.notices.some(({ event }) => event === 'undo-keeps-failing'), 'the page');
    await deployment.abort({ by: 'ops', reason: 'I do it by hand', noRollback: true });
    const result = await deployment.resultInTime();
    expect(result).toMatchObject({ outcome: 'rollback-failed' });
    // The traffic is still there, so nothing else may be taken away under it.
    expect(world.called('ensureReleaseStopped')).toEqual([]);
    expect(world.called('ensureDataRolledBack')).toEqual([]);
    const left = result.rollback?.steps.find(({ name }) => name === 'stop-current');
    expect(left).toMatchObject({ verdict: 'failed', detail: expect.stringContaining('left as it is') });
  });
});
