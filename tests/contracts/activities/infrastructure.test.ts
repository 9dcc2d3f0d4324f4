import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { InfrastructureActivities, InfrastructureLeftoverActivities } from '../../../src/activities/contracts.ts';
import { createInfrastructureLeftovers } from '../../../src/activities/infrastructure-leftovers.ts';
import {
  type InfrastructureRecords,
  createInfrastructureRecords,
} from '../../../src/activities/infrastructure-records.ts';
import {
  type Infrastructures,
  createInfrastructureActivities,
  createInfrastructures,
} from '../../../src/activities/infrastructure.ts';
import type { Place, Places } from '../../../src/activities/places.ts';
import type { Removal } from '../../../src/activities/upkeep-contracts.ts';
import type { InfrastructureSpec } from '../../../src/definition/specs/infrastructure.ts';
import type { SecretRef, SecretRefs } from '../../../src/definition/specs/secret.ts';
import type { DeploymentInput } from '../../../src/domain/deployment.ts';
import { type Fence, createFence } from '../../../src/effects/fence.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { putProject } from '../../../src/store/projects.ts';
import { createBlobs } from '../../../src/providers/blobs/index.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { projectYaml } from '../../support/api.ts';
import { type FakeInfrastructure, createFakeInfrastructure } from '../../support/fakes/infrastructure.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const hourMs = 3_600_000;

let store: TestStore;
let fence: Fence;
beforeAll(async () => {
  store = await temporaryStore();
  fence = createFence({ connectionString: store.url });
  await putProject(store.db, { name: 'hello', text: projectYaml('hello'), hash: 'h', diff: '', by: 'ada' });
}, 120_000);
afterAll(async () => {
  await fence.close();
  await store.drop();
}, 60_000);

let folder: string;
let origin: GitOrigin;
let tool: FakeInfrastructure;
let activities: InfrastructureActivities & InfrastructureLeftoverActivities;
let records: InfrastructureRecords;
let infrastructures: Infrastructures;
let place: Place;
let versions: Record<string, string>;
let step = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-infrastructure-'));
  origin = createGitOrigin();
  tool = createFakeInfrastructure();
  versions = { password: 'v1' };
  const spec = {
    tool: { kind: 'terraform', backend: { kind: 'http', config: {} } },
    folder: 'infrastructure',
    variables: { colour: 'red' },
    secretVariables: { password: { kind: 'env', name: 'PASSWORD' } },
    env: {},
    secrets: {},
    planKey: { kind: 'env', name: 'PLAN_KEY' },
    lockTimeoutMs: 1_000,
    timeoutMs: 60_000,
  } satisfies InfrastructureSpec;
  place = {
    definition: 'd',
    release: { project: 'hello', commit: origin.commit({ 'infrastructure/main.tf': '# one thing\n' }) },
    pair: { project: { project: 'hello', repository: { url: origin.path } } },
    spec: { project: 'hello', name: 'production', infrastructure: spec, target: { name: `t-${folder.slice(-6)}` } },
  } as unknown as Place;
  records = createInfrastructureRecords(createBlobs({ kind: 'folder', folder: join(folder, 'blobs') }));
  const secretVersions = (refs: object) => Promise.resolve(Object.keys(refs).length === 0 ? {} : versions);
  infrastructures = createInfrastructures({ records, secretVersions });
  const deps = {
    store,
    places: { open: () => Promise.resolve(place) } satisfies Places,
    repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
    readSecret: ({ kind }: SecretRef) => Promise.resolve(kind === 'env' ? 'the key of the plans' : ''),
    readSecrets: (refs: SecretRefs) =>
      Promise.resolve(Object.fromEntries(Object.keys(refs).map((name) => [name, 'hunter22-secret']))),
    secretVersions,
    records,
    open: () => tool,
    fence,
  };
  activities = { ...createInfrastructureActivities(deps), ...createInfrastructureLeftovers(deps) };
});
afterEach(async () => {
  origin.remove();
  await rm(folder, { recursive: true, force: true });
});

const deployment: DeploymentInput = {
  ...{ project: 'hello', environment: 'production', number: 7, version: '1.0.1' },
  ...{ requestedBy: 'ada', author: 'ada', priority: 'routine', requestedAt: '2026-11-26T00:00:00Z' },
};

async function planned(more: Partial<DeploymentInput> = {}): Promise<string> {
  const run = () => activities.ensureInfrastructurePlan({ ...deployment, ...more });
  const { plan } = await new MockActivityEnvironment().run<[], { readonly plan: string }, typeof run>(run);
  return plan;
}

async function applied(plan: string, number = 7): ReturnType<InfrastructureActivities['applyInfrastructure']> {
  step += 1;
  const input = { ...deployment, number, turn: Date.now(), step, plan };
  return await new MockActivityEnvironment().run(() => activities.applyInfrastructure(input));
}

async function kept(): Promise<readonly string[]> {
  const entries = await readdir(join(folder, 'blobs'), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe('a plan', () => {
  test('is made once for a state and a definition, and is told without a value', async () => {
    expect(await infrastructures.planned(place, deployment)).toEqual({ kind: 'terraform', plan: '' });
    const plan = await planned();
    expect(plan).toMatch(/^[0-9a-f]{64}$/);
    expect(await planned()).toBe(plan);
    expect(await infrastructures.planned(place, deployment)).toMatchObject({
      ...{ kind: 'terraform', plan, tool: 'fake 1.0' },
      summary: { changes: [{ address: 'thing.only', action: 'create' }] },
    });
    expect(await infrastructures.planned(place, { number: 8 })).toEqual({ kind: 'terraform', plan: '' });
  });

  test('lies encrypted, and no file of it holds a secret', async () => {
    const plan = await planned();
    const files = await kept();
    expect(files.some((file) => file.endsWith(`7/${plan}.plan`))).toBe(true);
    for (const file of files) expect((await readFile(file)).includes('hunter22-secret')).toBe(false);
  });

  test.each([
    ['state', () => tool.change('green')],
    ['secret', () => void (versions = { password: 'v2' })],
    ['definition', () => void (place = { ...place, definition: 'e' })],
  ])('is another one when the %s changed', async (what, change) => {
    const plan = await planned();
    change();
    if (what !== 'state')
      expect(await infrastructures.planned(place, deployment)).toEqual({ kind: 'terraform', plan: '' });
    const again = await planned();
    expect(again).not.toBe(plan);
    await expect(applied(plan)).rejects.toMatchObject({ type: 'InfrastructureStale', nonRetryable: true });
    expect(tool.applied).toEqual([]);
  });

  test('is not made of what a link of the repository leads to, nor where there is no folder', async () => {
    const release = place.release;
    await symlink('/etc', join(origin.path, 'link'));
    const commit = origin.commit({ 'a.txt': 'x' });
    for (const inner of ['link', 'nothing', 'a.txt']) {
      place = {
        ...place,
        release: { ...release, commit },
        spec: { ...place.spec, infrastructure: { ...place.spec.infrastructure!, folder: inner } },
      };
      await expect(planned()).rejects.toMatchObject({ type: 'DefinitionInvalid' });
    }
  });

  test('is not needed where the project no longer has any', async () => {
    const { infrastructure, ...spec } = place.spec;
    expect(infrastructure).toBeDefined();
    place = { ...place, spec };
    expect(await planned()).toBe('');
    expect(await infrastructures.planned(place, deployment)).toBeUndefined();
    await expect(applied('a'.repeat(64))).rejects.toMatchObject({ type: 'InfrastructureStale' });
  });
});

/** A deployment that ended so long ago; without a time it is open. */
async function deployed(endedMsAgo?: number): Promise<number> {
  const { input } = await openDeployment(store.db, {
    ...{ project: 'hello', environment: 'production', version: '1.0.1', requestedBy: 'ada', author: 'ada' },
    ...{ priority: 'routine', requestedAt: new Date().toISOString(), kind: 'rollout', startedBy: 'api' },
    request: crypto.randomUUID(),
  });
  const { number } = input;
  if (endedMsAgo !== undefined) {
    const settledAt = new Date(Date.now() - endedMsAgo).toISOString();
    await store.db
      .updateTable('deployments')
      .set({ outcome: 'rejected', settledAt })
      .where('project', '=', 'hello')
      .where('number', '=', number)
      .execute();
  }
  return number;
}

describe('plans that nobody will apply', () => {
  beforeAll(() => deployed());

  const discarded = (number: number): Promise<void> =>
    new MockActivityEnvironment().run(() => activities.ensurePlansDiscarded({ ...deployment, number }));
  const removedOld = (): Promise<Removal> =>
    new MockActivityEnvironment().run(() => activities.removeOldPlans({ project: 'hello', environment: 'production' }));

  test('leave nothing: neither a file of theirs nor what they made elsewhere, however often it is asked; others stay', async () => {
    await planned();
    const other = await planned({ number: 8 });
    expect([...tool.left]).toEqual(['hello-production-7', 'hello-production-8']);
    await discarded(7);
    await discarded(7);
    expect([...tool.left]).toEqual(['hello-production-8']);
    expect((await kept()).filter((file) => file.includes('/7/'))).toEqual([]);
    expect(await infrastructures.planned(place, deployment)).toEqual({ kind: 'terraform', plan: '' });
    expect(await applied(other, 8)).toMatchObject({ how: 'applied' });
  });

  test('are removed with all that were made before them, also one that was never kept', async () => {
    await planned();
    versions = { password: 'v2' };
    await planned();
    expect((await kept()).filter((file) => file.endsWith('.plan'))).toHaveLength(2);
    await discarded(7);
    expect(await kept()).toEqual([]);
    const plan = tool.plan.bind(tool);
    tool.plan = async (request) => {
      await plan(request);
      throw new Error('killed');
    };
    await expect(planned({ number: 9 })).rejects.toThrow('killed');
    expect([...tool.left]).toEqual(['hello-production-9']);
    await discarded(9);
    expect([...tool.left]).toEqual([]);
    expect(await kept()).toEqual([]);
  });

  test('of a plan that was applied nothing is taken back, but its records go; a state that found no backend stays', async () => {
    const plan = await planned();
    await applied(plan);
    await records.keepState(deployment, Buffer.from('the only trace'), 'the key of the plans');
    tool.left.add('hello-production-7');
    await discarded(7);
    expect([...tool.left]).toEqual(['hello-production-7']);
    expect(tool.colour()).toBe('red');
    expect((await kept()).map((file) => file.slice(file.lastIndexOf('/') + 1))).toEqual([
      expect.stringMatching(/^errored-\d+\.tfstate$/),
    ]);
    expect(await records.listKept(deployment)).toEqual([]);
  });

  test('of which something elsewhere cannot be removed stay, for retention', async () => {
    await planned();
    tool.refusesDiscard = true;
    await expect(discarded(7)).rejects.toMatchObject({ type: 'InfrastructureFailed' });
    expect((await kept()).some((file) => file.endsWith('.plan'))).toBe(true);
  });

  test('go where the project has no infrastructure any more', async () => {
    await planned();
    const { infrastructure, ...spec } = place.spec;
    expect(infrastructure).toBeDefined();
    place = { ...place, spec };
    await discarded(7);
    expect(await kept()).toEqual([]);
  });

  test('are removed by retention where the deployment could not do it, audited; those of open ones and of ones just over stay', async () => {
    const [open, fresh, over] = [await deployed(), await deployed(1_000), await deployed(2 * hourMs)];
    for (const number of [open, fresh, over]) await planned({ number });
    expect(await removedOld()).toEqual({
      what: 'saved plans of hello/production',
      count: 1,
      sizeBytes: expect.any(Number) as unknown,
    });
    expect((await records.listKept(deployment)).map(({ number }) => number)).toEqual([open, fresh]);
    expect([...tool.left].sort()).toEqual([open, fresh].map((number) => `hello-production-${number}`).sort());
    expect(await removedOld()).toMatchObject({ count: 0 });
    const { items } = await listAudit(store.db, { actor: 'retention' }, { limit: 10 });
    expect(items.find(({ action }) => action === 'retention.plans')).toMatchObject({
      ...{ actor: 'retention', object: 'environment/hello/production' },
      detail: { count: 1, names: [`#${over}`] },
    });
  });

  test('go after a week whatever they have left, and the report says so', async () => {
    const [young, old] = [await deployed(2 * hourMs), await deployed(8 * 24 * hourMs)];
    for (const number of [young, old]) await planned({ number });
    tool.refusesDiscard = true;
    const gone = (await records.listKept(deployment)).find(({ number }) => number === old);
    expect(await removedOld()).toMatchObject({
      count: 1,
      sizeBytes: gone?.sizeBytes,
      left: `#${young}: the fake is not allowed to; #${old}: the fake is not allowed to`,
    });
    expect((await records.listKept(deployment)).map(({ number }) => number)).toEqual([young]);
  });
});

describe('applying', () => {
  test('does exactly what was planned, once, however often it is asked; and the plan is kept no longer', async () => {
    await planned({ number: 3 });
    const plan = await planned();
    await planned({ number: 9 });
    expect(await applied(plan)).toEqual({ how: 'applied', detail: '1 to create' });
    expect(await applied(plan)).toEqual({ how: 'recognised', detail: 'was applied before' });
    expect(tool.applied).toEqual(['red']);
    // Its own and that of an earlier deployment, which is stale by this; a later one waits on.
    expect((await kept()).filter((file) => file.endsWith('.plan')).map((file) => file.split('/').at(-2))).toEqual([
      '9',
    ]);
    expect(await planned()).toBe(plan);
  });

  test('of a state that changed is refused, and nothing is changed', async () => {
    const plan = await planned();
    tool.change('green');
    await expect(applied(plan)).rejects.toMatchObject({ type: 'InfrastructureStale', nonRetryable: true });
    expect(tool.colour()).toBe('green');
  });

  test('after a worker that died with all of it done recognises it by the state', async () => {
    const plan = await planned();
    tool.dieAfterApply = true;
    await expect(applied(plan)).rejects.toThrow('killed');
    expect(await applied(plan)).toEqual({
      how: 'recognised',
      detail: 'an earlier attempt had applied it, and nothing is left to change',
    });
    expect(tool.applied).toEqual(['red']);
  });

  test('after a worker that died half way does not go on blindly: it says what is left', async () => {
    const plan = await planned();
    tool.dieHalfWay = true;
    await expect(applied(plan)).rejects.toThrow('killed');
    await expect(applied(plan)).rejects.toMatchObject({
      type: 'InfrastructureInterrupted',
      nonRetryable: true,
      message: expect.stringContaining('1 to update is left') as unknown,
    });
    expect(tool.applied).toEqual([]);
  });

  test('after a worker that died before anything was done does it', async () => {
    const plan = await planned();
    const apply = tool.apply.bind(tool);
    tool.apply = () => Promise.reject(new Error('killed'));
    await expect(applied(plan)).rejects.toThrow('killed');
    const seen: unknown[] = [];
    tool.apply = (request) => {
      seen.push(request.left);
      return apply(request);
    };
    expect(await applied(plan)).toMatchObject({ how: 'applied' });
    // Only a second attempt may open a lock, and only one of the first.
    expect(seen).toEqual([{ who: ['fake@here'], since: expect.any(Date) as unknown }]);
    expect(tool.colour()).toBe('red');
  });

  test('that kept a state which found no backend is not done again by what the backend says; the audit says where the state is', async () => {
    const plan = await planned();
    const apply = tool.apply.bind(tool);
    tool.apply = async ({ keepState }) => {
      await keepState(Buffer.from('the only trace'));
      throw new Error('aborted');
    };
    await expect(applied(plan)).rejects.toThrow('aborted');
    tool.apply = apply;
    const state = await records.findState(deployment);
    expect(state).toMatch(/\/7\/errored-\d+\.tfstate$/);
    await expect(applied(plan)).rejects.toMatchObject({
      type: 'InfrastructureInterrupted',
      nonRetryable: true,
      message: expect.stringContaining(state ?? '') as unknown,
    });
    expect(tool.applied).toEqual([]);
    const { items } = await listAudit(store.db, { actor: 'worker' }, { limit: 10 });
    expect(items).toMatchObject([
      { action: 'infrastructure.state-kept', object: 'environment/hello/production', detail: { deployment: 7, state } },
    ]);
  });

  test('that kept a state of which the backend has a part does not send anybody into a new plan before that state is back', async () => {
    const plan = await planned();
    tool.apply = async ({ keepState }) => {
      // Terraform saves a state along the way.
      tool.change('half red');
      await keepState(Buffer.from('the only trace of the other half'));
      throw new Error('aborted');
    };
    await expect(applied(plan)).rejects.toThrow('aborted');
    const state = await records.findState(deployment);
    const refused = {
      type: 'InfrastructureInterrupted',
      nonRetryable: true,
      message: expect.stringMatching(`1 to update is left.* is kept as ${String(state)}: bring it back`) as unknown,
      details: [{ left: { counts: { update: 1 } }, state }],
    };
    await expect(applied(plan)).rejects.toMatchObject(refused);
    // Somebody has pushed it; the blob is theirs to remove.
    tool.change('red');
    expect(await applied(plan)).toMatchObject({ how: 'recognised' });
    expect(await records.findState(deployment)).toBe(state);
  });

  test('of a plan that somebody changed on the disk is refused', async () => {
    const plan = await planned();
    const file = (await kept()).find((name) => name.endsWith('.plan'))!;
    await writeFile(file, Buffer.concat([await readFile(file), Buffer.from('x')]));
    await expect(applied(plan)).rejects.toMatchObject({ type: 'SecretMissing', nonRetryable: true });
    expect(tool.applied).toEqual([]);
  });
});
