import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPollActivities } from '../../../src/activities/polls.ts';
import type { PollActivities, PollReport } from '../../../src/activities/contracts.ts';
import { runKey } from '../../../src/definition/run-key.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { acceptRun } from '../../../src/store/inbox.ts';
import { putProject } from '../../../src/store/projects.ts';
import { listRuns } from '../../../src/store/runs.ts';
import { projectYaml } from '../../support/api.ts';
import { createGitOrigin, type GitOrigin } from '../../support/git-origin.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
let origin: GitOrigin;
let folder: string;
let polls: PollActivities;
beforeAll(async () => {
  store = await temporaryStore();
  origin = createGitOrigin();
  folder = mkdtempSync(join(tmpdir(), 'slipway-polls-'));
  polls = createPollActivities({
    store,
    repositories: createGitRepository({ folder }),
    readSecret: () => Promise.resolve(''),
  });
  origin.commit({ 'a.txt': '1\n' });
});
afterAll(async () => {
  await store.drop();
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
});

async function put(name: string, { poll = true, url = `file://${origin.path}` } = {}): Promise<void> {
  const text = projectYaml(name, 'routes:\n  - { on: push, ref: main }\n  - { on: tag }\n').replace(
    /url: .*/,
    `url: "${url}"\n  poll: ${poll}`,
  );
  await putProject(store.db, { name, text, hash: text, diff: '', by: 'ada' });
}

async function look(project: string): Promise<PollReport> {
  return await activityEnvironment().run<[], PollReport, () => Promise<PollReport>>(() =>
    polls.pollRepository({ project }),
  );
}

async function runsOf(project: string): Promise<readonly { readonly ref: string; readonly commit: string }[]> {
  return (await listRuns(store.db, { project }, {})).items;
}

describe('polling', () => {
  test('is for the projects that ask for it', async () => {
    await put('quiet', { poll: false });
    await put('asks');
    await expect(polls.readPolled(undefined)).resolves.toEqual(['asks']);
  });

  test('remembers what is there the first time, and runs what moves after that, once', async () => {
    await put('moves');
    expect(await look('moves')).toMatchObject({ accepted: [] });
    expect(await look('moves')).toMatchObject({ moved: 0, accepted: [] });
    const next = origin.commit({ 'a.txt': '2\n' }, 'second', 'Grace Hopper');
    expect(await look('moves')).toMatchObject({ moved: 1, accepted: [{ ref: 'refs/heads/main', run: 1 }] });
    expect(await look('moves')).toMatchObject({ moved: 0, accepted: [] });
    expect(await runsOf('moves')).toMatchObject([
      { kind: 'push', ref: 'refs/heads/main', commit: next, author: 'Grace Hopper', message: 'second' },
    ]);
  });

  test('takes a new tag, also one with a message', async () => {
    await put('tags');
    await look('tags');
    origin.git('tag', 'v1.0.0');
    origin.git('-c', 'user.name=a', '-c', 'user.email=a@b', 'tag', '-a', 'v1.1.0', '-m', 'x');
    const report = await look('tags');
    expect(report.accepted.map(({ ref }) => ref)).toEqual(['refs/tags/v1.0.0', 'refs/tags/v1.1.0']);
    // Of a tag with a message too, the run is for the commit that it was put on.
    const head = origin.git('rev-parse', 'HEAD');
    expect((await runsOf('tags')).map(({ commit }) => commit)).toEqual([head, head]);
  });

  test('and a webhook of the same push make one run, whichever comes first', async () => {
    await put('both');
    await look('both');
    const before = origin.git('rev-parse', 'HEAD');
    const told = origin.commit({ 'a.txt': 'told\n' });
    const event = (from: string, after: string): SourceEvent => ({
      kind: 'push',
      ref: 'refs/heads/main',
      before: from,
      after,
      author: 'ada',
    });
    const deliver = async (from: string, after: string) =>
      await acceptRun(store.db, {
        project: 'both',
        key: runKey(event(from, after)),
        event: event(from, after),
        acceptedAt: new Date().toISOString(),
      });
    await deliver(before, told);
    expect(await look('both')).toMatchObject({ moved: 1, accepted: [] });
    const seen = origin.commit({ 'a.txt': 'seen\n' });
    expect(await look('both')).toMatchObject({ accepted: [{ run: 2 }] });
    expect(await deliver(told, seen)).toMatchObject({ created: false, number: 2 });
    expect(await runsOf('both')).toHaveLength(2);
  });

  test('leaves alone what no route is for, what asks to be skipped, and what is gone', async () => {
    await put('leaves');
    await look('leaves');
    origin.git('checkout', '--quiet', '-b', 'other');
    origin.commit({ 'b.txt': '1\n' });
    origin.git('checkout', '--quiet', 'main');
    origin.commit({ 'a.txt': '9\n' }, 'typo [skip ci]');
    expect(await look('leaves')).toMatchObject({ moved: 2, accepted: [] });
    origin.git('branch', '-D', 'other');
    expect(await look('leaves')).toMatchObject({ moved: 0 });
    origin.git('branch', 'other');
    expect(await look('leaves')).toMatchObject({ moved: 1 });
  });

  test('of a repository that is away says so, and forgets nothing', async () => {
    await put('away');
    await look('away');
    await put('away', { url: 'file:///nowhere/at-all' });
    await expect(look('away')).rejects.toMatchObject({ type: 'RepositoryUnreachable' });
    await put('away');
    const next = origin.commit({ 'a.txt': '10\n' });
    expect(await look('away')).toMatchObject({ accepted: [{ run: 1 }] });
    expect(await runsOf('away')).toMatchObject([{ commit: next }]);
  });

  test('takes fifty of many at one look and the others with the next, and loses none', async () => {
    await put('many');
    await look('many');
    const tags = Array.from({ length: 60 }, (_, index) => `many-${String(index).padStart(2, '0')}`);
    for (const tag of tags) origin.git('tag', tag);
    const first = await look('many');
    expect(first.accepted.map(({ ref }) => ref)).toEqual(tags.slice(0, 50).map((tag) => `refs/tags/${tag}`));
    expect(first).toMatchObject({ moved: 60, later: 10 });
    const next = await look('many');
    expect(next.accepted.map(({ ref }) => ref)).toEqual(tags.slice(50).map((tag) => `refs/tags/${tag}`));
    expect(next).not.toHaveProperty('later');
    expect(await look('many')).toMatchObject({ moved: 0, accepted: [] });
  });

  test('counts no branch that no route is for: a push among many of them is run', async () => {
    await put('unrouted');
    await look('unrouted');
    const names = Array.from({ length: 60 }, (_, index) => `a-${index}`);
    for (const name of names) origin.git('branch', name);
    const next = origin.commit({ 'a.txt': 'among many\n' });
    const report = await look('unrouted');
    origin.git('branch', '-D', ...names);
    expect(report.accepted).toEqual([{ ref: 'refs/heads/main', run: 1 }]);
    expect(report).not.toHaveProperty('later');
    expect(await runsOf('unrouted')).toMatchObject([{ commit: next }]);
  });

  test('runs the first push to a repository that was empty at the first look', async () => {
    const empty = createGitOrigin();
    try {
      await put('empty', { url: `file://${empty.path}` });
      expect(await look('empty')).toMatchObject({ refs: 0, accepted: [] });
      const first = empty.commit({ 'a.txt': '1\n' });
      expect(await look('empty')).toMatchObject({ moved: 1, accepted: [{ ref: 'refs/heads/main', run: 1 }] });
      expect(await runsOf('empty')).toMatchObject([{ commit: first }]);
    } finally {
      empty.remove();
    }
  });

  test('of a tag that is on no commit sees it, says so, and goes on behind it', async () => {
    await put('no-commit');
    await look('no-commit');
    origin.git('tag', 'x-tree', 'HEAD^{tree}');
    origin.git('tag', 'x-blob', 'HEAD:a.txt');
    origin.git('tag', 'y-commit');
    const report = await look('no-commit');
    expect(report.accepted.map(({ ref }) => ref)).toEqual(['refs/tags/y-commit']);
    expect(report.unreadable).toEqual(
      ['refs/tags/x-blob', 'refs/tags/x-tree'].map((ref) => ({ ref, why: expect.stringContaining('has no commit') })),
    );
    expect(await look('no-commit')).toMatchObject({ moved: 0, accepted: [] });
  });
});
