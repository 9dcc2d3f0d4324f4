import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createBaseUpdateActivities } from '../../../src/activities/base-updates.ts';
import type { BaseUpdateActivities } from '../../../src/activities/contracts.ts';
import { openForgeApi } from '../../../src/activities/forges.ts';
import { baseBranch } from '../../../src/domain/base-image.ts';
import { createForeignRegistry } from '../../../src/providers/registries/foreign.ts';
import { createGitBranches } from '../../../src/providers/repositories/git-branches.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { putProject } from '../../../src/store/projects.ts';
import { recordRound } from '../../../src/store/upkeep.ts';
import { projectYaml } from '../../support/api.ts';
import { type StandIn, startGithubStandIn } from '../../support/forge-stand-ins.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

const project = 'hello';
const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const branch = baseBranch(project, 'node:24-slim');

let store: TestStore;
let origin: GitOrigin;
let forge: StandIn;
let folder: string;
let activities: Pick<BaseUpdateActivities, keyof BaseUpdateActivities>;
/** What Docker Hub answers, by `docker.io/repository:tag`. */
let tags: Record<string, string | undefined>;

beforeAll(async () => {
  store = await temporaryStore();
}, 60_000);
afterAll(async () => {
  await store.drop();
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-bases-'));
  origin = createGitOrigin();
  forge = await startGithubStandIn();
  tags = {};
  origin.commit({
    Dockerfile: `FROM node:24-slim@${digest('a')}\nRUN true\n`,
    'worker/Dockerfile': `ARG BASE=node:24-slim@${digest('b')}\nFROM \${BASE}\nFROM debian:12@${digest('c')}\n`,
    'docs/notes.md': `node:24-slim@${digest('a')}\n`,
  });
  await put(`    api: { url: ${forge.url}, token: { env: FORGE_TOKEN }, repository: team/app }\n`);
  const readSecret = () => Promise.resolve(forge.token);
  activities = createBaseUpdateActivities({
    store,
    repositories: createGitRepository({ folder }),
    branches: createGitBranches({ folder }),
    openRegistry: () => {
      throw new Error('not asked');
    },
    openForeign: (options) => ({
      async readManifest(repository, tag, signal) {
        if (options.address !== 'docker.io')
          return await createForeignRegistry(options).readManifest(repository, tag, signal);
        const found = tags[`${repository}:${tag}`];
        return found === undefined ? undefined : { digest: found, mediaType: 'application/json', sizeBytes: 1 };
      },
    }),
    readRegistry: () => Promise.resolve({ address: '127.0.0.1:5000', insecure: true }),
    openForge: (definition) => openForgeApi(definition, readSecret),
    readSecret,
  });
});
afterEach(async () => {
  await forge.close();
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
  expect(forge.violations).toEqual([]);
});

async function put(api: string, more = ''): Promise<void> {
  const document = projectYaml(project)
    .replace(/url: https:.*/, `url: file://${origin.path}`)
    .replace('kind: github\n', `kind: github\n${api}`);
  const text = `${document}\n${more}`;
  await putProject(store.db, { name: project, text, hash: text, diff: '', by: 'ada' });
}
async function call<const I, R>(activity: (input: I) => Promise<R>, input: I): Promise<R> {
  return await new MockActivityEnvironment().run(activity, input);
}
async function offer(newest: string) {
  const { commit, at, into, bases } = await call(activities.readBases, { project });
  const { base } = bases.find((each) => each.base.name === 'node:24-slim')!;
  return await call(activities.offerBase, { project, commit, at, into, branch, base, newest });
}

test('bases are asked for at their registries, and one that is gone hides nothing of the others', async () => {
  tags = { 'docker.io/library/node:24-slim': digest('d') };
  const reading = await call(activities.readBases, { project });
  expect(reading).toMatchObject({ into: 'main', files: 2, offered: [], commit: origin.git('rev-parse', 'main') });
  expect(reading.bases.map(({ base, newest, problem }) => [base.name, base.digest[7], newest?.[7], problem])).toEqual([
    ['node:24-slim', 'a', 'd', undefined],
    ['node:24-slim', 'b', 'd', undefined],
    ['debian:12', 'c', undefined, 'docker.io has no library/debian:12 any more'],
  ]);
});

test('one that has moved is one branch with that change and one pull request, however often it moves', async () => {
  tags = { 'docker.io/library/node:24-slim': digest('d') };
  expect(await offer(digest('d'))).toMatchObject({ kind: 'open', number: 1, created: true });
  expect(origin.git('diff', '--name-only', 'main', branch).split('\n')).toEqual(['Dockerfile', 'worker/Dockerfile']);
  expect(origin.git('show', `${branch}:worker/Dockerfile`)).toBe(
    `ARG BASE=node:24-slim@${digest('d')}\nFROM \${BASE}\nFROM debian:12@${digest('c')}`,
  );
  expect(forge.pullRequests).toMatchObject([{ from: branch, into: 'main', title: 'Build on the newest node:24-slim' }]);
  // The same again says nothing; another move says so in the one that is open.
  expect(await offer(digest('d'))).toMatchObject({ number: 1, created: false });
  expect(forge.comments).toEqual([]);
  expect(await offer(digest('e'))).toMatchObject({ number: 1, created: false });
  expect(forge.comments.map(({ pullRequest, body }) => [pullRequest, body.split('\n').at(-1)])).toEqual([
    [1, `\`node:24-slim\` is \`${digest('e')}\` by now.`],
  ]);
  expect(origin.git('rev-list', '--count', `main..${branch}`)).toBe('1');
  expect(forge.pullRequests).toHaveLength(1);
});

test('one that is not needed any more is told so and its branch goes', async () => {
  await offer(digest('d'));
  const detail = { numbers: { [branch]: 1 } };
  const round = { kind: 'bases' as const, subject: project, project, verdict: 'failed' as const };
  await recordRound(store.db, { ...round, summary: '', lines: [], detail });
  const { offered } = await call(activities.readBases, { project });
  expect(offered).toEqual([{ branch, pullRequest: 1 }]);
  expect(await call(activities.withdrawBase, { project, branch, pullRequest: 1 })).toEqual({ withdrawn: true });
  expect(origin.git('branch', '--list', branch)).toBe('');
  expect(forge.comments[0]?.body).toContain('There is nothing left to do here');
});

test('without an API of the forge nothing is pushed that nobody would hear of', async () => {
  await put('');
  await expect(offer(digest('d'))).rejects.toMatchObject({ type: 'ForgeRefused' });
  expect(origin.git('branch', '--list', branch)).toBe('');
});

test('a registry of a private network is asked only where project.yaml names it', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.writeHead(200, { 'docker-content-digest': digest('e') }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    origin.commit({
      Dockerfile: `FROM ${address}/team/base:1@${digest('a')}\n`,
      'worker/Dockerfile': 'FROM scratch\n',
    });
    const [base] = (await call(activities.readBases, { project })).bases;
    expect(base?.problem).toContain('private network');
    expect(asked).toEqual([]);
    await put('', `upkeep:\n  bases:\n    registries: [{ address: '${address}', insecure: true }]\n`);
    expect((await call(activities.readBases, { project })).bases).toMatchObject([{ newest: digest('e') }]);
    expect(asked).toEqual(['/v2/team/base/manifests/1']);
  } finally {
    server.close();
  }
});

test('more bases than are asked for are told', async () => {
  const many = Array.from({ length: 201 }, (_, number) => `FROM node:${number}@${digest('a')}`);
  origin.commit({ Dockerfile: many.join('\n'), 'worker/Dockerfile': 'FROM scratch\n' });
  const reading = await call(activities.readBases, { project });
  expect([reading.bases.length, reading.unasked]).toEqual([200, 1]);
});

test('another project of the same repository has branches of its own, and more Dockerfiles than are read are told', async () => {
  origin.git('branch', baseBranch('other', 'node:24-slim'), 'main');
  origin.commit(
    Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`many/${index}/Dockerfile`, 'FROM scratch\n'])),
  );
  const reading = await call(activities.readBases, { project });
  expect(reading).toMatchObject({ offered: [], files: 100, unread: 3 });
});
