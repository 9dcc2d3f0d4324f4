import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { StartActivities } from '../../../src/activities/contracts.ts';
import { createRunStartActivities } from '../../../src/activities/run-starts.ts';
import type { RunInput } from '../../../src/domain/run.ts';
import type { RunStart, StartedBy } from '../../../src/domain/run-start.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { listRuns, readRun } from '../../../src/store/runs.ts';
import { putProject } from '../../../src/store/projects.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const definition = `version: 1
parameters: { suite: { type: choice, options: [all, fast] }, tries: { type: number, default: 3, min: 1, max: 5 } }
stages: []
`;

let store: TestStore;
let origin: GitOrigin;
let folder: string;
let commit: string;
let activities: StartActivities;

beforeAll(async () => {
  store = await temporaryStore();
  origin = createGitOrigin();
  folder = mkdtempSync(join(tmpdir(), 'slipway-starts-'));
  commit = origin.commit({ 'slipway.yaml': definition });
  activities = createRunStartActivities({
    store,
    repositories: createGitRepository({ folder }),
    readSecret: () => Promise.resolve(''),
  });
  await put('shop', '');
}, 60_000);
afterAll(async () => {
  await store.drop();
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => put('api', 'startedBy: [{ project: shop, from: [main] }]'));

async function put(project: string, more: string): Promise<void> {
  const text = `version: 1
project: ${project}
repository: { url: "file://${origin.path}", forge: { kind: github, secrets: [{ env: WEBHOOK }] } }
registry: { address: "127.0.0.1:5000", insecure: true }
${more}
`;
  await putProject(store.db, { name: project, hash: randomUUID(), text, diff: '', by: 'ada' });
}

let counter = 0;

/** A run of `shop` that is on its way. */
async function parent(more: Partial<RunInput['event']> = {}, startedBy?: StartedBy): Promise<Parent> {
  counter += 1;
  const event = {
    kind: 'push' as const,
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: commit,
    author: 'linus',
    ...more,
  };
  const request = {
    project: 'shop',
    key: `k${counter}`,
    event,
    acceptedAt: new Date().toISOString(),
    requestedBy: 'grace',
  };
  const { number, input } = await acceptRun(store.db, startedBy === undefined ? request : { ...request, startedBy });
  return { run: { project: 'shop', key: request.key, number }, by: input };
}

type Parent = Pick<Parameters<StartActivities['acceptStartedRun']>[0], 'run' | 'by'>;

async function start(
  from: Parent,
  starts: Partial<RunStart> = {},
): Promise<Awaited<ReturnType<StartActivities['acceptStartedRun']>>> {
  type Answer = Awaited<ReturnType<StartActivities['acceptStartedRun']>>;
  return await activityEnvironment().run<[], Answer, () => Promise<Answer>>(() =>
    activities.acceptStartedRun({
      ...from,
      stage: 'contract',
      starts: { project: 'api', parameters: { suite: 'fast' }, wait: true, ...starts },
    }),
  );
}

const refused = (type: string, message: string) =>
  expect.objectContaining({ type, message: expect.stringContaining(message) });

describe('a run that a stage of another project starts', () => {
  test('is of the newest commit, checks only, and known by whoever began it all', async () => {
    const from = await parent();
    const { number, input } = await start(from);
    expect(input).toMatchObject({
      project: 'api',
      event: { kind: 'manual', ref: 'refs/heads/main', after: commit, author: 'linus' },
      requestedBy: 'grace',
      checksOnly: true,
      parameters: { suite: 'fast' },
    });
    const startedBy = { ...from.run, stage: 'contract', above: [] };
    expect(await readRun(store.db, 'api', number)).toMatchObject({ startedBy, starts: [] });
    expect(await readRun(store.db, 'shop', from.run.number)).toMatchObject({
      startedBy: null,
      starts: [{ stage: 'contract', project: 'api', number, phase: 'accepted', outcome: null }],
    });
  });

  test('is one, however often and at whatever commit it is asked for', async () => {
    const from = await parent();
    const answers = await Promise.all([start(from), start(from), start(from)]);
    const before = await listRuns(store.db, { project: 'api' }, {});
    commit = origin.commit({ 'slipway.yaml': `${definition}# moved\n` });
    answers.push(await start(from));
    expect(new Set(answers.map(({ number }) => number)).size).toBe(1);
    expect(await listRuns(store.db, { project: 'api' }, {})).toEqual(before);
  });

  test.each<[string, Partial<RunStart>, string, string]>([
    ['a value that does not fit', { parameters: { suite: 'slow' } }, 'InvalidInput', 'must be one of all, fast'],
    ['a name that is not declared', { parameters: { sweet: 'all' } }, 'InvalidInput', 'there is no parameter `sweet`'],
    ['a number out of its range', { parameters: { tries: '6' } }, 'InvalidInput', 'must be from 1 to 5'],
    ['a branch that is not allowed', { ref: 'refs/heads/other' }, 'NotAllowed', '`startedBy` does not say so'],
    ['a project that is not there', { project: 'nowhere' }, 'NotAllowed', '`startedBy` does not say so'],
    ['its own project', { project: 'shop' }, 'NotAllowed', 'It would go in a circle: shop#'],
  ])('is refused for %s, and none is made', async (_, starts, type, message) => {
    const from = await parent();
    await expect(start(from, starts)).rejects.toEqual(refused(type, message));
    expect(await readRun(store.db, 'shop', from.run.number)).toMatchObject({ starts: [] });
  });

  test('is refused unless the other project says so, and from elsewhere', async () => {
    await expect(parent({ ref: 'refs/heads/feature' }).then(start)).rejects.toEqual(
      refused('NotAllowed', 'may not start'),
    );
    await expect(parent({ fork: true }).then(start)).rejects.toEqual(refused('NotAllowed', 'fork'));
    await put('api', '');
    await expect(parent().then(start)).rejects.toEqual(refused('NotAllowed', 'may not start'));
  });

  test('is refused in a circle and below too many others', async () => {
    const one = { project: 'api', number: 1, key: 'x', stage: 's', above: [] };
    await expect(parent({}, one).then(start)).rejects.toEqual(refused('NotAllowed', 'circle: api#1 → shop#'));
    const above = [1, 2, 3].map((number) => ({ project: `p${number}`, number }));
    await expect(parent({}, { ...one, project: 'p4', above }).then(start)).rejects.toEqual(
      refused('NotAllowed', '5 runs have started each other already'),
    );
  });

  test('goes where its route leads only where the other project lets it', async () => {
    await put('api', 'startedBy: [{ project: shop, from: ["**"], refs: [main, gone], deploys: true }]');
    expect((await start(await parent())).input.checksOnly).toBeUndefined();
    await expect(parent().then((from) => start(from, { ref: 'refs/heads/gone' }))).rejects.toEqual(
      refused('CommitNotFound', 'has no refs/heads/gone'),
    );
    await put('api', 'startedBy: [{ project: shop, from: ["**"], deploys: true }]\nroutes: [{ on: tag, ref: "v*" }]');
    await expect(parent().then(start)).rejects.toEqual(refused('InvalidInput', 'No route of the project'));
  });
});
