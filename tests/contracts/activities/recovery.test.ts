import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { RecoveryReport, RecoveryRequest } from '../../../src/activities/contracts.ts';
import { createPlaces } from '../../../src/activities/places.ts';
import type { TemporalSight } from '../../../src/activities/recovery-temporal.ts';
import { createRecoveryActivities } from '../../../src/activities/recovery.ts';
import { versionInForce } from '../../../src/activities/versions.ts';
import type { FoundDeployment } from '../../../src/domain/recovery.ts';
import type { ReleaseRef, Slot } from '../../../src/domain/release.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { listAudit } from '../../../src/store/audit.ts';
import { listDeployments, openDeployment, readDeployment } from '../../../src/store/deployments.ts';
import { readEnvironment } from '../../../src/store/environments.ts';
import { applyFacts } from '../../../src/store/facts.ts';
import { releaseBefore } from '../../../src/store/previous.ts';
import { putProject, readDefinition } from '../../../src/store/projects.ts';
import { readRelease } from '../../../src/store/releases.ts';
import { projectYaml } from '../../support/api.ts';
import { createFakeRouter } from '../../support/fakes/router.ts';
import { type FakeTarget, createFakeTarget } from '../../support/fakes/target.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const environment = 'production';
const repositoryYaml = 'version: 1\nimages: [{ name: web }]\nservice: { image: web, port: 80 }\n';

let store: TestStore;
let origin: GitOrigin;
let folder: string;
let target: FakeTarget;
let router: ReturnType<typeof createFakeRouter>;
let sight: TemporalSight;
/** A project of its own for each test: the store is only added to. */
let project: string;
let count = 0;

beforeAll(async () => {
  store = await temporaryStore();
  origin = createGitOrigin();
}, 120_000);
afterAll(async () => {
  await store.drop();
  origin.remove();
}, 60_000);
beforeEach(async () => {
  count += 1;
  project = `lost-${count}`;
  folder = mkdtempSync(join(tmpdir(), 'slipway-recovery-'));
  target = createFakeTarget();
  router = createFakeRouter();
  sight = { found: [], word: undefined, busy: undefined, seenRun: 0 };
  const text = projectYaml(project).replace(/url: .*/, `url: file://${origin.path}`);
  await putProject(store.db, { name: project, text, hash: text, diff: '', by: 'ada' });
  return () => rmSync(folder, { recursive: true, force: true });
});

const openTarget = (): Promise<FakeTarget> => Promise.resolve(target);
const openRouter = (): Promise<typeof router> => Promise.resolve(router);

function placesHere(where = store) {
  return createPlaces({ store: where, openTarget, openRouter, folder: join(folder, 'places') });
}

async function recover(over: Partial<RecoveryRequest> = {}, where = store): Promise<RecoveryReport> {
  const activities = createRecoveryActivities({
    ...{ store: where, openTarget, openRouter },
    places: placesHere(where),
    memory: () => Promise.resolve(sight),
    repositories: createGitRepository({ folder: join(folder, 'mirrors') }),
    readSecret: () => Promise.reject(new Error('it has none')),
    blobs: createFolderBlobs({ folder: join(folder, 'blobs') }),
  });
  const request = { project, environment, apply: true, by: 'ada', reason: 'the disk broke', ...over };
  return await new MockActivityEnvironment().run(
    (input: RecoveryRequest) => activities.recoverEnvironment(input),
    request,
  );
}

/** A release as its containers name it. */
function built(build: number): ReleaseRef {
  const commit = origin.commit({ 'slipway.yaml': repositoryYaml, 'build.txt': String(build) }, `build ${build}`);
  const digest = `sha256:${String(build).repeat(64).slice(0, 64)}`;
  return {
    version: `${build}-${commit.slice(0, 7)}`,
    commit,
    images: [{ name: 'web', repository: `127.0.0.1:5000/${project}/web`, digest }],
  };
}

async function runs(slot: Slot, release: ReleaseRef, deployment: number): Promise<void> {
  await target.ensureSlot({
    ...{
      project,
      environment,
      slot,
      release,
      deployment,
      image: release.images[0]!,
      env: {},
      secretEnv: {},
      resources: {},
    },
    ...{ hostPort: slot === 'blue' ? 20_011 : 20_012, containerPort: 80 },
  });
}

async function routed(slot: Slot, { version }: ReleaseRef): Promise<void> {
  const server = { slot, release: version, address: '127.0.0.1:20011', weight: 1, role: 'live' as const };
  await router.ensureTraffic({ project, environment, listen: ['127.0.0.1:20010'], servers: [server] });
}

function ended(number: number, live: ReleaseRef, slot: Slot): FoundDeployment {
  const at = new Date(Date.now() - 3_600_000 + number * 1_000).toISOString();
  const { version } = live;
  const ref = { project, environment, number };
  return {
    kind: 'rollout',
    startedAt: at,
    input: {
      ...ref,
      version,
      runKey: `run-${number}`,
      requestedBy: 'linus',
      author: 'linus',
      priority: 'routine',
      requestedAt: at,
    },
    ended: {
      at,
      result: {
        ...ref,
        outcome: 'succeeded',
        reason: 'It serves.',
        live: { ...live, slot, deployment: number, since: at },
        steps: [],
      },
    },
  };
}

describe('an environment that the store knows nothing of any more', () => {
  test('is said line by line first, and nothing is written', async () => {
    const [one, two] = [built(1), built(2)];
    await runs('blue', one, 1);
    await runs('green', two, 2);
    await routed('green', two);
    const { applied, lines, problems } = await recover({ apply: false });
    expect({ applied, problems }).toEqual({ applied: false, problems: [] });
    expect(lines).toContain(`live: ${two.version} in green, of deployment 2; on record is nothing`);
    expect(lines).toContain(`previous: ${one.version} in blue, of deployment 1; on record is nothing`);
    expect(await readEnvironment(store.db, project, environment)).toBeUndefined();
    expect(await readRelease(store.db, project, two.version)).toBeUndefined();
    const { items } = await listAudit(store.db, { object: `environment/${project}/${environment}` }, {});
    expect(items).toEqual([]);
  });

  test('is written with the releases of its commits, so that both can be opened again; the traffic stays where it is', async () => {
    const [one, two] = [built(3), built(4)];
    await runs('blue', one, 1);
    await runs('green', two, 2);
    await routed('green', two);
    const calls = [...target.calls];
    const report = await recover();
    expect(report).toMatchObject({ applied: true, problems: [] });

    expect(await readEnvironment(store.db, project, environment)).toMatchObject({
      live: { version: two.version, commit: two.commit, images: two.images, slot: 'green', deployment: 2 },
      previous: { version: one.version, slot: 'blue', deployment: 1 },
      hold: null,
    });
    const release = await readRelease(store.db, project, one.version);
    expect(release).toMatchObject({
      build: 3,
      commit: one.commit,
      images: one.images,
      author: 'Ada Lovelace',
      runKey: null,
    });
    expect(await readDefinition(store.db, release!.definition)).toContain('"service"');
    // What a roll-out, a rollback and an upkeep open the environment by.
    expect(await versionInForce(store, { project, environment })).toBe(two.version);
    for (const { version } of [one, two]) {
      const place = await placesHere().open({ project, environment, version }, 'store');
      expect(place.release.version).toBe(version);
    }
    expect((await releaseBefore(store.db, { project, environment }))?.version).toBe(one.version);
    // The next one gets a number that nobody had.
    const { input } = await openDeployment(store.db, {
      ...{ project, environment, version: two.version, requestedBy: 'ada', author: 'ada', priority: 'routine' },
      ...{ requestedAt: new Date().toISOString(), kind: 'rollout', request: 'next', startedBy: 'api' },
    });
    expect(input.number).toBe(3);
    expect(target.calls).toEqual(calls);
    expect(router.applied).toHaveLength(1);

    const { items } = await listAudit(store.db, { object: `environment/${project}/${environment}` }, {});
    expect(items).toEqual([
      expect.objectContaining({
        actor: 'ada',
        action: 'environment.recovered',
        detail: { reason: 'the disk broke', lines: report.lines, problems: [] },
      }),
    ]);
  });

  test('but for ends that a worker had kept: who asked for them comes back, and the one before is no rollback', async () => {
    const [one, two] = [built(6), built(7)];
    const remembered = [ended(1, one, 'blue'), ended(2, two, 'green')];
    await runs('green', two, 2);
    await routed('green', two);
    for (const { input, ended: end } of remembered) {
      const fact = { kind: 'settled' as const, result: end!.result, version: input.version, at: end!.at };
      expect(await applyFacts(store.db, [{ key: `settled/${project}/${input.number}`, fact }])).toEqual([]);
    }
    const ref = { project, environment, number: 1 };
    expect(await readDeployment(store.db, ref)).toMatchObject({ kind: 'rollback', requestedBy: 'unknown' });
    expect(await readEnvironment(store.db, project, environment)).toMatchObject({
      live: { version: two.version },
      previous: null,
    });
    sight = { ...sight, found: remembered };

    const { problems, lines } = await recover();
    expect(problems).toEqual([]);
    expect(lines).toContainEqual(
      expect.stringMatching(`^deployment ${project}/${environment}/1 of ${one.version}: succ`),
    );
    expect(await readDeployment(store.db, ref)).toMatchObject({
      ...{ kind: 'rollout', requestedBy: 'linus', runKey: 'run-1', version: one.version, outcome: 'succeeded' },
      ...{ settledAt: remembered[0]!.ended!.at, input: remembered[0]!.input },
    });
    expect(await readEnvironment(store.db, project, environment)).toMatchObject({
      live: { version: two.version },
      previous: { version: one.version },
    });
    expect((await releaseBefore(store.db, { project, environment }))?.version).toBe(one.version);
    // A run that settles once more finds its own.
    const { created } = await openDeployment(store.db, {
      ...{ project, environment, version: two.version, requestedBy: 'ada', author: 'ada', priority: 'routine' },
      ...{ requestedAt: new Date().toISOString(), kind: 'rollout', request: 'run:run-2', startedBy: 'run' },
    });
    expect(created).toBe(false);
    expect(await recover()).toMatchObject({ applied: false, lines: [], problems: [] });
  });

  test('once more, nothing is missing and nothing is written', async () => {
    const two = built(5);
    await runs('green', two, 2);
    await routed('green', two);
    expect((await recover()).applied).toBe(true);
    expect(await recover()).toEqual({ project, environment, applied: false, lines: [], problems: [] });
    expect((await listAudit(store.db, { object: `environment/${project}/${environment}` }, {})).items).toHaveLength(1);
  });

  test('has the releases as the worker kept them, with the definition that they were built with', async () => {
    const two = built(6);
    await runs('green', two, 2);
    await routed('green', two);
    await recover();
    const before = await readRelease(store.db, project, two.version);
    // Read by a roll-out, it is kept; then the store is lost, and the project has another document by now.
    await placesHere().open({ project, environment, version: two.version }, 'store');
    const empty = await temporaryStore();
    try {
      const text = `${projectYaml(project).replace(/url: .*/, `url: file://${origin.path}`)}retention: { runs: 7 }\n`;
      await putProject(empty.db, { name: project, text, hash: text, diff: '', by: 'ada' });
      const { lines } = await recover({}, empty);
      expect(lines[0]).toBe(`release ${two.version} of commit ${two.commit.slice(0, 12)}, as a worker kept it`);
      expect(await readRelease(empty.db, project, two.version)).toMatchObject({ definition: before!.definition });
      expect(await readDefinition(empty.db, before!.definition)).toContain(project);
    } finally {
      await empty.drop();
    }
  });

  test('gets the deployments that Temporal knows, ended and open, and those of a run are found again by its request', async () => {
    const [one, two] = [built(7), built(8)];
    const waiting = ended(3, built(9), 'blue');
    await runs('green', two, 2);
    await routed('green', two);
    const plan = {
      hash: 'p'.repeat(64),
      deployment: { project, environment, number: 3 },
      plannedAt: waiting.startedAt,
    };
    const { kind, input: asked, startedAt } = waiting;
    const open = { kind, input: asked, startedAt, open: { phase: 'awaiting-approval' as const, plan: plan as never } };
    sight = { ...sight, found: [ended(1, one, 'blue'), ended(2, two, 'green'), open], seenRun: 12 };
    // Of the release that waits nothing says which commit it is, and no worker has kept it.
    const { problems } = await recover();
    expect(problems).toEqual([expect.stringMatching(/^Release 9-.* cannot be made out: Nothing says which commit/)]);

    expect(await readDeployment(store.db, { project, environment, number: 1 })).toMatchObject({
      ...{ outcome: 'succeeded', version: one.version, runKey: 'run-1', requestedBy: 'linus', phase: 'closed' },
      settledAt: ended(1, one, 'blue').ended?.at.slice(0, 19) === undefined ? null : expect.any(String),
    });
    expect(await readDeployment(store.db, { project, environment, number: 3 })).toMatchObject({
      ...{ outcome: null, phase: 'awaiting-approval', planHash: plan.hash, plan },
    });
    const { input, created } = await openDeployment(store.db, {
      ...{ project, environment, version: two.version, requestedBy: 'linus', author: 'linus', priority: 'routine' },
      ...{
        requestedAt: new Date().toISOString(),
        kind: 'rollout',
        request: 'run:run-2',
        startedBy: 'run',
        runKey: 'run-2',
      },
    });
    expect({ number: input.number, created }).toEqual({ number: 2, created: false });
    expect(await readEnvironment(store.db, project, environment)).toMatchObject({
      live: { version: two.version },
      previous: { version: one.version },
    });
    const [owner] = await store.db.selectFrom('projects').select('lastRun').where('name', '=', project).execute();
    expect(owner?.lastRun).toBe(12);
  });
});

describe('what is there', () => {
  test('stays as it is: an old copy gets only what is newer', async () => {
    const [one, two] = [built(1), built(2)];
    await runs('blue', one, 1);
    await routed('blue', one);
    await recover();
    const before = await readDeployment(store.db, { project, environment, number: 1 });
    await runs('green', two, 2);
    await routed('green', two);
    sight = { ...sight, found: [ended(1, one, 'blue'), ended(2, two, 'green')] };
    const { lines } = await recover();
    expect(lines).not.toContainEqual(expect.stringContaining(`${environment}/1 of`));
    expect(await readDeployment(store.db, { project, environment, number: 1 })).toEqual(before);
    const { items } = await listDeployments(store.db, { project }, {});
    expect(items.map(({ number, outcome }) => [number, outcome])).toEqual([
      [2, 'succeeded'],
      [1, 'succeeded'],
    ]);
    expect(await readEnvironment(store.db, project, environment)).toMatchObject({
      live: { version: two.version },
      previous: { version: one.version },
    });
  });

  test('is not written to while somebody has the turn, but can be looked at', async () => {
    sight = { ...sight, busy: `rollout ${project}/${environment}/4` };
    await expect(recover()).rejects.toMatchObject({ type: 'Conflict', nonRetryable: true });
    expect((await recover({ apply: false })).problems).toEqual([]);
  });

  test('is all or nothing: one row that cannot be written leaves nothing of the others behind', async () => {
    const two = built(2);
    await runs('green', two, 2);
    await routed('green', two);
    const wrong = ended(1, two, 'blue');
    sight = { ...sight, found: [ended(2, two, 'green'), { ...wrong, input: { ...wrong.input, project: 'nobody' } }] };
    await expect(recover()).rejects.toThrow('foreign key');
    expect(await readEnvironment(store.db, project, environment)).toBeUndefined();
    expect(await readRelease(store.db, project, two.version)).toBeUndefined();
    expect((await listAudit(store.db, { object: `environment/${project}/${environment}` }, {})).items).toEqual([]);
  });

  test('must be a project and an environment', async () => {
    await expect(recover({ environment: 'nowhere' })).rejects.toMatchObject({ type: 'NotFound' });
    await expect(recover({ project: 'nobody' })).rejects.toMatchObject({ type: 'NotFound' });
  });
});
