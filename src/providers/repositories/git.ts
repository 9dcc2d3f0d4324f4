import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import pLimit, { type LimitFunction } from 'p-limit';
import { ProviderError } from '../../domain/failures.ts';
import type { CommitInfo } from '../../domain/run.ts';
import { runTool, type ToolResult } from '../../effects/process.ts';
import { checkCommit, checkUrl, explain, gitEnvironment, isRef, lastLines, publicUrl } from './git-command.ts';
import { removeLeftovers } from './git-leftovers.ts';
import { parseCommits, parseRefs, parseShortstat, parseTree } from './git-output.ts';
import type { CommitRequest, RepositoryCredentials, SourceRepository } from './port.ts';

export interface GitOptions {
  /** Folder of the mirrors; one `<project>.git` in it. */
  readonly folder: string;
  /** Fetches of one project at once. Default 4: more only compete for the disk. */
  readonly fetches?: number;
  /** Limit of one fetch, ms. Default 600_000, for the first one brings the whole history. */
  readonly fetchTimeoutMs?: number;
}

interface GitCall {
  readonly args: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly credentials?: RepositoryCredentials | undefined;
  readonly indexFile?: string;
  readonly timeoutMs?: number;
  readonly maxOutputBytes?: number;
}

/** Messages of commits are shown in lists and notices, not archived. */
const maxMessageChars = 2_000;
const maxCommits = 200;
const maxFileBytes = 1024 * 1024;
const maxTreeBytes = 64 * 1024 * 1024;
const knownCommits = 1_000;

const fetchArguments = [
  '--quiet',
  '--no-tags',
  '--no-write-fetch-head',
  '--no-auto-maintenance',
  '--no-recurse-submodules',
];
const commitFormat = ['-1', '--no-show-signature', '--encoding=UTF-8', '--format=%H%x00%an%x00%aI%x00%B'];

/** Status by which the script says that the commit could not be fetched. */
const notFetchedCode = 91;

/** Arguments: mirror, folder, commit, address, and what to fetch (empty: nothing). The index is named by the environment. */
const checkOutScript = `
if [ -n "$5" ]; then
  git --git-dir="$1" fetch ${fetchArguments.join(' ')} --end-of-options "$4" "$5" || exit ${notFetchedCode}
fi
git -c core.bare=false --git-dir="$1" --work-tree="$2" read-tree --reset -u "$3" &
git --git-dir="$1" log ${commitFormat.map((word) => `'${word}'`).join(' ')} --end-of-options "$3" --
described=$?
wait $! && exit $described`;

/** The repositories of all projects, by the `git` of this machine. */
export function createGitRepository(options: GitOptions): SourceRepository {
  const { folder } = options;
  const limits = new Map<string, LimitFunction>();
  const mirrors = new Map<string, Promise<string>>();
  // What a mirror once had it keeps; asking it again would cost a process each time.
  const known = new Map<string, CommitInfo>();

  async function git(call: GitCall): Promise<ToolResult> {
    return runGit(['git', ...call.args], call.args[1] ?? '', call);
  }

  async function runGit(
    command: readonly [string, ...string[]],
    doing: string,
    call: Omit<GitCall, 'args'>,
  ): Promise<ToolResult> {
    const result = await runTool({
      command,
      cwd: folder,
      home: folder,
      env: gitEnvironment(call),
      timeoutMs: call.timeoutMs ?? 120_000,
      maxOutputBytes: call.maxOutputBytes ?? maxFileBytes,
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
    if (result.timedOut) throw new ProviderError('TimedOut', `git ${doing} took too long`);
    return result;
  }

  function mirrorPath(project: string): string {
    return join(folder, `${project}.git`);
  }

  /** Made beside its place and renamed into it, so that a half-made one is never used. */
  async function ensureMirror(project: string): Promise<string> {
    const path = mirrorPath(project);
    if (await exists(path)) return path;
    await mkdir(folder, { recursive: true });
    const draft = `${path}.${randomUUID()}`;
    const made = await git({ args: ['init', '--quiet', '--bare', '--template=', draft] });
    if (made.exitCode !== 0) throw new ProviderError('WorkspaceLost', `no mirror could be made: ${made.stderr.trim()}`);
    await rename(draft, path).catch(async () => {
      // Another worker of this machine was first.
      await rm(draft, { recursive: true, force: true });
    });
    return path;
  }

  async function mirror(project: string): Promise<string> {
    let made = mirrors.get(project);
    if (made === undefined) {
      made = ensureMirror(project);
      mirrors.set(project, made);
      made.catch(() => mirrors.delete(project));
    }
    return made;
  }

  async function readCommit(
    project: string,
    commit: string,
    signal: AbortSignal | undefined,
  ): Promise<CommitInfo | undefined> {
    const args = [`--git-dir=${await mirror(project)}`, 'log', ...commitFormat, '--end-of-options', commit, '--'];
    const result = await git({ args, signal });
    // Of a tree or a blob, which a tag may be put on, Git logs nothing and finds nothing wrong.
    return result.exitCode === 0 && result.stdout !== '' ? remember(project, commit, result.stdout) : undefined;
  }

  /** @param told - by `git log` in {@link commitFormat}. */
  function remember(project: string, commit: string, told: string): CommitInfo {
    const [sha = '', author = '', at = '', message = ''] = told.split('\0');
    const info = { sha, author, message: message.trim().slice(0, maxMessageChars), at: new Date(at).toISOString() };
    if (known.size >= knownCommits) known.delete(known.keys().next().value ?? '');
    known.set(`${project}/${commit}`, info);
    return info;
  }

  /** @param source - a commit, or a ref of the other side. */
  async function fetchInto(path: string, request: CommitRequest, source: string, ref: string): Promise<ToolResult> {
    const { repository, signal } = request;
    const args = [`--git-dir=${path}`, 'fetch', ...fetchArguments, '--end-of-options'];
    return git({
      args: [...args, repository.url, `+${source}:${ref}`],
      signal,
      credentials: repository.credentials,
      timeoutMs: options.fetchTimeoutMs ?? 600_000,
    });
  }

  async function fetchCommit(request: CommitRequest): Promise<void> {
    const { repository, commit } = request;
    const path = await mirror(repository.project);
    let kept = keptRef(request.ref ?? commit);
    let result = await fetchInto(path, request, commit, kept);
    if (result.exitCode !== 0 && explain(result.stderr) === 'locked') {
      // Another worker fetches for the same ref, or was killed while it did.
      kept = keptRef(commit);
      result = await fetchInto(path, request, commit, kept);
    }
    // A server may give out only what a ref names; then the ref itself is asked for, which may have moved on past the commit.
    if (
      result.exitCode !== 0 &&
      explain(result.stderr) === 'absent' &&
      request.ref !== undefined &&
      isRef(request.ref)
    ) {
      result = await fetchInto(path, request, request.ref, kept);
    }
    if (result.exitCode !== 0) throw fetchError(request, result.stderr);
  }

  /** Asks the other side only for what is not in the mirror: Git itself sees that a commit named by its hash is there. */
  async function bring(request: CommitRequest): Promise<void> {
    const { repository, commit } = request;
    checkCommit(commit);
    checkUrl(repository.url);
    if (known.has(`${repository.project}/${commit}`)) return;
    await limitOf(repository.project)(() => fetchCommit(request));
  }

  function limitOf(project: string): LimitFunction {
    const limit = limits.get(project) ?? pLimit(options.fetches ?? 4);
    limits.set(project, limit);
    return limit;
  }

  async function describe({ repository, commit, signal }: CommitRequest): Promise<CommitInfo> {
    const info = known.get(`${repository.project}/${commit}`) ?? (await readCommit(repository.project, commit, signal));
    if (info !== undefined) return info;
    throw new ProviderError('CommitNotFound', `${publicUrl(repository)} has no commit ${commit}`);
  }

  /**
   * Not by `git worktree`: that would let steps write to the mirror's configuration, and need the mirror wherever steps run. Written by hand
   * and not cloned, for that is two processes less.
   *
   * Fetching, writing and describing are one process of the worker and not three: starting one from a large process is slow.
   *
   * @param fetched - whether the commit is in the mirror.
   * @returns undefined where it could not be fetched; the caller finds out why.
   */
  async function writeCheckout(
    request: CommitRequest,
    path: string,
    fetched: boolean,
  ): Promise<CommitInfo | undefined> {
    const { repository, commit, signal } = request;
    const { project } = repository;
    const own = join(path, '.git');
    const gitDir = await mirror(project);
    await rm(path, { recursive: true, force: true });
    await mkdir(join(own, 'objects', 'info'), { recursive: true });
    const refspec = fetched ? '' : `+${commit}:${keptRef(request.ref ?? commit)}`;
    const [result] = await Promise.all([
      runGit(['sh', '-c', checkOutScript, 'sh', gitDir, path, commit, repository.url, refspec], 'checkout', {
        indexFile: join(own, 'index'),
        timeoutMs: options.fetchTimeoutMs ?? 600_000,
        signal,
        credentials: repository.credentials,
      }),
      mkdir(join(own, 'refs', 'heads'), { recursive: true }),
      writeFile(join(own, 'HEAD'), `${commit}\n`),
      writeFile(join(own, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = false\n'),
      writeFile(join(own, 'objects', 'info', 'alternates'), `${join(gitDir, 'objects')}\n`),
    ]);
    if (result.exitCode === 0) return known.get(`${project}/${commit}`) ?? remember(project, commit, result.stdout);
    if (result.exitCode === notFetchedCode) return undefined;
    // Whatever the memory of this process says of the mirror, the mirror says something else.
    known.delete(`${project}/${commit}`);
    throw new ProviderError('WorkspaceLost', `commit ${commit} could not be checked out: ${lastLines(result.stderr)}`);
  }

  return {
    async removeLeftovers(request) {
      const removed = await removeLeftovers(folder, request);
      // What is gone is made anew when somebody asks for it.
      for (const project of mirrors.keys()) {
        if (removed.some(({ path }) => path === mirrorPath(project))) mirrors.delete(project);
      }
      for (const name of known.keys()) {
        if (!mirrors.has(name.slice(0, name.lastIndexOf('/')))) known.delete(name);
      }
      return removed;
    },

    async ensureCommit(request) {
      await bring(request);
      return describe(request);
    },

    async resolveRef(repository, ref, signal) {
      checkUrl(repository.url);
      if (!isRef(ref)) return undefined;
      await mkdir(folder, { recursive: true });
      const result = await git({
        args: ['ls-remote', '--quiet', '--end-of-options', repository.url, ref, `${ref}^{}`],
        signal,
        credentials: repository.credentials,
      });
      if (result.exitCode !== 0) throw fetchError({ repository, commit: ref }, result.stderr);
      const found = new Map(result.stdout.split('\n').map((line) => line.split('\t').reverse() as [string, string]));
      return found.get(`${ref}^{}`) ?? found.get(ref);
    },

    async listRefs(repository, signal) {
      checkUrl(repository.url);
      await mkdir(folder, { recursive: true });
      const result = await git({
        args: ['ls-remote', '--quiet', '--heads', '--tags', '--end-of-options', repository.url],
        signal,
        credentials: repository.credentials,
        maxOutputBytes: maxTreeBytes,
      });
      if (result.exitCode !== 0) throw fetchError({ repository, commit: 'refs' }, result.stderr);
      if (result.truncated)
        throw new ProviderError('TooLarge', `${publicUrl(repository)} has too many refs to be polled`);
      return parseRefs(result.stdout);
    },

    async checkOut(request) {
      const { repository, commit } = request;
      checkCommit(commit);
      checkUrl(repository.url);
      const fetched = known.has(`${repository.project}/${commit}`);
      const info = await limitOf(repository.project)(() => writeCheckout(request, request.path, fetched));
      if (info !== undefined) return info;
      await bring(request);
      const described = await describe(request);
      await writeCheckout(request, request.path, true);
      return described;
    },

    objectsFolder: (project) => join(mirrorPath(project), 'objects'),

    async compare({ project, from, to, signal }) {
      checkCommit(from);
      checkCommit(to);
      const gitDir = `--git-dir=${await mirror(project)}`;
      const [log, diff] = await Promise.all([
        git({
          args: [
            gitDir,
            'log',
            '--no-show-signature',
            `-n${maxCommits}`,
            '--format=%H%x00%an%x00%s%x00',
            `${from}..${to}`,
            '--',
          ],
          signal,
        }),
        git({ args: [gitDir, 'diff', '--no-ext-diff', '--no-textconv', '--shortstat', from, to, '--'], signal }),
      ]);
      if (log.exitCode !== 0 || diff.exitCode !== 0) return undefined;
      return { commits: parseCommits(log.stdout), ...parseShortstat(diff.stdout) };
    },

    async changedPaths({ project, from, to, sinceMerge, signal }) {
      checkCommit(from);
      checkCommit(to);
      const gitDir = `--git-dir=${await mirror(project)}`;
      const range = sinceMerge ? [`${from}...${to}`] : [from, to];
      const args = [
        gitDir,
        'diff',
        '--no-ext-diff',
        '--no-textconv',
        '--no-renames',
        '--name-only',
        '-z',
        ...range,
        '--',
      ];
      const result = await git({ args, signal, maxOutputBytes: maxTreeBytes });
      if (result.exitCode !== 0 || result.truncated) return undefined;
      return result.stdout.split('\0').filter((path) => path !== '');
    },

    async isBehind({ project, commit, newer, signal }) {
      checkCommit(commit);
      checkCommit(newer);
      const gitDir = `--git-dir=${await mirror(project)}`;
      const result = await git({ args: [gitDir, 'merge-base', '--is-ancestor', commit, newer], signal });
      return result.exitCode === 0;
    },

    async readFile({ project, commit, path, maxBytes = maxFileBytes, signal }) {
      checkCommit(commit);
      const gitDir = `--git-dir=${await mirror(project)}`;
      const args = [gitDir, 'cat-file', 'blob', `${commit}:${relative(path)}`];
      const result = await git({ args, signal, maxOutputBytes: maxBytes });
      if (result.truncated) throw new ProviderError('TooLarge', `${path} has more than ${maxBytes} bytes`);
      return result.exitCode === 0 ? result.stdout : undefined;
    },

    async listTree({ project, commit, path, signal }) {
      checkCommit(commit);
      const gitDir = `--git-dir=${await mirror(project)}`;
      const tree = relative(path) === '' ? commit : `${commit}:${relative(path)}`;
      const args = [gitDir, 'ls-tree', '-r', '-z', '--full-tree', '--end-of-options', tree];
      const result = await git({ args, signal, maxOutputBytes: maxTreeBytes });
      if (result.exitCode !== 0) return undefined;
      if (result.truncated)
        throw new ProviderError('TooLarge', `the folder ${path} has more files than fit 64 MiB of names`);
      return parseTree(result.stdout);
    },
  };
}

/**
 * What keeps a commit from being collected: one ref of the mirror for each ref of the other side, for thousands of them slow every fetch down.
 * By hash, for `a` and `a/b` cannot both be refs.
 */
function keptRef(name: string): string {
  return `refs/slipway/${createHash('sha256').update(name).digest('hex').slice(0, 40)}`;
}

function fetchError(request: CommitRequest, stderr: string): ProviderError {
  const address = publicUrl(request.repository);
  const said = lastLines(stderr);
  const details = { repository: address, commit: request.commit, lastLines: said };
  switch (explain(stderr)) {
    case 'absent':
      return new ProviderError('CommitNotFound', `${address} has no commit ${request.commit}`, { details });
    case 'refused':
      return new ProviderError('RepositoryRefused', `${address} refused to give out its commits: ${said}`, { details });
    default:
      return new ProviderError('RepositoryUnreachable', `${address} could not be read: ${said}`, { details });
  }
}

/** `a/b` of `./a//b/`; the root is empty. What climbs out of the repository names nothing in it. */
function relative(path: string): string {
  // Only a dot that is a folder of its own goes: `.env.production` is a name.
  // What leads out of the repository stays as it is: Git refuses it.
  return posix.normalize(path).replace(/^\.(?:\/|$)|\/$/g, '');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
