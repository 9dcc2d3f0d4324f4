import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunInput, RunPlan, RunRef } from '../../../src/domain/run.ts';
import type { RunMode } from '../../../src/domain/run-turn.ts';
import { readEvents } from '../../../src/store/events.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { firstQueued, runsToSupersede, takeTurn } from '../../../src/store/run-turns.ts';
import { listRuns, openRun, readRun, recordRunPhase, recordRunPlan, settleRunRow } from '../../../src/store/runs.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore({ poolSize: 20 });
});
afterAll(async () => {
  await store.drop();
});

const main = 'refs/heads/main';
const since = '2026-11-26T08:00:00.000Z';
const until = '2026-11-27T08:00:00.000Z';

let projects = 0;

/** A project of its own, and what is done with its runs. */
async function line() {
  projects += 1;
  const project = `line-${projects}`;
  await putProject(store.db, { name: project, text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
  let runs = 0;
  const accept = async (more: Partial<RunInput> = {}, ref = main): Promise<RunRef> => {
    runs += 1;
    const event = { kind: 'push' as const, ref, before: '0'.repeat(40), after: 'c'.repeat(40), author: 'ada' };
    const { key, number } = await acceptRun(store.db, {
      project,
      key: `k${runs}`,
      event,
      acceptedAt: new Date().toISOString(),
      ...more,
    });
    return { project, key, number };
  };
  const prepare = async (run: RunRef, mode: RunMode): Promise<void> => {
    await openRun(store.db, (await readRun(store.db, project, run.number))?.input as RunInput);
    await recordRunPlan(store.db, planOf(run, mode));
  };
  const ask = (run: RunRef, mode: Exclude<RunMode, 'parallel'> = 'queue', prepared = true) =>
    takeTurn(store.db, { run, mode, since, until, prepared });
  return {
    project,
    accept,
    prepare,
    ask,
    /** Accepted and prepared, and asks. */
    come: async (mode: Exclude<RunMode, 'parallel'> = 'queue', ref = main) => {
      const run = await accept({}, ref);
      await prepare(run, mode);
      return { run, answer: await ask(run, mode) };
    },
    end: (run: RunRef) => settleRunRow(store.db, run, { outcome: 'succeeded', reason: 'done' }),
    read: async (run: RunRef) => await readRun(store.db, project, run.number),
  };
}

function planOf(run: RunRef, mode: RunMode): RunPlan {
  return {
    run,
    version: `${run.number}-cccccccc`,
    commit: { sha: 'c'.repeat(40), author: 'ada', message: 'a change', at: since },
    definition: 'd',
    workspace: { queue: 'build', path: '/nowhere' },
    stages: [],
    buildImages: 'none',
    images: [],
    environments: [],
    buildTimeoutMs: 1,
    ...(mode === 'parallel' ? {} : { turn: { mode, timeoutMs: 86_400_000 } }),
  };
}

describe('the turn of a ref', () => {
  test('is one at a time, in the order of acceptance, and none is lost', async () => {
    const { come, ask, end } = await line();
    const first = await come();
    const second = await come();
    const third = await come();
    expect(first.answer).toEqual({ kind: 'granted' });
    expect(second.answer).toMatchObject({ kind: 'waits', waitsFor: 1, position: 1 });
    expect(third.answer).toMatchObject({ kind: 'waits', waitsFor: 1, position: 2 });
    await end(first.run);
    expect(await ask(third.run)).toMatchObject({ kind: 'waits', waitsFor: 2, position: 1 });
    expect(await ask(second.run)).toEqual({ kind: 'granted' });
    expect(await ask(third.run)).toMatchObject({ kind: 'waits', waitsFor: 2, position: 1 });
    await end(second.run);
    expect(await ask(third.run)).toEqual({ kind: 'granted' });
  });

  test('once given stays given: who asks again has it', async () => {
    const { come, ask } = await line();
    const { run } = await come();
    await come();
    expect(await ask(run)).toEqual({ kind: 'granted' });
    expect(await ask(run, 'queue', false)).toEqual({ kind: 'granted' });
  });

  test('is given to one of many that ask at the same moment, whichever asks first', async () => {
    const { accept, prepare, ask } = await line();
    const runs: RunRef[] = [];
    for (let count = 0; count < 12; count += 1) {
      const run = await accept();
      await prepare(run, 'queue');
      runs.push(run);
    }
    const answers = await Promise.all([...runs].reverse().map((run) => ask(run)));
    expect(answers.filter(({ kind }) => kind === 'granted')).toHaveLength(1);
    expect(answers.at(-1)).toEqual({ kind: 'granted' });
    expect(answers[0]).toMatchObject({ kind: 'waits', waitsFor: 1, position: 11 });
  });

  test('waits for an older run that was accepted and has not yet said how it goes', async () => {
    const { accept, prepare, come, ask } = await line();
    const older = await accept();
    const { run, answer } = await come();
    expect(answer).toMatchObject({ kind: 'waits', waitsFor: older.number, first: { started: false } });
    await prepare(older, 'parallel');
    expect(await ask(run)).toEqual({ kind: 'granted' });
  });

  test('does not go past an older one that is prepared and has not asked', async () => {
    const { accept, prepare, come } = await line();
    const older = await accept();
    await prepare(older, 'queue');
    expect((await come()).answer).toMatchObject({ kind: 'waits', waitsFor: older.number });
  });

  test.each(['checking', 'building', 'pushing'] as const)(
    'is not held by a parallel run that is %s, nor by one of before, of which nothing is known',
    async (phase) => {
      const { accept, prepare, come } = await line();
      const parallel = await accept();
      await prepare(parallel, 'parallel');
      await recordRunPhase(store.db, parallel, phase);
      const before = await accept();
      await recordRunPhase(store.db, before, phase);
      expect((await come()).answer).toEqual({ kind: 'granted' });
    },
  );

  test('is of one ref of one project', async () => {
    const here = await line();
    const there = await line();
    await here.come();
    expect((await here.come('queue', 'refs/heads/other')).answer).toEqual({ kind: 'granted' });
    expect((await there.come()).answer).toEqual({ kind: 'granted' });
  });

  test('is not held by a run that is only to check, whatever it is at', async () => {
    const { accept, come } = await line();
    await accept({ checksOnly: true });
    expect((await come()).answer).toEqual({ kind: 'granted' });
  });

  test('is not held by a fork that waits for a word, which comes before the younger that wait once it has it', async () => {
    const { accept, prepare, come, ask, end } = await line();
    const fork = await accept();
    await openRun(store.db, (await readRun(store.db, fork.project, fork.number))?.input as RunInput);
    await recordRunPhase(store.db, fork, 'awaiting-word');
    const second = await come();
    expect(second.answer).toEqual({ kind: 'granted' });
    const third = await come();
    await prepare(fork, 'queue');
    expect(await ask(fork)).toMatchObject({ kind: 'waits', waitsFor: second.run.number, position: 1 });
    expect(await ask(third.run)).toMatchObject({ kind: 'waits', waitsFor: second.run.number, position: 2 });
    await end(second.run);
    expect(await ask(third.run)).toMatchObject({ kind: 'waits', waitsFor: fork.number });
    expect(await ask(fork)).toEqual({ kind: 'granted' });
  });

  test('is nothing that a run which has ended may ask for', async () => {
    const { come, ask, end, project } = await line();
    const { run } = await come();
    await end(run);
    await expect(ask(run)).rejects.toMatchObject({ type: 'Conflict' });
    await expect(ask({ project, key: 'none', number: 99 })).rejects.toMatchObject({ type: 'NotFound' });
  });

  test('of one that ends while it waits holds nobody up', async () => {
    const { come, ask, end } = await line();
    const first = await come();
    const second = await come();
    const third = await come();
    await end(second.run);
    expect(await ask(third.run)).toMatchObject({ kind: 'waits', waitsFor: first.run.number, position: 1 });
    await end(first.run);
    expect(await ask(third.run)).toEqual({ kind: 'granted' });
  });
});

describe('a run that supersedes', () => {
  test('is told which of the older ones it may end: those that supersede too', async () => {
    const { come, accept } = await line();
    const kept = await come('queue');
    const first = await come('supersede');
    await accept();
    const second = await come('supersede');
    expect(second.answer).toMatchObject({ kind: 'waits', waitsFor: kept.run.number });
    expect(await runsToSupersede(store.db, second.run)).toEqual([first.run.key]);
    expect(await runsToSupersede(store.db, first.run)).toEqual([]);
  });

  test('takes the place of an older one that asks only now, but not of one that has its turn or only waits', async () => {
    const { come, accept, prepare, ask, end } = await line();
    const first = await come('supersede');
    const late = await accept();
    const newest = await come('supersede');
    await prepare(late, 'supersede');
    expect(await ask(late, 'supersede')).toEqual({ kind: 'superseded', by: newest.run.number });
    expect(await ask(first.run, 'supersede')).toEqual({ kind: 'granted' });
    await end(late);
    await end(first.run);
    expect(await ask(newest.run, 'supersede')).toEqual({ kind: 'granted' });
  });

  test('waits behind one that is in a queue, which it does not end', async () => {
    const { come, accept, prepare, ask } = await line();
    await come('queue');
    const queued = await accept();
    await come('supersede');
    await prepare(queued, 'queue');
    expect(await ask(queued)).toMatchObject({ kind: 'waits', position: 1 });
  });
});

describe('a run that waits for its turn', () => {
  test('is shown as queued, with its place, alone and in lists; and no more once it goes on', async () => {
    const { come, ask, end, read, project } = await line();
    const first = await come();
    const second = await come();
    const third = await come();
    const queue = { since, until, position: 2, waitsFor: first.run.number };
    expect(await read(third.run)).toMatchObject({ phase: 'queued', queue });
    expect(await read(first.run)).toMatchObject({ phase: 'checking', queue: null });
    const { items } = await listRuns(store.db, { project }, { limit: 10 });
    expect(items.map(({ queue: place }) => place?.position ?? null)).toEqual([2, 1, null]);
    await end(first.run);
    expect(await read(third.run)).toMatchObject({ queue: { position: 1, waitsFor: second.run.number } });
    expect(await read(second.run)).toMatchObject({ queue: { position: 0, waitsFor: null } });
    await ask(second.run);
    expect(await read(second.run)).toMatchObject({ phase: 'checking', queue: null });
    await end(second.run);
    await ask(third.run, 'queue', false);
    expect(await read(third.run)).toMatchObject({ phase: 'preparing', queue: null });
  });

  test('stays queued when what was found out about it comes late', async () => {
    const { come, read } = await line();
    await come();
    const { run } = await come();
    await recordRunPlan(store.db, planOf(run, 'queue'));
    await openRun(store.db, (await read(run))?.input as RunInput);
    expect(await read(run)).toMatchObject({ phase: 'queued' });
  });

  test('is told to whoever looks on, once', async () => {
    const { come, ask, project } = await line();
    await come();
    const { run } = await come();
    await ask(run);
    const events = await readEvents(store.db, 0, { project });
    const queued = events.filter(({ run: number, data }) => number === run.number && data['phase'] === 'queued');
    expect(queued).toHaveLength(1);
  });

  test('is the first that is told that the turn is free', async () => {
    const { come, end, project } = await line();
    const first = await come();
    expect(await firstQueued(store.db, project, main)).toBeUndefined();
    const second = await come();
    await come();
    expect(await firstQueued(store.db, project, main)).toMatchObject({
      number: second.run.number,
      key: second.run.key,
    });
    await end(second.run);
    await end(first.run);
    expect(await firstQueued(store.db, project, main)).toMatchObject({ number: 3 });
  });
});
