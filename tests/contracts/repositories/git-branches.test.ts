import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { OfferedBranch, OfferedBranches } from '../../../src/providers/repositories/branches-port.ts';
import { createGitBranches } from '../../../src/providers/repositories/git-branches.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { type GitOrigin, createGitOrigin } from '../../support/git-origin.ts';

const branch = 'slipway/upkeep/base-node-24';
let origin: GitOrigin;
let folder: string;
let branches: OfferedBranches;
let base: string;
let offer: OfferedBranch;

beforeEach(async () => {
  origin = createGitOrigin();
  folder = mkdtempSync(join(tmpdir(), 'slipway-branches-'));
  base = origin.commit({ Dockerfile: 'FROM node:24\n', 'run.sh': '#!/bin/sh\n', 'other.txt': 'kept\n' });
  const repository = { project: 'hello', url: `file://${origin.path}` };
  await createGitRepository({ folder }).ensureCommit({ repository, commit: base, ref: 'refs/heads/main' });
  branches = createGitBranches({ folder });
  offer = {
    repository,
    branch,
    base,
    at: '2026-11-26T05:00:00.000Z',
    message: 'Build on the newest node:24',
    files: [{ path: 'Dockerfile', mode: '100644', text: 'FROM node:24 # new\n' }],
    signal: new AbortController().signal,
  };
});
afterEach(() => {
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
});

test('an offer is one commit with that change and no other, and the same again is the same commit', async () => {
  const first = await branches.ensureOffered(offer);
  expect(first.kind).toBe('pushed');
  expect(origin.git('rev-parse', branch)).toBe(first.commit);
  expect(origin.git('diff', '--name-status', base, branch)).toBe('M\tDockerfile');
  expect(origin.git('show', `${branch}:Dockerfile`)).toBe('FROM node:24 # new');
  expect(origin.git('log', '-1', '--format=%an %P %s', branch)).toBe(
    `Slipway upkeep ${base} Build on the newest node:24`,
  );
  expect(await branches.ensureOffered(offer)).toEqual({ kind: 'there', commit: first.commit });
});

test('a newer offer takes the place of the one before', async () => {
  await branches.ensureOffered(offer);
  const files = [{ path: 'Dockerfile', mode: '100644', text: 'FROM node:24 # newer\n' }];
  expect(await branches.ensureOffered({ ...offer, files })).toMatchObject({ kind: 'pushed' });
  expect(origin.git('show', `${branch}:Dockerfile`)).toBe('FROM node:24 # newer');
  expect(origin.git('rev-list', '--count', `main..${branch}`)).toBe('1');
});

test('a branch that somebody has put commits on is left alone, also when it is not needed any more', async () => {
  await branches.ensureOffered(offer);
  origin.git('checkout', '--quiet', branch);
  const theirs = origin.commit({ 'mine.txt': 'mine\n' });
  origin.git('checkout', '--quiet', 'main');
  const files = [{ path: 'Dockerfile', mode: '100644', text: 'FROM node:24 # newer\n' }];
  expect(await branches.ensureOffered({ ...offer, files })).toEqual({ kind: 'taken', commit: theirs });
  expect(await branches.ensureWithdrawn(offer)).toBe(false);
  expect(origin.git('rev-parse', branch)).toBe(theirs);
});

test('an offer that is not needed any more goes, and twice is once', async () => {
  await branches.ensureOffered(offer);
  expect(await branches.ensureWithdrawn(offer)).toBe(true);
  expect(origin.git('branch', '--list', branch)).toBe('');
  expect(await branches.ensureWithdrawn(offer)).toBe(true);
});

test('nothing of the repository is executed, and a name that is none is refused', async () => {
  await expect(branches.ensureOffered({ ...offer, branch: 'a..b' })).rejects.toMatchObject({ type: 'InvalidInput' });
  await expect(branches.ensureOffered({ ...offer, branch: 'a b' })).rejects.toMatchObject({ type: 'InvalidInput' });
  const gone = { project: 'hello', url: `file://${origin.path}-gone` };
  await expect(branches.ensureOffered({ ...offer, repository: gone })).rejects.toMatchObject({
    type: 'RepositoryUnreachable',
  });
});
