import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { type ToolResult, runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { OfferedBranches } from './branches-port.ts';
import { checkCommit, checkUrl, explain, gitEnvironment, isRef, lastLines, publicUrl } from './git-command.ts';
import type { RepositoryAddress, RepositoryCredentials } from './port.ts';

/** Who makes the commits; what somebody else has put on a branch is told by it. */
const committer = { name: 'Slipway upkeep', email: 'upkeep@slipway.invalid' };
const callMs = 120_000;

/**
 * By the `git` of this machine, over the mirrors that `createGitRepository` keeps in the same folder.
 *
 * @param folder - of the mirrors.
 */
export function createGitBranches({ folder }: { readonly folder: string }): OfferedBranches {
  async function git(
    project: string,
    args: readonly string[],
    options: {
      readonly signal: AbortSignal;
      readonly credentials?: RepositoryCredentials | undefined;
      readonly indexFile?: string;
      readonly env?: Readonly<Record<string, string>>;
    },
  ): Promise<ToolResult> {
    const { signal, credentials, indexFile, env = {} } = options;
    const result = await runTool({
      command: ['git', `--git-dir=${join(folder, `${project}.git`)}`, ...args],
      cwd: folder,
      home: folder,
      env: { ...gitEnvironment({ credentials, ...(indexFile === undefined ? {} : { indexFile }) }), ...env },
      timeoutMs: callMs,
      signal,
    });
    if (result.timedOut) throw new ProviderError('TimedOut', `git ${args[0] ?? ''} took too long`);
    return result;
  }

  /** Of what is local only, and cannot fail but by a fault of this machine. */
  async function local(...call: Parameters<typeof git>): Promise<string> {
    const { exitCode, stdout, stderr } = await git(...call);
    if (exitCode === 0) return stdout.trim();
    throw new ProviderError('WorkspaceLost', `git ${call[1][0] ?? ''} in the mirror: ${lastLines(stderr)}`);
  }

  function remoteError(repository: RepositoryAddress, stderr: string): ProviderError {
    const denied =
      explain(stderr) === 'refused' || /protected branch|pre-receive hook declined|not allowed to push/i.test(stderr);
    return new ProviderError(
      denied ? 'RepositoryRefused' : 'RepositoryUnreachable',
      `${publicUrl(repository)} could not be pushed to: ${lastLines(stderr, 2)}`,
    );
  }

  /** What the branch is at the other side now, and whether Slipway made it; undefined where there is none. */
  async function readTip(
    repository: RepositoryAddress,
    branch: string,
    signal: AbortSignal,
  ): Promise<{ readonly commit: string; readonly own: boolean } | undefined> {
    const ref = `refs/heads/${branch}`;
    const { project, url, credentials } = repository;
    const listed = await git(project, ['ls-remote', '--end-of-options', url, ref], { signal, credentials });
    if (listed.exitCode !== 0) throw remoteError(repository, listed.stderr);
    const [commit = ''] = listed.stdout.split('\t');
    if (commit === '') return undefined;
    checkCommit(commit);
    const fetched = await git(
      project,
      ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--end-of-options', url, commit],
      { signal, credentials },
    );
    if (fetched.exitCode !== 0) throw remoteError(repository, fetched.stderr);
    const said = await local(project, ['log', '-1', '--format=%ce', '--end-of-options', commit, '--'], { signal });
    return { commit, own: said === committer.email };
  }

  async function push(
    repository: RepositoryAddress,
    refspec: string,
    lease: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { project, url, credentials } = repository;
    const args = ['push', '--quiet', '--no-verify', `--force-with-lease=${lease}`, '--end-of-options', url, refspec];
    const { exitCode, stderr } = await git(project, args, { signal, credentials });
    if (exitCode !== 0) throw remoteError(repository, stderr);
  }

  function check({ url }: RepositoryAddress, branch: string): void {
    checkUrl(url);
    if (!isRef(`refs/heads/${branch}`)) throw new ProviderError('InvalidInput', `${branch} is no name of a branch`);
  }

  return {
    async ensureOffered({ repository, branch, base, at, message, files, signal }) {
      check(repository, branch);
      checkCommit(base);
      const { project } = repository;
      const commit = await withScratch('offer', async (scratch) => {
        const indexFile = join(scratch, 'index');
        await local(project, ['read-tree', '--end-of-options', base], { signal, indexFile });
        for (const [index, { path, mode, text }] of files.entries()) {
          const file = join(scratch, `file-${index}`);
          await writeFile(file, text);
          const object = await local(project, ['hash-object', '-w', '--no-filters', '--', file], { signal });
          await local(project, ['update-index', '--cacheinfo', `${mode},${object},${path}`], { signal, indexFile });
        }
        const tree = await local(project, ['write-tree'], { signal, indexFile });
        const who = { NAME: committer.name, EMAIL: committer.email, DATE: at };
        const env = Object.fromEntries(
          Object.entries(who).flatMap(([key, value]) => [
            [`GIT_AUTHOR_${key}`, value],
            [`GIT_COMMITTER_${key}`, value],
          ]),
        );
        return await local(project, ['commit-tree', tree, '-p', base, '-m', message], { signal, env });
      });
      const tip = await readTip(repository, branch, signal);
      if (tip?.commit === commit) return { kind: 'there', commit };
      if (tip?.own === false) return { kind: 'taken', commit: tip.commit };
      // Only over what was seen: who pushes between is not overwritten.
      await push(repository, `${commit}:refs/heads/${branch}`, `refs/heads/${branch}:${tip?.commit ?? ''}`, signal);
      return { kind: 'pushed', commit };
    },

    async ensureWithdrawn({ repository, branch, signal }) {
      check(repository, branch);
      const tip = await readTip(repository, branch, signal);
      if (tip === undefined) return true;
      if (!tip.own) return false;
      await push(repository, `:refs/heads/${branch}`, `refs/heads/${branch}:${tip.commit}`, signal);
      return true;
    },
  };
}
