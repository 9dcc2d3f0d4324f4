import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import type { Notice } from '../../../src/activities/contracts.ts';
import { createRunFactActivities } from '../../../src/activities/run-facts.ts';
import {
  type RunTurnDependencies,
  createFreeTurn,
  createRunTurnActivities,
} from '../../../src/activities/run-turns.ts';
import type { RunPlan } from '../../../src/domain/run.ts';
import type { RunMode } from '../../../src/domain/run-turn.ts';
import type { BlobStore } from '../../../src/providers/blobs/port.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { openRun, readRun, recordRunPlan } from '../../../src/store/runs.ts';
import { runId } from '../../../src/workflows/messages.ts';
import { stayUntil } from '../../support/fake-activities.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../../support/workflow-env.ts';
import { createScenario } from '../../support/workflow-env-scenario.ts';

/** Runs as they are, on a real Temporal and a real store; only what they would run is nothing. */
let env: WorkflowEnv;
let store: TestStore;
let deps: RunTurnDependencies;
const sent: Notice[] = [];

beforeAll(async () => {
  [env, store] = await Promise.all([createWorkflowEnv({ server: 'real' }), temporaryStore()]);
  const sendNotice = (notice: Notice): Promise<void> => Promise.resolve(void sent.push(notice));
  deps = { store, temporal: env.client, sendNotice };
}, 120_000);
afterAll(async () => {
  await env.close();
  await store.drop();
}, 60_000);

const ref = 'refs/heads/main';
const nothing = { read: () => Promise.reject(new Error('no run has evidence here')) } as unknown as BlobStore;

interface Street {
  readonly project: string;
  /** Accepts and starts the next run. */
  come(): Promise<WorkflowHandle>;
  /** The same, once it is in the queue. */
  queue(): Promise<WorkflowHandle>;
  /** Keeps the stage of a run, by its number, until it is let go. */
  hold(number: number): () => void;
  /** Numbers of the runs whose stage began, in their order. */
  readonly ran: readonly number[];
  read(number: number): Promise<Awaited<ReturnType<typeof readRun>>>;
}

async function street(mode: Exclude<RunMode, 'parallel'> = 'queue'): Promise<Street> {
  const { world } = createScenario(env);
  const { project } = world;
  await putProject(store.db, { name: project, text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
  const ran: number[] = [];
  const held = new Set<number>();
  const turns = createRunTurnActivities(deps);
  const facts = createRunFactActivities({ ...deps, blobs: nothing, freeTurn: createFreeTurn(deps) });
  world.on('prepareRun', async (input) => {
    const run = await openRun(store.db, input);
    const natural = (await env.natural('prepareRun')(input as never, world)) as RunPlan;
    const plan = { ...natural, run, turn: { mode, timeoutMs: 86_400_000 } };
    await recordRunPlan(store.db, plan);
    return plan;
  });
  world.on('askRunTurn', (asked) => turns.askRunTurn(asked));
  world.on('settleRun', (settle) => facts.settleRun(settle));
  world.on('runStage', async (asked) => {
    ran.push(asked.run.number);
    await stayUntil(() => !held.has(asked.run.number));
    return (await env.natural('runStage')(asked as never, world)) as never;
  });
  let runs = 0;
  const come = async (): Promise<WorkflowHandle> => {
    runs += 1;
    const event = { kind: 'push' as const, ref, before: '0'.repeat(40), after: 'c'.repeat(40), author: 'ada' };
    const { input } = await acceptRun(store.db, {
      project,
      key: `k${runs}`,
      event,
      acceptedAt: new Date().toISOString(),
    });
    return await env.client.workflow.start('runPipeline', {
      workflowId: runId(project, input.key),
      taskQueue: 'orchestration',
      args: [input],
    });
  };
  const read = (number: number) => readRun(store.db, project, number);
  return {
    project,
    come,
    queue: async () => {
      const run = await come();
      const number = runs;
      await until(async () => (await read(number))?.phase === 'queued', { what: `run ${number} to be queued` });
      return run;
    },
    hold: (number) => {
      held.add(number);
      return () => void held.delete(number);
    },
    ran,
    read,
  };
}

const begun = (here: Street, number: number): Promise<unknown> =>
  until(() => here.ran.includes(number), { what: `run ${number} to begin` });

async function signalsOf(run: WorkflowHandle): Promise<readonly string[]> {
  const { events } = await run.fetchHistory();
  return (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signaled }) =>
    signaled?.signalName === null || signaled?.signalName === undefined ? [] : [signaled.signalName],
  );
}

describe('runs of a ref', () => {
  test('go one after the other, and each is told that its turn has come', async () => {
    const here = await street();
    const letGo = here.hold(1);
    const first = await here.come();
    await begun(here, 1);
    const second = await here.queue();
    const third = await here.queue();
    expect(await here.read(3)).toMatchObject({ queue: { position: 2, waitsFor: 1 } });
    letGo();
    for (const run of [first, second, third]) expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.ran).toEqual([1, 2, 3]);
    expect(await signalsOf(second)).toContain('turnFreed');
    expect(await signalsOf(third)).toContain('turnFreed');
    expect(await here.read(3)).toMatchObject({ outcome: 'succeeded', queue: null });
  });

  test('go on behind one that was terminated, which gets its end from the one that waits', async () => {
    const here = await street();
    here.hold(1);
    const first = await here.come();
    await begun(here, 1);
    const second = await here.queue();
    await first.terminate('by hand');
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await here.read(1)).toMatchObject({
      outcome: 'errored',
      reason: expect.stringContaining('was terminated'),
    });
    const { items } = await listAudit(store.db, { object: first.workflowId }, { limit: 10 });
    expect(items).toMatchObject([{ actor: 'reconciler', action: 'run.end', object: first.workflowId }]);
    expect(sent.some(({ project, title }) => project === here.project && title.includes('1'))).toBe(true);
  }, 60_000);

  test('go on behind one that was terminated while it waited', async () => {
    const here = await street();
    const letGo = here.hold(1);
    await here.come();
    await begun(here, 1);
    const second = await here.queue();
    const third = await here.queue();
    await second.terminate('by hand');
    letGo();
    expect(await third.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.ran).toEqual([1, 3]);
    expect(await here.read(2)).toMatchObject({ outcome: 'errored' });
  }, 60_000);

  test('are in the same order after all workers have ended and others have begun', async () => {
    const here = await street();
    const letGo = here.hold(1);
    await here.come();
    await begun(here, 1);
    const runs = [await here.queue(), await here.queue()];
    letGo();
    await env.restartWorkers();
    for (const run of runs) expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect([...new Set(here.ran)]).toEqual([1, 2, 3]);
  }, 60_000);

  test('move up when the one in between is aborted', async () => {
    const here = await street();
    const letGo = here.hold(1);
    await here.come();
    await begun(here, 1);
    const second = await here.queue();
    const third = await here.queue();
    await second.executeUpdate('abort', { args: [{ by: 'ada' }] });
    expect(await second.result()).toMatchObject({ outcome: 'aborted' });
    await until(async () => (await here.read(3))?.queue?.position === 1, { what: 'the third to move up' });
    letGo();
    await third.result();
    expect(here.ran).toEqual([1, 3]);
  });

  test('that supersede end the one that is running', async () => {
    const here = await street('supersede');
    here.hold(1);
    const first = await here.come();
    await begun(here, 1);
    const second = await here.come();
    expect(await first.result()).toEqual({ outcome: 'superseded', reason: 'Run 2 of the same ref took its place.' });
    expect(await second.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await here.read(1)).toMatchObject({ outcome: 'superseded' });
  });
});

test('what a run that has waited leaves in its history is few events', async () => {
  const here = await street();
  const letGo = here.hold(1);
  await here.come();
  await begun(here, 1);
  const second = await here.queue();
  letGo();
  await second.result();
  const history = await second.fetchHistory();
  expect(history.events?.length).toBeLessThan(80);
  expect(temporal.api.history.v1.History.encode(history).finish().byteLength).toBeLessThan(40_000);
});
