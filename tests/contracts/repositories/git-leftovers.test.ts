import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';

let folder: string;
let origin: GitOrigin;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-mirrors-'));
  origin = createGitOrigin();
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  origin.remove();
});

test('mirrors of projects that are no more go with what was left half-made, and come again when they are asked for', async () => {
  const source = createGitRepository({ folder });
  const commit = origin.commit({ 'a.txt': 'one\n' }, 'first');
  const request = (project: string): Parameters<typeof source.ensureCommit>[0] => {
    return { repository: { project, url: origin.path }, commit, ref: 'refs/heads/main' };
  };
  for (const project of ['hello', 'gone', 'young']) await source.ensureCommit(request(project));
  const draft = join(folder, `hello.git.${crypto.randomUUID()}`);
  const pack = join(folder, 'hello.git', 'objects', 'pack', 'tmp_pack_Xy');
  mkdirSync(draft);
  writeFileSync(pack, 'half');
  const longAgo = new Date(Date.now() - 2 * 86_400_000);
  for (const path of [draft, pack, join(folder, 'gone.git'), join(folder, 'hello.git')])
    utimesSync(path, longAgo, longAgo);
  const before = new Date(Date.now() - 86_400_000);
  const removed = await source.removeLeftovers({ projects: ['hello'], before });
  expect(removed.map(({ path }) => path).sort()).toEqual([join(folder, 'gone.git'), pack, draft].sort());
  expect(removed.find(({ path }) => path === pack)?.sizeBytes).toBe(4);
  expect(existsSync(join(folder, 'young.git'))).toBe(true);
  expect(await source.ensureCommit(request('hello'))).toMatchObject({ sha: commit });
  expect(await source.ensureCommit(request('gone'))).toMatchObject({ sha: commit });
  expect(await source.removeLeftovers({ projects: ['hello'], before })).toEqual([]);
});
