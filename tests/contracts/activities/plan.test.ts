import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { PlanInput } from '../../../src/activities/contracts.ts';
import type { ScanChecks, ScanQuestion } from '../../../src/activities/image-trust.ts';
import type { Place } from '../../../src/activities/places.ts';
import { createPlanActivities } from '../../../src/activities/plan.ts';
import { loadPair } from '../../../src/definition/load.ts';
import type { DefinitionPair } from '../../../src/definition/pair.ts';
import type { Plan, PlanPolicy } from '../../../src/domain/plan.ts';
import { migrationsOf } from '../../../src/providers/migrations/files.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { readPlan } from '../../../src/store/plans.ts';
import { putProject } from '../../../src/store/projects.ts';
import { projectYaml } from '../../support/api.ts';
import { quietPolicy, twoPeople } from '../../support/fake-activities.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let number: number;

beforeAll(async () => {
  store = await temporaryStore();
  await putProject(store.db, { name: 'hello', text: projectYaml('hello'), hash: 'h', diff: '', by: 'ada' });
  const opened = await openDeployment(store.db, {
    project: 'hello',
    environment: 'staging',
    version: '1.0.1',
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: new Date().toISOString(),
    kind: 'rollout',
    request: crypto.randomUUID(),
    startedBy: 'api',
  });
  number = opened.input.number;
}, 120_000);

afterAll(() => store.drop(), 60_000);

function pairOf(text: string): DefinitionPair {
  const loaded = loadPair({
    repository: {
      file: 'slipway.yaml',
      text: 'version: 1\nimages: [{ name: web }]\nservice: { image: web, port: 80 }\n',
    },
    project: { file: 'project.yaml', text },
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.value;
}
const plain = pairOf(projectYaml('hello'));
const withForge = pairOf(projectYaml('hello').replace(/( +)kind: github\n/, '$&$1api: { token: { env: FORGE } }\n'));

interface Given {
  readonly kind: 'contract' | 'expand';
  /** A release serves. */
  readonly live?: boolean;
  /** People approve there. */
  readonly approved?: boolean;
  readonly freeDiskBytes?: number | null;
  readonly scans?: ScanChecks;
  readonly input?: Partial<PlanInput>;
  readonly policy?: Partial<PlanPolicy>;
  readonly pair?: DefinitionPair;
  readonly asked?: (question: ScanQuestion | undefined) => void;
}

/** Plans 1.0.1, which has one migration. */
async function plan(given: Given): Promise<Plan> {
  const { kind, live = true, approved = false, freeDiskBytes = 1e9, scans = { checks: [], due: [] } } = given;
  const migrations = migrationsOf([
    { path: '002_change.sql', text: `-- slipway: ${kind}\nalter table notes add column extra text;` },
  ]);
  const release = { project: 'hello', version: '1.0.1', commit: 'c'.repeat(40), images: [], definition: 'd', build: 1 };
  const state = { slot: 'blue', release: { ...release, version: '1.0.0' }, deployment: 1, startedAt: null };
  const policy = { ...quietPolicy, approval: { ...quietPolicy.approval, required: approved }, ...given.policy };
  const place = {
    definition: 'd',
    release,
    pair: given.pair ?? plain,
    spec: {
      project: 'hello',
      name: 'staging',
      policy,
      secrets: {},
      strategy: { kind: 'blue-green' },
      target: { kind: 'docker', name: 'local' },
    },
    target: { readSlots: () => Promise.resolve(live ? [state] : []) },
    router: { readTraffic: () => Promise.resolve({ rendered: { servers: [{ role: 'live', slot: 'blue' }] } }) },
  } as unknown as Place;
  const estimate = {
    databaseBytes: 1,
    freeDiskBytes,
    connectionsNeeded: 1,
    connectionsFree: 10,
    lastProofMs: 0,
    problems: [],
  };
  const activities = createPlanActivities({
    store,
    trust: {
      verify: () => Promise.resolve([]),
      check: () => Promise.resolve([]),
      checkScans(_, question) {
        given.asked?.(question);
        return Promise.resolve(scans);
      },
    },
    infrastructures: { planned: () => Promise.resolve(undefined) },
    places: { open: () => Promise.resolve(place) },
    materials: { of: () => Promise.resolve({ migrations, configuration: { hash: 'h', keys: {} } } as never) },
    databases: {
      of: () =>
        Promise.resolve({
          estimate: () => Promise.resolve(estimate),
          migrations: {
            pending: () => Promise.resolve(migrations.map(({ name, checksum }) => ({ name, checksum, kind }))),
          },
        } as never),
    },
    repositories: { compare: () => Promise.resolve({ commits: [], filesChanged: 1, linesChanged: 1 }) } as never,
    secretVersions: () => Promise.resolve({}),
    protections: () => Promise.resolve(undefined),
  });
  const input = { project: 'hello', environment: 'staging', number, version: '1.0.1', ...given.input };
  return await new MockActivityEnvironment().run(() => activities.planDeployment(input as never));
}

describe('a plan with a migration that the live release cannot live beside', () => {
  test('is not made where nobody approves', async () => {
    const planning = plan({ kind: 'contract' });
    await expect(planning).rejects.toMatchObject({ type: 'MigrationIncompatible', nonRetryable: true });
    await expect(planning).rejects.toThrow(/^002_change\.sql: the live release 1\.0\.0 could not go on beside 1\.0\.1/);
    expect(await readPlan(store.db, { project: 'hello', environment: 'staging', number })).toBeUndefined();
  });

  test.each<[string, Given]>([
    ['people approve', { kind: 'contract', approved: true }],
    ['nothing is live', { kind: 'contract', live: false }],
    ['it only expands', { kind: 'expand' }],
  ])('is made where %s', async (_, given) => {
    const made = await plan(given);
    expect(made.identity.migrations).toMatchObject([{ name: '002_change.sql', kind: given.kind }]);
    expect(await readPlan(store.db, made.deployment, made.hash)).toMatchObject({ hash: made.hash });
  });
});

test('a disk that nobody could see is a risk of the plan', async () => {
  const unknown = expect.stringContaining('is not known');
  expect((await plan({ kind: 'expand', freeDiskBytes: null })).risk.reasons).toContainEqual(unknown);
  expect((await plan({ kind: 'expand' })).risk.reasons).not.toContainEqual(unknown);
});

test('what is news of an image counts for the risk, the rest is only shown', async () => {
  const check = { name: 'scan of web', verdict: 'errored' as const, line: 'image web: scan errored, too old' };
  const made = await plan({ kind: 'expand', scans: { checks: [{ ...check, news: true }], due: ['web'] } });
  expect(made.checks).toContain('image web: scan errored, too old');
  expect(made.scansDue).toEqual(['web']);
  expect(made.risk.reasons).toContain('1 check could not be judged: scan of web.');
  const known = await plan({ kind: 'expand', scans: { checks: [{ ...check, news: false }], due: [] } });
  expect(known.checks).toContain('image web: scan errored, too old');
  expect(known.scansDue).toBeUndefined();
  expect(known.risk.reasons).toEqual(expect.not.arrayContaining([expect.stringContaining('scan of web')]));
});

test('a scan that is too old stops nothing only for who looks it up again, and a way back goes by that of the build', async () => {
  const asked: unknown[] = [];
  const ask = (input: Partial<PlanInput>): Promise<Plan> =>
    plan({ kind: 'expand', input, asked: (question) => asked.push(question) });
  await ask({});
  await ask({ renewsScans: true });
  await ask({ scanProblems: { web: 'no scanner' }, priority: 'rollback' });
  expect(asked).toEqual([
    { renews: false, problems: {}, back: false },
    { renews: true, problems: {}, back: false },
    { renews: false, problems: { web: 'no scanner' }, back: true },
  ]);
});

describe('a plan of an emergency', () => {
  const watch = { ...quietPolicy.watch, durationMs: 900_000 };
  const emergency = true as const;

  test.each<[string, Partial<PlanInput>, boolean, number]>([
    ['does not wait for the watch outside production', { priority: 'hotfix', emergency }, false, 0],
    ['waits for it in production', { priority: 'hotfix', emergency }, true, 900_000],
    ['that is none, only a hotfix, waits for it everywhere', { priority: 'hotfix' }, false, 900_000],
    ['that is none waits for it', { priority: 'routine' }, false, 900_000],
  ])('%s, and for people as ever', async (_, input, production, durationMs) => {
    const policy = { approval: twoPeople, watch, production };
    const made = await plan({ kind: 'expand', input, policy });
    expect(made.policy).toEqual({ ...quietPolicy, ...policy, watch: { ...watch, durationMs } });
  });
});

describe('a hotfix is brought back by the plan', () => {
  test.each<[string, PlanInput['priority'], boolean, DefinitionPair, true | undefined]>([
    ['of production', 'hotfix', true, withForge, true],
    ['of another environment: no', 'hotfix', false, withForge, undefined],
    ['without a forge that can be asked: no', 'hotfix', true, plain, undefined],
    ['of what is no hotfix: no', 'routine', true, withForge, undefined],
    ['of a way back: no', 'rollback', true, withForge, undefined],
  ])('%s', async (_, priority, production, pair, expected) => {
    const made = await plan({ kind: 'expand', input: { priority }, policy: { production }, pair });
    expect(made.mergesBack).toBe(expected);
  });
});
