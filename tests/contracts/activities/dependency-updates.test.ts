import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { DependencyUpdateActivities, OutdatedReading } from '../../../src/activities/contracts.ts';
import { createDependencyUpdateActivities } from '../../../src/activities/dependency-updates.ts';
import { openForgeApi } from '../../../src/activities/forges.ts';
import { dependencyBranch, dependencyGroups } from '../../../src/domain/dependency-update.ts';
import { manifestKinds } from '../../../src/providers/manifests/index.ts';
import { withNpmLock } from '../../../src/providers/manifests/npm-lock.ts';
import { packageIndexes } from '../../../src/providers/package-indexes/index.ts';
import { createGitBranches } from '../../../src/providers/repositories/git-branches.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { type StandIn, startGithubStandIn } from '../../support/forge-stand-ins.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { type PackageIndexStandIn, startPackageIndexStandIn } from '../../support/package-index-stand-in.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const project = 'hello';
const old = '2026-01-01T00:00:00Z';
const npmBranch = dependencyBranch(project, 'npm');
const pythonBranch = dependencyBranch(project, 'python');
const manifest = `${JSON.stringify({ name: 'web', version: '1.0.0', dependencies: { left: '^1.0.0' } }, null, 2)}\n`;

let store: TestStore;
let origin: GitOrigin;
let forge: StandIn;
let index: PackageIndexStandIn;
let folder: string;
let activities: Pick<DependencyUpdateActivities, keyof DependencyUpdateActivities>;

beforeAll(async () => {
  store = await temporaryStore();
}, 60_000);
afterAll(async () => {
  await store.drop();
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-dependencies-'));
  origin = createGitOrigin();
  forge = await startGithubStandIn();
  index = await startPackageIndexStandIn();
  index.npm['left'] = { '1.0.0': { at: old } };
  const lock = await withNpmLock(
    '',
    {
      url: index.npmUrl,
      signal: new AbortController().signal,
      before: new Date().toISOString(),
      readVersion: () => Promise.resolve(undefined),
    },
    (session) => session.lock(manifest),
  );
  index.npm['left'] = { '1.0.0': { at: old }, '1.1.0': { at: old }, '2.0.0': { at: old } };
  index.python = { flask: { '2.0.0': { at: old }, '2.1.0': { at: old } }, click: { '8.0.0': { at: old } } };
  origin.commit({
    'web/package.json': manifest,
    'web/package-lock.json': lock,
    'requirements.txt': 'Flask==2.0.0\nclick==8.0.0\n',
    'package.txt': 'left==1.0.0\n',
  });
  await put();
  const readSecret = () => Promise.resolve(forge.token);
  activities = createDependencyUpdateActivities({
    store,
    repositories: createGitRepository({ folder }),
    branches: createGitBranches({ folder }),
    manifests: manifestKinds,
    indexes: packageIndexes,
    openForge: (definition) => openForgeApi(definition, readSecret),
    readSecret,
  });
}, 60_000);
afterEach(async () => {
  await forge.close();
  await index.close();
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
  expect(forge.violations).toEqual([]);
});

async function put(policy = '', api = true): Promise<void> {
  const forgeApi = `    api: { url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }\n`;
  const text = `${projectYaml(project)
    .replace(/url: https:.*/, `url: file://${origin.path}`)
    .replace('kind: github\n', `kind: github\n${api ? forgeApi : ''}`)}
upkeep:
  dependencies:
    indexes: { npm: { url: '${index.npmUrl}' }, python: { url: '${index.pythonUrl}/' } }
${policy}`;
  await putProject(store.db, { name: project, text, hash: text, diff: '', by: 'ada' });
}
async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}
const readOutdated = (): Promise<OutdatedReading> => call(activities.readOutdated, { project });
async function offer(branch: string) {
  const { commit, at, into, updates, group: by } = await readOutdated();
  const group = dependencyGroups(project, updates, by).find((each) => each.branch === branch)!;
  return await call(activities.offerDependencies, { project, commit, at, into, group });
}
const names = ({ updates }: OutdatedReading): string[] =>
  updates.map(({ name, version, to }) => `${name} ${version} ${to}`);

test('what manifests pin is asked for at the indexes of the project, and only what its policy lets through is offered', async () => {
  const reading = await readOutdated();
  expect(reading).toMatchObject({ into: 'main', manifests: 2, dependencies: 3, problems: [], untold: 0, offered: [] });
  expect(names(reading)).toEqual(['left 1.0.0 1.1.0', 'flask 2.0.0 2.1.0']);
  await put('    level: major\n    ecosystems: [npm]\n');
  expect(names(await readOutdated())).toEqual(['left 1.0.0 2.0.0']);
  await put('    ignore: [{ name: left, reason: the next one is ours }]\n    minimumAge: 20000d\n');
  const strict = await readOutdated();
  expect(names(strict)).toEqual([]);
  expect(strict.ignored).toEqual(['left is left as it is: the next one is ours']);
});

test('one index that is away hides nothing of the other', async () => {
  index.answers['/npm/left'] = { status: 503 };
  delete index.python['click'];
  const reading = await readOutdated();
  expect(names(reading)).toEqual(['flask 2.0.0 2.1.0']);
  expect(reading.problems).toEqual(
    expect.arrayContaining([
      { ecosystem: 'npm', manifest: 'web/package.json', problem: expect.stringContaining('answered 503') },
      { ecosystem: 'python', manifest: 'requirements.txt', problem: 'the index has no click' },
    ]),
  );
});

test('an ecosystem is one branch with its manifests and locks and one pull request, brought up to date in place', async () => {
  expect(await offer(npmBranch)).toMatchObject({ kind: 'open', number: 1, created: true, problems: [] });
  expect(origin.git('diff', '--name-only', 'main', npmBranch).split('\n')).toEqual([
    'web/package-lock.json',
    'web/package.json',
  ]);
  expect(origin.git('show', `${npmBranch}:web/package.json`)).toContain('"left": "^1.1.0"');
  expect(origin.git('show', `${npmBranch}:web/package-lock.json`)).toContain('left-1.1.0.tgz');
  expect(forge.pullRequests).toMatchObject([{ from: npmBranch, into: 'main', title: 'Update left to 1.1.0' }]);
  // The same again says nothing; another version says so in the one that is open.
  expect(await offer(npmBranch)).toMatchObject({ number: 1, created: false });
  expect(forge.comments).toEqual([]);
  index.npm['left'] = { ...index.npm['left'], '1.2.0': { at: old } };
  expect(await offer(npmBranch)).toMatchObject({ number: 1, created: false });
  expect(forge.comments).toMatchObject([
    { pullRequest: 1, body: expect.stringContaining('| `left` | `1.0.0` | `1.2.0` |') },
  ]);
  expect(origin.git('rev-list', '--count', `main..${npmBranch}`)).toBe('1');
}, 60_000);

test('a list of requirements is changed where it stands, and a branch that is not needed goes', async () => {
  expect(await offer(pythonBranch)).toMatchObject({ kind: 'open', number: 1 });
  expect(origin.git('show', `${pythonBranch}:requirements.txt`)).toBe('Flask==2.1.0\nclick==8.0.0');
  const round = { kind: 'dependencies' as const, subject: project, project, verdict: 'failed' as const };
  await recordRound(store.db, { ...round, summary: '', lines: [], detail: { numbers: { [pythonBranch]: 1 } } });
  expect((await readOutdated()).offered).toEqual([{ branch: pythonBranch, pullRequest: 1 }]);
  const withdrawal = { project, branch: pythonBranch, pullRequest: 1 };
  expect(await call(activities.withdrawDependencies, withdrawal)).toEqual({ withdrawn: true });
  expect(origin.git('branch', '--list', pythonBranch)).toBe('');
});

test('a manifest that cannot be made anew is told, and nothing is pushed for it alone', async () => {
  const { commit, at, into, updates } = await readOutdated();
  const [group] = dependencyGroups(project, updates, 'ecosystem');
  // Gone from the index in between.
  delete index.npm['left'];
  const answer = await call(activities.offerDependencies, { project, commit, at, into, group: group! });
  expect(answer).toMatchObject({
    kind: 'nothing-made',
    problems: [expect.stringContaining('web/package.json: npm made no lock')],
  });
  expect(origin.git('branch', '--list', npmBranch)).toBe('');
  expect(forge.pullRequests).toEqual([]);
}, 60_000);

test('a fix of an advisory goes first, as the newest run of the release branch reported it', async () => {
  await store.db
    .insertInto('runs')
    .values({
      ...{
        project,
        number: 1,
        key: 'k',
        kind: 'push',
        ref: 'refs/heads/main',
        commit: 'c',
        author: 'a',
        message: null,
      },
      ...{ input: '{}' as never, acceptedAt: old, startedAt: old, plan: null, version: null, definition: null },
      ...{ outcome: 'succeeded', reason: null, settledAt: old },
    })
    .execute();
  const key = { project, run: 1, stage: 'check' };
  await store.db
    .insertInto('reports')
    .values({
      ...key,
      position: 0,
      kind: 'pip-audit',
      gate: 'dependencies',
      path: 'x',
      state: 'read',
      content: '{}' as never,
    })
    .execute();
  await store.db
    .insertInto('findings')
    .values({
      ...{ ...key, report: 0, position: 0, rule: 'PYSEC-1', severity: 'high', message: 'm', file: null, line: null },
      component: JSON.stringify({ name: 'flask', version: '2.0.0', fixedIn: ['2.0.9'] }) as never,
      ...{ aliases: null, fingerprint: 'f'.repeat(32) },
    })
    .execute();
  const { updates } = await readOutdated();
  expect(updates.map(({ name, fixes }) => [name, fixes])).toEqual([
    ['flask', ['PYSEC-1']],
    ['left', []],
  ]);
});

test('manifests that are not read, or cannot be, are told', async () => {
  origin.commit({
    'a/package.json': '{"dependencies":{"x":"file:/etc"}}',
    'b/requirements.txt': `${'#'.repeat(2 ** 20)}\n`,
    ...Object.fromEntries(
      Array.from({ length: 100 }, (_, number) => [`many/${number}/requirements.txt`, 'click==8.0.0\n']),
    ),
  });
  const { problems, manifests, untold } = await readOutdated();
  expect(problems.map(({ manifest: path, problem }) => `${path}: ${problem}`)).toEqual(
    expect.arrayContaining([
      'a/package.json: "x" is a folder, which npm would read from this machine',
      'b/requirements.txt: it is too large',
      expect.stringContaining('it was not read: the first 100 are all that is looked at'),
    ]),
  );
  expect([manifests, untold]).toEqual([99, 0]);
});

test('without an API of the forge nothing is pushed that nobody would hear of', async () => {
  await put('', false);
  await expect(offer(npmBranch)).rejects.toMatchObject({ type: 'ForgeRefused' });
  expect(origin.git('branch', '--list', npmBranch)).toBe('');
});
