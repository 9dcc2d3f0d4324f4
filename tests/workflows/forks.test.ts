import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { DecisionProof } from '../../src/domain/decision-proof.ts';
import type { ForkRule, SourceEvent } from '../../src/domain/run.ts';
import { type AllowMessage, provableWord } from '../../src/workflows/messages.ts';
import { testProofs } from '../support/proofs.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario } from '../support/workflow-env-scenario.ts';
import { until } from '../support/until.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const commit = 'c'.repeat(40);
const event: SourceEvent = {
  kind: 'pull-request',
  ref: 'refs/pull/7/head',
  before: '0'.repeat(40),
  after: commit,
  fork: true,
  pullRequest: 7,
  author: 'stranger',
};

/** A run of a pull request from a fork that waits for its word. */
async function waiting(scenario: Scenario): Promise<WorkflowHandle> {
  const run = await scenario.when.push({ event });
  await until(async () => (await run.query<{ readonly phase: string }>('run')).phase === 'awaiting-word', {
    what: 'the run to wait for a word',
  });
  return run;
}

const allow = (run: WorkflowHandle, message: object): Promise<unknown> =>
  run.executeUpdate('allow', { args: [message] });
const proofOf = async (run: WorkflowHandle, word: AllowMessage): Promise<DecisionProof> =>
  testProofs.prove(provableWord(run.workflowId, word), new Date(await env.server.currentTimeMs()).toISOString());
const refusal = (type: string) => ({ cause: { type } });

describe('a pull request from a fork', () => {
  test('is not even fetched before somebody has allowed its commit', async () => {
    const scenario = createScenario(env);
    const { world } = scenario;
    const run = await waiting(scenario);
    expect(world.calls.map(({ name }) => name).filter((name) => name !== 'tellForge')).toEqual(['openForkRun']);
    const words = { by: 'ada', commit: 'cccccccc' };
    await allow(run, { ...words, proof: await proofOf(run, words) });
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.called('prepareRun')).toHaveLength(1);
    expect(await run.query('run')).toMatchObject({ allowed: { by: 'ada', proven: true } });
  });

  test('is shown to its forge as waiting, with what to type', async () => {
    const scenario = createScenario(env);
    const { world } = scenario;
    world.runPlan = { tellsForge: true };
    const run = await waiting(scenario);
    await scenario.then.called('tellForge');
    expect(world.called('tellForge')[0]?.input).toMatchObject({
      commit,
      statuses: [
        {
          context: 'slipway',
          state: 'pending',
          description: `Waits for a maintainer: slipway allow ${world.project}#1 --commit cccccccccccc`,
        },
      ],
    });
    await allow(run, { by: 'ada', commit });
    await run.result();
    // The comment, which is told last of all, has no statuses.
    const told = world.called('tellForge').map(({ input }) => input as { readonly statuses: readonly object[] });
    const last = told.findLast(({ statuses }) => statuses.length > 0);
    expect(last?.statuses).toContainEqual(expect.objectContaining({ context: 'slipway', state: 'success' }));
  });

  test('is allowed for the commit that was looked at, and for no other, once', async () => {
    const scenario = createScenario(env);
    const run = await waiting(scenario);
    await expect(allow(run, { by: 'ada', commit: 'd'.repeat(40) })).rejects.toMatchObject(refusal('Conflict'));
    await expect(allow(run, { by: 'ada', commit: 'ccc' })).rejects.toMatchObject(refusal('InvalidInput'));
    await expect(allow(run, { commit })).rejects.toMatchObject(refusal('InvalidInput'));
    await run.signal('allow', { by: 'ada', commit: 'd'.repeat(40) });
    await run.signal('allow', 'yes');
    expect(await run.query('run')).toMatchObject({ phase: 'awaiting-word' });
    const check = scenario.given.gate('runStage');
    await allow(run, { by: 'ada', commit });
    await scenario.then.called('runStage');
    await expect(allow(run, { by: 'bob', commit })).rejects.toMatchObject(refusal('TooLate'));
    check();
    await run.result();
  });

  test('may be allowed by a signal, which proves nothing', async () => {
    const scenario = createScenario(env);
    const run = await waiting(scenario);
    await run.signal('allow', { by: 'root', commit, proven: true });
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await run.query('run')).toMatchObject({ allowed: { by: 'root', proven: false } });
  });

  test('may be allowed by a raw update, which proves nothing whatever it says', async () => {
    const run = await waiting(createScenario(env));
    await allow(run, { by: 'root', commit, proven: true });
    expect(await run.result()).toMatchObject({ outcome: 'succeeded' });
    expect(await run.query('run')).toMatchObject({ allowed: { by: 'root', proven: false } });
  });

  test('is not allowed by a word whose proof is of another run, commit or person', async () => {
    const run = await waiting(createScenario(env));
    const words = { by: 'ada', commit };
    const here = await proofOf(run, words);
    const elsewhere = testProofs.prove(provableWord('run/another/k1', words), here.at);
    for (const [message, type] of [
      [{ ...words, proof: elsewhere }, 'ProofRefused'],
      [{ ...words, commit: 'cccccccc', proof: here }, 'ProofRefused'],
      // It was looked at, and a proof is looked at once.
      [{ ...words, proof: here }, 'Conflict'],
      [{ ...words, by: 'bob', proof: await proofOf(run, words) }, 'ProofRefused'],
      [{ ...words, proof: 'yes' }, 'InvalidInput'],
    ] as const) {
      await expect(allow(run, message)).rejects.toMatchObject(refusal(type));
    }
    expect(await run.query('run')).toMatchObject({ phase: 'awaiting-word' });
    await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'forged' }] });
    await run.result();
  });

  test('that nobody allows expires, and nothing of it was fetched', async () => {
    const scenario = createScenario(env);
    const { world } = scenario;
    const run = await waiting(scenario);
    await env.skip(604_800_000 + 1_000);
    expect(await run.result()).toEqual({
      outcome: 'expired',
      reason: 'Nobody allowed the commit to be run within 10080 min.',
    });
    expect(world.called('prepareRun')).toHaveLength(0);
    expect(world.settledRuns).toMatchObject([{ outcome: 'expired', stages: [] }]);
    const last = world.called('tellForge').at(-1)?.input as { readonly statuses: readonly object[] };
    expect(last.statuses).toMatchObject([{ state: 'error', description: expect.stringContaining('expired') }]);
  });

  test('is aborted by whoever does not want it', async () => {
    const scenario = createScenario(env);
    const run = await waiting(scenario);
    await run.executeUpdate('abort', { args: [{ by: 'ada', reason: 'it mines coins' }] });
    expect(await run.result()).toEqual({ outcome: 'aborted', reason: 'ada aborted it: it mines coins.' });
    expect(scenario.world.called('prepareRun')).toHaveLength(0);
  });

  test.each<[ForkRule, string, number]>([
    ['deny', 'rejected', 0],
    ['allow', 'succeeded', 1],
  ])('of a project that says %s ends %s without a word', async (rule, outcome, prepared) => {
    const { world, when } = createScenario(env);
    world.on('openForkRun', ({ project, key }) => ({
      run: { project, key, number: 1 },
      rule,
      timeoutMs: 1_000,
      tellsForge: false,
    }));
    expect(await (await when.push({ event })).result()).toMatchObject({ outcome });
    expect(world.called('prepareRun')).toHaveLength(prepared);
    expect(world.called('tellForge')).toHaveLength(0);
  });

  test('is the only one that needs a word', async () => {
    const { given, when, then, world } = createScenario(env);
    const check = given.gate('runStage');
    const run = await when.push();
    await then.called('runStage');
    await expect(allow(run, { by: 'ada', commit })).rejects.toMatchObject(refusal('Conflict'));
    check();
    await run.result();
    expect(world.called('openForkRun')).toHaveLength(0);
  });
});
