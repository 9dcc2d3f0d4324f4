import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { Occasion } from '../../../src/domain/commit-status.ts';
import type { StartedBy } from '../../../src/domain/run-start.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { type RunRequest, acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { readTold, recordTold } from '../../../src/store/told.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore();
  await putProject(store.db, { name: 'shop', text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
});
afterAll(async () => {
  await store.drop();
});

const commit = 'a'.repeat(40);
const by: StartedBy = { project: 'up', number: 3, key: 'k', stage: 'down', above: [{ project: 'top', number: 1 }] };

async function accepted(kind: SourceEvent['kind'], more: Partial<RunRequest> = {}): Promise<number> {
  const event: SourceEvent = { kind, ref: 'refs/heads/main', before: '0'.repeat(40), after: commit, author: 'ada' };
  const request = { project: 'shop', key: crypto.randomUUID(), event, acceptedAt: new Date().toISOString(), ...more };
  const { number } = await acceptRun(store.db, request);
  return number;
}

async function tell(number: number, of = commit): ReturnType<typeof recordTold> {
  return await recordTold(store.db, { project: 'shop', number }, of, [
    { context: 'slipway', state: 'success', description: `run ${number}` },
  ]);
}

async function toldOf(occasion: Occasion | undefined): Promise<readonly number[]> {
  return (await readTold(store.db, { project: 'shop', commit, occasion })).map(({ number }) => number);
}

describe('what runs have told of a commit', () => {
  test('is read by occasion, the newest first, with nothing of what a run was asked with but two words', async () => {
    const pushed = await accepted('push', { parameters: { LONG: 'x'.repeat(100) } });
    const nightly = await accepted('schedule');
    const started = await accepted('manual', { startedBy: by });
    const released = await accepted('manual', { release: '1-aaaaaaa', requestedBy: 'ada' });
    expect(await tell(pushed)).toEqual({ kind: 'push', startedBy: undefined });
    expect(await tell(nightly)).toEqual({ kind: 'schedule', startedBy: undefined });
    expect(await tell(started)).toEqual({ kind: 'manual', startedBy: by });
    await tell(released);
    expect(await tell(999)).toBeUndefined();
    expect(await readTold(store.db, { project: 'shop', commit, occasion: undefined })).toEqual([
      {
        ...{ number: released, kind: 'manual', ref: 'refs/heads/main', author: 'ada' },
        ...{ startedBy: undefined, release: '1-aaaaaaa' },
        told: { slipway: { state: 'success', description: `run ${released}` } },
      },
      {
        ...{ number: pushed, kind: 'push', ref: 'refs/heads/main', author: 'ada' },
        ...{ startedBy: undefined, release: undefined },
        told: { slipway: { state: 'success', description: `run ${pushed}` } },
      },
    ]);
    expect(await toldOf('schedule')).toEqual([nightly]);
    expect(await readTold(store.db, { project: 'shop', commit, occasion: 'started' })).toMatchObject([
      { number: started, startedBy: by },
    ]);
    // Of another commit now: what it said of this one is not said any more.
    await tell(pushed, 'b'.repeat(40));
    expect(await toldOf(undefined)).toEqual([released]);
  }, 30_000);

  test('is read of so many runs at most, however often a schedule comes by', async () => {
    await sql`
      insert into runs (project, number, key, kind, ref, commit, author, input, accepted_at, told_commit, told)
      select 'shop', 1000 + at, 'tick-' || at, 'schedule', 'refs/heads/main', ${commit}, 'schedule tick', '{}', now(), ${commit}, '{}'
      from generate_series(1, 700) at`.execute(store.db);
    const told = await toldOf('schedule');
    expect(told).toHaveLength(500);
    expect([told[0], told.at(-1)]).toEqual([1700, 1201]);
    expect(await toldOf(undefined)).not.toContain(1700);
  }, 30_000);
});
