import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { type RecoveryMemory, createRecoveryMemory } from '../../../src/activities/recovery-temporal.ts';
import { deploymentId, environmentId } from '../../../src/workflows/messages.ts';
import { quietPolicy, twoPeople } from '../../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../../support/workflow-env.ts';
import { createScenario, production } from '../../support/workflow-env-scenario.ts';

/** Workflows as they are on a real Temporal, with activities that change nothing. */
let env: WorkflowEnv;
let remember: RecoveryMemory;
const never = new AbortController().signal;

beforeAll(async () => {
  env = await createWorkflowEnv({ server: 'real' });
  remember = createRecoveryMemory(env.client);
}, 120_000);
afterAll(() => env.close(), 60_000);

/** What is listed is late: asked for until it is there. */
async function listed(project: string, count: number) {
  let sight = await remember(project, production, never);
  await env.until(async () => {
    sight = await remember(project, production, never);
    return sight.found.length === count;
  }, `${count} deployments to be listed`);
  return sight;
}

describe('what Temporal remembers of an environment', () => {
  test('is every deployment with what it was given and what it returned, and what its own workflow says', async () => {
    const { world, given, when } = createScenario(env);
    given.live();
    const first = await when.deploy();
    const result = await first.result();
    expect(result.outcome).toBe('succeeded');
    world.policy = { ...quietPolicy, approval: twoPeople };
    const second = await when.deploy({ runKey: 'a-run' });
    const { plan } = await second.until('awaiting-approval');

    const { found, word, busy } = await listed(world.project, 2);
    expect(found).toMatchObject([
      { kind: 'rollout', input: first.input, ended: { result: { outcome: 'succeeded', live: result.live } } },
      { kind: 'rollout', input: { ...second.input, runKey: 'a-run' }, open: { phase: 'awaiting-approval', plan } },
    ]);
    expect(found[0]?.open).toBeUndefined();
    expect(found[1]?.ended).toBeUndefined();
    expect(word).toMatchObject({ live: { version: first.input.version }, hold: null });
    expect(busy).toBeUndefined();
    await second.abort();
    await second.result();
  }, 120_000);

  test('is of that environment alone, and nothing where it knows none', async () => {
    expect(await remember(`nobody-${process.pid}`, production, never)).toEqual({
      found: [],
      word: undefined,
      busy: undefined,
      seenRun: 0,
    });
  }, 60_000);

  test('says who has the turn, and of one that was ended from outside that it has said nothing', async () => {
    const { world, given, when, then } = createScenario(env);
    given.live();
    const open = given.gate('watchRelease');
    const first = await when.deploy();
    await then.called('watchRelease');
    const { busy, word } = await listed(world.project, 1);
    expect(busy).toBe(`rollout ${world.project}/${production}/${first.input.number}`);
    expect(word?.numbers).toContain(first.input.number);
    await env.client.workflow.getHandle(deploymentId(first.input)).terminate('by a test');
    // Temporal's lists follow what happens by a moment.
    const seen = async () => (await remember(world.project, production, never)).found[0];
    await env.until(async () => (await seen())?.open === undefined, 'its end to be listed');
    const found = await seen();
    expect(found).toMatchObject({ input: first.input });
    expect(found?.ended).toBeUndefined();
    open();
    await env.client.workflow.getHandle(environmentId(world.project, production)).terminate('by a test');
  }, 120_000);

  test('is an error where it does not answer: nothing is made up', async () => {
    // Never closed: one of the questions is asked again by a timer of the SDK that nothing ends, which throws past everybody where its channel is gone.
    const connection = Connection.lazy({ address: '127.0.0.1:1' });
    const nobody = createRecoveryMemory(new Client({ connection }));
    await expect(nobody('hello', production, never)).rejects.toMatchObject({ type: 'TemporalUnavailable' });
  }, 60_000);
});
