import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { longestProgramMs } from '../../src/domain/database-work.ts';
import type { PlanPolicy } from '../../src/domain/plan.ts';
import { broken, quietPolicy, stayUntil, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const threeMinutesMs = 180_000;
const ops = { by: 'ops', reason: 'there is room again' };
const migration = { name: '002_damage.sql', checksum: 'x', kind: 'expand' } as const;

/** A release serves, and the next one migrates and is bad. */
function bad(policy: Partial<PlanPolicy> = {}): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  scenario.world.migrations = [migration];
  scenario.world.policy = { ...quietPolicy, ...policy };
  scenario.world.on('watchRelease', () => watched('failed', 'bad'));
  return scenario;
}

/** Longest of one try of the first activity of that name, ms. */
async function tryMsOf(handle: WorkflowHandle, name: string): Promise<number> {
  const { events } = await handle.fetchHistory();
  const asked = (events ?? [])
    .map(({ activityTaskScheduledEventAttributes: scheduled }) => scheduled)
    .find((scheduled) => scheduled?.activityType?.name === name);
  return Number(asked?.startToCloseTimeout?.seconds ?? 0) * 1_000;
}

function exportFails({ world }: Scenario): void {
  world.on('ensureLaterWritesExported', () => {
    throw broken('DiskFull', 'no room for the export');
  });
}

describe('data of a release that neither migrated nor had traffic', () => {
  test('stays, and nobody says that it was not touched: what ran may have written', async () => {
    const { world, when } = bad();
    world.migrations = [];
    world.on('runProbes', () => ({
      verdict: 'failed' as const,
      probes: [{ name: 'http', verdict: 'failed' as const, detail: '503 from green', durationMs: 1 }],
    }));
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'failed', live: { version: '0.9.0' } });
    expect(result.rollback?.steps.find(({ name }) => name === 'restore-data')).toMatchObject({
      verdict: 'passed',
      detail:
        'left as it is: 1.0.1 in green neither migrated nor had traffic; what it may have written by itself while it ran is still there',
    });
    expect(world.called('ensureDataRolledBack')).toEqual([]);
  });
});

describe('data that goes back', () => {
  test('is a swap within three minutes, and the export of later writes may take as long as their programs', async () => {
    const { world, when } = bad();
    const deployment = await when.deploy();
    const result = await deployment.result();
    expect(result).toMatchObject({
      outcome: 'rolled-back',
      rollback: { data: { action: 'swapped', laterWrites: { inserted: 1, blob: 'later-writes.jsonl' } } },
    });
    expect(result.rollback?.data?.detail).toMatch(/^swapped by rename; since the backup 1 rows were inserted/);
    expect(world.called('ensureDataRolledBack')).toMatchObject([{ input: { exportsLater: true } }]);
    expect(await tryMsOf(deployment.rollOut, 'ensureDataRolledBack')).toBe(threeMinutesMs);
    expect(await tryMsOf(deployment.rollOut, 'ensureLaterWritesExported')).toBeGreaterThan(2 * longestProgramMs);
    // Every table is counted.
    expect(await tryMsOf(deployment.rollOut, 'verifyData')).toBeGreaterThan(2 * longestProgramMs);
    const names = world.calls.map(({ name }) => name);
    expect(names.indexOf('ensureProofDropped')).toBeGreaterThan(names.indexOf('ensureLaterWritesExported'));
  });

  test('was backed up within limits that its programs fit into', async () => {
    const deployment = await bad().when.deploy();
    await deployment.result();
    expect(await tryMsOf(deployment.rollOut, 'ensureBackup')).toBeGreaterThan(2 * longestProgramMs);
  });

  test.each([
    ['its backup was never proved', 'automatic', undefined],
    ['what was written since decides', 'ask', 'proof_1'],
  ] as const)('has as long where it is restored or compared first: %s', async (_, restore, proof) => {
    const { world, when } = bad({ rollback: { automatic: true, restore } });
    const backup = { blob: 'b', sizeBytes: 1, proofMs: 0, takenAt: new Date().toISOString() };
    world.on('ensureBackup', () => ({ ...backup, ...(proof === undefined ? {} : { proof }) }));
    const deployment = await when.deploy();
    await deployment.result();
    expect(await tryMsOf(deployment.rollOut, 'ensureDataRolledBack')).toBeGreaterThan(2 * longestProgramMs);
  });

  test('is verified while the export goes on', async () => {
    const { world, when } = bad();
    world.on('ensureLaterWritesExported', async (input) => {
      await stayUntil(() => world.called('verifyData').length > 0);
      return env.natural('ensureLaterWritesExported')(input as never, world) as never;
    });
    expect(await (await when.deploy()).result()).toMatchObject({ outcome: 'rolled-back' });
    expect(world.called('verifyData')).toMatchObject([{ input: { swapped: true } }]);
  });
});

describe('an export of later writes that fails', () => {
  test('says that the data is back, holds, and is tried again on a person’s word', async () => {
    const scenario = bad();
    exportFails(scenario);
    const { world, when, then } = scenario;
    const result = await (await when.deploy()).result();
    expect(result).toMatchObject({ outcome: 'rollback-failed', live: { version: '0.9.0' } });
    expect(result.rollback?.steps.find(({ name }) => name === 'restore-data')).toMatchObject({
      verdict: 'failed',
      detail: expect.stringMatching(/The proved copy took its place.*not exported yet: .*no room for the export/),
    });
    expect(result.rollback?.steps.find(({ name }) => name === 'verify')).toMatchObject({ verdict: 'passed' });
    expect(world.called('ensureProofDropped')).toEqual([]);
    world.on(
      'ensureLaterWritesExported',
      (input) => env.natural('ensureLaterWritesExported')(input as never, world) as never,
    );
    await when.ask('retry', ops);
    await then.environmentIs((view) => view.hold === null && view.current === null, 'the export to be done');
    expect(world.called('ensureLaterWritesExported').at(-1)?.input).toMatchObject({ backup: { proof: 'proof_1' } });
    const again = { project: '', environment: production, number: 2 };
    await env.until(() => world.resultOf(again) !== undefined, 'its outcome');
    expect(world.resultOf(again)?.rollback?.data).toMatchObject({ laterWrites: { inserted: 1 } });
  });

  test('again in the rollback that a person asked for stays owed', async () => {
    const scenario = bad();
    exportFails(scenario);
    const { world, when, then } = scenario;
    await (await when.deploy()).result();
    await when.ask('retry', ops);
    const again = { project: '', environment: production, number: 2 };
    await env.until(() => world.resultOf(again) !== undefined, 'its outcome');
    expect(world.resultOf(again)).toMatchObject({
      outcome: 'rollback-failed',
      reason: expect.stringContaining('what was written since is not kept'),
    });
    await then.environmentIs((view) => view.hold !== null && view.current === null, 'it to be held');
    await when.ask('retry', { ...ops, reason: 'once more' });
    await then.called('ensureLaterWritesExported', 3);
  });

  test('is ended by a person who says to leave it', async () => {
    const { world, when, then } = bad();
    world.on('ensureLaterWritesExported', () => stayUntil(() => false) as never);
    const deployment = await when.deploy();
    await then.called('ensureLaterWritesExported');
    await deployment.abort({ by: 'ops', reason: 'I look at it myself', noRollback: true });
    const result = await deployment.result();
    expect(result).toMatchObject({ outcome: 'rollback-failed' });
    expect(result.rollback?.data).toMatchObject({
      action: 'swapped',
      unexported: expect.stringContaining('left as it is'),
    });
  });
});
