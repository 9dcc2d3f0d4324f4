import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { gitEnvironment } from '../../../src/providers/repositories/git-command.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import type { RepositoryAddress, SourceRepository } from '../../../src/providers/repositories/port.ts';
import { createGitOrigin, type GitOrigin } from '../../support/git-origin.ts';

let folder: string;
let origin: GitOrigin;
let repository: RepositoryAddress;
let source: SourceRepository;
let first: string;
let second: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-git-'));
  origin = createGitOrigin();
  first = origin.commit({ 'a.txt': 'one\n', 'app/main.js': 'console.log(1)\n', 'run.sh': '#!/bin/sh\n' }, 'first');
  second = origin.commit(
    { 'a.txt': 'two\nlines\n', 'app/main.js': null, 'b.txt': 'b\n' },
    'second\n\nwith a body',
    'Grace',
  );
  repository = { project: 'hello', url: origin.path };
  source = createGitRepository({ folder: join(folder, 'mirrors') });
});

afterAll(() => {
  origin.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe('a commit', () => {
  test('is described with author, message and time in UTC', async () => {
    const info = await source.ensureCommit({ repository, commit: second, ref: 'refs/heads/main' });
    expect(info).toMatchObject({ sha: second, author: 'Grace', message: 'second\n\nwith a body' });
    expect(info.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
  });

  test('that was fetched needs its origin no more', async () => {
    await source.ensureCommit({ repository, commit: first });
    const later = createGitRepository({ folder: join(folder, 'mirrors') });
    const gone = { ...repository, url: join(folder, 'gone') };
    await expect(later.ensureCommit({ repository: gone, commit: first })).resolves.toMatchObject({ sha: first });
  });

  test('that a forced push took away is fetched by its hash as long as the origin has it', async () => {
    const lost = origin.commit({ 'lost.txt': 'x' }, 'lost');
    origin.git('reset', '--quiet', '--hard', second);
    await expect(source.ensureCommit({ repository, commit: lost, ref: 'refs/heads/main' })).resolves.toMatchObject({
      sha: lost,
    });
  });

  test.each([
    ['unknown', '1'.repeat(40)],
    ['no full hash', 'HEAD'],
    ['an option', '--upload-pack=touch /tmp/x'],
  ])('that is %s is CommitNotFound', async (_, commit) => {
    const asked = source.ensureCommit({ repository, commit, ref: 'refs/heads/main' });
    await expect(asked).rejects.toMatchObject({ type: 'CommitNotFound', retryable: false });
  });

  test('is fetched by any number of calls at once', async () => {
    const commits = Array.from({ length: 12 }, (_, index) => origin.commit({ 'n.txt': String(index) }, `n ${index}`));
    const found = await Promise.all(
      commits.map((commit) => source.ensureCommit({ repository, commit, ref: 'refs/heads/main' })),
    );
    expect(found.map(({ sha }) => sha)).toEqual(commits);
  });

  test('of an annotated tag is the one it names', async () => {
    origin.git('-c', 'user.name=a', '-c', 'user.email=a@b', 'tag', '-a', 'v1.0.0', '-m', 'one', second);
    const commit = origin.git('rev-parse', 'v1.0.0');
    expect(commit).not.toBe(second);
    await expect(source.ensureCommit({ repository, commit, ref: 'refs/tags/v1.0.0' })).resolves.toMatchObject({
      sha: second,
    });
  });
});

describe('a repository', () => {
  test.each([
    ['a path that is not there', '/nowhere/at-all'],
    ['a port where nobody listens', 'http://127.0.0.1:1/x.git'],
  ])('at %s is unreachable, and that is tried again', async (_, url) => {
    const asked = source.ensureCommit({ repository: { project: 'other', url }, commit: '2'.repeat(40) });
    await expect(asked).rejects.toMatchObject({ type: 'RepositoryUnreachable', retryable: true });
  });

  test.each([['ext::sh -c "touch /tmp/owned"'], ['--upload-pack=touch']])('may not be a command: %s', async (url) => {
    const asked = source.ensureCommit({ repository: { project: 'other', url }, commit: '2'.repeat(40) });
    await expect(asked).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  test('is named in messages without its password', async () => {
    const url = 'http://bot:pa55word@127.0.0.1:1/x.git';
    const error: unknown = await source
      .ensureCommit({ repository: { project: 'other', url }, commit: '2'.repeat(40) })
      .catch((reason: unknown) => reason);
    expect(JSON.stringify([error, String(error)])).not.toContain('pa55word');
  });

  test('gets its password by the environment, never in an argument', () => {
    const environment = gitEnvironment({ credentials: { kind: 'password', username: 'bot', password: 'pa55word' } });
    const pair = Buffer.from('bot:pa55word').toString('base64');
    expect(Object.values(environment)).toContain(`Authorization: Basic ${pair}`);
  });
});

describe('a ref', () => {
  test('is resolved to the commit it names, an annotated tag to the one it was put on', async () => {
    origin.git('branch', '-f', 'release/x', second);
    origin.git('-c', 'user.name=a', '-c', 'user.email=a@b', 'tag', '-f', '-a', 'v2.0.0', '-m', 'two', first);
    await expect(source.resolveRef(repository, 'refs/heads/release/x')).resolves.toBe(second);
    await expect(source.resolveRef(repository, 'refs/tags/v2.0.0')).resolves.toBe(first);
  });

  test.each([['refs/heads/none'], ['main'], ['--upload-pack=touch'], ['refs/heads/*']])(
    'that there is not, or that is none, is nothing: %s',
    async (ref) => {
      await expect(source.resolveRef(repository, ref)).resolves.toBeUndefined();
    },
  );

  test('of a repository that is not there is unreachable', async () => {
    const asked = source.resolveRef({ project: 'other', url: '/nowhere/at-all' }, 'refs/heads/main');
    await expect(asked).rejects.toMatchObject({ type: 'RepositoryUnreachable' });
  });
});

describe('what changed', () => {
  afterAll(() => {
    origin.git('checkout', '--quiet', 'main');
  });
  const paths = (from: string, to: string, sinceMerge = false): Promise<readonly string[] | undefined> =>
    source.changedPaths({ project: repository.project, from, to, sinceMerge });

  test('is every path that differs, under its old and its new name, whatever it is called', async () => {
    origin.git('checkout', '--quiet', '-B', 'odd', first);
    const odd = origin.commit({ 'a.txt': null, 'b.txt': 'moved\n', 'with "quotes" and é.txt': 'x\n' });
    await source.ensureCommit({ repository, commit: odd, ref: 'refs/heads/odd' });
    const changed = await paths(first, odd);
    expect([...(changed ?? [])].sort()).toEqual(['a.txt', 'b.txt', 'with "quotes" and é.txt']);
    await expect(paths(odd, odd)).resolves.toEqual([]);
  });

  test('since a branch was left is only what was done on it', async () => {
    origin.git('checkout', '--quiet', '-B', 'left', first);
    const left = origin.commit({ 'mine.txt': 'x\n' });
    origin.git('checkout', '--quiet', '-B', 'went-on', first);
    const wentOn = origin.commit({ 'theirs.txt': 'x\n' });
    for (const [commit, ref] of [
      [left, 'refs/heads/left'],
      [wentOn, 'refs/heads/went-on'],
    ] as const) {
      await source.ensureCommit({ repository, commit, ref });
    }
    await expect(paths(wentOn, left, true)).resolves.toEqual(['mine.txt']);
    await expect(paths(wentOn, left)).resolves.toEqual(['mine.txt', 'theirs.txt']);
  });

  test('is unknown where one of the commits is', async () => {
    await expect(paths('3'.repeat(40), first)).resolves.toBeUndefined();
  });
});

describe('whether a commit lies behind another one', () => {
  const behind = (commit: string, newer: string): Promise<boolean> =>
    source.isBehind({ project: 'hello', commit, newer });

  test('is so for itself and what led to it, and not the other way round', async () => {
    for (const commit of [first, second]) await source.ensureCommit({ repository, commit });
    expect(await behind(first, second)).toBe(true);
    expect(await behind(second, second)).toBe(true);
    expect(await behind(second, first)).toBe(false);
  });

  test('is not so for what left it, and what is unknown', async () => {
    origin.git('checkout', '--quiet', '-B', 'aside', first);
    const aside = origin.commit({ 'aside.txt': 'x\n' });
    origin.git('checkout', '--quiet', 'main');
    await source.ensureCommit({ repository, commit: aside, ref: 'refs/heads/aside' });
    expect(await behind(aside, second)).toBe(false);
    expect(await behind('3'.repeat(40), second)).toBe(false);
    expect(await behind(second, '3'.repeat(40))).toBe(false);
  });
});

describe('a checkout', () => {
  test('has exactly the files of the commit, whatever was there before', async () => {
    const path = join(folder, 'exact');
    mkdirSync(join(path, 'node_modules'), { recursive: true });
    writeFileSync(join(path, 'a.txt'), 'dirty');
    await source.checkOut({ repository, commit: first, path });
    expect(readdirSync(path).sort()).toEqual(['.git', 'a.txt', 'app', 'run.sh']);
    expect(readFileSync(join(path, 'a.txt'), 'utf8')).toBe('one\n');
    expect(lstatSync(join(path, 'run.sh')).mode & 0o111).not.toBe(0);
  });

  test('is a repository of its own: clean, at the commit, with its history, and cannot write to the mirror', async () => {
    const path = join(folder, 'own');
    await source.checkOut({ repository, commit: second, path });
    const git = (...args: string[]): string => execFileSync('git', args, { cwd: path, encoding: 'utf8' }).trim();
    expect(git('status', '--porcelain')).toBe('');
    expect(git('rev-parse', 'HEAD')).toBe(second);
    expect(git('log', '--format=%s')).toBe('second\nfirst');
    git('config', 'core.fsmonitor', 'touch /tmp/owned');
    const mirror = readFileSync(join(folder, 'mirrors', 'hello.git', 'config'), 'utf8');
    expect(mirror).not.toContain('owned');
  });

  test('runs nothing of the repository', async () => {
    const proof = join(folder, 'owned');
    const commit = origin.commit({
      '.gitattributes': '*.txt filter=evil\n',
      '.gitconfig': `[filter "evil"]\n\tsmudge = touch ${proof}\n`,
      '.gitmodules': `[submodule "x"]\n\tpath = x\n\turl = ext::touch ${proof}\n`,
      'hooks/post-checkout': `#!/bin/sh\ntouch ${proof}\n`,
    });
    await source.checkOut({ repository, commit, path: join(folder, 'evil') });
    expect(existsSync(proof)).toBe(false);
    expect(readFileSync(join(folder, 'evil', 'a.txt'), 'utf8')).toBe('two\nlines\n');
  });

  test('does not write through a link that leads out of it', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    const path = join(folder, 'linked');
    origin.git('checkout', '--quiet', '-b', 'linked', first);
    execFileSync('ln', ['-s', outside, join(origin.path, 'way-out')]);
    const commit = origin.commit({});
    await source.checkOut({ repository, commit, path });
    expect(lstatSync(join(path, 'way-out')).isSymbolicLink()).toBe(true);
    // The next commit has a folder where the link was: the old checkout must not lead its files away.
    origin.git('rm', '--quiet', 'way-out');
    const next = origin.commit({ 'way-out/file': 'x' });
    await source.checkOut({ repository, commit: next, path });
    expect(readdirSync(outside)).toEqual([]);
    origin.git('checkout', '--quiet', 'main');
  });

  test('stops when it is told to', async () => {
    const asked = source.checkOut({
      repository,
      commit: first,
      path: join(folder, 'stopped'),
      signal: AbortSignal.abort(new Error('told to')),
    });
    await expect(asked).rejects.toThrow('told to');
  });
});

describe('what lies between two commits', () => {
  test('is listed with its size', async () => {
    await source.ensureCommit({ repository, commit: second });
    await expect(source.compare({ project: 'hello', from: first, to: second })).resolves.toEqual({
      commits: [{ sha: second, author: 'Grace', subject: 'second' }],
      filesChanged: 3,
      // a.txt: one removed, two added; app/main.js: one removed; b.txt: one added.
      linesChanged: 5,
    });
  });

  test('is unknown where one of them is', async () => {
    await expect(source.compare({ project: 'hello', from: '3'.repeat(40), to: second })).resolves.toBeUndefined();
  });
});

describe('a file or folder at a commit', () => {
  test('is read', async () => {
    await expect(source.readFile({ project: 'hello', commit: first, path: './a.txt' })).resolves.toBe('one\n');
  });

  test('is read though its name begins with a dot or two', async () => {
    const commit = origin.commit({ '.env.staging': 'A=1\n', '..odd': 'x\n' }, 'settings');
    await source.ensureCommit({ repository, commit, ref: 'refs/heads/main' });
    await expect(source.readFile({ project: 'hello', commit, path: '.env.staging' })).resolves.toBe('A=1\n');
    await expect(source.readFile({ project: 'hello', commit, path: './..odd' })).resolves.toBe('x\n');
  });

  test.each([['none.txt'], ['../a.txt'], ['app']])('is nothing where there is none: %s', async (path) => {
    await expect(source.readFile({ project: 'hello', commit: first, path })).resolves.toBeUndefined();
  });

  test('a file that is larger than what is read is none, rather than its first part', async () => {
    const commit = origin.commit({ 'large.txt': 'x'.repeat(2 ** 20 + 1) });
    await source.ensureCommit({ repository, commit, ref: 'refs/heads/main' });
    const file = { project: 'hello', commit, path: 'large.txt' };
    await expect(source.readFile(file)).rejects.toMatchObject({ type: 'TooLarge', retryable: false });
    await expect(source.readFile({ ...file, maxBytes: 2 ** 21 })).resolves.toHaveLength(2 ** 20 + 1);
  });

  test('is listed, equal for equal content', async () => {
    const before = await source.listTree({ project: 'hello', commit: first, path: 'app' });
    expect(before).toEqual([{ mode: '100644', object: expect.stringMatching(/^[0-9a-f]{40}$/), path: 'main.js' }]);
    const all = await source.listTree({ project: 'hello', commit: first, path: '.' });
    expect(all?.map(({ path }) => path)).toEqual(['a.txt', 'app/main.js', 'run.sh']);
    await expect(source.listTree({ project: 'hello', commit: first, path: 'none' })).resolves.toBeUndefined();
  });
});
