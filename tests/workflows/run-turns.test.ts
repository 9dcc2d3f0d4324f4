import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { RunTurnActivities } from '../../src/activities/contracts.ts';
import type { RunInput, RunPlan, StageReport } from '../../src/domain/run.ts';
import type { TurnAnswer } from '../../src/domain/run-turn.ts';
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

type Ask = Parameters<RunTurnActivities['askRunTurn']>[0];
interface View {
  readonly phase: string;
  readonly queue?: { readonly waitsFor: number; readonly position: number; readonly until: string };
}

const dayMs = 86_400_000;

/** The turns of one ref in memory: as the store has them, for runs that all come to ask. */
class Line {
  readonly #open = new Map<string, { readonly number: number; turn: boolean; queued: boolean; mode?: Ask['mode'] }>();
  /** Numbers in the order in which they got their turn. */
  readonly granted: number[] = [];
  /** The word to the next one gets lost. */
  silent = false;
  readonly #world: World;
  #last = 0;

  constructor(world: World, turn: NonNullable<RunPlan['turn']>) {
    this.#world = world;
    world.runPlan = { turn, tellsForge: true };
    world.on('prepareRun', async (input) => {
      const plan = (await env.natural('prepareRun')(input as never, world)) as RunPlan;
      return { ...plan, run: { ...plan.run, number: this.#numberOf(input) } };
    });
    world.on('askRunTurn', (asked) => this.#ask(asked));
    world.on('settleRun', async (settle) => {
      const result = (await env.natural('settleRun')(settle as never, world)) as { deployments: [] };
      await this.leave(settle.input.key);
      return result;
    });
  }

  accept(key: string): void {
    this.#last += 1;
    this.#open.set(key, { number: this.#last, turn: false, queued: false });
  }

  /** A run that has the turn and of which nothing is to be seen: an activity that heartbeats cannot take part in skipped time. */
  hold(key: string): void {
    this.accept(key);
    this.#open.set(key, { number: this.#last, turn: true, queued: false });
  }

  /** The run has an outcome. */
  async leave(key: string): Promise<void> {
    this.#open.delete(key);
    if (this.silent) return;
    const next = [...this.#open].find(([, { queued }]) => queued);
    if (next !== undefined) {
      await env.client.workflow.getHandle(runId(this.#world.project, next[0])).signal('turnFreed');
    }
  }

  #numberOf({ key }: RunInput): number {
    return this.#open.get(key)?.number ?? 0;
  }

  async #ask({ run, mode }: Ask): Promise<TurnAnswer> {
    const own = this.#open.get(run.key);
    if (own === undefined) throw new Error(`${run.key} has ended`);
    own.mode = mode;
    if (own.turn) return { kind: 'granted' };
    const before = [...this.#open.values()].filter(
      ({ number, turn }) => number < own.number || (turn && number !== own.number),
    );
    if (mode === 'supersede') {
      const newer = [...this.#open.values()].findLast((one) => one.number > own.number && one.mode === 'supersede');
      if (newer !== undefined) return { kind: 'superseded', by: newer.number };
      for (const [key, one] of this.#open) {
        if (one.number < own.number && one.mode === 'supersede') {
          await env.client.workflow.getHandle(runId(this.#world.project, key)).signal('supersede', { by: own.number });
        }
      }
    }
    const first = before.find(({ turn }) => turn) ?? before[0];
    own.queued = first !== undefined;
    own.turn = first === undefined;
    if (first === undefined) {
      this.granted.push(own.number);
      return { kind: 'granted' };
    }
    return { kind: 'waits', waitsFor: first.number, position: before.length };
  }
}

interface Street {
  readonly scenario: Scenario;
  readonly line: Line;
  /** Accepts and starts the next run. */
  come(key: string): Promise<WorkflowHandle>;
  /** The same, and waits until it waits. */
  queue(key: string): Promise<WorkflowHandle>;
}

function street(turn: NonNullable<RunPlan['turn']> = { mode: 'queue', timeoutMs: dayMs }): Street {
  const scenario = createScenario(env);
  const line = new Line(scenario.world, turn);
  const come = async (key: string): Promise<WorkflowHandle> => {
    line.accept(key);
    return await scenario.when.push({ key });
  };
  return {
    scenario,
    line,
    come,
    queue: async (key) => {
      const run = await come(key);
      await phaseIs(run, 'queued');
      return run;
    },
  };
}

async function phaseIs(run: WorkflowHandle, phase: string): Promise<View> {
  return await until(
    async () => {
      const view = await run.query<View>('run');
      return view.phase === phase ? view : undefined;
    },
    { what: `${run.workflowId} to be ${phase}` },
  );
}

/** Holds the stage of one run until it is let go. */
function holding({ scenario }: Street, key: string): () => void {
  return scenario.given.gate('runStage', ({ run }: { readonly run: { readonly key: string } }) => run.key === key);
}

describe('runs of a ref, one after the other', () => {
  test('go in the order in which they were accepted, each as soon as the one before it has ended', async () => {
    const here = street();
    const letGo = holding(here, 'a');
    const a = await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    const c = await here.queue('c');
    expect(await b.query<View>('run')).toMatchObject({ queue: { waitsFor: 1, position: 1 } });
    expect(await c.query<View>('run')).toMatchObject({ queue: { waitsFor: 1, position: 2 } });
    letGo();
    // Nothing lets the clock run here: it is the word of the one before that wakes the next.
    for (const run of [a, b, c]) expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.line.granted).toEqual([1, 2, 3]);
    expect((await c.query<View>('run')).queue).toBeUndefined();
  });

  test.each(['failed', 'errored'] as const)('goes on when the one before it ends %s', async (verdict) => {
    const here = street();
    const { world } = here.scenario;
    let held = true;
    world.on('runStage', async ({ run, stage }): Promise<StageReport> => {
      await stayUntil(() => run.key !== 'a' || !held);
      return {
        name: stage,
        verdict: run.key === 'a' ? verdict : 'passed',
        steps: [],
        startedAt: new Date().toISOString(),
        durationMs: 1,
      };
    });
    const a = await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    held = false;
    expect(await a.result()).toMatchObject({ outcome: verdict });
    expect(await b.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('goes on when the one before it is aborted', async () => {
    const here = street();
    holding(here, 'a');
    const a = await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    await a.executeUpdate('abort', { args: [{ by: 'ada' }] });
    expect(await a.result()).toMatchObject({ outcome: 'aborted' });
    expect(await b.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('is aborted while it waits, without anything of it having run, and the one behind it moves up', async () => {
    const here = street();
    const letGo = holding(here, 'a');
    await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    const c = await here.queue('c');
    await b.executeUpdate('abort', { args: [{ by: 'ada', reason: 'not this one' }] });
    expect(await b.result()).toEqual({ outcome: 'aborted', reason: 'ada aborted it: not this one.' });
    expect(here.scenario.world.called('runStage')).toHaveLength(1);
    await until(async () => (await c.query<View>('run')).queue?.position === 1, { what: 'c to be the next' });
    letGo();
    expect(await c.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.line.granted).toEqual([1, 3]);
  });

  test('looks by itself, for one that is ended from outside tells nobody', async () => {
    const here = street();
    here.line.hold('a');
    const b = await here.queue('b');
    here.line.silent = true;
    await here.line.leave('a');
    await env.skip(300_000);
    expect(await b.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('gives its checkout back when it waits for long, and takes another one when its turn comes', async () => {
    const here = street();
    here.line.hold('a');
    const b = await here.queue('b');
    const { world } = here.scenario;
    const released = (): number =>
      world.called('releaseWorkspace').filter(({ workflowId }) => workflowId === b.workflowId).length;
    expect(released()).toBe(0);
    await env.skip(10_000);
    await until(() => released() === 1, { what: 'the checkout to be given back' });
    await here.line.leave('a');
    expect(await b.result()).toMatchObject({ outcome: 'succeeded' });
    const ofB = world.calls.filter(({ workflowId, name }) => workflowId === b.workflowId && name !== 'tellForge');
    const names = ofB.map(({ name }) => name);
    expect(names.filter((name) => name === 'prepareRun')).toHaveLength(2);
    expect(names.slice(names.lastIndexOf('prepareRun'))).toEqual(
      expect.arrayContaining(['prepareRun', 'runStage', 'settleRun']),
    );
    expect((ofB.findLast(({ name }) => name === 'askRunTurn')?.input as Ask).prepared).toBe(false);
  });

  test('keeps its checkout when its turn comes at once', async () => {
    const here = street();
    const letGo = holding(here, 'a');
    await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    letGo();
    await b.result();
    const { world } = here.scenario;
    expect(world.called('prepareRun')).toHaveLength(2);
  });

  test('expires when its turn does not come, and says what held it', async () => {
    const here = street({ mode: 'queue', timeoutMs: 3_600_000 });
    here.line.hold('a');
    const b = await here.queue('b');
    const c = await here.queue('c');
    await env.skip(3_600_000 + 1_000);
    expect(await b.result()).toEqual({
      outcome: 'expired',
      reason: 'Its turn did not come within 60 min: run 1 of the same ref had not ended.',
    });
    expect(await c.result()).toMatchObject({ outcome: 'expired', reason: expect.stringContaining('run 1 ') });
    expect(here.scenario.world.called('runStage')).toHaveLength(0);
  });

  test('is shown to its forge as waiting, and as under way once it goes on', async () => {
    const here = street();
    const letGo = holding(here, 'a');
    await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.queue('b');
    const { world } = here.scenario;
    const told = (): string[] =>
      world
        .called('tellForge')
        .filter(({ workflowId }) => workflowId === b.workflowId)
        .flatMap(({ input }) => (input as { readonly statuses: { context: string; description: string }[] }).statuses)
        .filter(({ context }) => context === 'slipway')
        .map(({ description }) => description);
    await until(() => told().length === 1, { what: 'the forge to be told' });
    expect(told()).toEqual(['Waits for run 1.']);
    letGo();
    await b.result();
    expect(told().at(-1)).toMatch(/^succeeded/);
  });

  test('goes on in a new history when the wait is long, and waits no longer for it', async () => {
    const here = street({ mode: 'queue', timeoutMs: 3_600_000 });
    here.line.hold('a');
    here.line.accept('b');
    const { world } = here.scenario;
    const b = await env.client.workflow.start('runPipeline', {
      workflowId: runId(world.project, 'b'),
      taskQueue: 'orchestration',
      args: [{ ...inputOf(world.project), key: 'b' }, { maxHistoryEvents: 60 }],
    });
    const { queue } = await phaseIs(b, 'queued');
    const firstHistory = env.client.workflow.getHandle(b.workflowId, b.firstExecutionRunId, { followRuns: false });
    const nextLook = async (): Promise<boolean> => {
      await env.skip(300_000);
      return (await firstHistory.describe()).status.name === 'CONTINUED_AS_NEW';
    };
    await until(nextLook, { what: 'a new history' });
    await env.skip(3_600_000);
    expect(await b.result()).toMatchObject({ outcome: 'expired' });
    const asked = world.called('askRunTurn').map(({ input }) => (input as Ask).until);
    expect(new Set(asked)).toEqual(new Set([queue?.until]));
    expect(world.settledRuns.map(({ outcome }) => outcome)).toEqual(['expired']);
  });

  test('of a checkout that begins anew elsewhere keeps its turn', async () => {
    const here = street();
    let lost = false;
    here.scenario.world.on('runStage', (asked, world) => {
      if (lost) return env.natural('runStage')(asked as never, world) as never;
      lost = true;
      throw broken('WorkspaceLost', 'it is not on this worker');
    });
    const a = await here.come('a');
    expect(await a.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.scenario.world.called('askRunTurn')).toHaveLength(2);
    expect(here.line.granted).toEqual([1]);
  });
});

describe('runs of a ref that supersede', () => {
  test('end the one that is running, and go on once it has ended', async () => {
    const here = street({ mode: 'supersede', timeoutMs: dayMs });
    holding(here, 'a');
    const a = await here.come('a');
    await here.scenario.then.called('runStage');
    const b = await here.come('b');
    expect(await a.result()).toEqual({ outcome: 'superseded', reason: 'Run 2 of the same ref took its place.' });
    expect(await b.result()).toMatchObject({ outcome: 'succeeded' });
    expect(here.scenario.world.settledRuns[0]).toMatchObject({
      outcome: 'superseded',
      stages: [{ verdict: 'inconclusive', detail: 'Run 2 of the same ref took its place.' }],
    });
    expect(here.line.granted).toEqual([1, 2]);
  });

  test('end the one that waits for its turn too', async () => {
    const here = street({ mode: 'supersede', timeoutMs: dayMs });
    const settle = here.scenario.given.gate(
      'settleRun',
      ({ input }: { readonly input: RunInput }) => input.key === 'a',
    );
    const a = await here.come('a');
    await here.scenario.then.called('settleRun');
    const b = await here.queue('b');
    const c = await here.come('c');
    expect(await b.result()).toMatchObject({ outcome: 'superseded', reason: expect.stringContaining('Run 3') });
    settle();
    // It was past its work, so nobody took its place.
    expect(await a.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await c.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('take no notice of a word that names no run', async () => {
    const here = street({ mode: 'supersede', timeoutMs: dayMs });
    const letGo = holding(here, 'a');
    const a = await here.come('a');
    await here.scenario.then.called('runStage');
    for (const raw of ['yes', {}, { by: 'ada' }, { by: -1 }, null]) await a.signal('supersede', raw);
    letGo();
    expect(await a.result()).toMatchObject({ outcome: 'succeeded' });
  });
});

function inputOf(project: string): RunInput {
  return {
    project,
    key: 'k',
    event: { kind: 'push', ref: 'refs/heads/main', before: '0'.repeat(40), after: 'c'.repeat(40), author: 'ada' },
    acceptedAt: '2026-01-01T00:00:00.000Z',
  };
}
