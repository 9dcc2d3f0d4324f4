import type { RunInput } from '../domain/run.ts';
import type { RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';

/**
 * The paths that an event changed, for routes that look at them: between its two commits, and of a pull request since it left the branch
 * that it goes into. Undefined where there is nothing to compare with, which counts as everything (docs/adr/0007).
 */
export async function changedPaths(
  repositories: Pick<SourceRepository, 'changedPaths' | 'ensureCommit' | 'resolveRef'>,
  repository: RepositoryAddress,
  { kind, before, after, into }: Pick<RunInput['event'], 'kind' | 'before' | 'after' | 'into'>,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const { project } = repository;
  if (kind === 'push') {
    return /^0+$/.test(before)
      ? undefined
      : await repositories.changedPaths({ project, from: before, to: after, sinceMerge: false, signal });
  }
  if (kind !== 'pull-request' || into === undefined) return undefined;
  const ref = `refs/heads/${into}`;
  const base = await repositories.resolveRef(repository, ref, signal);
  if (base === undefined) return undefined;
  await repositories.ensureCommit({ repository, commit: base, ref, signal });
  return await repositories.changedPaths({ project, from: base, to: after, sinceMerge: true, signal });
}
