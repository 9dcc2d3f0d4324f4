import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ApplicationFailure } from '@temporalio/common';
import { environmentId, mergeBackId } from '../../src/workflows/messages.ts';
import { broken, isOpen, planOf, quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Deployment, type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

function approved(more: Partial<typeof twoPeople> = {}): Scenario {
  const scenario = createScenario(env);
  scenario.world.policy = { ...quietPolicy, approval: { ...twoPeople, ...more } };
  return scenario;
}

describe('a deployment that needs no approval', () => {
  test('plans, takes its turn and ends as the roll-out ended, settled once', async () => {
    const { world, given, when } = createScenario(env);
    given.live();
    const deployment = await when.deploy();
    expect(await deployment.result()).toMatchObject({
      outcome: 'succeeded',
      live: { version: '1.0.1', slot: 'green' },
    });
    expect(world.outcomesOf(deployment.input)).toEqual(['succeeded']);
    expect(world.serving(production)).toBe('1.0.1');
  });

  test.each([
    ['MigrationIncompatible', 'errored'],
    ['SecretMissing', 'failed'],
    ['DatabaseRefused', 'errored'],
  ])('that cannot be planned for %s ends %s, never having asked for the turn', async (type, outcome) => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', () => {
      throw broken(type, 'no plan');
    });
    const deployment = await when.deploy();
    expect(await deployment.result()).toMatchObject({ outcome });
    expect(world.called('requestTurn')).toHaveLength(0);
    expect(world.outcomesOf(deployment.input)).toEqual([outcome]);
  });

  test('for which there is no room ends before anybody is asked', async () => {
    const { world, when } = approved();
    world.on('planDeployment', (input) => {
      const plan = planOf(input, world);
      return { ...plan, estimate: { ...plan.estimate, problems: ['The disk has 1 GB, the backup needs 4.'] } };
    });
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'errored', reason: expect.stringContaining('needs 4') });
    expect(world.notices).toEqual([]);
  });
});

describe('approval', () => {
  test('needs every place of the policy filled by another person, then goes on', async () => {
    const { world, when } = approved();
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    expect(await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] })).toBe('1 counted');
    expect(await deployment.decide('approve', { by: 'kim', groups: ['tech-lead'] })).toBe('2 counted');
    expect(world.called('requestTurn')).toHaveLength(0);
    expect(await deployment.decide('approve', { by: 'max', groups: ['devops'] })).toBe('3 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    // Recorded beside each other, so in any order.
    expect(world.decisions.map(({ by, counted }) => `${by} ${String(counted)}`).sort()).toEqual([
      'kim true',
      'lin true',
      'max true',
    ]);
  });

  test('is asked for with one notice, and says until when', async () => {
    const { world, when } = approved();
    const deployment = await when.deploy();
    // The clock starts when people have been told, a moment after the phase is seen.
    await env.until(async () => (await deployment.view()).approvalUntil !== undefined, 'its time to be counted');
    const view = await deployment.view();
    expect(world.notices).toMatchObject([{ event: 'approval-requested', level: 'error' }]);
    expect(Date.parse(view.approvalUntil ?? '')).toBeGreaterThan(Date.parse(view.plan?.plannedAt ?? ''));
    await deployment.abort();
    await deployment.result();
  });

  test('goes on without the notice when it cannot be sent', async () => {
    const { world, when } = approved();
    world.on('sendNotice', () => {
      throw broken('NotifierFailed', 'nobody home', false);
    });
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await deployment.decide('reject', { by: 'lin' });
    expect(await deployment.result()).toMatchObject({ outcome: 'rejected' });
  });

  test.each([
    ['of the author', { by: 'ada' }, 'NotAllowed'],
    ['of who asked for it', { by: 'olga' }, 'NotAllowed'],
    ['of somebody in no group that decides', { by: 'eve', groups: ['guests'] }, 'NotAllowed'],
    ['for another plan', { by: 'lin', plan: 'ffffffff' }, 'Conflict'],
    ['that names too little of the plan', { by: 'lin', plan: 'ff' }, 'Conflict'],
    ['without a name', { by: ' ' }, 'InvalidInput'],
  ])('refuses a decision %s and tells why, leaving no trace', async (_, message, refusal) => {
    const { world, when } = approved();
    const deployment = await when.deploy({ involved: ['olga'] });
    await deployment.until('awaiting-approval');
    expect(await deployment.decide('approve', message)).toBe(refusal);
    expect(world.decisions).toEqual([]);
    await deployment.abort();
    expect(await deployment.result()).toMatchObject({ outcome: 'aborted' });
  });

  test('refuses the same person twice', async () => {
    const { when } = approved();
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await deployment.decide('approve', { by: 'lin', groups: ['tech-lead'] });
    expect(await deployment.decide('approve', { by: 'lin', groups: ['devops'] })).toBe('Conflict');
    await deployment.decide('reject', { by: 'max' });
    await deployment.result();
  });

  test('ends with one rejection, and with its comment', async () => {
    const { world, when } = approved();
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await deployment.decide('reject', { by: 'lin', comment: 'not on a Friday' });
    const result = await deployment.result();
    expect(result).toMatchObject({ outcome: 'rejected', reason: 'lin rejected it: not on a Friday.' });
    expect(world.called('requestTurn')).toHaveLength(0);
    expect(world.outcomesOf(deployment.input)).toEqual(['rejected']);
  });

  test('expires when its time is over', async () => {
    const { world, when } = approved({ timeoutMs: 1_800_000 });
    const began = await env.server.currentTimeMs();
    const deployment = await when.deploy();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'expired' });
    expect((await env.server.currentTimeMs()) - began).toBeGreaterThanOrEqual(1_800_000);
    expect(world.outcomesOf(deployment.input)).toEqual(['expired']);
  });

  test('is not waited for by a decision that comes later', async () => {
    const { given, when } = approved({ rules: [{ group: 'devops', count: 1 }] });
    const backup = given.gate('ensureBackup');
    const deployment = await when.deploy();
    await deployment.until('awaiting-approval');
    await deployment.decide('approve', { by: 'max' });
    await deployment.until('rolling-out');
    expect(await deployment.decide('reject', { by: 'lin' })).toBe('TooLate');
    backup();
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('takes a raw signal at its word, marked as unproven', async () => {
    const { world, when } = approved({ rules: [{ group: 'devops', count: 1 }] });
    const deployment = await when.deploy();
    const { plan } = await deployment.until('awaiting-approval');
    await deployment.handle.signal('approve', { by: 'max', plan: plan?.hash.slice(0, 8), proven: true });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.decisions).toMatchObject([{ by: 'max', counted: true, proven: false }]);
  });

  test('is not made proven by a raw update that says so', async () => {
    const { world, when } = approved({ rules: [{ group: 'devops', count: 1 }] });
    const deployment = await when.deploy();
    const { plan } = await deployment.until('awaiting-approval');
    await deployment.handle.executeUpdate('approve', {
      args: [{ by: 'max', plan: plan?.hash, groups: ['devops'], proven: true }],
    });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.decisions).toMatchObject([{ by: 'max', counted: true, proven: false }]);
  });

  test.each([
    ['no message at all', undefined, /does not say who/],
    ['a text', 'approve', /does not say who/],
    ['no plan', { by: 'max' }, /does not name the plan/],
    ['the author', { by: 'ada', plan: 'HASH' }, /author/],
  ])('records a raw signal with %s as ignored, with the reason, and goes on waiting', async (_, message, why) => {
    const { world, when } = approved();
    const deployment = await when.deploy();
    const { plan } = await deployment.until('awaiting-approval');
    const filled: unknown = JSON.parse(JSON.stringify(message ?? null).replace('HASH', plan?.hash ?? ''));
    if (message === undefined) await deployment.handle.signal('approve');
    else await deployment.handle.signal('approve', filled);
    await deployment.decide('reject', { by: 'lin' });
    expect(await deployment.result()).toMatchObject({ outcome: 'rejected' });
    expect(world.decisions.find(({ counted }) => !counted)).toMatchObject({ why: expect.stringMatching(why) });
  });

  test('asked for again when the plan changed while it waited, and the old word does not count', async () => {
    const { world, given, when } = approved({ rules: [{ group: 'devops', count: 1 }] });
    given.live();
    const deployment = await when.deploy();
    const first = await deployment.until('awaiting-approval');
    world.configuration = 'another';
    await deployment.decide('approve', { by: 'max' });
    await env.until(async () => (await deployment.view()).plan?.hash !== first.plan?.hash, 'a new plan');
    const second = await deployment.until('awaiting-approval');
    expect(second.approval?.counted).toEqual([]);
    expect(await deployment.decide('approve', { by: 'max', plan: first.plan?.hash ?? '' })).toBe('Conflict');
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.outcomesOf(deployment.input)).toEqual(['succeeded']);
    const asked = world.notices.filter((notice) => notice.event === 'approval-requested');
    expect(asked).toHaveLength(2);
    expect(asked[0]?.lines[0]).not.toContain('again');
    expect(asked[1]?.lines[0]).toContain(', asked again: the configuration of the environment changed, from ');
  });

  test('is not asked for for ever when the plan never comes to rest', async () => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => {
      world.configuration += '+';
      return planOf(input, world);
    });
    expect(await (await when.deploy()).result()).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining('not stable'),
    });
  });
});

describe('with the turn held while people decide', () => {
  const rules = [{ group: 'devops', count: 1 }];

  test('nobody else gets it, and it goes on with the plan made when it was granted', async () => {
    const { world, when, then } = approved({ turn: 'hold', rules });
    const first = await when.deploy();
    await first.until('awaiting-approval');
    world.policy = quietPolicy;
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue[0]?.number === 2, 'the second to wait');
    await first.decide('approve', { by: 'max' });
    expect(await first.result()).toMatchObject({ outcome: 'succeeded' });
    // What was planned before the first went live is another plan by now, and is made anew without anybody's doing.
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('a rejection gives it to the next', async () => {
    const { world, when } = approved({ turn: 'hold', rules });
    const first = await when.deploy();
    await first.until('awaiting-approval');
    world.policy = quietPolicy;
    const second = await when.deploy();
    await first.decide('reject', { by: 'max' });
    expect(await first.result()).toMatchObject({ outcome: 'rejected' });
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.outcomesOf(first.input)).toEqual(['rejected']);
  });
});

describe('an abort', () => {
  test('while planning ends it at once', async () => {
    const { world, given, when, then } = createScenario(env);
    given.gate('planDeployment');
    const deployment = await when.deploy();
    await then.called('planDeployment');
    await deployment.abort();
    expect(await deployment.result()).toMatchObject({
      outcome: 'aborted',
      reason: expect.stringContaining('changed our mind'),
    });
    expect(world.called('requestTurn')).toHaveLength(0);
  });

  test('while waiting for its turn takes it out of the queue', async () => {
    const { world, given, when, then } = createScenario(env);
    const watch = given.gate('watchRelease');
    const first = await when.deploy();
    await then.called('watchRelease');
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
    await second.abort();
    expect(await second.result()).toMatchObject({ outcome: 'aborted' });
    watch();
    expect(await first.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.outcomesOf(second.input)).toEqual(['aborted']);
  });

  test('refused by update once it has ended is told so', async () => {
    const { given, when } = createScenario(env);
    given.live();
    const deployment = await when.deploy();
    await deployment.result();
    await expect(deployment.handle.executeUpdate('abort', { args: [{ by: 'ops' }] })).rejects.toThrow();
  });
});

describe('whoever waits for a turn', () => {
  test('asks again, so that an environment without a memory comes to know of it', async () => {
    const { world, given, when, then } = createScenario(env);
    world.policy = { ...quietPolicy, queue: { ...quietPolicy.queue, askAgainMs: 500 } };
    const watch = given.gate('watchRelease', (input: { number: number }) => input.number === 1);
    const first = await when.deploy();
    await then.called('watchRelease');
    const second = await when.deploy();
    await then.environmentIs((view) => view.queue.length === 1, 'the second to wait');
    await env.client.workflow.getHandle(environmentId(world.project, production)).terminate('by mistake');
    await env.until(
      () => isOpen(env.client, environmentId(world.project, production)),
      'the environment to be begun anew',
    );
    await then.environmentIs((view) => view.current?.number === 1 && view.queue.length === 1, 'it to follow the first');
    watch();
    expect(await first.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.violations).toEqual([]);
    expect(world.outcomesOf(first.input)).toEqual(['succeeded']);
  });
});

describe('a deployment whose route goes through another environment first', () => {
  const before = { environment: 'staging', number: 1 };

  test('plans only when that one has succeeded', async () => {
    const { world, given, when, then } = createScenario(env);
    const open = given.gate('ensureReleaseRunning');
    const staging = await when.deploy({ environment: 'staging' });
    const after = { project: world.project, ...before, number: staging.input.number };
    const last = await when.deploy({ after });
    await then.called('ensureReleaseRunning');
    await last.until('queued');
    expect(world.called('planDeployment').some(({ workflowId }) => workflowId.includes(`/${production}/`))).toBe(false);
    open();
    expect(await last.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.outcomesOf(staging.input)).toEqual(['succeeded']);
  });

  test('ends without a plan when that one has not', async () => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => {
      if (input.environment === 'staging') throw broken('SecretMissing', 'no plan');
      return planOf(input, world);
    });
    const staging = await when.deploy({ environment: 'staging' });
    const after = { project: world.project, ...before, number: staging.input.number };
    const last = await when.deploy({ after });
    expect(await last.result()).toMatchObject({
      outcome: 'aborted',
      reason: expect.stringMatching(/^staging #\d+ ended failed, so nothing goes further/),
    });
    expect(world.called('requestTurn')).toHaveLength(0);
  });

  test('can be aborted while it waits', async () => {
    const { world, given, when } = createScenario(env);
    const open = given.gate('ensureReleaseRunning');
    const staging = await when.deploy({ environment: 'staging' });
    const last = await when.deploy({ after: { project: world.project, ...before, number: staging.input.number } });
    await last.until('queued');
    await last.abort({ by: 'ada', reason: 'not today' });
    expect(await last.result()).toMatchObject({ outcome: 'aborted', reason: expect.stringContaining('not today') });
    open();
    expect(await staging.result()).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('a hotfix that is live', () => {
  /** Nobody waits for it but this test. */
  async function broughtBack({ input }: Deployment): Promise<void> {
    await env.client.workflow.getHandle(mergeBackId(input)).result();
  }

  test.each([
    [true, 'run', 1],
    [undefined, 'run', 0],
    [true, undefined, 0],
  ])('is brought back where the plan says so (%s) and a run made it (%s): %i', async (mergesBack, runKey, count) => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => ({ ...planOf(input, world), ...(mergesBack ? { mergesBack } : {}) }));
    const deployment = await when.deploy({ priority: 'hotfix', ...(runKey === undefined ? {} : { runKey }) });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    if (count > 0) await broughtBack(deployment);
    expect(world.called('mergeBack')).toHaveLength(count);
  });

  test('that could not be brought back is told to people, with what to do', async () => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => ({ ...planOf(input, world), mergesBack: true as const }));
    world.on('mergeBack', () => {
      throw broken('ForgeRefused', 'hotfix/1 could not be asked back. into main: may not.');
    });
    const deployment = await when.deploy({ priority: 'hotfix', runKey: 'run' });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    await broughtBack(deployment);
    expect(world.notices.filter(({ event }) => event === 'merge-back-failed')).toMatchObject([
      {
        level: 'error',
        title: expect.stringContaining('was not asked back'),
        lines: [expect.stringContaining('into main: may not.'), expect.stringContaining('by hand'), expect.anything()],
      },
    ]);
  });

  test('is asked back again and again while the forge is away', async () => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => ({ ...planOf(input, world), mergesBack: true as const }));
    world.on('mergeBack', () => {
      if (world.called('mergeBack').length >= 9) return;
      // At once, and not after minutes, which the clock of this server does not skip.
      throw ApplicationFailure.create({ type: 'ForgeUnavailable', message: 'away', nextRetryDelay: 10 });
    });
    const deployment = await when.deploy({ priority: 'hotfix', runKey: 'run' });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    await broughtBack(deployment);
    expect(world.called('mergeBack')).toHaveLength(9);
    expect(world.notices.map(({ event }) => event)).not.toContain('merge-back-failed');
  });

  test('keeps no environment after it in its route waiting while the forge is away', async () => {
    const { world, given, when } = createScenario(env);
    const { project } = world;
    world.on('planDeployment', (input) => ({ ...planOf(input, world), mergesBack: true as const }));
    const back = given.gate('mergeBack');
    const hotfix = { priority: 'hotfix', runKey: 'run' } as const;
    const deployment = await when.deploy({ ...hotfix, environment: 'production-eu' });
    const after = { project, environment: 'production-eu', number: deployment.input.number };
    const next = await when.deploy({ ...hotfix, environment: 'production-us', after });
    expect(await next.result()).toMatchObject({ outcome: 'succeeded' });
    const { status } = await env.client.workflow.getHandle(mergeBackId(deployment.input)).describe();
    expect(status.name).toBe('RUNNING');
    back();
    await Promise.all([broughtBack(deployment), broughtBack(next)]);
    expect(world.called('mergeBack').map(({ input }) => input)).toMatchObject([
      { deployment: after },
      { deployment: { project, environment: 'production-us', number: next.input.number } },
    ]);
  });

  test('has succeeded also where the forge refuses', async () => {
    const { world, when } = createScenario(env);
    world.on('planDeployment', (input) => ({ ...planOf(input, world), mergesBack: true as const }));
    world.on('mergeBack', () => {
      throw broken('ForgeRefused', 'may not');
    });
    const deployment = await when.deploy({ priority: 'hotfix', runKey: 'run' });
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.outcomesOf(deployment.input)).toEqual(['succeeded']);
  });
});
