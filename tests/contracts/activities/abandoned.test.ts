import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createAbandonedActivities } from '../../../src/activities/abandoned.ts';
import type { AbandonedPage, Notice, UpkeepActivities } from '../../../src/activities/contracts.ts';
import { type Abandoned, endOfDeployment, endOfRun } from '../../../src/domain/abandoned.ts';
import type { DeploymentInput } from '../../../src/domain/deployment.ts';
import type { RunRef } from '../../../src/domain/run.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment, readDeployment, recordPhase } from '../../../src/store/deployments.ts';
import { readEnvironment } from '../../../src/store/environments.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { openLog, readLog, logId } from '../../../src/store/logs.ts';
import { putProject } from '../../../src/store/projects.ts';
import { openRun, readRun } from '../../../src/store/runs.ts';
import { recordStage } from '../../../src/store/stages.ts';
import { type UpkeepSchedule, ensureSchedules, schedules } from '../../../src/workers/schedules.ts';
import { deploymentId, environmentId, rolloutId, runId } from '../../../src/workflows/messages.ts';
import { type World, quietPolicy, stayUntil, twoPeople } from '../../support/fake-activities.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../../support/workflow-env.ts';
import { createScenario, production } from '../../support/workflow-env-scenario.ts';

/** Workflows as they are on a real Temporal, with activities that change nothing; rows in a real store. */
let env: WorkflowEnv;
let store: TestStore;
let client: Client;
let activities: Pick<UpkeepActivities, 'readAbandoned' | 'settleAbandoned'>;
const sent: Notice[] = [];
/** Refs whose turn was freed. */
const freed: string[] = [];

beforeAll(async () => {
  [env, store] = await Promise.all([createWorkflowEnv({ server: 'real' }), temporaryStore()]);
  client = env.client;
  const sendNotice = (notice: Notice): Promise<void> => Promise.resolve(void sent.push(notice));
  activities = createAbandonedActivities({
    store,
    temporal: client,
    sendNotice,
    freeTurn: (_, ref) => Promise.resolve(void freed.push(ref)),
  });
}, 120_000);
afterAll(async () => {
  await env.close();
  await store.drop();
}, 60_000);

async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}

/** What is abandoned of one project; without a grace, so that a test has nothing to wait for. */
async function look(of: 'runs' | 'deployments', project: string, graceMs = 0): Promise<readonly Abandoned[]> {
  const { abandoned }: AbandonedPage = await call(activities.readAbandoned, { of, graceMs, after: 0 });
  return abandoned.filter((one) => one.project === project);
}

async function end(row: Abandoned): Promise<boolean> {
  const why = { workflow: row.workflow };
  if (row.kind === 'deployment') {
    return await call(activities.settleAbandoned, {
      kind: 'deployment',
      result: endOfDeployment(row),
      version: row.version,
      why,
    });
  }
  const { project, key, number } = row;
  return await call(activities.settleAbandoned, { kind: 'run', run: { project, key, number }, ...endOfRun(row), why });
}

/** An activity that stays until it is cancelled or its worker ends. */
async function forEver(): Promise<never> {
  await stayUntil(() => false);
  throw new Error('it stayed for ever');
}

async function known(world: World): Promise<void> {
  await putProject(store.db, { name: world.project, text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
}

async function runRow(world: World, key: string): Promise<RunRef> {
  const event = {
    kind: 'push' as const,
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: 'c'.repeat(40),
    author: 'ada',
  };
  const accepted = await acceptRun(store.db, {
    project: world.project,
    key,
    event,
    acceptedAt: new Date().toISOString(),
  });
  return await openRun(store.db, accepted.input);
}

async function deploymentRow(
  world: World,
  over: { readonly kind?: 'rollout' | 'rollback'; readonly startedBy?: 'run' | 'api'; readonly runKey?: string } = {},
): Promise<DeploymentInput> {
  const { input } = await openDeployment(store.db, {
    project: world.project,
    environment: production,
    version: '1.0.1',
    requestedBy: 'ada',
    author: 'grace',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: over.kind ?? 'rollout',
    request: crypto.randomUUID(),
    startedBy: over.startedBy ?? 'run',
    ...(over.runKey === undefined ? {} : { runKey: over.runKey }),
  });
  world.open(production, { number: input.number, version: input.version });
  return input;
}

async function start(input: DeploymentInput): Promise<void> {
  await client.workflow.start('deployRelease', {
    workflowId: deploymentId(input),
    taskQueue: 'orchestration',
    args: [input],
  });
}

async function terminate(workflowId: string): Promise<void> {
  await client.workflow.getHandle(workflowId).terminate('by a test');
}

async function phaseOf(input: DeploymentInput, phase: string): Promise<void> {
  const handle = client.workflow.getHandle(deploymentId(input));
  await env.until(async () => (await handle.query<{ phase: string }>('deployment')).phase === phase, phase);
}

describe('a run', () => {
  test('whose workflow was terminated is ended with what happened, once; an open one stays', async () => {
    const { world } = createScenario(env);
    await known(world);
    world.on('prepareRun', forEver);
    const rows = [await runRow(world, 'killed'), await runRow(world, 'open')];
    for (const { project, key } of rows) {
      const args = [
        { project, key, event: { kind: 'push', ref: 'refs/heads/main', before: '', after: '', author: '' } },
      ];
      await client.workflow.start('runPipeline', { workflowId: runId(project, key), taskQueue: 'orchestration', args });
    }
    const [killed, open] = rows as [RunRef, RunRef];
    const stage = { name: 'check', verdict: null, detail: null, startedAt: new Date().toISOString(), durationMs: null };
    await recordStage(store.db, killed, 0, { ...stage, steps: [{ ...stage, name: 'unit', exitCode: null }] });
    const log = { project: world.project, run: killed.number, stage: 'check', step: 'unit', attempt: 1 };
    await openLog(store.db, log, new Date().toISOString());
    expect(await look('runs', world.project)).toEqual([]);
    await terminate(runId(world.project, 'killed'));
    // Its last words may be on their way for a while.
    expect(await look('runs', world.project, 60_000)).toEqual([]);
    const found = await look('runs', world.project);
    expect(found).toMatchObject([{ kind: 'run', key: 'killed', workflow: { status: 'terminated' } }]);
    sent.length = 0;
    expect(await end(found[0]!)).toBe(true);
    expect(await end(found[0]!)).toBe(true);
    expect(await readRun(store.db, world.project, killed.number)).toMatchObject({
      phase: 'closed',
      outcome: 'errored',
      reason: expect.stringContaining(`\`slipway rerun ${world.project}#1\``),
      stages: [{ verdict: 'errored', steps: [{ name: 'unit', verdict: 'errored' }] }],
    });
    expect((await readLog(store.db, logId(log)))?.closedAt).not.toBeNull();
    expect(await readRun(store.db, world.project, open.number)).toMatchObject({ outcome: null });
    const { items } = await listAudit(store.db, { object: runId(world.project, 'killed') }, {});
    expect(items).toMatchObject([{ actor: 'reconciler', action: 'run.end', detail: { outcome: 'errored' } }]);
    // Asked for twice, told once: a notice has a key.
    expect(new Set(sent.map(({ key }) => key))).toEqual(new Set([`${world.project}/run/1/settled`]));
    expect(await look('runs', world.project)).toEqual([]);
    await terminate(runId(world.project, 'open'));
  }, 60_000);

  test('that ended by itself keeps its word, also when the store had lost it', async () => {
    const { world } = createScenario(env);
    await known(world);
    world.on('runStage', ({ stage }) => {
      return {
        name: stage,
        verdict: 'failed' as const,
        steps: [],
        startedAt: '',
        durationMs: 1,
        detail: 'two are red',
      };
    });
    const { project, key, number } = await runRow(world, 'lost');
    const event = { kind: 'push', ref: 'refs/heads/main', before: '', after: 'c', author: '' };
    const args = [{ project, key, event }];
    await client.workflow.execute('runPipeline', { workflowId: runId(project, key), taskQueue: 'orchestration', args });
    const [found] = await look('runs', project);
    await end(found!);
    expect(await readRun(store.db, project, number)).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('two are red'),
    });
  }, 60_000);

  test('that Temporal does not know any more is errored', async () => {
    const { world } = createScenario(env);
    await known(world);
    await runRow(world, 'gone');
    expect(await look('runs', world.project, 60_000)).toEqual([]);
    expect(await look('runs', world.project)).toMatchObject([{ workflow: { status: 'unknown' } }]);
  }, 60_000);
});

describe('a deployment', () => {
  test('terminated while it waits for approval is errored, nothing was changed', async () => {
    const { world } = createScenario(env);
    await known(world);
    world.policy = { ...quietPolicy, approval: twoPeople };
    const input = await deploymentRow(world);
    await start(input);
    await phaseOf(input, 'awaiting-approval');
    expect(await look('deployments', world.project)).toEqual([]);
    await terminate(deploymentId(input));
    const [found] = await look('deployments', world.project);
    expect(await end(found!)).toBe(true);
    expect(await readDeployment(store.db, input)).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining(`\`slipway deploy ${world.project}/production 1.0.1\``),
    });
    expect(sent.at(-1)).toMatchObject({ key: `${world.project}/production/1/settled`, level: 'error' });
  }, 60_000);

  test('stays while its roll-out goes on or its environment will see to it, and is held when all are gone', async () => {
    const { world, given } = createScenario(env);
    await known(world);
    given.live();
    world.on('watchRelease', forEver);
    const [first, second] = [await deploymentRow(world), await deploymentRow(world)];
    await start(first);
    await env.until(() => world.called('watchRelease').length > 0, 'the watch');
    await start(second);
    await phaseOf(second, 'queued');
    // Nobody is left to take the answers, but the environment has one turn under way and knows of the other.
    await terminate(deploymentId(first));
    await terminate(deploymentId(second));
    expect(await look('deployments', world.project)).toEqual([]);
    await terminate(environmentId(world.project, production));
    // The second is nobody's any more; the first has its roll-out still.
    expect(await look('deployments', world.project)).toMatchObject([{ number: second.number }]);
    await terminate(rolloutId(first));
    await recordPhase(store.db, first, { phase: 'watching', at: new Date().toISOString() });
    const found = await look('deployments', world.project);
    expect(found.map((one) => one.number)).toEqual([first.number, second.number]);
    for (const one of found) await end(one);
    expect(await readDeployment(store.db, first)).toMatchObject({
      outcome: 'held',
      reason: expect.stringContaining(`slipway reconcile ${world.project}/production`),
    });
    expect(await readDeployment(store.db, second)).toMatchObject({ outcome: 'errored' });
    expect(await readEnvironment(store.db, world.project, production)).toMatchObject({
      hold: { outcome: 'held', number: first.number },
    });
  }, 60_000);

  test('that nobody has started is left to whoever opened it, as long as there is somebody', async () => {
    const { world } = createScenario(env);
    await known(world);
    world.on('prepareRun', forEver);
    const run = await runRow(world, 'opener');
    const args = [{ ...run, event: { kind: 'push', ref: 'refs/heads/main', before: '', after: '', author: '' } }];
    await client.workflow.start('runPipeline', {
      workflowId: runId(run.project, run.key),
      taskQueue: 'orchestration',
      args,
    });
    const byRun = await deploymentRow(world, { runKey: run.key });
    await deploymentRow(world, { startedBy: 'api' });
    const rollback = await deploymentRow(world, { kind: 'rollback' });
    expect((await look('deployments', world.project)).map(({ number }) => number)).toEqual([rollback.number]);
    await terminate(runId(run.project, run.key));
    const found = await look('deployments', world.project);
    expect(found.map(({ number }) => number)).toEqual([byRun.number, rollback.number]);
  }, 60_000);
});

describe('the schedules', () => {
  const described = async (id: string) => await client.schedule.getHandle(id).describe();
  const ids = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { scheduleId } of client.schedule.list()) found.push(scheduleId);
    return found.sort();
  };

  test('are made once, however many workers start', async () => {
    await Promise.all([ensureSchedules(client), ensureSchedules(client)]);
    await ensureSchedules(client);
    await env.until(async () => (await ids()).length === schedules.length, 'the list of schedules');
    expect(await ids()).toEqual(schedules.map(({ id }) => id).sort());
    for (const { id, note, workflow } of schedules) {
      expect(await described(id)).toMatchObject({
        action: { workflowType: workflow, workflowId: id, taskQueue: 'orchestration' },
        policies: { overlap: 'SKIP', pauseOnFailure: false },
        state: { note, paused: false },
      });
    }
    expect((await described('upkeep/retention')).policies.catchupWindow).toBe(86_400_000);
  }, 60_000);

  test('follow a change, keep a pause, and go with their entry', async () => {
    const [first] = schedules as [UpkeepSchedule, ...UpkeepSchedule[]];
    const other: UpkeepSchedule = { ...first, id: 'upkeep/other' };
    await ensureSchedules(client, [first, other]);
    await client.schedule.getHandle(first.id).pause('we look at it ourselves');
    const before = await described(other.id);
    await ensureSchedules(client, [{ ...first, catchupWindow: '2 minutes' }, other]);
    expect(await described(first.id)).toMatchObject({
      policies: { catchupWindow: 120_000 },
      state: { paused: true, note: 'we look at it ourselves' },
    });
    expect((await described(other.id)).info.lastUpdatedAt).toEqual(before.info.lastUpdatedAt);
    await env.until(async () => (await ids()).includes(other.id), 'the list of schedules');
    await ensureSchedules(client, [first]);
    await env.until(async () => !(await ids()).includes(other.id), 'the schedule to be gone');
    expect(await ids()).toEqual([first.id]);
  }, 60_000);

  test('one that is triggered starts its workflow', async () => {
    await client.schedule.getHandle('upkeep/reconcile').unpause();
    await client.schedule.getHandle('upkeep/reconcile').trigger();
    await env.until(async () => {
      const { info } = await described('upkeep/reconcile');
      return info.recentActions.some(({ action }) => action.workflow.workflowId.startsWith('upkeep/reconcile-'));
    }, 'the workflow');
  }, 60_000);
});
