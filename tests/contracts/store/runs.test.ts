import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { runKey } from '../../../src/definition/run-key.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { RunPlan, SourceEvent } from '../../../src/domain/run.ts';
import {
  acceptRun,
  deliveriesKeptDays,
  forgetOldDeliveries,
  markRunStarted,
  noteIgnored,
  runsToStart,
} from '../../../src/store/inbox.ts';
import { lastEventId, readEvents } from '../../../src/store/events.ts';
import { putProject } from '../../../src/store/projects.ts';
import {
  listRuns,
  openRun,
  readRun,
  readImageEvidence,
  recordImages,
  recordRunAnew,
  recordRunPhase,
  recordRunPlan,
  settleRunRow,
} from '../../../src/store/runs.ts';
import { readStages, recordStage } from '../../../src/store/stages.ts';
import { type Fact, applyFacts } from '../../../src/store/facts.ts';
import { migrate, openStore } from '../../../src/store/store.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';
import { until } from '../../support/until.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore({ poolSize: 20 });
});
afterAll(async () => {
  await store.drop();
});

let projects = 0;
async function newProject(): Promise<string> {
  projects += 1;
  const name = `project-${projects}`;
  await putProject(store.db, { name, text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
  return name;
}

function push(number: number): SourceEvent {
  return {
    kind: 'push',
    ref: `refs/heads/branch-${number}`,
    before: '0'.repeat(40),
    after: number.toString(16).padStart(40, '0'),
    author: 'ada',
    message: `change ${number}`,
  };
}

function request(project: string, number: number) {
  const event = push(number);
  return { project, key: runKey(event), event, acceptedAt: new Date().toISOString() };
}

describe('accepting', () => {
  test('numbers have no gaps and no run is made twice, whoever asks at once', async () => {
    const project = await newProject();
    const asked = Array.from({ length: 300 }, (_, index) => index % 60);
    const accepted = await Promise.all(
      asked.map((number, index) =>
        acceptRun(store.db, request(project, number), { id: `delivery-${index}`, event: 'push' }),
      ),
    );
    expect(accepted.filter((run) => run.created)).toHaveLength(60);
    const numbers = new Set(accepted.map((run) => run.number));
    expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    for (const number of asked) {
      const same = accepted.filter((_, index) => asked[index] === number).map((run) => run.number);
      expect(new Set(same).size).toBe(1);
    }
  });

  test('a delivery that comes again answers with its run, whatever else happened', async () => {
    const project = await newProject();
    const first = await acceptRun(store.db, request(project, 1), { id: 'd-1', event: 'push' });
    await acceptRun(store.db, request(project, 2), { id: 'd-2', event: 'push' });
    const again = await acceptRun(store.db, request(project, 1), { id: 'd-1', event: 'push' });
    expect(again).toMatchObject({ key: first.key, number: 1, created: false });
  });

  test('a project nobody knows is refused by name', async () => {
    await expect(acceptRun(store.db, request('nobody', 1))).rejects.toMatchObject({ type: 'NotFound' });
  });

  test('what has not been started is found again, once started no more', async () => {
    const project = await newProject();
    const first = await acceptRun(store.db, request(project, 1));
    await acceptRun(store.db, request(project, 2));
    const waiting = async () =>
      (await runsToStart(store.db, { olderThanMs: 0, limit: 1000 })).filter((input) => input.project === project);
    expect((await waiting()).map((input) => input.event.ref)).toEqual(['refs/heads/branch-1', 'refs/heads/branch-2']);
    expect((await runsToStart(store.db, { olderThanMs: 60_000, limit: 1000 })).length).toBe(0);
    await markRunStarted(store.db, first);
    expect((await waiting()).map((input) => input.event.ref)).toEqual(['refs/heads/branch-2']);
  });

  test('deliveries are kept for 90 days, their runs for ever', async () => {
    const project = await newProject();
    await acceptRun(store.db, request(project, 1), { id: 'old', event: 'push' });
    await noteIgnored(store.db, project, { id: 'young', event: 'watch' }, 'nothing to do');
    await store.db
      .updateTable('deliveries')
      .set({ receivedAt: new Date(Date.now() - (deliveriesKeptDays + 1) * 86_400_000).toISOString() })
      .where('id', '=', 'old')
      .execute();
    expect(await forgetOldDeliveries(store.db)).toBe(1);
    const again = await acceptRun(store.db, request(project, 1), { id: 'old', event: 'push' });
    expect(again.created).toBe(false);
  });
});

describe('a run', () => {
  test('goes from accepted to its outcome, and the first outcome holds', async () => {
    const project = await newProject();
    const asked = request(project, 7);
    const { input } = await acceptRun(store.db, asked);
    const run = await openRun(store.db, input);
    expect(run).toEqual({ project, key: asked.key, number: 1 });
    expect(await openRun(store.db, input)).toEqual(run);
    const plan: RunPlan = {
      run,
      version: '1-0000007',
      commit: { sha: asked.event.after, author: 'ada', message: 'change 7', at: '2026-01-01T00:00:00.000Z' },
      definition: 'd'.repeat(64),
      workspace: { queue: 'q', path: '/w' },
      stages: [],
      buildImages: 'push',
      images: ['web'],
      environments: ['staging'],
      buildTimeoutMs: 1,
    };
    await recordRunPlan(store.db, plan);
    const step = { name: 'unit', exitCode: null, detail: null, startedAt: '2026-01-01T00:00:01.000Z' };
    const stage = { name: 'tests', detail: null, startedAt: '2026-01-01T00:00:01.000Z' };
    await recordStage(store.db, run, 0, {
      ...stage,
      verdict: null,
      durationMs: null,
      steps: [{ ...step, verdict: null, durationMs: null }],
    });
    await recordStage(store.db, run, 0, {
      ...stage,
      verdict: 'passed',
      durationMs: 12,
      steps: [{ ...step, verdict: 'passed', exitCode: 0, durationMs: 11 }],
    });
    const image = {
      name: 'web',
      repository: 'registry:5000/web',
      digest: 'sha256:1',
      tags: ['1-0000007'],
      sizeBytes: 5_000_000_000,
      reused: false,
      durationMs: 3,
      evidence: { buildKey: 'key', bases: { node: 'sha256:2' }, warnings: ['it runs as root'], packages: 12 },
    };
    const { evidence, ...made } = image;
    const old = { ...made, name: 'old' };
    await recordImages(store.db, run, [image, old]);
    await recordImages(store.db, run, [image, old]);
    expect(await readImageEvidence(store.db, project, 1)).toEqual({ web: evidence });
    expect(await readImageEvidence(store.db, project, 2)).toEqual({});
    await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'All stages passed.' });
    await settleRunRow(store.db, run, { outcome: 'failed', reason: 'a late word' });
    await recordRunPhase(store.db, run, 'checking');
    expect(await readRun(store.db, project, 1)).toMatchObject({
      number: 1,
      phase: 'closed',
      outcome: 'succeeded',
      reason: 'All stages passed.',
      version: '1-0000007',
      plan,
      stages: [
        { name: 'tests', verdict: 'passed', durationMs: 12, steps: [{ name: 'unit', exitCode: 0, durationMs: 11 }] },
      ],
      images: [{ name: 'old', digest: 'sha256:1' }, image],
      deployments: [],
    });
  });

  test('keeps the verdict of a stage against what a killed worker had still to say; one that begins again says so itself', async () => {
    const project = await newProject();
    const run = await openRun(store.db, (await acceptRun(store.db, request(project, 6))).input);
    const word = (at: string, verdict: 'passed' | 'errored' | null) => {
      const step = { name: 'web', exitCode: null, detail: null, startedAt: at, verdict, durationMs: null };
      return recordStage(store.db, run, 0, { ...step, name: 'build', steps: [step] });
    };
    const [first, second] = ['2026-01-01T00:00:01.000Z', '2026-01-01T00:00:02.000Z'] as const;
    const seen = async () =>
      (await readStages(store.db, project, run.number)).map(({ verdict, startedAt, steps }) => [
        ...[verdict, startedAt],
        ...steps.map((step) => step.verdict),
      ]);
    await word(first, 'errored');
    await word(second, null);
    expect(await seen()).toEqual([[null, second, null]]);
    await word(second, 'passed');
    await word(first, null);
    await word(second, null);
    expect(await seen()).toEqual([['passed', second, 'passed']]);
    // What another machine found out before it was lost, and tells when it is back.
    await word(first, 'errored');
    expect(await seen()).toEqual([['passed', second, 'passed']]);
  });

  test('takes the word of the run with its end over that of a worker whose clock is ahead', async () => {
    const project = await newProject();
    const run = await openRun(store.db, (await acceptRun(store.db, request(project, 8))).input);
    const stage = { name: 'unit', detail: null, durationMs: 1, steps: [] };
    await recordStage(store.db, run, 0, { ...stage, startedAt: '2026-01-01T00:00:09.000Z', verdict: 'errored' });
    await recordStage(store.db, run, 0, { ...stage, startedAt: '2026-01-01T00:00:05.000Z', verdict: 'passed' }, 'end');
    expect(await readStages(store.db, project, run.number)).toMatchObject([{ verdict: 'passed' }]);
  });

  test('whose machine was lost waits for another; told late it moves nothing that has begun there', async () => {
    const project = await newProject();
    const run = await openRun(store.db, (await acceptRun(store.db, request(project, 9))).input);
    const at = (second: number) => `2026-01-01T00:00:0${second}.000Z`;
    const step = { name: 'test', exitCode: null, detail: null, durationMs: null, verdict: null };
    const begins = async (second: number) => {
      await recordRunPhase(store.db, run, 'checking');
      await recordStage(store.db, run, 0, {
        ...{ name: 'unit', detail: null, durationMs: null, verdict: null, startedAt: at(second) },
        steps: [{ ...step, startedAt: at(second) }],
      });
    };
    const seen = async () => {
      const found = await readRun(store.db, project, run.number);
      return [found?.phase, found?.reason, ...(found?.stages ?? []).map(({ verdict, detail }) => [verdict, detail])];
    };
    const why = 'At three its machine was lost.';
    await begins(1);
    await recordRunAnew(store.db, run, { at: at(3), why });
    expect(await seen()).toEqual(['preparing', why, ['inconclusive', why]]);
    expect(await readStages(store.db, project, run.number)).toMatchObject([
      { durationMs: 2_000, steps: [{ verdict: 'inconclusive' }] },
    ]);
    await begins(5);
    await recordRunAnew(store.db, run, { at: at(3), why });
    expect(await seen()).toEqual(['checking', why, [null, null]]);
    await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'All stages passed.' });
    await recordRunAnew(store.db, run, { at: at(3), why });
    expect((await readRun(store.db, project, run.number))?.reason).toBe('All stages passed.');
  });

  test('is where its stages say it is: a plan that is written down late moves it back no more than a repeated word', async () => {
    const project = await newProject();
    const asked = request(project, 5);
    const run = await openRun(store.db, (await acceptRun(store.db, asked)).input);
    const plan: RunPlan = {
      run,
      version: '1-0000005',
      commit: { sha: asked.event.after, author: 'ada', message: 'change 5', at: '2026-01-01T00:00:00.000Z' },
      definition: 'd'.repeat(64),
      workspace: { queue: 'q', path: '/w' },
      stages: [],
      buildImages: 'push',
      images: ['web'],
      environments: [],
      buildTimeoutMs: 1,
    };
    const phase = async () => (await readRun(store.db, project, run.number))?.phase;
    const began = await lastEventId(store.db);
    await recordRunPhase(store.db, run, 'building');
    await recordRunPlan(store.db, plan);
    expect(await phase()).toBe('building');
    await recordRunPhase(store.db, run, 'pushing');
    await recordRunPhase(store.db, run, 'pushing');
    expect(await phase()).toBe('pushing');
    await settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'All stages passed.' });
    await recordRunPhase(store.db, run, 'pushing');
    await recordRunPlan(store.db, plan);
    expect(await phase()).toBe('closed');
    const told = (await readEvents(store.db, began, { project })).map(({ data }) => data['phase']);
    expect(told).toEqual(['building', 'building', 'pushing', 'closed', 'closed']);
  });

  test('that has ended has no stage that goes on, also where its worker says so later', async () => {
    const project = await newProject();
    const run = await openRun(store.db, (await acceptRun(store.db, request(project, 6))).input);
    const at = '2026-01-01T00:00:00.000Z';
    const open = { verdict: null, detail: null, startedAt: at, durationMs: null };
    const stage = (name: string): Fact => ({ kind: 'stage', run, position: 0, stage: { ...open, name, steps: [] } });
    const step = (name: string): Fact => {
      return { kind: 'step', run, stage: 'tests', position: 0, step: { ...open, name, exitCode: null } };
    };
    const tell = async (...facts: readonly Fact[]): Promise<void> => {
      const keyed = facts.map((fact) => ({ key: crypto.randomUUID(), fact }));
      expect(await applyFacts(store.db, keyed)).toEqual([]);
    };
    await tell(stage('tests'), step('unit'));
    await settleRunRow(store.db, run, { outcome: 'errored', reason: 'The worker was lost.' });
    const detail = 'it had not ended when its run did';
    const ended = { verdict: 'errored', detail, durationMs: expect.any(Number) };
    const tests = { ...ended, name: 'tests', steps: [{ ...ended, name: 'unit' }] };
    expect((await readRun(store.db, project, run.number))?.stages).toMatchObject([tests]);
    await tell(stage('tests'), step('unit'), step('late'), stage('later'));
    expect((await readRun(store.db, project, run.number))?.stages).toMatchObject([tests]);
    // What was found out in the end is worth more than that it was not known.
    const found = { ...open, verdict: 'failed', detail: 'exit code 1', durationMs: 9, exitCode: 1 } as const;
    await tell({ kind: 'step', run, stage: 'tests', position: 0, step: { ...found, name: 'unit' } });
    expect((await readRun(store.db, project, run.number))?.stages[0]?.steps).toMatchObject([found]);
  });

  test('a workflow started past the API makes its own row', async () => {
    const project = await newProject();
    const run = await openRun(store.db, request(project, 3));
    expect(run.number).toBe(1);
    expect((await readRun(store.db, project, 1))?.phase).toBe('preparing');
  });
});

describe('lists', () => {
  test('pages follow each other without loss or repetition while new runs arrive', async () => {
    const project = await newProject();
    for (let number = 1; number <= 25; number += 1) await acceptRun(store.db, request(project, number));
    const seen: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await listRuns(store.db, { project }, { limit: 10, cursor });
      seen.push(...page.items.map((run) => run.number));
      expect(page.items[0]).not.toHaveProperty('id');
      cursor = page.next;
      await acceptRun(store.db, request(project, 1000 + seen.length));
    } while (cursor !== undefined);
    expect(seen).toEqual(Array.from({ length: 25 }, (_, index) => 25 - index));
  });

  test('a cursor of something else is refused', async () => {
    await expect(listRuns(store.db, {}, { cursor: 'bm9uc2Vuc2U' })).rejects.toMatchObject({ type: 'InvalidInput' });
  });
});

describe('the store itself', () => {
  test('is brought up to date by several processes at once, and a second time without work', async () => {
    const others = [openStore({ url: store.url }), openStore({ url: store.url })];
    try {
      expect(await Promise.all(others.map(({ db }) => migrate(db)))).toEqual([[], []]);
    } finally {
      await Promise.all(others.map((other) => other.close()));
    }
  });

  test('that does not answer is a failure that is retried', async () => {
    const nobody = openStore({ url: 'postgres://nobody@127.0.0.1:9/nothing' });
    const error = await listRuns(nobody.db, {}, {}).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ type: 'StoreUnavailable', retryable: true });
    await nobody.close();
  });

  test('whose session is ended between two statements of a transaction fails that, and no more', async () => {
    const transaction = store.db.transaction().execute(async (tx) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
      const pid = rows[0]?.pid;
      await sql`select pg_terminate_backend(${pid})`.execute(store.db);
      await until(async () => {
        const left = await sql`select 1 from pg_stat_activity where pid = ${pid}`.execute(store.db);
        return left.rows.length === 0;
      });
      await sql`select 1`.execute(tx);
    });
    await expect(transaction).rejects.toMatchObject({ type: 'StoreUnavailable', retryable: true });
    expect((await sql`select 1 as one`.execute(store.db)).rows).toEqual([{ one: 1 }]);
  });
});
