import { ProviderError } from '../domain/failures.ts';
import type { SourceEvent } from '../domain/run.ts';
import type { RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';

/**
 * What a person asks for by hand is a commit of the ref that they name, for the ref is what gives a run its route, its secrets, its caches and
 * the word of its provenance. A forge gives out whatever has its hash, commits of forks among it.
 *
 * @param newest - what the ref names now; undefined where there is no such ref.
 * @throws `InvalidInput` (not retried): a branch does not lead to it, or a tag is of another commit; as `ensureCommit` besides.
 */
export async function checkOnRef(
  repositories: Pick<SourceRepository, 'ensureCommit' | 'isBehind'>,
  repository: RepositoryAddress,
  { ref, after: commit }: Pick<SourceEvent, 'ref' | 'after'>,
  newest: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (newest === undefined) throw new ProviderError('InvalidInput', `the repository has no ${ref}`);
  if (newest === commit) return;
  const refuse = (why: string): ProviderError =>
    new ProviderError(
      'InvalidInput',
      `${ref} ${why} ${commit}: by hand a run is of a commit of the ref that it names`,
      {
        details: { ref, commit, newest },
      },
    );
  // What is before a tag is another version.
  if (ref.startsWith('refs/tags/')) throw refuse('is not');
  await repositories.ensureCommit({ repository, commit: newest, ref, signal });
  const { project } = repository;
  if (!(await repositories.isBehind({ project, commit, newer: newest, signal }))) throw refuse('does not lead to');
}
