import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type WorkflowHandle, WorkflowUpdateFailedError } from '@temporalio/client';
import type { DecisionProof, ProvableDecision } from '../../src/domain/decision-proof.ts';
import { failureType } from '../../src/domain/failures.ts';
import { type DecisionMessage, provableDecision } from '../../src/workflows/messages.ts';
import { broken, quietPolicy, twoPeople } from '../support/fake-activities.ts';
import { foreignProofs, testProofs } from '../support/proofs.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Deployment, type Scenario, createScenario } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const oneOfDevops = [{ group: 'devops', count: 1 }];

interface Asked extends Scenario {
  readonly deployment: Deployment;
  readonly hash: string;
}

/** A deployment that waits for one of devops. */
async function asked(more: Partial<typeof twoPeople> = {}): Promise<Asked> {
  const scenario = createScenario(env);
  scenario.world.policy = { ...quietPolicy, approval: { ...twoPeople, rules: oneOfDevops, ...more } };
  const deployment = await scenario.when.deploy();
  // The clock of the approval starts a moment after the phase is seen.
  await env.until(async () => (await deployment.view()).approvalUntil !== undefined, 'its time to be counted');
  return { ...scenario, deployment, hash: (await deployment.view()).plan?.hash ?? '' };
}

async function now(apartMs = 0): Promise<string> {
  return new Date((await env.server.currentTimeMs()) + apartMs).toISOString();
}

/** @returns what the sender is answered. */
async function send(handle: WorkflowHandle, verdict: string, message: object): Promise<string> {
  try {
    await handle.executeUpdate(verdict, { args: [message] });
    return 'counted';
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError) return failureType(error);
    throw error;
  }
}

async function wordsOf({ deployment, hash }: Asked): Promise<{ words: DecisionMessage; decision: ProvableDecision }> {
  const words = { by: 'max', plan: hash, groups: ['devops'], comment: 'fine' };
  return await Promise.resolve({ words, decision: provableDecision(deployment.handle.workflowId, 'approve', words) });
}

describe('a decision with a proof', () => {
  test('is recorded as proven, with what proves it', async () => {
    const { world, deployment, hash } = await asked();
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.decisions).toMatchObject([
      {
        ...{ by: 'max', counted: true, proven: true },
        proof: {
          workflowId: deployment.handle.workflowId,
          by: 'max',
          about: hash,
          proof: { nonce: expect.any(String) },
        },
      },
    ]);
  });

  test.each<[string, (decision: ProvableDecision, at: string) => DecisionProof | Promise<DecisionProof>]>([
    [
      'of another deployment',
      (decision, at) => testProofs.prove({ ...decision, workflowId: 'deployment/another/production/1' }, at),
    ],
    ['of another plan', (decision, at) => testProofs.prove({ ...decision, about: 'f'.repeat(64) }, at)],
    ['of another person', (decision, at) => testProofs.prove({ ...decision, by: 'eve' }, at)],
    ['of other groups', (decision, at) => testProofs.prove({ ...decision, groups: ['guests'] }, at)],
    ['of the other verdict', (decision, at) => testProofs.prove({ ...decision, verb: 'reject' }, at)],
    ['of other words', (decision, at) => testProofs.prove({ ...decision, comment: 'never' }, at)],
    ['of another installation', (decision, at) => foreignProofs.prove(decision, at)],
    ['that is old', async (decision) => testProofs.prove(decision, await now(-301_000))],
    ['that is of tomorrow', async (decision) => testProofs.prove(decision, await now(86_400_000))],
  ])('%s is refused, and it is on record why', async (_, forge) => {
    const scenario = await asked();
    const { world, deployment } = scenario;
    const { words, decision } = await wordsOf(scenario);
    const proof = await forge(decision, await now());
    expect(await send(deployment.handle, 'approve', { ...words, proof })).toBe('ProofRefused');
    const { approval } = await deployment.view();
    expect(approval).toMatchObject({ status: 'pending', counted: [], ignored: [{ by: 'max' }] });
    expect(world.called('requestTurn')).toHaveLength(0);
    // Who really decides is not kept from it by whoever forged it.
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    const refused = world.decisions.filter(({ counted }) => !counted);
    expect(refused).toMatchObject([{ by: 'max', proven: false, why: expect.stringContaining('its proof is') }]);
  });

  test('counts once: the same proof is of no use for a plan that is asked for again', async () => {
    const scenario = createScenario(env);
    const { world, given, when } = scenario;
    given.live();
    world.policy = { ...quietPolicy, approval: { ...twoPeople, rules: oneOfDevops } };
    const deployment = await when.deploy();
    const first = await deployment.until('awaiting-approval');
    const words = { by: 'max', plan: first.plan?.hash ?? '', groups: ['devops'] };
    const decision = provableDecision(deployment.handle.workflowId, 'approve', words);
    const proof = testProofs.prove(decision, await now());
    world.configuration = 'another';
    expect(await send(deployment.handle, 'approve', { ...words, proof })).toBe('counted');
    await env.until(async () => (await deployment.view()).plan?.hash !== words.plan, 'a new plan');
    // And what was approved first is what is asked for once more.
    world.configuration = 'configuration';
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    await env.until(async () => {
      const { plan, phase } = await deployment.view();
      return plan?.hash === words.plan && phase === 'awaiting-approval';
    }, 'the first plan again');
    expect(await send(deployment.handle, 'approve', { ...words, proof })).toBe('Conflict');
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('sent twice at once counts once', async () => {
    const scenario = await asked({ rules: [{ group: 'devops', count: 2 }] });
    const { world, given, deployment, then } = scenario;
    const open = given.gate('readProof');
    const { words, decision } = await wordsOf(scenario);
    const proof = testProofs.prove(decision, await now());
    const first = send(deployment.handle, 'approve', { ...words, proof });
    await then.called('readProof');
    expect(await send(deployment.handle, 'approve', { ...words, proof })).toBe('Conflict');
    const again = deployment.decide('approve', { by: 'max' });
    await then.called('readProof', 2);
    open();
    // Which of the two is looked at first is nobody's to say.
    const answers = [await first, await again];
    expect(answers.filter((answer) => answer === 'Conflict')).toHaveLength(1);
    expect(answers.filter((answer) => answer.endsWith('counted'))).toHaveLength(1);
    await deployment.decide('reject', { by: 'lin' });
    expect(await deployment.result()).toMatchObject({ outcome: 'rejected' });
    expect(world.decisions.filter(({ counted }) => counted).map(({ by }) => by)).toEqual(['max', 'lin']);
  });

  test('that came in time counts, also when the proof is looked at after it', async () => {
    const { given, deployment, then } = await asked({ timeoutMs: 3_000 });
    const open = given.gate('readProof');
    const decided = deployment.decide('approve', { by: 'max' });
    await then.called('readProof');
    await env.skip(4_000);
    open();
    expect(await decided).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });

  test('is too late when it is aborted while the proof is looked at', async () => {
    const { world, given, deployment, then } = await asked();
    const open = given.gate('readProof');
    const decided = deployment.decide('approve', { by: 'max' });
    await then.called('readProof');
    await deployment.abort();
    await env.until(async () => (await deployment.view()).phase !== 'awaiting-approval', 'the abort to be heard');
    open();
    expect(await decided).toBe('TooLate');
    expect(await deployment.result()).toMatchObject({ outcome: 'aborted' });
    expect(world.decisions).toMatchObject([{ by: 'max', counted: false, proven: true }]);
    expect(world.called('requestTurn')).toHaveLength(0);
  });

  test('whose proof nobody looks at does not count, and may be made again', async () => {
    const { world, deployment } = await asked();
    world.on('readProof', () => {
      throw broken('Internal', 'no worker that knows it', false);
    });
    const decided = deployment.decide('approve', { by: 'max' });
    await env.skip(61_000);
    expect(await decided).toBe('TimedOut');
    expect(world.decisions).toMatchObject([{ counted: false, proven: false, why: expect.stringMatching(/no worker/) }]);
    world.on('readProof', () => ({ holds: true }) as const);
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('where proof is required', () => {
  test('a raw signal and a raw update do not count, and a proven decision does', async () => {
    const scenario = await asked({ requireProof: true });
    const { world, deployment } = scenario;
    const { words, decision } = await wordsOf(scenario);
    await deployment.handle.signal('approve', { ...words, proven: true });
    await deployment.handle.signal('approve', { ...words, proof: testProofs.prove(decision, await now()) });
    expect(await send(deployment.handle, 'approve', { ...words, proven: true })).toBe('NotAllowed');
    await deployment.handle.signal('reject', words);
    expect((await deployment.view()).approval).toMatchObject({ status: 'pending', counted: [] });
    expect(await deployment.decide('approve', { by: 'max' })).toBe('1 counted');
    expect(await deployment.result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.decisions.filter(({ counted }) => !counted)).toMatchObject(
      ['approve', 'approve', 'reject'].map((verdict) => ({
        ...{ verdict, proven: false },
        why: expect.stringContaining('requireProof'),
      })),
    );
  });

  test('an abort by signal still stops it', async () => {
    const { deployment } = await asked({ requireProof: true });
    await deployment.abort();
    expect(await deployment.result()).toMatchObject({ outcome: 'aborted' });
  });
});
